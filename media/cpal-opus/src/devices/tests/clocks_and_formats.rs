//! Clocks that drift and formats that no other test has, without a gap in what is heard.

use std::time::Duration;

use blink_api::{AudioFormat, AudioSink, AudioSource, DeviceDirection, MediaHost, OpenRequest};
use cpal::SampleFormat;

use super::super::input::DeviceSource;
use super::super::output::DeviceSink;
use super::super::{CpalConfig, CpalHost, opening};
use super::virtual_host::VirtualHost;
use super::virtual_spec::{AMPLITUDE, LATENCY, Spec, TONE};

const REQUEST: OpenRequest = OpenRequest::new(AudioFormat::CALL, TICK);
const TICK: Duration = Duration::from_millis(10);
const BLOCK: usize = 480;
const MINUTE: u64 = 6_000;

async fn source(host: &CpalHost, name: &str) -> DeviceSource {
    let open =
        |device: &cpal::Device, shared: (_, _)| opening::open_source(device, REQUEST, CpalConfig::default(), shared);
    host.open((name, DeviceDirection::Source), open).await.unwrap()
}

async fn sink(host: &CpalHost, name: &str) -> DeviceSink {
    let open =
        |device: &cpal::Device, shared: (_, _)| opening::open_sink(device, REQUEST, CpalConfig::default(), shared);
    host.open((name, DeviceDirection::Sink), open).await.unwrap()
}

fn host(virtual_host: &VirtualHost) -> CpalHost {
    CpalHost::over(virtual_host.system(), CpalConfig::default(), virtual_host.clock.clone())
}

/// Ticks at 10 ms, up to 1 ms early or late.
struct Ticks(u64, i64);

impl Ticks {
    fn advance(&mut self, host: &VirtualHost) {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let jitter = ((self.0 >> 33) % 2_001) as i64 - 1_000;
        host.advance(Duration::from_micros((10_000 + jitter - self.1) as u64));
        self.1 = jitter;
    }
}

/// A tone of the tests, written block by block.
fn tone(tick: u64) -> Vec<f32> {
    let sample = |n: u64| AMPLITUDE * (n as f64 * TONE / 48_000.0 * std::f64::consts::TAU).sin();
    (0..BLOCK as u64).map(|n| sample(tick * BLOCK as u64 + n) as f32).collect()
}

/// Greatest deviation of a signal from a tone of 440 Hz: 0 for a pure one, whatever its phase and
/// however slowly that changes. A gap or a dropped sample makes it large.
fn impurity(samples: &[f32], rate: f64) -> f32 {
    let turn = 2.0 * (TONE / rate * std::f64::consts::TAU).cos() as f32;
    samples.windows(3).map(|x| (x[0] + x[2] - turn * x[1]).abs()).fold(0.0, f32::max)
}

#[tokio::test]
async fn clocks_that_drift_by_300_ppm_for_10_minutes_make_no_gap() {
    for ppm in [-300.0, 300.0] {
        let world = VirtualHost::new(&[
            ("mic", Spec { ppm, ..Spec::MICROPHONE }),
            ("speaker", Spec { ppm, frames: 240, ..Spec::SPEAKER }),
        ]);
        let host = host(&world);
        let (mut source, mut sink) = (source(&host, "mic").await, sink(&host, "default").await);
        let mut ticks = Ticks(ppm as i64 as u64, 0);
        let (mut blocks, mut block) = (0, [0.0; BLOCK]);
        for tick in 0..10 * MINUTE {
            ticks.advance(&world);
            let read = source.read(&mut block).unwrap();
            // Where the caller is late, the next block may be due at the same time.
            blocks += read.samples / BLOCK;
            assert!(tick < 10 || read.samples == BLOCK, "{ppm} ppm, tick {tick}: {read:?}");
            if tick > 100 {
                assert!(impurity(&block, 48_000.0) < 0.002, "{ppm} ppm, tick {tick}: {}", impurity(&block, 48_000.0));
                let age = world.now() - read.at.unwrap();
                assert!(age < Duration::from_millis(32) && age > LATENCY + TICK, "{age:?}");
            }
            assert_eq!(sink.write(&tone(tick)).unwrap(), BLOCK);
            let heard = world.heard("speaker");
            if tick > 100 {
                assert!(impurity(&heard, 48_000.0) < 0.002, "{ppm} ppm, tick {tick}: {}", impurity(&heard, 48_000.0));
                let queued = AudioFormat::CALL.duration_of(sink.queued());
                assert!(
                    queued < Duration::from_millis(30) && sink.latency() < LATENCY + Duration::from_millis(2),
                    "{queued:?}"
                );
            }
        }
        assert!(blocks as u64 >= 10 * MINUTE - 10);
        assert_eq!((source.underruns(), sink.underruns()), (0, 0), "{ppm} ppm");
        assert!((source.drift_ppm() - ppm).abs() < 30.0, "{ppm}: {}", source.drift_ppm());
        assert!((sink.drift_ppm() + ppm).abs() < 30.0, "{ppm}: {}", sink.drift_ppm());
    }
}

