//! Fifty hours of a call on virtual time: what arrives is played, and the reports about it stay
//! right, through every wrap and every pause.

use std::time::{Duration, Instant};

use blink_api::{CodecName, Mid, RtpIn, RtpTime};
use bytes::Bytes;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::call_media::PathFeedback;
use super::fake::{FakeCodec, Heard, Script, capture_config, received, rtp_codec};
use super::rate::AudioDemand;
use super::video::{AssemblerConfig, CLOCK_RATE, FrameAssembler, PayloadFormats, VideoClock};
use super::{
    AudioPacket, Capture, CaptureConfig, DelayRange, JitterBuffer, JitterConfig, Playout, PlayoutDecision, Processors,
    ReceiveConfig, TICK,
};

const CALL: Duration = Duration::from_secs(50 * 3_600);
/// Jitter and delay of packets that arrive within 7 ms of their time are less than this.
const LITTLE: Duration = Duration::from_millis(30);
const DEMAND: AudioDemand = AudioDemand { bitrate: 32_000, frame: Duration::from_millis(20) };

/// Sequence numbers and timestamps that wrap soon, that are half a wrap from there, and any.
fn beginnings(random: &mut ChaCha8Rng) -> [(u16, RtpTime); 5] {
    [
        (65_530, RtpTime(u32::MAX - 20_000)),
        (32_760, RtpTime((1 << 31) - 20_000)),
        (0, RtpTime(0)),
        (random.random(), RtpTime(random.random())),
        (random.random(), RtpTime(random.random())),
    ]
}

/// Pauses in seconds: around 2³¹ and 2³² ticks of audio (44,739 and 89,478 s) and of video (23,861
/// and 47,722 s) too.
const PAUSES: [u64; 13] =
    [1, 600, 3_600, 23_800, 23_900, 44_700, 44_750, 47_700, 47_721, 60_000, 89_470, 89_479, 180_000];

/// Both ends of a path: one reports what comes, the other acts upon it.
struct Ends {
    sender: PathFeedback,
    receiver: PathFeedback,
    reports: u32,
}

impl Ends {
    fn new(now: Instant) -> Self {
        Self { sender: PathFeedback::new(now), receiver: PathFeedback::new(now), reports: 0 }
    }

    /// Reports where that is due. Nothing was lost, nothing waited, and all that is asked for may
    /// be sent.
    fn report(&mut self, now: Instant, about: &str) {
        if now < self.receiver.due() {
            return;
        }
        let (interval, sections) = self.receiver.report(now);
        if sections.is_empty() {
            return;
        }
        for section in &sections {
            assert_eq!((section.lost, section.runs), (0, 0), "{about}: {section:?}");
            assert!(section.jitter < LITTLE && section.delay < LITTLE, "{about}: {section:?}");
        }
        self.sender.handle_report(interval, &sections, DEMAND);
        let allocation = self.sender.allocation(now, DEMAND);
        assert!(allocation.audio == DEMAND.bitrate && allocation.video > 100_000, "{about}: {allocation:?}");
        self.reports += 1;
    }
}

/// Packets of 120 ms, so that fifty hours are quickly over.
fn audio_without_a_pause((sequence, timestamp): (u16, RtpTime), length: Duration) {
    const FRAME: Duration = Duration::from_millis(120);
    const TICKS: u32 = 5_760;
    let about = format!("from {sequence}, {timestamp:?}");
    let start = Instant::now();
    let adapt = Some(DelayRange::default());
    let mut jitter = JitterBuffer::new(JitterConfig { adapt, ..JitterConfig::default() });
    let mut ends = Ends::new(start);
    let (mut played, mut ahead) = (0, 0);
    let packets = u32::try_from(length.as_millis() / FRAME.as_millis()).unwrap();
    for n in 0..packets {
        let sent = start + FRAME * n;
        let packet = RtpIn {
            mid: Mid::new("0"),
            payload_type: 111,
            codec: CodecName::new("opus"),
            sequence: sequence.wrapping_add(n as u16),
            timestamp: timestamp.wrapping_add(n.wrapping_mul(TICKS)),
            marker: false,
            level: None,
            payload: Bytes::from_static(&[0; 80]),
            arrival: sent + Duration::from_millis(u64::from(n % 7)),
        };
        ends.receiver.on_packet(&packet, 48_000);
        jitter.push(AudioPacket {
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            ticks: TICKS,
            marker: false,
            level: None,
            has_fec: false,
            payload: packet.payload,
            arrival: packet.arrival,
        });
        for tick in 0..12 {
            if ahead == 0 {
                match jitter.next(sent + TICK * (tick + 1), 480) {
                    PlayoutDecision::Packet { ticks, already_concealed: 0, .. } => {
                        assert_eq!(ticks, TICKS);
                        (played, ahead) = (played + 1, ticks / 480);
                    }
                    PlayoutDecision::Wait if played == 0 => continue,
                    due => panic!("{about}, packet {n}: {due:?}"),
                }
            }
            ahead -= 1;
        }
        ends.report(sent + FRAME, &about);
    }
    let statistics = jitter.statistics();
    assert_eq!(played, packets, "{about}: {statistics:?}");
    assert!(statistics.jitter_buffer_delay < Duration::from_millis(100), "{about}: {statistics:?}");
    assert!(u64::from(ends.reports) > length.as_secs() * 9 / 10, "{about}");
}

