//! Changes of the sink, sample by sample.

use std::sync::{Arc, Mutex};

use blink_api::{AudioFormat, AudioSink, Error, ErrorKind, Result};
use web_time::{Duration, Instant};

use super::{Playout, ReceiveConfig, TICK};
use crate::fake::{PcmCodec, numbered, received, rtp_codec};

/// A loudspeaker that plays 10 ms of its queue in each tick.
#[derive(Clone, Default)]
struct Loudspeaker(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    written: Vec<f32>,
    queued: usize,
    is_gone: bool,
}

impl Loudspeaker {
    fn pass(&self) {
        let mut state = self.0.lock().unwrap();
        state.queued = state.queued.saturating_sub(480);
    }

    fn written(&self) -> Vec<f32> {
        self.0.lock().unwrap().written.clone()
    }
}

impl AudioSink for Loudspeaker {
    fn format(&self) -> AudioFormat {
        AudioFormat::CALL
    }

    fn write(&mut self, samples: &[f32]) -> Result<usize> {
        let mut state = self.0.lock().unwrap();
        if state.is_gone {
            return Err(Error::new(ErrorKind::Closed, "it was unplugged"));
        }
        state.written.extend_from_slice(samples);
        state.queued += samples.len();
        Ok(samples.len())
    }

    fn queued(&self) -> usize {
        self.0.lock().unwrap().queued
    }

    fn latency(&self) -> Duration {
        Duration::ZERO
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// A playout of a tone of 440 Hz at half of full scale.
struct Bench {
    playout: Playout<u8>,
    now: Instant,
    ticks: usize,
    errors: usize,
}

impl Bench {
    fn new(sink: &Loudspeaker) -> Self {
        let mut playout = Playout::new(Box::new(sink.clone()) as Box<dyn AudioSink>);
        playout.add(1, ReceiveConfig::new(&rtp_codec()), Box::new(PcmCodec));
        Self { playout, now: Instant::now(), ticks: 0, errors: 0 }
    }

    fn tick(&mut self, sinks: &[&Loudspeaker]) {
        if self.ticks.is_multiple_of(2) {
            let first = self.ticks * 480;
            let step = 440.0 / 48_000.0 * std::f64::consts::TAU;
            let frame: Vec<f32> = (first..first + 960).map(|n| 0.5 * (n as f64 * step).sin() as f32).collect();
            self.playout.push(&1, received(&numbered(self.ticks as u32 / 2, PcmCodec::packet(&frame)), self.now));
        }
        self.errors += usize::from(self.playout.tick(self.now).sink_error.is_some());
        self.now += TICK;
        self.ticks += 1;
        sinks.iter().for_each(|sink| sink.pass());
    }

    fn retired(&mut self) -> usize {
        std::iter::from_fn(|| self.playout.take_retired()).count()
    }
}

fn largest_step(samples: &[f32]) -> f32 {
    samples.windows(2).map(|two| (two[1] - two[0]).abs()).fold(0.0, f32::max)
}

const STEP: f32 = 0.5 * 440.0 * std::f32::consts::TAU / 48_000.0 + 1.1 * 0.5 / 480.0;

/// Each tick is heard from one of the two, the old one ends in silence and the new one begins from
/// it, and the old one stays open until its queue is played.
#[test]
fn a_speaker_is_replaced_without_a_gap_or_a_click() {
    let (old, new) = (Loudspeaker::default(), Loudspeaker::default());
    let mut bench = Bench::new(&old);
    (0..100).for_each(|_| bench.tick(&[&old]));
    // 30 ms wait in the old one.
    old.0.lock().unwrap().queued += 1_440;
    bench.playout.set_sink(Box::new(new.clone())).unwrap();
    bench.tick(&[&old, &new]);
    assert_eq!(bench.retired(), 0, "it plays its queue");
    (0..99).for_each(|_| bench.tick(&[&old, &new]));
    assert_eq!(bench.retired(), 1);
    let (before, after) = (old.written(), new.written());
    assert_eq!((before.len(), after.len()), (101 * 480, 100 * 480), "both have the tick of the change");
    assert!(largest_step(&before) < STEP && largest_step(&after) < STEP);
    assert!(after[0].abs() < 1e-6 && before[before.len() - 1].abs() < 2e-3);
    let power = |samples: &[f32]| samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32;
    assert!((power(&after[480..960]) - 0.125).abs() < 0.01, "at the volume from before");
}

/// Unplugged 50 times in a row: each failure is told once, and the next one begins softly.
#[test]
fn a_speaker_that_dies_is_replaced_50_times() {
    let mut sink = Loudspeaker::default();
    let mut bench = Bench::new(&sink);
    for round in 1..=50 {
        (0..20).for_each(|_| bench.tick(&[&sink]));
        sink.0.lock().unwrap().is_gone = true;
        (0..10).for_each(|_| bench.tick(&[&sink]));
        assert_eq!(bench.errors, round);
        sink = Loudspeaker::default();
        bench.playout.set_sink(Box::new(sink.clone())).unwrap();
        assert_eq!(bench.retired(), 1, "a dead one plays no queue");
        (0..5).for_each(|_| bench.tick(&[&sink]));
        let written = sink.written();
        assert!(written[0] == 0.0 && largest_step(&written) < STEP);
    }
}

/// An old one that hangs, or never plays its queue, is left after 200 ms.
#[test]
fn a_speaker_that_stands_still_is_not_waited_for() {
    let (old, new) = (Loudspeaker::default(), Loudspeaker::default());
    let mut bench = Bench::new(&old);
    (0..4).for_each(|_| bench.tick(&[&old]));
    old.0.lock().unwrap().queued = 100_000;
    bench.playout.set_sink(Box::new(new.clone())).unwrap();
    (0..25).for_each(|_| bench.tick(&[&new]));
    assert_eq!(bench.retired(), 1);
}
