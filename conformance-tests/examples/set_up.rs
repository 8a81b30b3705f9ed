//! Measures each step of a session's set-up between every two network transports, with the sections
//! of a call (two of audio, two of video, one for data). Prints medians in milliseconds, and the
//! sizes of offer and answer in bytes.
//!
//! `cargo run --release -p blink-conformance --example set_up [ROUNDS [SIGNALING_MS]]`, where
//! SIGNALING_MS delays each answer, as signaling does on a real network.

#![allow(clippy::print_stdout, reason = "what it is for")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use blink_api::{
    ChannelId, CodecName, RtpCodec, Session, SessionConfig, SessionEvent, SessionEvents, SystemClock, TrackKind,
    Transport, rtp_queue,
};
use blink_transport_str0m::{Str0mConfig, Str0mTransport};
use blink_transport_webrtc_rs::{WebRtcConfig, WebRtcTransport};
use bytes::Bytes;

const LABEL: &str = "blink";
const STEPS: [&str; 7] = ["open", "offer", "answer", "applied", "connected", "channel", "message"];

type Times = [Duration; STEPS.len()];
type Sizes = [usize; 2];

#[tokio::main]
async fn main() {
    let argument = |n, default| std::env::args().nth(n).map_or(default, |text| text.parse().expect("a number"));
    let (rounds, signaling) = (argument(1, 10), Duration::from_millis(argument(2, 0)));
    let str0m = Str0mTransport::new(Str0mConfig::default()).expect("the defaults are valid");
    let webrtc_rs = WebRtcTransport::new(WebRtcConfig::default()).expect("the defaults are valid");
    let transports: [(&str, &dyn Transport); 2] = [("str0m", &str0m), ("webrtc-rs", &webrtc_rs)];
    println!("{:<24} {}", "offerer ~ answerer", STEPS.map(|step| format!("{step:>9}")).concat());
    for (offerer_name, offerer) in transports {
        for (answerer_name, answerer) in transports {
            let mut times = Vec::new();
            let mut sizes = Sizes::default();
            for _ in 0..rounds {
                let (taken, bytes) = round(offerer, answerer, signaling).await;
                times.push(taken);
                sizes = bytes;
                // Let the transport finish its background preparation before the next round.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let medians = (0..STEPS.len()).map(|step| median(times.iter().map(|times| times[step]).collect()));
            let line: String = medians.map(|time| format!("{:9.1}", time.as_secs_f64() * 1000.0)).collect();
            println!("{:<24} {line} {sizes:>6?}", format!("{offerer_name} ~ {answerer_name}"));
        }
    }
}

/// Times from opening both sessions to `connected` at both, to the open channel at both, and to the
/// first message at both.
async fn round(offerer: &dyn Transport, answerer: &dyn Transport, signaling: Duration) -> (Times, Sizes) {
    let began = Instant::now();
    let mut times = [Duration::ZERO; STEPS.len()];
    let mut offerer = Side::open(offerer).await;
    offerer.session.open_channel(LABEL).await.expect("a channel");
    times[0] = began.elapsed();
    let offer = offerer.session.create_offer(false).await.expect("an offer");
    times[1] = began.elapsed();
    let mut answerer = Side::open(answerer).await;
    let answer = answerer.session.accept_offer(&offer).await.expect("an answer");
    times[2] = began.elapsed();
    tokio::time::sleep(signaling).await;
    offerer.session.accept_answer(&answer).await.expect("the answer fits");
    times[3] = began.elapsed();
    while !(offerer.message && answerer.message) {
        tokio::select! {
            event = offerer.events.recv() => offerer.handle(event, &*answerer.session).await,
            event = answerer.events.recv() => answerer.handle(event, &*offerer.session).await,
        }
        let reached = |is_there: bool, time: &mut Duration| {
            if is_there && time.is_zero() {
                *time = began.elapsed();
            }
        };
        reached(offerer.connected && answerer.connected, &mut times[4]);
        reached(offerer.channel.is_some() && answerer.channel.is_some(), &mut times[5]);
        reached(offerer.message && answerer.message, &mut times[6]);
    }
    offerer.session.close().await;
    answerer.session.close().await;
    (times, [offer.len(), answer.len()])
}

struct Side {
    session: Box<dyn Session>,
    events: SessionEvents,
    connected: bool,
    channel: Option<ChannelId>,
    message: bool,
}

impl Side {
    async fn open(transport: &dyn Transport) -> Self {
        let opus = RtpCodec {
            name: CodecName::new("opus"),
            clock_rate: 48_000,
            channels: 2,
            fmtp: "minptime=10;useinbandfec=1".to_owned(),
        };
        let video = |name, fmtp: &str| RtpCodec {
            name: CodecName::new(name),
            clock_rate: 90_000,
            channels: 0,
            fmtp: fmtp.to_owned(),
        };
        let h264 = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";
        let config = SessionConfig::new(Arc::new(SystemClock), rtp_queue(1).0)
            .with_audio(vec![opus])
            .with_video(vec![video("VP8", ""), video("H264", h264)]);
        let (session, events) = transport.open(config).await.expect("a session");
        for kind in [TrackKind::Audio, TrackKind::Audio, TrackKind::Video, TrackKind::Video] {
            session.add_track(kind).await.expect("a track");
        }
        Self { session, events, connected: false, channel: None, message: false }
    }

    async fn handle(&mut self, event: Option<SessionEvent>, other: &dyn Session) {
        match event.expect("the session is open") {
            SessionEvent::LocalCandidate(candidate) => {
                other.add_candidate(&candidate).await.expect("a candidate of the other side");
            }
            SessionEvent::Connected => self.connected = true,
            SessionEvent::ChannelOpen { channel, .. } => {
                self.channel = Some(channel);
                self.session.send_data(channel, Bytes::from_static(b"hello")).expect("there is room");
            }
            SessionEvent::Data { .. } => self.message = true,
            _ => {}
        }
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
