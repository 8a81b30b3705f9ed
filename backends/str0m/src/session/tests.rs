use std::net::{SocketAddr, UdpSocket};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use blink_api::{
    Clock, IceConfig, RtpCodec, RtpReceiver, RtpTime, SessionConfig, SessionEvent, SessionEvents, SystemClock,
    Transport, rtp_queue,
};
use str0m::crypto::dtls::{DtlsOutput, DtlsVersion};
use tokio::time::timeout;

use super::*;
use crate::{Str0mConfig, Str0mTransport};

/// Number of packets that fits any socket buffer.
const PACKETS: u16 = 100;
/// Deadline of steps that take milliseconds.
const DEADLINE: Duration = Duration::from_secs(20);

/// Session with a track.
struct Side {
    session: Box<dyn Session>,
    track: TrackId,
    events: SessionEvents,
    packets: RtpReceiver,
}

impl Side {
    async fn open(clock: Arc<dyn Clock>) -> Self {
        Self::open_on(&["127.0.0.1"], clock).await
    }

    async fn open_on(interfaces: &[&str], clock: Arc<dyn Clock>) -> Self {
        let transport = Str0mTransport::new(Str0mConfig::default()).unwrap();
        let opus = RtpCodec { name: CodecName::new("opus"), clock_rate: 48_000, channels: 2, fmtp: String::new() };
        let ice =
            IceConfig { interfaces: interfaces.iter().map(ToString::to_string).collect(), ..IceConfig::default() };
        let (rtp, packets) = rtp_queue(1_024);
        let config = SessionConfig::new(clock, rtp).with_ice(ice).with_audio(vec![opus]);
        let (session, events) = transport.open(config).await.unwrap();
        let track = session.add_track(TrackKind::Audio).await.unwrap();
        Self { session, track, events, packets }
    }

    fn send(&self, sequence: u16) {
        let packet = RtpOut {
            codec: CodecName::new("opus"),
            sequence,
            timestamp: RtpTime(0),
            marker: false,
            level: None,
            payload: Bytes::from_static(&[7; 60]),
        };
        self.session.send_rtp(self.track, packet).unwrap();
    }

    /// Packets sent, without yielding to other tasks.
    fn sent(&self) -> u64 {
        match pin!(self.session.stats()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(stats) => stats.unwrap().packets_sent,
            Poll::Pending => panic!("statistics are available at once"),
        }
    }

    /// Receives the next event of an open session.
    async fn next(&mut self) -> SessionEvent {
        let event = timeout(DEADLINE, self.events.recv()).await.expect("an event in time");
        event.expect("the session is open")
    }

    async fn until_connected(&mut self) {
        while !matches!(self.next().await, SessionEvent::Connected) {}
    }

    async fn until_over(&mut self) {
        while timeout(DEADLINE, self.events.recv()).await.expect("the session ends in time").is_some() {}
        assert_eq!(self.session.stats().await.map_err(|error| error.kind()), Err(ErrorKind::Closed));
        timeout(DEADLINE, self.session.close()).await.expect("the session is closed already");
    }

    /// Sequence numbers of received packets up to the last one.
    async fn heard_until(&mut self, last: u16) -> Vec<u16> {
        let mut heard = Vec::new();
        while heard.last() != Some(&last) {
            let packet = timeout(DEADLINE, self.packets.recv()).await.expect("a packet comes in time");
            heard.push(packet.expect("the session goes on").sequence);
        }
        heard
    }
}

/// Clock that panics once when told to.
#[derive(Default)]
struct FailingClock {
    fails: AtomicBool,
}

impl Clock for FailingClock {
    fn now(&self) -> Instant {
        assert!(!self.fails.swap(false, Ordering::Relaxed), "this clock panics");
        SystemClock.now()
    }

    fn unix_ms(&self) -> u64 {
        SystemClock.unix_ms()
    }
}

