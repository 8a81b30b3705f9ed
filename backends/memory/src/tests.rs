//! Two sessions of one hub, with signaling done by each test.

use std::sync::Arc;

use blink_api::{Candidate, ChannelId, FailureReason, RtpOut, RtpReceiver, SessionEvent, rtp_queue};
use blink_api::{
    CodecName, Configuration, ErrorKind, HostCandidates, IceConfig, Registry, RtpCodec, RtpTime, SystemClock, TrackId,
    TrackKind,
};
use bytes::Bytes;

use super::*;

struct Side {
    session: Box<dyn Session>,
    events: SessionEvents,
    packets: RtpReceiver,
    transport: TransportId,
    track: TrackId,
}

fn codec(name: &str, clock_rate: u32) -> RtpCodec {
    RtpCodec { name: CodecName::new(name), clock_rate, channels: 2, fmtp: "minptime=10".to_owned() }
}

fn config() -> SessionConfig {
    let audio = vec![codec("opus", 48_000), codec("PCMU", 8_000)];
    let clock = Arc::new(SystemClock);
    SessionConfig::new(clock, rtp_queue(1).0).with_audio(audio)
}

async fn side(hub: &Hub, config: SessionConfig) -> Side {
    let transport = MemoryTransport::new(hub);
    let (rtp, packets) = rtp_queue(1_024);
    let (session, events) = transport.open(config.with_rtp(rtp)).await.unwrap();
    let track = session.add_track(TrackKind::Audio).await.unwrap();
    Side { session, events, packets, transport: transport.id(), track }
}

async fn sides(hub: &Hub) -> (Side, Side) {
    let (a, b) = (side(hub, config()).await, side(hub, config()).await);
    a.session.open_channel("blink").await.unwrap();
    (a, b)
}

async fn connected(hub: &Hub) -> (Side, Side) {
    let (mut a, mut b) = sides(hub).await;
    negotiate(&mut a, &mut b, false).await;
    for side in [&mut a, &mut b] {
        assert!(side.drain().iter().any(|event| matches!(event, SessionEvent::Connected)));
    }
    (a, b)
}

async fn negotiate(a: &mut Side, b: &mut Side, ice_restart: bool) {
    let offer = a.session.create_offer(ice_restart).await.unwrap();
    let answer = b.session.accept_offer(&offer).await.unwrap();
    a.session.accept_answer(&answer).await.unwrap();
    a.pass_candidates(b).await;
    b.pass_candidates(a).await;
}

impl Side {
    async fn pass_candidates(&mut self, to: &Side) {
        for candidate in self.candidates() {
            to.session.add_candidate(&candidate).await.unwrap();
        }
    }

    /// Receives all available events but those of the state.
    fn drain(&mut self) -> Vec<SessionEvent> {
        let events = std::iter::from_fn(|| self.events.try_recv().ok());
        events.filter(|event| !matches!(event, SessionEvent::State(_))).collect()
    }

    fn candidates(&mut self) -> Vec<Candidate> {
        let candidate = |event| match event {
            SessionEvent::LocalCandidate(candidate) => Some(candidate),
            _ => None,
        };
        self.drain().into_iter().filter_map(candidate).collect()
    }

    fn send(&self, sequence: u16) {
        self.session.send_rtp(self.track, packet(sequence)).unwrap();
    }

    /// Receives the sequence numbers of all available packets.
    fn heard(&mut self) -> Vec<u16> {
        std::iter::from_fn(|| self.packets.try_recv()).map(|packet| packet.sequence).collect()
    }
}

fn packet(sequence: u16) -> RtpOut {
    let timestamp = RtpTime(u32::from(sequence) * 960);
    let payload = Bytes::from_static(b"payload");
    RtpOut { codec: CodecName::new("opus"), sequence, timestamp, marker: false, level: None, payload }
}

