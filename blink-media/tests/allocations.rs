//! The audio path allocates nothing once it runs: an allocation may block, and audio must not wait.
//!
//! From the samples of the microphone to those for the speaker everything is measured but the
//! transport between [`Capture`] and [`Playout`], and once as a whole: [`CallMedia`]. Its packets
//! share the bytes that the capture encoded them into, as in an engine; what a WebRTC stack
//! allocates is not measured. One exception: the tick in which a participant starts or stops
//! speaking allocates the event that reports it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use allocation_counter::measure;
use blink_api::{
    AudioCodec, AudioDecoderConfig, AudioEncoderConfig, AudioFormat, AudioProcessor, AudioSettings, AudioSink,
    AudioSource, DeviceId, Did, Endpoint, Mid, QualitySettings, ReadResult, Result, RtpIn, RtpOut, RtpTime, TrackId,
    TrackKind,
};
use blink_media::video::PayloadFormats;
use blink_media::{
    AudioStatistics, CallAudio, CallClock, CallMedia, CallMediaConfig, Capture, CaptureConfig, MediaCommand,
    MediaOutput, NegotiatedSection, OpenId, ParticipantLevel, PathId, Playout, Processors, ReceiveConfig, TICK,
    TapContents, TapId, TapQueue, TrackSelection, WorstCasePath,
};
use blink_media_cpal_opus::{OpusCodec, OpusConfig};
use blink_media_synthetic::speech_clip;

const PEOPLE: usize = 4;
/// All buffers have had their largest content, and each block of packets its turn.
const WARM_UP: u32 = 2_000;
const TICKS: u32 = 6_000;

/// Speech, round and round.
struct Speech {
    samples: Vec<f32>,
    at: usize,
}

impl AudioSource for Speech {
    fn format(&self) -> AudioFormat {
        AudioFormat::CALL
    }

    fn read(&mut self, out: &mut [f32]) -> Result<ReadResult> {
        for sample in out.iter_mut() {
            *sample = self.samples[self.at];
            self.at = (self.at + 1) % self.samples.len();
        }
        Ok(ReadResult::new(out.len()))
    }

    fn latency(&self) -> Duration {
        Duration::ZERO
    }
}

/// Hears, and keeps nothing.
struct Speaker;

impl AudioSink for Speaker {
    fn format(&self) -> AudioFormat {
        AudioFormat::CALL
    }

    fn write(&mut self, samples: &[f32]) -> Result<usize> {
        Ok(samples.len())
    }

    fn queued(&self) -> usize {
        0
    }

