//! Calls between engines over impaired networks: real stacks, real codecs and recorded speech, with
//! packet loss and on a path with too little bandwidth.

use std::sync::Arc;
use std::time::Duration;

use blink_api::{Configuration, Context, Registry, SystemClock, TrackKind, Transport};
use blink_conformance::impaired::{ImpairedNetwork, ImpairedTransport, Impairments, Rate};
use blink_engine::{Blink, CallConfig, Event, EventItem, Events, ParticipantStatistics, RequestedStream, StreamConfig};
use {
    blink_media_cpal_opus as _, blink_media_synthetic as _, blink_signaling_memory as _, blink_transport_str0m as _,
    blink_transport_webrtc_rs as _,
};

/// Timeout of every wait.
const EVENT_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

/// Creates a test for each pair of stacks.
macro_rules! between {
    ($test:ident: $($name:ident: $one:expr, $other:expr;)+) => {
        mod $test {
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$test([$one, $other]).await;
                }
            )+
        }
    };
}

/// A transport, and whether it estimates the available bandwidth itself.
type Stack = (&'static str, bool);
const STR0M: Stack = ("str0m", false);
const ESTIMATING: Stack = ("str0m", true);
const WEBRTC_RS: Stack = ("webrtc-rs", false);

between! { lost_audio_is_recovered_from_redundancy:
    str0m_str0m: STR0M, STR0M;
    str0m_webrtc_rs: STR0M, WEBRTC_RS;
    webrtc_rs_webrtc_rs: WEBRTC_RS, WEBRTC_RS;
    estimating_estimating: ESTIMATING, ESTIMATING;
}
between! { audio_has_priority_on_a_narrow_path:
    str0m_str0m: STR0M, STR0M;
    str0m_webrtc_rs: STR0M, WEBRTC_RS;
    webrtc_rs_str0m: WEBRTC_RS, STR0M;
    webrtc_rs_webrtc_rs: WEBRTC_RS, WEBRTC_RS;
    estimating_estimating: ESTIMATING, ESTIMATING;
}
between! { a_call_comes_up_while_packets_are_lost:
    str0m_str0m: STR0M, STR0M;
    estimating_str0m: ESTIMATING, STR0M;
    str0m_webrtc_rs: STR0M, WEBRTC_RS;
    webrtc_rs_str0m: WEBRTC_RS, STR0M;
    webrtc_rs_webrtc_rs: WEBRTC_RS, WEBRTC_RS;
}

const LOSSY: Impairments = Impairments { delay: Duration::from_millis(20), loss: 0.1, ..Impairments::NONE };
const SEED: u64 = 1;

/// The handshake must need no SCTP retransmission: the first comes after 3 s, and the next 6 s
/// later.
async fn a_call_comes_up_while_packets_are_lost(stacks: [Stack; 2]) {
    TestCall::start(stacks, LOSSY, LOSSY).await.end().await;
}

/// Receivers report loss, senders add redundancy (RFC 2198), and the redundant frames are played.
async fn lost_audio_is_recovered_from_redundancy(stacks: [Stack; 2]) {
    let test_call = TestCall::start(stacks, Impairments::NONE, LOSSY).await;
    for [from, to] in [[&test_call.alice, &test_call.bob], [&test_call.bob, &test_call.alice]] {
        let statistics = of(to, "60 packets are lost", |statistics| statistics.audio.packets_lost >= 60).await;
        let audio = statistics.audio;
        // The first second has no redundancy, since no loss has been reported yet.
        assert!(audio.red_recovered >= audio.packets_lost / 3, "{audio:?}");
        let whole = Duration::from_millis(20) * u32::try_from(audio.packets_lost).expect("few packets");
        assert!(audio.duration_of(audio.concealed_samples) < whole, "{audio:?}");
        let sending = of(from, "the loss is reported", |statistics| statistics.sending.loss > 0.02).await.sending;
        assert!(sending.loss < 0.4, "{sending:?}");
    }
    test_call.end().await;
}

/// Audio, headers and the clip need about 160 kbit/s.
async fn audio_has_priority_on_a_narrow_path(stacks: [Stack; 2]) {
    let rate = Some(Rate { bits_per_second: 110_000, queue: 8_000 });
    let mut test_call = TestCall::start(stacks, Impairments::NONE, Impairments { rate, ..Impairments::NONE }).await;
    let mut received_frames = test_call.alice_offers_video().await;
    of(&test_call.alice, "video frames are dropped", |to_bob| to_bob.sending.frames_dropped >= 15).await;
    let narrow = |to_bob: &ParticipantStatistics| to_bob.sending.path_bitrate < 130_000 && to_bob.sending.loss < 0.02;
    of(&test_call.alice, "the bandwidth estimate is low, and the queue has drained", narrow).await;

    let before = of(&test_call.bob, "audio", |_| true).await.audio;
    received_frames.mark_unchanged();
    let enough =
        |from_alice: &ParticipantStatistics| from_alice.audio.packets_received >= before.packets_received + 500;
    let after = of(&test_call.bob, "10 s of audio", enough).await.audio;
    let lost = after.packets_lost - before.packets_lost;
    // Without rate control every third packet would be lost, of audio and of video; probing for
    // bandwidth causes occasional loss.
    assert!(lost <= 50, "{lost} of 500 audio packets were lost: {after:?}");
    let frame = tokio::time::timeout(EVENT_TIMEOUT, received_frames.changed()).await;
    frame.expect("a frame arrives").expect("frames keep arriving");
    let sending = of(&test_call.alice, "audio", |_| true).await.sending;
    assert!(sending.audio_bitrate.is_none_or(|bitrate| bitrate >= 16_000), "{sending:?}");
    test_call.end().await;
}

/// Two engines in a call over an impaired network.
struct TestCall {
    alice: Blink,
    bob: Blink,
    to_bob: Events,
    /// Kept alive for the call.
    _network: Arc<ImpairedNetwork>,
}

impl TestCall {
    /// Starts a call on the network `first`, which changes to `then` once both hear each other.
    async fn start(stacks: [Stack; 2], first: Impairments, then: Impairments) -> Self {
        let registry = Registry::discovered().expect("backends have different names");
        let network = ImpairedNetwork::new(first, SEED);
        let [alice, bob] = stacks.map(|stack| engine(&registry, stack, &network));
        let (alice, bob) = (alice.await, bob.await);
        let (mut to_alice, mut to_bob) = (alice.events(), bob.events());
        alice.offer_call(&[bob.did()], CallConfig::default()).await.expect("Bob can be called");
        let rings = |event: &Event| match event {
            Event::IncomingCall { call, .. } => Some(*call),
            _ => None,
        };
        let call = next(&mut to_bob, "the call rings", rings).await;
        bob.answer_call(call).await.expect("Bob answers");
        for events in [&mut to_alice, &mut to_bob] {
            next(events, "audio", |event| matches!(event, Event::MediaStarted { .. }).then_some(())).await;
        }
        network.set_impairments(then);
        Self { alice, bob, to_bob, _network: network }
    }

    /// Alice offers a clip, and Bob requests it. Returns the number of frames that he has received.
    async fn alice_offers_video(&mut self) -> tokio::sync::watch::Receiver<u64> {
        let config = StreamConfig { kind: TrackKind::Video, source: "clip:vp8".to_owned(), name: "a clip".to_owned() };
        let stream = self.alice.offer_stream(config).await.expect("the clip can be shown");
        let offered = |event: &Event| match event {
            Event::StreamOffered { stream: of, .. } => (of.stream == stream).then_some(()),
            _ => None,
        };
        next(&mut self.to_bob, "the clip is offered", offered).await;
        let requested = self.bob.request_stream(self.alice.endpoint(), stream).await.expect("the clip can be seen");
        let RequestedStream::Video(mut frames) = requested else { panic!("the clip is no video") };
        let (count, seen) = tokio::sync::watch::channel(0);
        tokio::spawn(async move {
            while frames.next().await.is_some() {
                count.send_modify(|count| *count += 1);
            }
        });
        seen
    }

    async fn end(self) {
        self.alice.shutdown().await;
        self.bob.shutdown().await;
    }
}

async fn engine(registry: &Registry, (transport, estimates): Stack, network: &Arc<ImpairedNetwork>) -> Blink {
    let configuration = Configuration::builder(registry)
        .set("test", "transport", transport)
        .set("test", "signaling", "memory")
        .set("test", "codec", vec!["opus"])
        .set("test", "media_host", "synthetic")
        .set("test", "microphone", "speech")
        .set("test", "speaker", "null")
        .set("test", "ice.interfaces", vec!["127.0.0.1"])
        .set("test", "transports.str0m.bandwidth_estimate", estimates)
        .build()
        .expect("a configuration");
    let context = Context { clock: Arc::new(SystemClock), shared: registry.shared() };
    let transport = configuration.create::<dyn Transport>(&context).await.expect("the transport starts");
    let transport = Arc::new(ImpairedTransport::new(transport, network));
    Blink::builder(&configuration).transport(transport).start().await.expect("the engine starts")
}

/// Waits for an event.
async fn next<T>(events: &mut Events, what: &str, wanted: impl Fn(&Event) -> Option<T>) -> T {
    let waiting = async {
        loop {
            match events.next().await.unwrap_or_else(|| panic!("{what}: the engine stopped")) {
                EventItem::Event(Event::CallEnded { reason, .. }) => panic!("{what}: the call is over: {reason:?}"),
                EventItem::Event(event) => {
                    if let Some(found) = wanted(&event) {
                        return found;
                    }
                }
                _ => {}
            }
        }
    };
    tokio::time::timeout(EVENT_TIMEOUT, waiting)
        .await
        .unwrap_or_else(|_| panic!("{what}: not within {EVENT_TIMEOUT:?}"))
}

/// Waits until the statistics of the remote participant match.
async fn of(engine: &Blink, what: &str, wanted: impl Fn(&ParticipantStatistics) -> bool) -> ParticipantStatistics {
    let mut last = None;
    let waiting = async {
        loop {
            let statistics = engine.statistics().await.expect("the engine runs").pop().expect("two test_call");
            if wanted(&statistics) {
                return statistics;
            }
            last = Some(statistics);
            tokio::time::sleep(POLL).await;
        }
    };
    let found = tokio::time::timeout(EVENT_TIMEOUT, waiting).await;
    found.unwrap_or_else(|_| panic!("{what}: not within {EVENT_TIMEOUT:?}, at last {last:?}"))
}