#[test]
fn audio_is_played_and_reported_for_fifty_hours() {
    let beginnings = beginnings(&mut ChaCha8Rng::seed_from_u64(1));
    for beginning in beginnings {
        audio_without_a_pause(beginning, Duration::from_secs(1_800));
    }
    audio_without_a_pause(beginnings[3], CALL);
}

/// From a microphone to a loudspeaker. The sender's clock is off by some millionths.
struct AudioCall {
    about: String,
    capture: Capture,
    microphone: Script,
    playout: Playout<u8>,
    loudspeaker: Heard,
    ends: Ends,
    now: Instant,
    /// By how much the sender's numbers are further than those of [`Capture`].
    moved: (u16, u32),
    last: (u16, RtpTime),
    sent: u64,
}

impl AudioCall {
    fn new((first_sequence, first_timestamp): (u16, RtpTime), about: String) -> Self {
        let (microphone, loudspeaker, now) = (Script::without_clock(), Heard::default(), Instant::now());
        let config = CaptureConfig { first_sequence, first_timestamp, ..capture_config(rtp_codec()) };
        let encoder = FakeCodec { dtx: true, ..FakeCodec::default() };
        let capture = Capture::new(config, Box::new(microphone.clone()), Box::new(encoder));
        let mut playout = Playout::new(Box::new(loudspeaker.clone()));
        playout.add(1, ReceiveConfig::new(&rtp_codec()), Box::new(FakeCodec::default()));
        Self {
            about,
            capture: capture.unwrap(),
            microphone,
            playout,
            loudspeaker,
            ends: Ends::new(now),
            now,
            moved: (0, 0),
            last: (first_sequence, first_timestamp),
            sent: 0,
        }
    }

    /// Returns the last sample of each tick.
    fn run(&mut self, duration: Duration, sound: f32) -> Vec<f32> {
        let mut packets = Vec::new();
        for _ in 0..duration.as_millis() / TICK.as_millis() {
            self.microphone.put([sound; 480]);
            let emit = &mut |packet| packets.push(packet);
            self.capture.tick(self.now, &mut Processors::default(), emit).unwrap();
            for packet in packets.drain(..) {
                let mut packet = received(&packet, self.now);
                packet.sequence = packet.sequence.wrapping_add(self.moved.0);
                packet.timestamp = packet.timestamp.wrapping_add(self.moved.1);
                self.last = (packet.sequence, packet.timestamp);
                self.sent += 1;
                self.arrive(packet);
            }
            assert!(self.playout.tick(self.now).sink_error.is_none());
            self.now += TICK;
            self.ends.report(self.now, &self.about);
        }
        self.loudspeaker.take().chunks(480).map(|tick| tick[479]).collect()
    }

    fn arrive(&mut self, packet: RtpIn) {
        self.ends.receiver.on_packet(&packet, 48_000);
        self.playout.push(&1, packet);
    }

    /// Time goes by in which nothing is sent, but so many packets without payload at its end.
    fn pause(&mut self, seconds: u64, per_million: i64, padding: u16) {
        let ticks = i64::try_from(seconds * 48_000).unwrap();
        self.moved.1 = self.moved.1.wrapping_add((ticks + ticks / 1_000_000 * per_million) as u32);
        self.now += Duration::from_secs(seconds);
        self.ends.report(self.now, &self.about);
        for _ in 0..padding {
            self.last.0 = self.last.0.wrapping_add(1);
            self.moved.0 = self.moved.0.wrapping_add(1);
            let mut packet = received(&super::fake::numbered(0, Bytes::new()), self.now);
            (packet.sequence, packet.timestamp) = self.last;
            self.arrive(packet);
        }
    }
}