/// Attacker that floods addresses with ClientHellos until it is dropped.
struct Stranger {
    is_done: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Stranger {
    /// Starts the flood, of at most 10,000 rounds.
    fn start(addresses: Vec<SocketAddr>) -> Self {
        let is_done = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_done);
        let thread = std::thread::spawn(move || {
            let (socket, hello) = (UdpSocket::bind("127.0.0.1:0").unwrap(), client_hello());
            for _ in 0..10_000 {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                for address in &addresses {
                    // The address may not exist yet or any longer.
                    socket.send_to(&hello, address).ok();
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Self { is_done, thread: Some(thread) }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.is_done.store(true, Ordering::Relaxed);
        self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// First DTLS packet of a handshake, which anyone can send.
fn client_hello() -> Vec<u8> {
    let (crypto, now) = (crate::dtls::crypto(), Instant::now());
    let provider = crypto.dtls_provider;
    let certificate = provider.generate_certificate().unwrap();
    let mut end = provider.new_dtls(&certificate, now, DtlsVersion::Dtls12, None).unwrap();
    end.set_active(true);
    end.handle_timeout(now).unwrap();
    let mut buffer = vec![0; 2048];
    loop {
        match end.poll_output(&mut buffer) {
            DtlsOutput::Packet(packet) => return packet.to_vec(),
            DtlsOutput::Timeout(_) => panic!("there is a packet"),
            _ => {}
        }
    }
}

async fn connected() -> (Side, Side) {
    let (one, other, _) = connected_by(Arc::new(SystemClock)).await;
    (one, other)
}

/// Connects two sessions; the first has the clock. Also returns the first one's address.
async fn connected_by(clock: Arc<dyn Clock>) -> (Side, Side, SocketAddr) {
    let (mut one, mut other) = (Side::open(clock).await, Side::open(Arc::new(SystemClock)).await);
    let offer = one.session.create_offer(false).await.unwrap();
    let answer = other.session.accept_offer(&offer).await.unwrap();
    one.session.accept_answer(&answer).await.unwrap();
    one.until_connected().await;
    other.until_connected().await;
    (one, other, host(&offer))
}

/// Address of the host candidate (RFC 8839 §5.1) in a description.
fn host(description: &str) -> SocketAddr {
    let candidate = description.lines().find(|line| line.starts_with("a=candidate:")).expect("a candidate");
    let fields: Vec<&str> = candidate.split(' ').collect();
    format!("{}:{}", fields[4], fields[5]).parse().expect("an address with its port")
}

/// A panic of the stack while driving the first of two sessions closes that session and its socket,
/// and leaves the other one intact.
async fn fails_alone(work: impl FnOnce(&Side, &Side)) {
    let clock = Arc::new(FailingClock::default());
    let (mut one, other, address) = connected_by(clock.clone()).await;
    assert!(UdpSocket::bind(address).is_err(), "the session owns its socket");
    clock.fails.store(true, Ordering::Relaxed);
    work(&one, &other);
    one.until_over().await;
    assert!(!clock.fails.load(Ordering::Relaxed), "the clock panicked");
    UdpSocket::bind(address).expect("the socket is closed");
    let sent = other.sent();
    other.send(2);
    assert_eq!(other.sent(), sent + 1);
}

/// No other task runs on this runtime while the test does not await.
#[tokio::test]
async fn a_packet_is_sent_on_the_callers_thread() {
    let (one, mut other) = connected().await;
    for sequence in 1..=PACKETS {
        one.send(sequence);
        assert_eq!(one.sent(), u64::from(sequence));
    }
    assert_eq!(other.heard_until(PACKETS).await, Vec::from_iter(1..=PACKETS));
}

/// Several threads and tasks send on the same sessions, which are locked by one at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_keep_their_order_across_sending_threads() {
    let (mut one, mut other) = connected().await;
    for round in 0..20 {
        let numbers = round * PACKETS + 1..=(round + 1) * PACKETS;
        std::thread::scope(|scope| {
            for side in [&one, &other] {
                let numbers = numbers.clone();
                scope.spawn(move || numbers.for_each(|sequence| side.send(sequence)));
            }
        });
        let (last, expected) = (*numbers.end(), Vec::from_iter(numbers));
        assert_eq!(one.heard_until(last).await, expected);
        assert_eq!(other.heard_until(last).await, expected);
    }
}

#[tokio::test]
async fn a_panic_while_sending_closes_only_that_session() {
    fails_alone(|one, _| one.send(1)).await;
}

/// The panic occurs on the first session's task.
#[tokio::test]
async fn a_panic_while_receiving_closes_only_that_session() {
    fails_alone(|_, other| other.send(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_hello_flood_does_not_prevent_connecting() {
    for _ in 0..5 {
        let (mut one, mut other) = (Side::open(Arc::new(SystemClock)).await, Side::open(Arc::new(SystemClock)).await);
        let offer = one.session.create_offer(false).await.unwrap();
        let _at_the_offerer = Stranger::start(vec![host(&offer)]);
        let answer = other.session.accept_offer(&offer).await.unwrap();
        let _at_both = Stranger::start(vec![host(&offer), host(&answer)]);
        one.session.accept_answer(&answer).await.unwrap();
        one.until_connected().await;
        other.until_connected().await;
        one.send(1);
        other.send(1);
        assert_eq!(one.heard_until(1).await, [1]);
        assert_eq!(other.heard_until(1).await, [1]);
    }
}

/// Without IPv6 the address does not exist, and the test asserts the error.
#[tokio::test]
async fn ipv6_loopback_works_alone() {
    let has_it = UdpSocket::bind("[::1]:0").is_ok();
    let transport = Str0mTransport::new(Str0mConfig::default()).unwrap();
    let ice = IceConfig { interfaces: vec!["::1".to_owned()], ..IceConfig::default() };
    let clock = Arc::new(SystemClock);
    let config = SessionConfig::new(clock, rtp_queue(1).0).with_ice(ice);
    assert_eq!(transport.open(config).await.map(drop).map_err(|error| error.kind()).is_ok(), has_it);
    if has_it {
        connect_on(&["::1"]).await;
    }
}

#[tokio::test]
async fn missing_interfaces_are_skipped() {
    connect_on(&["no-such-interface", "127.0.0.1", "203.0.113.77"]).await;
}

async fn connect_on(interfaces: &[&str]) {
    let mut one = Side::open_on(interfaces, Arc::new(SystemClock)).await;
    let mut other = Side::open_on(interfaces, Arc::new(SystemClock)).await;
    let offer = one.session.create_offer(false).await.unwrap();
    let answer = other.session.accept_offer(&offer).await.unwrap();
    one.session.accept_answer(&answer).await.unwrap();
    one.until_connected().await;
    other.until_connected().await;
}

/// Descriptions with an empty session name, bandwidths and default directions, as some programs
/// write them.
#[tokio::test]
async fn valid_but_unusual_descriptions_connect() {
    let (mut one, mut other) = (Side::open(Arc::new(SystemClock)).await, Side::open(Arc::new(SystemClock)).await);
    let unusual = |sdp: &str| {
        let name = sdp.lines().find(|line| line.starts_with("s=")).unwrap();
        sdp.replacen(name, "s= \r\nb=CT:1000\r\nb=AS:1000", 1)
            .replace("a=sendrecv\r\n", "")
            .replace("a=fingerprint:sha-256", "a=fingerprint:SHA-256")
            .replace("a=rtcp-mux\r\n", "b=AS:40\r\nb=TIAS:40000\r\na=rtcp-mux\r\n")
    };
    let offer = one.session.create_offer(false).await.unwrap();
    let answer = other.session.accept_offer(&unusual(&offer)).await.unwrap();
    one.session.accept_answer(&unusual(&answer)).await.unwrap();
    one.until_connected().await;
    other.until_connected().await;
}