#[tokio::test]
async fn a_path_needs_both_descriptions_and_a_candidate_in_each_direction() {
    let hub = Hub::default();
    let (mut a, mut b) = sides(&hub).await;
    let is_connected = |side: &mut Side| side.drain().iter().any(|event| matches!(event, SessionEvent::Connected));

    let offer = a.session.create_offer(false).await.unwrap();
    let ours = a.candidates();
    assert_eq!(ours.len(), 1);
    let answer = b.session.accept_offer(&offer).await.unwrap();
    let theirs = b.candidates();
    // Candidates before the description, and repeated.
    a.session.add_candidate(&theirs[0]).await.unwrap();
    a.session.add_candidate(&theirs[0]).await.unwrap();
    a.session.accept_answer(&answer).await.unwrap();
    a.send(1);
    assert!(!is_connected(&mut a) && b.heard().is_empty(), "b has no candidate of a");
    b.session.add_candidate(&ours[0]).await.unwrap();
    assert!(is_connected(&mut a) && is_connected(&mut b));
    a.send(2);
    assert_eq!(b.heard(), [2]);
}

#[tokio::test]
async fn a_description_with_a_wrong_fingerprint_does_not_connect() {
    let hub = Hub::default();
    let (mut a, mut b) = sides(&hub).await;
    let offer = a.session.create_offer(false).await.unwrap();
    let line = offer.lines().find(|line| line.starts_with("a=fingerprint:")).unwrap();
    let forged = offer.replace(line, &format!("a=fingerprint:sha-256 {}", ["00"; 32].join(":")));
    let answer = b.session.accept_offer(&forged).await.unwrap();
    a.session.accept_answer(&answer).await.unwrap();
    a.pass_candidates(&b).await;
    b.pass_candidates(&a).await;
    let events = [a.drain(), b.drain()].concat();
    let failed = |event: &SessionEvent| matches!(event, SessionEvent::Failed(FailureReason::Fingerprint));
    assert!(!events.is_empty() && events.iter().all(failed), "{events:?}");
}

/// The engine compares fingerprints: each description has exactly one of 32 bytes, the same in all
/// descriptions of a session.
#[tokio::test]
async fn descriptions_contain_one_sha_256_fingerprint() {
    let hub = Hub::default();
    let (mut a, mut b) = connected(&hub).await;
    let fingerprint = |sdp: &str| {
        let lines: Vec<_> = sdp.lines().filter(|line| line.starts_with("a=fingerprint:")).map(str::to_owned).collect();
        assert_eq!(lines.len(), 1, "{sdp}");
        assert_eq!(lines[0].len(), "a=fingerprint:sha-256 ".len() + 32 * 3 - 1);
        lines[0].clone()
    };
    let first = fingerprint(&a.session.create_offer(true).await.unwrap());
    let offer = b.session.create_offer(true).await.unwrap();
    assert_ne!(fingerprint(&offer), first);
    assert_eq!(fingerprint(&a.session.accept_offer(&offer).await.unwrap()), first);
    a.drain();
    b.drain();
}

#[tokio::test(start_paused = true)]
async fn a_cut_path_drops_packets_silently_and_queues_messages_until_healed() {
    let hub = Hub::default();
    let (mut a, mut b) = connected(&hub).await;
    hub.cut(a.transport);
    a.send(1);
    b.send(1);
    let channel = ChannelId(1);
    a.session.send_data(channel, Bytes::from_static(b"first")).unwrap();
    a.session.send_data(channel, Bytes::from_static(b"second")).unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert!(a.drain().is_empty() && b.drain().is_empty(), "no event");
    hub.heal(a.transport);
    let message = |event| match event {
        SessionEvent::Data { channel, message } => (channel, message),
        other => panic!("{other:?}"),
    };
    let messages: Vec<_> = b.drain().into_iter().map(message).collect();
    assert_eq!(messages, [(channel, Bytes::from_static(b"first")), (channel, Bytes::from_static(b"second"))]);
    a.send(2);
    assert_eq!(b.heard(), [2]);

    hub.cut_between(a.transport, b.transport);
    (0..256).for_each(|_| a.session.send_data(channel, Bytes::new()).unwrap());
    assert_eq!(a.session.send_data(channel, Bytes::new()).unwrap_err().kind(), ErrorKind::Full);
    hub.heal_between(b.transport, a.transport);
    assert_eq!(b.drain().len(), 256);
}

