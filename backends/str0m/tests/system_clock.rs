//! Calls with any system clock, as on devices without a clock battery.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use blink_api::{
    AudioLevel, CodecName, IceConfig, RtpCodec, RtpOut, RtpReceiver, RtpTime, Session, SessionConfig, SessionEvent,
    SessionEvents, SystemClock, TrackId, TrackKind, Transport, rtp_queue,
};
use blink_transport_str0m::{Str0mConfig, Str0mTransport};
use bytes::Bytes;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(20);
/// Name of the test that is run with other clocks.
const CALLS: &str = "consecutive_calls_carry_audio";

struct Side {
    session: Box<dyn Session>,
    events: SessionEvents,
    packets: RtpReceiver,
    track: TrackId,
}

impl Side {
    async fn open(transport: &Str0mTransport) -> Self {
        let audio =
            vec![RtpCodec { name: CodecName::new("opus"), clock_rate: 48_000, channels: 2, fmtp: String::new() }];
        let video =
            vec![RtpCodec { name: CodecName::new("VP8"), clock_rate: 90_000, channels: 0, fmtp: String::new() }];
        let ice = IceConfig { interfaces: vec!["127.0.0.1".to_owned()], ..IceConfig::default() };
        let (rtp, packets) = rtp_queue(1_024);
        let config = SessionConfig::new(Arc::new(SystemClock), rtp).with_ice(ice).with_audio(audio).with_video(video);
        let (session, events) = transport.open(config).await.expect("a session");
        let track = session.add_track(TrackKind::Audio).await.expect("a track");
        session.add_track(TrackKind::Video).await.expect("a track");
        Self { session, events, packets, track }
    }

    async fn until(&mut self, wanted: impl Fn(&SessionEvent) -> bool) {
        loop {
            let event = timeout(DEADLINE, self.events.recv()).await.expect("the event in time");
            if wanted(&event.expect("the session is open")) {
                return;
            }
        }
    }

    fn send(&self) {
        let packet = RtpOut {
            codec: CodecName::new("opus"),
            sequence: 1,
            timestamp: RtpTime(0),
            marker: false,
            level: Some(AudioLevel::new(30, true)),
            payload: Bytes::from_static(&[7; 60]),
        };
        self.session.send_rtp(self.track, packet).expect("an open session");
    }
}

async fn call(transport: &Str0mTransport) {
    let (mut one, mut other) = (Side::open(transport).await, Side::open(transport).await);
    let offer = one.session.create_offer(false).await.expect("an offer");
    let answer = other.session.accept_offer(&offer).await.expect("an answer");
    one.session.accept_answer(&answer).await.expect("an answer that fits");
    one.until(|event| matches!(event, SessionEvent::Connected)).await;
    other.until(|event| matches!(event, SessionEvent::Connected)).await;
    one.send();
    other.send();
    for side in [&mut one, &mut other] {
        let packet = timeout(DEADLINE, side.packets.recv()).await.expect("a packet comes in time");
        assert_eq!(packet.expect("the session goes on").sequence, 1);
    }
    one.session.close().await;
    other.session.close().await;
}

#[tokio::test]
async fn consecutive_calls_carry_audio() {
    for bandwidth_estimate in [false, true] {
        let config = Str0mConfig { bandwidth_estimate, ..Str0mConfig::default() };
        let transport = Str0mTransport::new(config).expect("a transport");
        call(&transport).await;
        call(&transport).await;
    }
}

#[test]
#[cfg(target_os = "linux")]
fn calls_work_with_any_system_clock() {
    let library = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("fake_clock_{}.so", std::process::id()));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fake_clock.c");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status();
    assert!(built.expect("a C compiler, which the stack needs too").success());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a correct clock").as_secs();
    let (minute, day, year) = (60, 86_400, 31_557_600);
    // The first hour of 1970, shortly before it, long before, and long after.
    let clocks = [0, 30 * minute, -10 * minute, -day, -40 * year, 68 * year + 20 * day, 130 * year];
    for clock in clocks {
        let offset = clock - i64::try_from(now).expect("this century");
        let output = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", CALLS, "--nocapture"])
            .env("LD_PRELOAD", &library)
            .env("FAKE_CLOCK_SECONDS", offset.to_string())
            .output()
            .expect("a run of this test");
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "with the clock at {clock} s:\n{text}");
        assert!(text.contains("1 passed"), "{text}");
    }
    std::fs::remove_file(&library).expect("the library is there");
}