/// Strange devices: 8-bit samples at 44.1 kHz on 6 channels, callbacks of 24 and of 100,000 frames.
#[tokio::test]
async fn strange_formats_are_converted_without_a_gap() {
    let strange = [
        Spec { channels: 6, rate: 44_100, format: SampleFormat::U8, frames: 441, ..Spec::MICROPHONE },
        Spec { frames: 24, ..Spec::MICROPHONE },
        Spec { frames: 100_000, ..Spec::MICROPHONE },
        Spec { channels: 2, rate: 96_000, format: SampleFormat::I16, frames: 100_000, ..Spec::MICROPHONE },
        Spec { channels: 2, rate: 8_000, format: SampleFormat::I16, frames: 37, ppm: 200.0, ..Spec::MICROPHONE },
    ];
    for spec in strange {
        let world = VirtualHost::new(&[("mic", spec.clone()), ("speaker", Spec { is_input: false, ..spec.clone() })]);
        let host = host(&world);
        let (mut source, mut sink) = (source(&host, "mic").await, sink(&host, "speaker").await);
        let callback = Duration::from_secs(spec.frames.into()) / spec.rate;
        // Two callbacks until the first block, and until the first sound.
        let silent = (2.5 * callback.as_secs_f64() / 0.01) as u64 + 20;
        // Quantization to 8 bits is no impurity of the converter.
        let pure = if spec.format == SampleFormat::U8 { 0.035 } else { 0.003 };
        let mut ticks = Ticks(7, 0);
        let mut block = [0.0; BLOCK];
        let (mut captured, mut heard) = (Vec::new(), Vec::new());
        for tick in 0..2 * MINUTE {
            ticks.advance(&world);
            let read = source.read(&mut block).unwrap();
            captured.extend_from_slice(&block[..read.samples]);
            assert!(tick < silent || read.samples == BLOCK, "{spec:?}, tick {tick}: {read:?}");
            assert_eq!(sink.write(&tone(tick)).unwrap(), BLOCK, "{spec:?}, tick {tick}");
            heard.extend(world.heard("speaker"));
        }
        assert_eq!((source.underruns(), sink.underruns()), (0, 0), "{spec:?}");
        let begun = captured.len() / 4;
        let (captured, rate) = (&captured[begun..], f64::from(spec.rate));
        assert!(impurity(captured, 48_000.0) < pure, "{spec:?}: {}", impurity(captured, 48_000.0));
        let heard = &heard[heard.len() / 4..];
        assert!(impurity(heard, rate) < pure, "{spec:?}: {}", impurity(heard, rate));
        for loud in [captured, heard] {
            let power = loud.iter().map(|x| x * x).sum::<f32>() / loud.len() as f32;
            assert!((power / 0.125 - 1.0).abs() < 0.05, "{spec:?}: {power}");
        }
    }
}

#[tokio::test]
async fn a_reader_that_pauses_gets_fresh_audio() {
    let world = VirtualHost::new(&[("mic", Spec::MICROPHONE)]);
    let mut source = source(&host(&world), "mic").await;
    let mut block = [0.0; BLOCK];
    for pause in [0, 3, 30, 3] {
        world.advance(Duration::from_secs(pause));
        let mut read = None;
        for _ in 0..20 {
            world.advance(TICK);
            read = source.read(&mut block).ok().filter(|read| read.samples == BLOCK);
        }
        let age = world.now() - read.expect("a block per tick").at.unwrap();
        assert!(age < Duration::from_millis(32), "{age:?} after a pause of {pause} s");
    }
}

#[tokio::test]
async fn devices_are_listed_and_opened_by_name_and_description() {
    let world = VirtualHost::new(&[("a", Spec::MICROPHONE), ("b", Spec::MICROPHONE), ("s", Spec::SPEAKER)]);
    let host = host(&world);
    let devices = host.devices().await.unwrap();
    let names: Vec<_> = devices.iter().map(|info| (&*info.name, info.direction, info.is_default)).collect();
    let (source, sink) = (DeviceDirection::Source, DeviceDirection::Sink);
    assert_eq!(names, [("a", source, true), ("b", source, false), ("s", sink, true)]);
    for name in ["a", "b", "Virtual b", "default"] {
        host.open_audio_source(name, REQUEST).await.map(drop).unwrap();
    }
    for (name, word) in [("s", "microphone"), ("Virtual", "microphone"), ("", "microphone")] {
        let error = host.open_audio_source(name, REQUEST).await.err().unwrap();
        assert!(error.kind() == blink_api::ErrorKind::NotFound && error.to_string().contains(word), "{error}");
    }
    let empty = CpalHost::over(VirtualHost::new(&[]).system(), CpalConfig::default(), world.clock.clone());
    let error = empty.open_audio_sink("default", REQUEST).await.err().unwrap();
    assert!(error.to_string().contains("there is no loudspeaker"), "{error}");
}

/// Callbacks and the thread that reads and writes allocate nothing.
#[tokio::test]
async fn nothing_is_allocated_while_audio_runs() {
    let small = Spec { channels: 2, rate: 44_100, frames: 128, ppm: 150.0, ..Spec::MICROPHONE };
    let world = VirtualHost::new(&[("mic", small.clone()), ("speaker", Spec { is_input: false, ..small })]);
    let host = host(&world);
    let (mut source, mut sink) = (source(&host, "mic").await, sink(&host, "speaker").await);
    let mut block = [0.0; BLOCK];
    for tick in 0..1_000 {
        // What the virtual devices allocate is theirs, and counted apart.
        let devices = allocation_counter::measure(|| world.advance(TICK));
        let callbacks = world.take_callback_allocations();
        let media = allocation_counter::measure(|| {
            source.read(&mut block).unwrap();
            sink.write(&block).unwrap();
        });
        assert!(devices.count_total > 0, "the counter works");
        assert!(tick < 50 || (callbacks, media.count_total) == (0, 0), "tick {tick}: {callbacks}, {media:?}");
    }
}