#[tokio::test]
async fn closing_a_session_on_a_cut_path_is_not_reported() {
    let hub = Hub::default();
    let (mut a, b) = connected(&hub).await;
    hub.cut(b.transport);
    b.session.close().await;
    hub.heal(b.transport);
    assert!(a.drain().is_empty());
}

#[tokio::test]
async fn a_connection_negotiated_during_a_cut_is_established_when_healed() {
    let hub = Hub::default();
    let (mut a, mut b) = sides(&hub).await;
    hub.cut(b.transport);
    negotiate(&mut a, &mut b, false).await;
    assert!(a.drain().is_empty());
    hub.heal(b.transport);
    for side in [&mut a, &mut b] {
        let events = side.drain();
        assert!(matches!(events[0], SessionEvent::Connected), "{events:?}");
        assert!(matches!(&events[1], SessionEvent::ChannelOpen { label, .. } if label == "blink"));
    }
}

#[tokio::test]
async fn an_ice_restart_during_a_cut_reconnects_when_healed_and_keeps_the_old_path_until_then() {
    let hub = Hub::default();
    let (mut a, mut b) = connected(&hub).await;
    let offer = a.session.create_offer(true).await.unwrap();
    a.send(1);
    assert_eq!(b.heard(), [1], "the old path is used during the restart");
    hub.cut(a.transport);
    let answer = b.session.accept_offer(&offer).await.unwrap();
    a.session.accept_answer(&answer).await.unwrap();
    a.pass_candidates(&b).await;
    b.pass_candidates(&a).await;
    hub.heal(a.transport);
    for side in [&mut a, &mut b] {
        assert!(matches!(side.drain()[..], [SessionEvent::Connected]));
    }
    a.send(2);
    assert_eq!(b.heard(), [2]);
}

#[tokio::test]
async fn packet_loss_follows_the_seed_and_is_counted() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let hub = Hub::default();
        let (a, mut b) = connected(&hub).await;
        hub.lose(0.25, 7);
        (0..900).for_each(|sequence| a.send(sequence));
        hub.lose(0.0, 0);
        a.send(900);
        let heard = b.heard();
        assert!((600..750).contains(&heard.len()), "{}", heard.len());
        let lost = b.session.stats().await.unwrap().packets_lost;
        // Loss before the first received packet is unknown.
        assert_eq!(lost as usize, 901 - usize::from(heard[0]) - heard.len());
        runs.push(heard);
    }
    assert_eq!(runs[0], runs[1]);
}

#[tokio::test]
async fn without_a_common_codec_the_offer_fails_and_the_session_is_unchanged() {
    let hub = Hub::default();
    let a = side(&hub, config().with_audio(vec![codec("G722", 8_000)])).await;
    let mut b = side(&hub, config()).await;
    let offer = a.session.create_offer(false).await.unwrap();
    assert_eq!(b.session.accept_offer(&offer).await.unwrap_err().kind(), ErrorKind::Incompatible);
    assert!(b.drain().is_empty(), "no candidates were gathered");
    let mut c = side(&hub, config()).await;
    negotiate(&mut c, &mut b, false).await;
    c.send(5);
    assert_eq!(b.heard(), [5]);
    a.session.close().await;
}

/// Video without a common codec is rejected, and audio is unaffected.
#[tokio::test]
async fn video_without_a_common_codec_is_rejected() {
    let hub = Hub::default();
    let mut a = side(&hub, config().with_video(vec![codec("VP8", 90_000)])).await;
    let mut b = side(&hub, config()).await;
    let video = a.session.add_track(TrackKind::Video).await.unwrap();
    negotiate(&mut a, &mut b, false).await;
    a.session.send_rtp(video, RtpOut { codec: CodecName::new("VP8"), ..packet(1) }).unwrap();
    a.send(1);
    assert_eq!(b.heard(), [1]);
}

