//! A whole call: [`CallMedia`].

use super::audio_path::Room;
use super::*;

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
        media.handle(
            now,
            MediaCommand::SetMicrophone { source: Box::new(source), hardware_clock: false, id: OpenId(1) },
        );
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
        call.media.handle(
            now,
            MediaCommand::SetMicrophone { source: Box::new(source), hardware_clock: false, id: OpenId(id) },
        );
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
    // Every decoder has concealed a late packet then.
    call.run(WARM_UP * 4);
    (call.allocations, call.sent, call.recorded) = (0, 0, 0);
    call.run(TICKS);
    assert!(call.sent > u64::from(TICKS) / 3 * PEOPLE as u64, "{} packets", call.sent);
    // A block each 10 ms and a packet each 20 ms, of five people, some of whom pause.
    assert!(call.recorded > u64::from(TICKS) * 6, "{} were recorded", call.recorded);
    assert!(call.recordings.iter().all(|queue| queue.dropped() == 0));
    assert_eq!(call.allocations, 0);
}
