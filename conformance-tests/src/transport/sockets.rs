//! Sockets of a session: addresses, servers, and release on close.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use blink_api::{Error, ErrorKind, HostCandidates, IceServer, SessionEvent, TrackKind, Transport};

use super::pair::{Pair, Side, configuration, without_candidates};

/// Reflexive address that the test's STUN server reports (RFC 5737).
const REFLEXIVE: &str = "203.0.113.9";

/// The ports of a session can be bound again as soon as `close` has returned, and soon after the
/// session was dropped.
pub async fn sockets_are_released_after_close_and_drop(offerer: &dyn Transport, answerer: &dyn Transport) {
    for is_closed in [true, false] {
        let mut pair = Pair::open(offerer, answerer).await;
        if !offerer.capabilities().network {
            return pair.close().await;
        }
        let own = own_addresses(&mut pair.offerer).await;
        for address in &own {
            UdpSocket::bind(address).expect_err("a host candidate's port is in use");
        }
        let Pair { offerer, answerer, .. } = pair;
        if is_closed {
            offerer.session.close().await;
            own.iter().for_each(|address| drop(UdpSocket::bind(address).expect("the port is free")));
        }
        drop(offerer);
        let deadline = Instant::now() + Duration::from_secs(5);
        while !own.iter().all(|address| UdpSocket::bind(address).is_ok()) {
            assert!(Instant::now() < deadline, "the ports are free soon after the session was dropped");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        answerer.session.close().await;
    }
}

/// When one side closes, the other reports `Disconnected` (on a network, where paths can be lost)
/// and stays open until it is closed itself.
pub async fn a_closed_peer_is_reported_as_disconnected(offerer: &dyn Transport, answerer: &dyn Transport) {
    let mut pair = Pair::open(offerer, answerer).await;
    pair.connect().await;
    pair.answerer.session.close().await;
    pair.answerer.until_ended().await;
    if offerer.capabilities().network {
        pair.offerer
            .until("the path is lost", |side| side.saw(|event| matches!(event, SessionEvent::Disconnected)))
            .await;
    }
    pair.offerer.session.stats().await.expect("the session is open");
    pair.offerer.session.add_track(TrackKind::Audio).await.expect("the session is open");
    assert!(!pair.offerer.saw(|event| matches!(event, SessionEvent::Closed)), "only the engine closes a session");
    pair.offerer.session.close().await;
}

/// A session that is dropped without [`close`](blink_api::Session::close) is reported by the other
/// side as `Disconnected` (on a network) like one that was closed.
pub async fn a_dropped_session_is_reported_as_disconnected(offerer: &dyn Transport, answerer: &dyn Transport) {
    let mut pair = Pair::open(offerer, answerer).await;
    pair.connect().await;
    let Pair { mut offerer, answerer, .. } = pair;
    let is_network = answerer.transport_is_network;
    drop(answerer);
    if is_network {
        offerer
            .until("the path to a dropped session is lost (trait Transport, section Drop)", |side| {
                side.saw(|event| matches!(event, SessionEvent::Disconnected))
            })
            .await;
    }
    offerer.session.stats().await.expect("the session is open");
    offerer.session.close().await;
}

/// A configured STUN server is queried, and its answer becomes a candidate; without a server no
/// such candidate is gathered.
pub async fn stun_servers_give_reflexive_candidates(transport: &dyn Transport) {
    let mut plain = Side::open(transport, vec![super::opus()]).await;
    plain.session.add_track(TrackKind::Audio).await.expect("a track");
    let addresses = own_addresses(&mut plain).await;
    plain.session.close().await;
    let Some(address) = addresses.iter().find(|address| address.is_ipv4() && transport.capabilities().stun) else {
        return;
    };
    let server = tokio::net::UdpSocket::bind((address.ip(), 0)).await.expect("a socket for the server");
    let url = format!("stun:{}", server.local_addr().expect("a bound socket"));
    let server = tokio::spawn(answer_binding_requests(server));
    let mut config = configuration(vec![super::opus()]);
    config.ice.servers = vec![IceServer { url, ..IceServer::default() }];
    let mut side = Side::open_with(transport, config).await;
    side.session.add_track(TrackKind::Audio).await.expect("a track");
    let (_, mut candidates) = without_candidates(&side.session.create_offer(false).await.expect("an offer"));
    side.gather(&mut candidates).await;
    let is_reflexive = |text: &str| text.contains(REFLEXIVE) && text.contains(" typ srflx");
    assert!(candidates.iter().any(|candidate| is_reflexive(&candidate.attribute)), "there is a reflexive candidate");
    side.session.close().await;
    server.abort();
}

/// Unusable configurations are refused when a session is opened.
pub async fn unusable_configurations_are_refused(transport: &dyn Transport) {
    let capabilities = transport.capabilities();
    if capabilities.network {
        for name in ["no-such-interface", REFLEXIVE] {
            let mut config = configuration(vec![super::opus()]);
            config.ice.interfaces = vec![name.to_owned()];
            assert_eq!(refusal(transport, config).await.kind(), ErrorKind::Invalid, "the interface {name}");
        }
    }
    if !capabilities.relay {
        let mut config = configuration(vec![super::opus()]);
        config.ice.relay_only = true;
        assert_eq!(refusal(transport, config).await.kind(), ErrorKind::Unsupported, "relayed candidates only");
    }
    for hosts in [HostCandidates::Mdns, HostCandidates::None].into_iter().filter(|_| !capabilities.hidden_hosts) {
        let mut config = configuration(vec![super::opus()]);
        config.ice.host_candidates = hosts;
        assert_eq!(refusal(transport, config).await.kind(), ErrorKind::Unsupported, "host candidates as {hosts:?}");
    }
}

async fn refusal(transport: &dyn Transport, config: blink_api::SessionConfig) -> Error {
    match transport.open(config).await {
        Ok(_) => panic!("the configuration cannot work"),
        Err(error) => error,
    }
}

/// Creates an offer and returns the addresses of its host candidates.
pub(super) async fn own_addresses(side: &mut Side) -> Vec<SocketAddr> {
    let (_, mut candidates) = without_candidates(&side.session.create_offer(false).await.expect("an offer"));
    side.gather(&mut candidates).await;
    let mut addresses: Vec<SocketAddr> = candidates
        .iter()
        .filter_map(|candidate| {
            let fields: Vec<&str> = candidate.attribute.split_whitespace().collect();
            Some(SocketAddr::new(fields.get(4)?.parse().ok()?, fields.get(5)?.parse().ok()?))
        })
        .collect();
    addresses.sort();
    addresses.dedup();
    addresses
}

/// A STUN server with a fixed answer (RFC 8489 §14.2).
async fn answer_binding_requests(socket: tokio::net::UdpSocket) {
    const MAGIC: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
    let mut request = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut request).await {
        if length < 20 || request[..2] != [0, 1] {
            continue;
        }
        let address: std::net::Ipv4Addr = REFLEXIVE.parse().expect("an IPv4 address");
        let port = from.port().to_be_bytes();
        let mut answer = vec![1, 1, 0, 12];
        answer.extend_from_slice(&request[4..20]);
        answer.extend_from_slice(&[0, 0x20, 0, 8, 0, 1, port[0] ^ MAGIC[0], port[1] ^ MAGIC[1]]);
        answer.extend(address.octets().iter().zip(MAGIC).map(|(byte, mask)| byte ^ mask));
        // A lost answer is requested again.
        let _ = socket.send_to(&answer, from).await;
    }
}
