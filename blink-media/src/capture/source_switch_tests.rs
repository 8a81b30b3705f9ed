//! Changes of the source, sample by sample.

use blink_api::{AudioSource, CodecName, ErrorKind, RtpOut, RtpTime};
use web_time::Instant;

use super::{Capture, CaptureOutput};
use crate::fake::{FakeCodec, Script, capture_config, rtp_codec};
use crate::processors::Processors;
use crate::tick_scheduler::TICK;

/// Greatest change from one sample to the next of a tone of 440 Hz at half of full scale.
const STEP: f32 = 0.5 * 440.0 * std::f32::consts::TAU / 48_000.0;

/// Output of a capture.
#[derive(Default)]
struct Made {
    samples: Vec<f32>,
    packets: Vec<RtpOut>,
    skipped: usize,
}

impl CaptureOutput for Made {
    fn on_packet(&mut self, packet: RtpOut, _: Instant) {
        self.packets.push(packet);
    }

    fn on_skipped(&mut self, _: &CodecName, _: RtpTime, _: Instant) {
        self.skipped += 1;
    }

    fn on_samples(&mut self, samples: &[f32], _: RtpTime, _: Instant) {
        self.samples.extend_from_slice(samples);
    }
}

impl Made {
    fn largest_step(&self) -> f32 {
        self.samples.windows(2).map(|two| (two[1] - two[0]).abs()).fold(0.0, f32::max)
    }
}

/// A source with samples of a tone, with this phase.
struct Tone {
    script: Script,
    at: f32,
}

impl Tone {
    fn new(has_clock: bool, phase: f32) -> Self {
        let script = if has_clock { Script::with_clock() } else { Script::without_clock() };
        Self { script, at: phase }
    }

    fn source(&self) -> Box<dyn AudioSource> {
        Box::new(self.script.clone())
    }

    fn put(&mut self, samples: usize) {
        let step = 440.0 / 48_000.0;
        let at = self.at;
        self.script.put((0..samples).map(|n| 0.5 * ((at + n as f32 * step).fract() * std::f32::consts::TAU).sin()));
        self.at = (self.at + samples as f32 * step).fract();
    }
}

struct Bench {
    capture: Capture,
    made: Made,
    now: Instant,
}

impl Bench {
    fn new(source: Box<dyn AudioSource>) -> Self {
        let capture = Capture::new(capture_config(rtp_codec()), source, Box::new(FakeCodec::default())).unwrap();
        Self { capture, made: Made::default(), now: Instant::now() }
    }

    fn tick(&mut self) -> bool {
        self.now += TICK;
        self.capture.tick(self.now, &mut Processors::default(), &mut self.made).is_ok()
    }

    /// Numbers and timestamps go on without a step.
    fn assert_one_timeline(&self) {
        for pair in self.made.packets.windows(2) {
            assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
            assert_eq!(pair[1].timestamp.since(pair[0].timestamp), 960);
        }
    }

    fn retired(&mut self) -> usize {
        std::iter::from_fn(|| self.capture.take_retired()).count()
    }
}

/// Whichever clocks and phases the two have, and however long the new one takes for its first
/// samples, each tick captures 10 ms, and no sample steps.
#[test]
fn a_microphone_is_replaced_without_a_gap_or_a_click() {
    for (old_clock, new_clock) in [(true, true), (true, false), (false, true), (false, false)] {
        for (phase, starts_after) in [(0.1, 0), (0.5, 3), (0.75, 25)] {
            let (mut old, mut new) = (Tone::new(old_clock, 0.0), Tone::new(new_clock, phase));
            let mut bench = Bench::new(old.source());
            for tick in 0..150 {
                old.put(480);
                if tick == 50 {
                    bench.capture.set_source(new.source()).unwrap();
                }
                if tick >= 50 + starts_after || !new_clock {
                    new.put(480);
                }
                assert!(bench.tick());
            }
            let what = format!("clocks {old_clock} {new_clock}, phase {phase}, after {starts_after} ticks");
            // A source with a clock gives its first block a tick late: its queue was old.
            let missing = usize::from(old_clock);
            assert_eq!(bench.made.samples.len(), (150 - missing) * 480, "{what}");
            // The ramp adds at most the distance of both over its length.
            let step = bench.made.largest_step();
            assert!(step < STEP + 1.1 / 480.0, "{what}: {step}");
            assert_eq!(bench.retired(), 1, "{what}");
            bench.assert_one_timeline();
            let power = bench.made.samples.chunks(480).map(|block| block.iter().map(|s| s * s).sum::<f32>() / 480.0);
            let quiet = power.filter(|power| *power < 0.02).count();
            // A new one that has no samples for 100 ms counts as silent until it has.
            assert!(quiet <= if starts_after > 10 { 17 } else { 2 }, "{what}: {quiet} quiet blocks");
        }
    }
}