#[test]
fn audio_is_heard_and_reported_after_pauses_of_any_length() {
    for (number, beginning) in beginnings(&mut ChaCha8Rng::seed_from_u64(2)).into_iter().enumerate() {
        for (per_million, padding) in [(0, 0), (100, 3), (-100, 0), (-100, 40)] {
            let mut call = AudioCall::new(beginning, String::new());
            call.run(Duration::from_secs(5), 0.5);
            for (turn, pause) in PAUSES.into_iter().enumerate() {
                call.about = format!("{beginning:?}, {per_million} ppm, {padding} of padding, after {pause} s");
                // Muted, or silent while the codec sends nothing for that.
                let muted = (number + turn).is_multiple_of(2);
                call.capture.set_muted(muted);
                call.run(Duration::from_secs(2), if muted { 0.5 } else { 0.0 });
                call.pause(pause, per_million, padding);
                call.capture.set_muted(false);
                let before = call.playout.statistics(&1).unwrap();
                let heard = call.run(Duration::from_secs(5), 0.5);
                let after = call.playout.statistics(&1).unwrap();
                let silent = heard.iter().position(|sample| (sample - 0.5).abs() < 0.01);
                assert!(silent.is_some_and(|ticks| ticks <= 12), "{}: silent for {silent:?} ticks", call.about);
                assert!(heard.iter().rev().take(400).all(|sample| (sample - 0.5).abs() < 0.01), "{}", call.about);
                assert!(
                    after.concealed_samples.saturating_sub(before.concealed_samples) <= 960,
                    "{}: {after:?}",
                    call.about
                );
                assert!(after.jitter_buffer_delay <= Duration::from_millis(60), "{}: {after:?}", call.about);
            }
            let statistics = call.playout.statistics(&1).unwrap();
            assert_eq!(
                (statistics.packets_lost, statistics.restarts, statistics.packets_late),
                (0, 0, 0),
                "{}",
                call.about
            );
            assert_eq!((statistics.packets_corrupt, statistics.packets_discarded), (0, 0), "{}", call.about);
        }
    }
}

/// Frames of two packets, the first of all a key frame.
struct VideoCall {
    assembler: FrameAssembler,
    ends: Ends,
    clock: VideoClock,
    sequence: u16,
    frames: u64,
}

impl VideoCall {
    fn new((sequence, timestamp): (u16, RtpTime), start: Instant) -> Self {
        let format = PayloadFormats::default().of(&CodecName::new("VP8")).unwrap();
        let assembler = FrameAssembler::new(format, AssemblerConfig::default());
        Self { assembler, ends: Ends::new(start), clock: VideoClock::new(start, timestamp), sequence, frames: 0 }
    }

    /// A frame is sent and received, and comes out at once.
    fn frame(&mut self, now: Instant, about: &str) {
        const KEY: &[u8] = &[0x10, 0, 0, 0, 0x9d, 0x01, 0x2a, 0, 0, 0, 0];
        const DELTA: &[u8] = &[0x10, 1, 0, 0];
        let timestamp = self.clock.timestamp(now);
        let begin = if self.frames == 0 { KEY } else { DELTA };
        for (payload, marker) in [(begin, false), (&[0, 7], true)] {
            let packet = RtpIn {
                mid: Mid::new("1"),
                payload_type: 96,
                codec: CodecName::new("VP8"),
                sequence: self.sequence,
                timestamp,
                marker,
                level: None,
                payload: Bytes::from_static(payload),
                arrival: now,
            };
            self.sequence = self.sequence.wrapping_add(1);
            self.ends.receiver.on_packet(&packet, CLOCK_RATE);
            self.assembler.push(packet);
        }
        let received = self.assembler.poll(now);
        assert_eq!(received.map(|frame| frame.timestamp), Some(timestamp), "{about}, frame {}", self.frames);
        assert!(!self.assembler.wants_keyframe(now), "{about}");
        self.frames += 1;
        self.ends.report(now, about);
    }
}

#[test]
fn video_comes_out_and_is_reported_for_fifty_hours() {
    let pace = Duration::from_millis(500);
    let beginnings = beginnings(&mut ChaCha8Rng::seed_from_u64(3));
    for (beginning, length) in
        beginnings.map(|beginning| (beginning, CALL / 100)).into_iter().chain([(beginnings[4], CALL)])
    {
        let start = Instant::now();
        let mut call = VideoCall::new(beginning, start);
        let frames = u32::try_from(length.as_millis() / pace.as_millis()).unwrap();
        (0..frames).for_each(|n| call.frame(start + pace * n, &format!("{beginning:?}")));
        assert_eq!(call.assembler.statistics().restarts, 0);
        assert!(call.ends.reports > frames / 3);
    }
}

#[test]
fn video_goes_on_after_pauses_of_any_length() {
    for beginning in beginnings(&mut ChaCha8Rng::seed_from_u64(4)) {
        let mut now = Instant::now();
        let mut call = VideoCall::new(beginning, now);
        for pause in PAUSES {
            for _ in 0..60 {
                call.frame(now, &format!("{beginning:?}, before {pause} s"));
                now += Duration::from_millis(66);
            }
            now += Duration::from_secs(pause);
        }
        assert_eq!(call.assembler.statistics().restarts, 0);
    }
}