#[tokio::test]
async fn video_is_sent_beside_audio_and_key_frames_are_requested() {
    let hub = Hub::default();
    let with_video = || config().with_video(vec![codec("VP8", 90_000)]);
    let (mut a, mut b) = (side(&hub, with_video()).await, side(&hub, with_video()).await);
    let video = a.session.add_track(TrackKind::Video).await.unwrap();
    negotiate(&mut a, &mut b, false).await;
    b.drain();
    a.session.send_rtp(video, RtpOut { codec: CodecName::new("vp8"), ..packet(9) }).unwrap();
    let received = b.packets.try_recv().expect("the packet came");
    assert_eq!((received.codec.as_str(), received.sequence), ("VP8", 9));
    b.session.request_keyframe(&received.mid).unwrap();
    assert!(matches!(&a.drain()[..], [.., SessionEvent::KeyframeRequested { mid }] if *mid == received.mid));
    let refused = a.session.request_keyframe(&received.mid).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound, "b sends no video");
}

/// Glare: the side that accepts the other's offer discards its own, and both connect.
#[tokio::test]
async fn glare_is_resolved_by_accepting_one_offer() {
    let hub = Hub::default();
    let (mut a, mut b) = sides(&hub).await;
    let offer = a.session.create_offer(false).await.unwrap();
    b.session.create_offer(false).await.unwrap();
    let answer = b.session.accept_offer(&offer).await.unwrap();
    assert_eq!(b.session.accept_answer(&answer).await.unwrap_err().kind(), ErrorKind::State);
    a.session.accept_answer(&answer).await.unwrap();
    a.pass_candidates(&b).await;
    b.pass_candidates(&a).await;
    b.send(3);
    assert_eq!(a.heard(), [3]);
}

#[tokio::test]
async fn a_slow_reader_loses_packets_but_no_control_event() {
    let hub = Hub::default();
    let (a, mut b) = connected(&hub).await;
    (0..3_000).for_each(|sequence| a.send(sequence));
    b.session.close().await;
    let events = b.drain();
    assert_eq!(b.heard().len(), 1_024);
    assert!(matches!(events.last(), Some(SessionEvent::Closed)));
    assert!(b.events.recv().await.is_none());
}

#[tokio::test]
async fn closed_or_dropped_sessions_leave_the_hub_and_packets_to_them_are_dropped() {
    let hub = Hub::default();
    let (mut a, b) = connected(&hub).await;
    assert_eq!(hub.transports(), [a.transport, b.transport]);
    assert_eq!((hub.sessions(a.transport), hub.sessions(b.transport)), (1, 1));
    let transport = b.transport;
    drop(b);
    assert_eq!(hub.sessions(transport), 0);
    assert!(matches!(a.drain()[..], [SessionEvent::Disconnected]));
    a.send(1);
    assert_eq!(
        a.session.send_rtp(a.track, RtpOut { payload: vec![0; 1_201].into(), ..packet(2) }).unwrap_err().kind(),
        ErrorKind::TooLarge
    );
    a.session.close().await;
    a.session.close().await;
    assert_eq!(hub.sessions(a.transport), 0);
    assert_eq!(a.session.send_rtp(a.track, packet(1)).unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn hidden_addresses_are_refused_and_transports_of_one_registry_share_a_hub() {
    let registry = Registry::discovered().unwrap();
    let configuration = Configuration::builder(&registry).build().unwrap();
    let context = Context { clock: Arc::new(SystemClock), shared: registry.shared() };
    let first = configuration.create::<dyn Transport>(&context).await.unwrap();
    let second = configuration.create::<dyn Transport>(&context).await.unwrap();
    assert_eq!(first.capabilities(), second.capabilities());
    assert_eq!(registry.shared().of::<Hub>().transports().len(), 2);
    let relayed = IceConfig { relay_only: true, ..IceConfig::default() };
    let named = IceConfig { host_candidates: HostCandidates::Mdns, ..IceConfig::default() };
    for ice in [relayed, named] {
        let refused = first.open(config().with_ice(ice)).await.err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
    }
}