    fn latency(&self) -> Duration {
        Duration::ZERO
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Some people who speak, and one who hears them all.
struct Room {
    speaking: Vec<Capture>,
    playout: Playout<usize>,
    /// Packets on their way, with when they arrive and whose they are.
    underway: Vec<(Instant, usize, RtpOut)>,
    /// Room for those that arrive in a tick.
    arrived: Vec<(usize, RtpIn)>,
    mid: Mid,
    now: Instant,
    tick: u32,
    /// One of so many packets is lost, and one of so many is late; 0 for none.
    lost: u32,
    /// Allocations, without those of lists of who speaks.
    allocations: u64,
}

impl Room {
    fn new(lost: u32, copies: bool) -> Self {
        let codec = OpusCodec::new(OpusConfig::default()).unwrap();
        let format = AudioFormat::CALL;
        let mut playout = Playout::new(Box::new(Speaker));
        let speaking = (0..PEOPLE).map(|person| {
            let frame = Duration::from_millis(20);
            let encoder = codec.encoder(AudioEncoderConfig { format, frame, bitrate: None }).unwrap();
            playout.add(
                person,
                ReceiveConfig::new(&codec.rtp()),
                codec.decoder(AudioDecoderConfig { format }).unwrap(),
            );
            let source = Speech { samples: speech_clip(person, Duration::from_secs(10)), at: 0 };
            let config = CaptureConfig {
                format,
                codec: codec.rtp(),
                frame,
                first_sequence: 65_000,
                first_timestamp: RtpTime(u32::MAX - 100_000),
            };
            let mut capture = Capture::new(config, Box::new(source), encoder).unwrap();
            let loss = if lost == 0 { 0.0 } else { 1.0 / lost as f32 };
            capture.use_copies(|_| copies).unwrap();
            capture.adapt(WorstCasePath { loss, burst: 1.0, bitrate: Some(24_000) }).unwrap();
            capture
        });
        let speaking = speaking.collect();
        let (underway, arrived) = (Vec::with_capacity(100), Vec::with_capacity(100));
        let (mid, now) = (Mid::new("0"), Instant::now());
        Self { speaking, playout, underway, arrived, mid, now, tick: 0, lost, allocations: 0 }
    }

    fn run(&mut self, ticks: u32) {
        for _ in 0..ticks {
            let mut told = 0;
            let allocated = measure(|| told = self.tick()).count_total;
            self.allocations += allocated.saturating_sub(told);
        }
    }

    /// Returns how many lists there were to tell.
    fn tick(&mut self) -> u64 {
        let mut arrived = std::mem::take(&mut self.arrived);
        self.speak_into(&mut arrived);
        for (person, packet) in arrived.drain(..) {
            self.playout.push(&person, packet);
        }
        self.arrived = arrived;
        let report = self.playout.tick(self.now);
        assert!(report.sink_error.is_none());
        u64::from(!report.started.is_empty()) + u64::from(!report.speaking.is_empty())
    }

    /// 10 ms go by. Returns the packets that arrive by then.
    fn speak(&mut self) -> Vec<(usize, RtpIn)> {
        let mut arrived = Vec::new();
        self.speak_into(&mut arrived);
        arrived
    }

    fn speak_into(&mut self, arrived: &mut Vec<(usize, RtpIn)>) {
        self.tick += 1;
        self.now += TICK;
        let Self { speaking, underway, mid, lost, .. } = self;
        let (now, lost, frame) = (self.now, *lost, self.tick / 2);
        for (person, capture) in speaking.iter_mut().enumerate() {
            let number = frame + person as u32;
            let mut send = |packet: RtpOut| {
                if lost == 0 || !number.is_multiple_of(lost) {
                    let late = if lost > 0 && number % lost == 3 { 3 * TICK } else { TICK / 5 };
                    underway.push((now + late, person, packet));
                }
            };
            capture.tick(now, &mut Processors::default(), &mut send).unwrap();
            capture.take_speaking();
        }
        underway.retain(|(arrival, person, packet)| {
            if *arrival > now {
                return true;
            }
            let packet = RtpIn {
                mid: mid.clone(),
                payload_type: 111,
                codec: packet.codec.clone(),
                sequence: packet.sequence,
                timestamp: packet.timestamp,
                marker: packet.marker,
                level: packet.level,
                payload: packet.payload.clone(),
                arrival: *arrival,
            };
            arrived.push((*person, packet));
            false
        });
    }
}

/// Allocations, and what was heard of one person.
fn allocations(lost: u32, copies: bool) -> (u64, AudioStatistics) {
    let mut room = Room::new(lost, copies);
    room.run(WARM_UP);
    room.allocations = 0;
    room.run(TICKS);
    let heard = room.playout.statistics(&0).unwrap();
    assert!(heard.packets_decoded > u64::from(TICKS) / 3, "{heard:?}");
    (room.allocations, heard)
}

/// The counter counts: what allocates is found out.
#[test]
fn allocations_are_counted() {
    assert_eq!(measure(|| drop(std::hint::black_box(vec![0_u8; 10]))).count_total, 1);
}

/// Four people speak for a minute, one hears them: capture, encoding, packets, jitter buffers,
/// decoding and mixing allocate nothing.
#[test]
fn a_minute_of_speech_allocates_nothing() {
    assert_eq!(allocations(0, false).0, 0);
}

/// Nor do they where packets are lost and late, and what is missing is recovered and made up.
#[test]
fn a_minute_with_losses_allocates_nothing() {
    let (allocations, heard) = allocations(12, false);
    assert!(heard.fec_recovered > 0, "nothing was recovered: the test tests too little");
    assert_eq!(allocations, 0);
}

/// Nor where packets carry copies of those before.
#[test]
fn a_minute_with_copies_allocates_nothing() {
    let (allocations, heard) = allocations(12, true);
    assert!(heard.red_recovered > 0, "nothing came from a copy: the test tests too little");
    assert_eq!(allocations, 0);
}

/// The media of a call with four others, who speak as in [`Room`].
struct Call {
    media: CallMedia,
    others: Room,
    /// Packets sent to the others.
    sent: u64,
    /// Blocks that a processor saw of the far end and the near end.
    processed: Arc<AtomicU64>,
    allocations: u64,
    levels: Vec<ParticipantLevel>,
    /// Levels in which someone has voice.
    voiced: usize,
    /// Queues of recorders, each read by a thread of its own in an engine.
    recordings: Vec<TapQueue>,
    recorded: u64,
}

/// Counts what it sees.
struct Counter(Arc<AtomicU64>);

impl AudioProcessor for Counter {
    fn render(&mut self, _: &[f32], _: Instant) -> Result<()> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn capture(&mut self, _: &mut [f32], _: Instant) -> Result<()> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn reset(&mut self) {}

    fn delay(&self) -> Duration {
        Duration::ZERO
    }
}

impl Call {
    fn new(lost: u32) -> Self {
        let others = Room::new(lost, false);
        let endpoint = |number: u8| Endpoint {
            did: Did::from_public_key([number; 32]),
            device: DeviceId::from_random([number; 16]),
        };
        let codec = Arc::new(OpusCodec::new(OpusConfig::default()).unwrap());
        let processed = Arc::new(AtomicU64::new(0));
        let config = CallMediaConfig {
            local: endpoint(100),
            audio: CallAudio::new(vec![codec.clone()], AudioSettings::default()).unwrap(),
            quality: QualitySettings::default(),
            processors: Processors::new(vec![Box::new(Counter(processed.clone()))]),
            clock: CallClock::new(others.now, others.now),
            tick_grid: None,
            payload_formats: PayloadFormats::default(),
            seed: [7; 32],
        };
        let (mut media, now) = (CallMedia::new(config, others.now), others.now);
        let source = Speech { samples: speech_clip(PEOPLE, Duration::from_secs(10)), at: 0 };
        media.handle(now, MediaCommand::SetMicrophone(OpenId(1), Box::new(source)));
        media.handle(now, MediaCommand::SetSpeaker { sink: Box::new(Speaker), hardware_clock: false, id: OpenId(2) });
        for person in 0..PEOPLE {
            let (path, track) = (PathId(person as u64), TrackId(0));
            media.handle(now, MediaCommand::AddPath(path, endpoint(person as u8), vec![(track, TrackKind::Audio)]));
            let section = NegotiatedSection { track, mid: Mid::new("0"), codecs: vec![codec.rtp().name] };
            media.handle(now, MediaCommand::Negotiated(path, vec![section]));
            media.handle(now, MediaCommand::Admit(path));
        }
        let levels = Vec::with_capacity(64);
        let recordings = Vec::new();
        Self { media, others, sent: 0, processed, allocations: 0, levels, voiced: 0, recordings, recorded: 0 }
    }

    /// Two recorders, as of WAV and MP4 files.
    fn record(&mut self) {
        let samples = TapContents { samples: true, ..TapContents::default() };
        let packets = TapContents { packets: true, frames: true, ..TapContents::default() };
        for (id, contents) in (1..).zip([samples, packets]) {
            let (queue, tap) = TapQueue::new(contents, TrackSelection::All);
            self.media.handle(self.others.now, MediaCommand::AddTap(TapId(id), Box::new(tap)));
            self.recordings.push(queue);
        }
    }

    fn run(&mut self, ticks: u32) {
        for _ in 0..ticks {
            let arrived = self.others.speak();
            let now = self.others.now;
            // Once a second there is a report to each of the others, and now and then an event.
            let mut is_quiet = true;
            let reads_levels = self.others.tick.is_multiple_of(10);
            let Self { media, sent, levels, .. } = self;
            let allocated = measure(|| {
                for (person, packet) in arrived {
                    media.push(now, PathId(person as u64), packet);
                }
                media.tick(now);
                if reads_levels {
                    media.take_levels(levels);
                }
                while let Some(output) = media.poll() {
                    match output {
                        MediaOutput::Send { .. } => *sent += 1,
                        _ => is_quiet = false,
                    }
                }
            });
            if reads_levels {
                assert_eq!(self.levels.len(), PEOPLE + 1);
                self.voiced += self.levels.iter().filter(|level| level.level.is_voice()).count();
            }
            if is_quiet {
                self.allocations += allocated.count_total;
            }
            if self.others.tick.is_multiple_of(10) {
                for queue in &mut self.recordings {
                    queue.drain(&mut |_| self.recorded += 1);
                }
            }
        }
    }
}

/// The whole call: what four others send is played, what is captured is sent to them, and
/// processors see both. Ticks with a report or an event aside, of which there are some in a second,
/// nothing is allocated.
#[test]
fn a_minute_of_a_call_of_five_allocates_nothing() {
    for lost in [0, 12] {
        let mut call = Call::new(lost);
        call.run(WARM_UP);
        (call.allocations, call.sent) = (0, 0);
        call.processed.store(0, Ordering::Relaxed);
        call.run(TICKS);
        assert!(call.sent > u64::from(TICKS) / 3 * PEOPLE as u64, "{} packets", call.sent);
        assert!(call.processed.load(Ordering::Relaxed) > u64::from(TICKS) * 19 / 10);
        assert_eq!(call.allocations, 0, "one of {lost} packets is lost");
    }
}

/// Nor after microphone and speaker were changed, with voice detection and levels for meters.
#[test]
fn once_devices_are_changed_a_call_allocates_nothing() {
    let mut call = Call::new(0);
    call.run(WARM_UP);
    for round in 0..3 {
        let (id, now) = (10 + 2 * round, call.others.now);
        let source = Speech { samples: speech_clip(round as usize, Duration::from_secs(10)), at: 0 };
        call.media.handle(now, MediaCommand::SetMicrophone(OpenId(id), Box::new(source)));
        let sink = Box::new(Speaker);
        call.media.handle(now, MediaCommand::SetSpeaker { sink, hardware_clock: false, id: OpenId(id + 1) });
        // The change itself allocates: it is no steady state.
        call.run(50);
        (call.allocations, call.voiced) = (0, 0);
        call.run(TICKS / 3);
        assert_eq!(call.allocations, 0, "round {round}");
        assert!(call.voiced > 300, "voice in {} levels", call.voiced);
    }
}

/// Nor is anything allocated while two recorders take all samples and packets.
#[test]
fn a_minute_of_a_recorded_call_of_five_allocates_nothing() {
    let mut call = Call::new(12);
    call.record();
    call.run(WARM_UP);
    (call.allocations, call.sent, call.recorded) = (0, 0, 0);
    call.run(TICKS);
    assert!(call.sent > u64::from(TICKS) / 3 * PEOPLE as u64, "{} packets", call.sent);
    // A block each 10 ms and a packet each 20 ms, of five people, some of whom pause.
    assert!(call.recorded > u64::from(TICKS) * 6, "{} were recorded", call.recorded);
    assert!(call.recordings.iter().all(|queue| queue.dropped() == 0));
    assert_eq!(call.allocations, 0);
}
