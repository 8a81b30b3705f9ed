//! Relayed candidates (RFC 8656), and the addresses that `ice.relay_only` must not disclose.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use blink_api::{Error, ErrorKind, IceConfig, IceServer, MediaPath, SessionEvent, TrackKind, Transport};
use bytes::Bytes;
use tokio::net::UdpSocket;

use super::opus;
use super::pair::{DEADLINE, Pair, Side, configuration, without_candidates};
use super::setup_times::SetupTimes;
use super::sockets::own_addresses;
use crate::turn::{TurnBehaviour, TurnServer};

/// Two sides with relayed candidates only connect through them, restart ICE, and release their
/// allocations. Returns how long the set-up took.
///
/// No description or candidate of either side contains another of its addresses.
pub async fn relayed_candidates_connect(offerer: &dyn Transport, answerer: &dyn Transport) -> Option<SetupTimes> {
    if !both_relay(offerer, answerer) {
        return None;
    }
    let server = start().await;
    let own = [own_ips(offerer).await, own_ips(answerer).await].concat();
    let mut pair = open([(offerer, relays_only(&server)), (answerer, relays_only(&server))]).await;
    let setup_times = pair.measure_setup().await;
    // Some stacks drop packets that arrive through a relay before the track is set up, so that the
    // first packet may be lost.
    pair.exchange_until_received().await;
    pair.exchange_packets(10).await;
    for side in [true, false] {
        assert_only_relays(&pair.signaled(side), &server, &own);
    }
    if offerer.capabilities().ice_restart && answerer.capabilities().ice_restart {
        let before = pair.ufrags.clone();
        pair.negotiate(true).await;
        assert_ne!(before, pair.ufrags, "the credentials are new");
        pair.exchange_until_received().await;
        pair.exchange_packets(10).await;
        for side in [true, false] {
            assert_only_relays(&pair.signaled(side), &server, &own);
        }
    }
    let counters = server.counters();
    assert!(counters.to_peers > 20 && counters.from_peers > 20, "no packets pass the relays: {counters:?}");
    pair.close().await;
    let deadline = Instant::now() + DEADLINE;
    while server.counters().open > 0 {
        assert!(Instant::now() < deadline, "allocations are not released: {:?}", server.counters());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Some(setup_times)
}

/// Messages sent through relays as soon as a channel is open arrive in order, though the remote
/// side may not have reported the channel yet.
pub async fn first_messages_arrive_through_relays(offerer: &dyn Transport, answerer: &dyn Transport) {
    if !(both_relay(offerer, answerer) && offerer.capabilities().data_channels) {
        return;
    }
    let server = start().await;
    let messages: Vec<Bytes> = (0..3).map(|number| Bytes::from(vec![number; 20])).collect();
    let send = |side: &Side| {
        let Some(channel) = side.channel("blink") else { return false };
        messages.iter().for_each(|message| side.session.send_data(channel, message.clone()).expect("there is room"));
        true
    };
    for _ in 0..4 {
        let mut pair = open([(offerer, relays_only(&server)), (answerer, relays_only(&server))]).await;
        pair.offerer.session.open_channel("blink").await.expect("a channel can be wanted");
        pair.negotiate(false).await;
        let mut sent = [false; 2];
        pair.until("the first messages arrive", |a, b| {
            for (sent, side) in sent.iter_mut().zip([a, b]) {
                *sent = *sent || send(side);
            }
            a.messages() == messages && b.messages() == messages
        })
        .await;
        pair.close().await;
    }
}

/// One side uses relayed candidates only, in either role, and the other side needs no relay.
pub async fn one_side_may_be_relay_only(offerer: &dyn Transport, answerer: &dyn Transport) {
    if !both_relay(offerer, answerer) {
        return;
    }
    for secretive in [true, false] {
        let server = start().await;
        let ice = [secretive, !secretive].map(|keeps| if keeps { relays_only(&server) } else { on_loopback() });
        let [ours, theirs] = ice;
        let mut pair = open([(offerer, ours), (answerer, theirs)]).await;
        pair.connect().await;
        pair.exchange_until_received().await;
        pair.exchange_packets(10).await;
        assert_only_relays(&pair.signaled(secretive), &server, &[]);
        assert!(server.counters().to_peers > 10, "no packets pass the relay: {:?}", server.counters());
        for side in [&pair.offerer, &pair.answerer] {
            until_relayed(side).await;
        }
        pair.close().await;
    }
}

/// Waits until the statistics say that packets pass a relay.
async fn until_relayed(side: &Side) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while side.session.stats().await.expect("statistics").path != Some(MediaPath::Relayed) {
        assert!(tokio::time::Instant::now() < deadline, "the path is reported as relayed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A session with relayed candidates only sends a peer nothing from any other address, whatever the
/// peer's candidates are.
pub async fn relay_only_sends_nothing_past_the_relay(transport: &dyn Transport) {
    if !(transport.capabilities().relay && transport.capabilities().network) {
        return;
    }
    let server = start().await;
    let trap = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket");
    let port = trap.local_addr().expect("a bound socket").port();
    let mut pair = open([(transport, relays_only(&server)), (transport, on_loopback())]).await;
    let offer = pair.offerer.session.create_offer(false).await.expect("an offer");
    pair.offerer.gather(&mut Vec::new()).await;
    let answer = pair.answerer.session.accept_offer(&offer).await.expect("an answer");
    let (answer, _) = without_candidates(&answer);
    pair.offerer.session.accept_answer(&answer).await.expect("the answer fits");
    let host = format!("candidate:1 1 udp 2130706431 127.0.0.1 {port} typ host");
    pair.offerer.add_candidates(&[super::pair::candidate(&host)]).await;
    let mut datagram = [0; 2048];
    for _ in 0..3 {
        let came = tokio::time::timeout(DEADLINE, trap.recv_from(&mut datagram)).await;
        let (_, from) = came.expect("the peer is checked").expect("a datagram");
        assert!(server.counters().relayed.contains(&from), "a packet came from {from}, which is not a relayed address");
    }
    pair.close().await;
}

/// A server that rejects the credentials, has no free allocation or does not answer is reported
/// once with its URL before gathering completes; the session connects without it.
pub async fn failing_servers_are_reported(transport: &dyn Transport) {
    if !transport.capabilities().relay {
        return;
    }
    let server = start().await;
    let full = TurnServer::start_with(TurnBehaviour { capacity: 0 }).await.expect("a server");
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket");
    let url = format!("turn:{}?transport=udp", silent.local_addr().expect("a bound socket"));
    let cases = [
        (IceServer { credential: "a wrong one".to_owned(), ..server.ice_server() }, ErrorKind::Security),
        (IceServer { username: "unknown".to_owned(), ..server.ice_server() }, ErrorKind::Security),
        (full.ice_server(), ErrorKind::Full),
        (IceServer { url, ..server.ice_server() }, ErrorKind::Timeout),
    ];
    for (asked, kind) in cases {
        let ice = IceConfig { servers: vec![asked.clone()], ..on_loopback() };
        let mut pair = open([(transport, ice), (transport, on_loopback())]).await;
        pair.connect().await;
        pair.offerer.gather(&mut Vec::new()).await;
        let failures = failures(&pair.offerer);
        assert_eq!(failures.len(), 1, "the failed server is not reported exactly once: {failures:?}");
        let (url, error) = &failures[0];
        assert_eq!((url, error.kind()), (&asked.url, kind), "{error}");
        assert!(!error.to_string().contains(&asked.credential), "the error discloses the password: {error}");
        pair.exchange_packets(1).await;
        pair.close().await;
    }
}

/// Unusable servers, all at once on both sides: a name that does not resolve, ports without a
/// listener, addresses that the system does not send to. The session connects, and each server is
/// reported.
pub async fn unusable_servers_do_not_end_the_session(transport: &dyn Transport) {
    if !transport.capabilities().stun {
        return;
    }
    let urls = ["stun:nowhere.invalid", "stun:127.0.0.1:1", "stun:[::1]:1", "stun:255.255.255.255", "stun:0.0.0.0:9"];
    let servers: Vec<_> = urls.map(|url| IceServer { url: url.to_owned(), ..IceServer::default() }).to_vec();
    let ice = IceConfig { servers, ..on_loopback() };
    let mut pair = open([(transport, ice.clone()), (transport, ice)]).await;
    pair.connect().await;
    for side in [&mut pair.offerer, &mut pair.answerer] {
        side.gather(&mut Vec::new()).await;
        let failed: BTreeSet<_> = failures(side).into_iter().map(|(url, _)| url).collect();
        assert_eq!(failed, urls.map(str::to_owned).into(), "each server is reported");
    }
    pair.exchange_packets(1).await;
    pair.close().await;
}

fn failures(side: &Side) -> Vec<(String, Error)> {
    let failure = |event: &SessionEvent| match event {
        SessionEvent::ServerFailed { url, error } => Some((url.clone(), error.clone())),
        _ => None,
    };
    side.log.iter().filter_map(failure).collect()
}

fn both_relay(offerer: &dyn Transport, answerer: &dyn Transport) -> bool {
    offerer.capabilities().relay && answerer.capabilities().relay
}

async fn start() -> TurnServer {
    TurnServer::start().await.expect("a server")
}

fn relays_only(server: &TurnServer) -> IceConfig {
    IceConfig { servers: vec![server.ice_server()], relay_only: true, ..IceConfig::default() }
}

pub(super) fn on_loopback() -> IceConfig {
    IceConfig { interfaces: vec![Ipv4Addr::LOCALHOST.to_string()], ..IceConfig::default() }
}

/// Two sides with a track each.
pub(super) async fn open(sides: [(&dyn Transport, IceConfig); 2]) -> Pair {
    let mut open = Vec::new();
    for (transport, ice) in sides {
        let config = configuration(vec![opus()]).with_ice(ice);
        let mut side = Side::open_with(transport, config).await;
        side.track = side.session.add_track(TrackKind::Audio).await.expect("a track");
        open.push(side);
    }
    let (Some(answerer), Some(offerer)) = (open.pop(), open.pop()) else { unreachable!("two were opened") };
    Pair::of(offerer, answerer)
}

/// Addresses that a session discloses without restrictions.
async fn own_ips(transport: &dyn Transport) -> Vec<IpAddr> {
    let mut plain = Side::open(transport, vec![opus()]).await;
    plain.session.add_track(TrackKind::Audio).await.expect("a track");
    let addresses = own_addresses(&mut plain).await;
    plain.session.close().await;
    addresses.iter().map(SocketAddr::ip).collect()
}

/// Verifies that descriptions and candidates contain relayed addresses and no other address of
/// their side.
fn assert_only_relays(signaled: &[String], server: &TurnServer, own: &[IpAddr]) {
    let relayed = server.counters().relayed;
    let relays = match only_relays(signaled, &relayed) {
        Ok(relays) => relays,
        Err(leak) => panic!("{leak}"),
    };
    assert!(relays > 0, "no relayed candidates are disclosed: {signaled:?}");
    let hidden = own.iter().filter(|address| !relayed.iter().any(|relayed| relayed.ip() == **address));
    for address in hidden {
        let leak = signaled.iter().find(|text| text.contains(&address.to_string()));
        assert!(leak.is_none(), "{address} is disclosed: {leak:?}");
    }
}

/// Number of candidates in descriptions and candidates; an error for one that is not relayed, or
/// that discloses its related address.
pub(crate) fn only_relays(signaled: &[String], relayed: &[SocketAddr]) -> Result<usize, String> {
    let mut relays = 0;
    for candidate in
        signaled.iter().flat_map(|text| text.lines()).filter_map(|line| Some(&line[line.find("candidate:")?..]))
    {
        let fields: Vec<&str> = candidate.split_whitespace().collect();
        let value =
            |name: &str| fields.iter().position(|field| *field == name).and_then(|at| fields.get(at + 1)).copied();
        let address = fields
            .get(4)
            .zip(fields.get(5))
            .and_then(|(address, port)| Some(SocketAddr::new(address.parse().ok()?, port.parse().ok()?)));
        let is_relay = value("typ") == Some("relay") && address.is_some_and(|address| relayed.contains(&address));
        let behind = value("raddr").map(str::parse::<IpAddr>);
        if !is_relay || !behind.is_none_or(|behind| behind.is_ok_and(|behind| behind.is_unspecified())) {
            return Err(format!("disclosed a candidate that is not relayed, or its related address: {candidate}"));
        }
        relays += 1;
    }
    Ok(relays)
}