/// The device dies within a block, 50 times in a row: silence takes its place and another device
/// that of the silence, each without a step, and each failure is told once.
#[test]
fn a_microphone_that_dies_fades_out_and_the_next_one_fades_in() {
    for kind in [ErrorKind::Closed, ErrorKind::Io] {
        let mut tone = Tone::new(true, 0.0);
        tone.put(480);
        let mut bench = Bench::new(tone.source());
        bench.tick();
        for round in 0..50 {
            for _ in 0..20 {
                tone.put(480);
                assert!(bench.tick());
            }
            tone.put(100 + round);
            bench.tick();
            tone.script.fail(Some(kind));
            let told = (0..30).filter(|_| !bench.tick()).count();
            assert_eq!(told, 1);
            tone = Tone::new(round % 2 == 0, 0.3);
            bench.capture.set_source(tone.source()).unwrap();
            if round % 2 != 0 {
                tone.put(480 * 40);
            }
        }
        let step = bench.made.largest_step();
        assert!(step < STEP + 1.1 / 480.0, "{step}");
        assert!(bench.retired() >= 49);
        bench.assert_one_timeline();
    }
}

/// Before anything is captured there is nothing to pass over.
#[test]
fn a_source_that_was_not_read_is_replaced_at_once() {
    let (first, mut second) = (Tone::new(false, 0.0), Tone::new(false, 0.25));
    let mut bench = Bench::new(first.source());
    second.put(4_800);
    bench.capture.set_source(second.source()).unwrap();
    assert_eq!(bench.retired(), 1);
    bench.tick();
    assert!((bench.made.samples[0] - 0.5).abs() < 1e-3, "it begins with its first sample");
}

/// An utterance of a muted user is reported once, and is none of the call's; the rest of what was
/// said when muting is neither.
#[test]
fn speaking_while_muted_is_told_once_per_utterance() {
    let script = Script::without_clock();
    let speech = blink_media_synthetic::speech_clip(0, std::time::Duration::from_secs(6));
    let mut bench = Bench::new(Box::new(script.clone()));
    let hear = |bench: &mut Bench, muted: bool| {
        script.put(speech.iter().copied());
        script.put(std::iter::repeat_n(0.0, 2 * 48_000));
        bench.capture.set_muted(muted);
        let (mut sent, mut unsent) = (0, 0);
        for _ in 0..800 {
            bench.tick();
            sent += usize::from(bench.capture.take_speaking() == Some(true));
            unsent += usize::from(bench.capture.take_spoke_muted());
        }
        (sent, unsent)
    };
    let (sent, unsent) = hear(&mut bench, false);
    assert!((1..=3).contains(&sent) && unsent == 0, "{sent} {unsent}");
    let utterances = sent;
    assert_eq!(hear(&mut bench, true), (0, utterances));
    let voiced =
        bench.made.packets.iter().filter(|packet| packet.level.is_some_and(blink_api::AudioLevel::is_voice)).count();
    assert!(voiced > 150, "{voiced} packets with the voice bit");

    script.put(speech[..3 * 48_000].iter().copied());
    bench.capture.set_muted(false);
    (0..150).for_each(|_| _ = bench.tick());
    assert_eq!(bench.capture.take_speaking(), Some(true));
    bench.capture.set_muted(true);
    assert_eq!(bench.capture.take_speaking(), Some(false));
    (0..60).for_each(|_| _ = bench.tick());
    assert!(!bench.capture.take_spoke_muted(), "it is the rest of the same utterance");
}
