use std::net::{Ipv4Addr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use blink_api::{Clock, CodecName, RtpCodec, SessionConfig, SessionEvents, TrackKind};
use blink_transport_kit::check_budget::CheckBudgets;

use super::*;
use crate::Str0mConfig;
use crate::codecs::Codecs;
use crate::stack_time::StackTime;

/// Clock that is advanced manually.
struct ManualClock(Mutex<Instant>);

impl ManualClock {
    fn advance(&self, time: Duration) {
        *self.0.lock().unwrap() += time;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        *self.0.lock().unwrap()
    }

    fn unix_ms(&self) -> u64 {
        0
    }
}

/// Creates a session with an audio track on loopback, without a task.
fn driver(clock: &Arc<ManualClock>) -> (Driver, SessionEvents) {
    let opus = RtpCodec { name: CodecName::new("opus"), clock_rate: 48_000, channels: 2, fmtp: String::new() };
    let ice = IceConfig { interfaces: vec!["127.0.0.1".to_owned()], ..IceConfig::default() };
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    let config = SessionConfig::new(clock, blink_api::rtp_queue(1).0).with_ice(ice.clone()).with_audio(vec![opus]);
    let (events, reader) = blink_transport_kit::events::channel();
    let codecs = Codecs::new(&config).unwrap();
    let peer = Peer::new(&Str0mConfig::default(), &config, codecs, events, Arc::default(), StackTime::default());
    let network = Network {
        sockets: Sockets::bind(&[Ipv4Addr::LOCALHOST.into()]).unwrap(),
        servers: Servers::new(&ice).unwrap(),
        addresses: AddressSelector::default(),
        checks: CheckBudgets::default().session(None),
    };
    let (found, _) = mpsc::unbounded_channel();
    let mut driver = Driver::new(peer, network, ice, found);
    driver.peer.add_track(TrackKind::Audio).unwrap();
    (driver, reader)
}

fn bystanders(count: usize) -> Vec<UdpSocket> {
    let bind = || {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    };
    std::iter::repeat_with(bind).take(count).collect()
}

/// Number of datagrams received since the last call.
fn received(socket: &UdpSocket) -> usize {
    std::iter::from_fn(|| socket.recv(&mut [0; 2048]).ok()).count()
}

fn candidate(socket: &UdpSocket) -> String {
    format!("candidate:1 1 udp 2130706431 127.0.0.1 {} typ host", socket.local_addr().unwrap().port())
}

/// A peer names third parties as its candidates, many in its description and many trickled, and
/// starts one ICE generation after the other.
#[tokio::test]
async fn checks_to_third_party_addresses_named_by_a_peer_are_limited() {
    let clock = Arc::new(ManualClock(Mutex::new(Instant::now())));
    let (mut attacker, _events) = driver(&clock);
    let (mut victim, _events) = driver(&clock);
    let sockets = bystanders(120);
    let offer = attacker.create_offer(false).unwrap();
    let others = |line: &&str| !line.starts_with("a=candidate:");
    let offer = offer.lines().filter(others).map(|line| format!("{line}\r\n")).collect::<String>();
    let (mut counts, mut addresses) = (vec![0; sockets.len()], Vec::new());
    for generation in 0..10 {
        let named: String = sockets[..60].iter().map(|socket| format!("a={}\r\n", candidate(socket))).collect();
        let user = user_line(&offer);
        let next = offer.replace(&user, &format!("a=ice-ufrag:generation{generation}"));
        victim.accept_offer(&next.replacen("a=rtcp-mux\r\n", &format!("a=rtcp-mux\r\n{named}"), 1)).unwrap();
        for socket in &sockets[60..] {
            victim.add_remote_candidate(&Candidate { attribute: candidate(socket), mid: None }).unwrap();
        }
        let before = counts.clone();
        for _ in 0..1000 {
            clock.advance(Duration::from_millis(5));
            victim.advance();
            for (count, socket) in counts.iter_mut().zip(&sockets) {
                *count += received(socket);
            }
        }
        addresses.push(counts.iter().zip(&before).filter(|(now, before)| now > before).count());
    }
    assert!(addresses[0] > 0 && addresses.iter().all(|addresses| *addresses <= 16), "{addresses:?}");
    // 384 at once, then 8 per second for 50 s.
    let total: usize = counts.iter().sum();
    assert!(total <= 384 + 8 * 50, "{total} datagrams");
}

/// The `a=ice-ufrag` line of a description.
fn user_line(offer: &str) -> String {
    offer.lines().find(|line| line.starts_with("a=ice-ufrag:")).unwrap().to_owned()
}
