//! A loudspeaker: the ring that its callback empties, and the sink that fills it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use blink_api::{AudioFormat, AudioSink, Clock, Result};
use cpal::{FromSample, Sample};
use rtrb::{Consumer, Producer};

use super::device_clock::{DeviceClock, Stamp};
use super::input::sound;
use super::opening::StreamGuard;
use super::rate_control::RateControl;
use super::resampler::{Fixed, Resampler};
use super::stream_health::StreamHealth;

/// Least reserve of the ring beyond a callback and the jitter of the writer, in seconds.
const RESERVE: f64 = 0.002;
/// Additional reserve after each underrun, and most of it.
const MORE_RESERVE: f64 = 0.003;
const MAX_RESERVE: f64 = 0.06;
/// Reserve that is given up per second without an underrun.
const RESERVE_DECAY: f64 = 0.000_1;

/// Time after which an unusually late write counts 1/e, in seconds.
const JITTER_MEMORY: f64 = 10.0;
/// Lateness of writes that is expected before one was seen, in seconds.
const EXPECTED_JITTER: f64 = 0.003;
/// Greatest lateness that the queue is to cover: more would be delay for seconds.
const MAX_JITTER: f64 = 0.05;
/// Lateness of a write beyond which the writer paused.
const PAUSE: f64 = 0.2;

/// Longest target in seconds that is reported as a queue. What a device with long callbacks needs
/// beyond is its latency: the queue is not to be shortened by the writer.
const MAX_QUEUED: f64 = 0.04;

/// Side of the callback: converts samples and channels, and notes when they were played.
pub(super) struct OutputRing {
    pub(super) frames: Consumer<f32>,
    pub(super) stamps: Producer<Stamp>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) health: Arc<StreamHealth>,
    /// Channels of the call, and of the device.
    pub(super) channels: (usize, usize),
    /// Frames in the ring from which on it is played.
    pub(super) start_at: Arc<AtomicUsize>,
    pub(super) is_playing: bool,
    pub(super) played: u64,
}

impl OutputRing {
    /// Fills a callback's buffer; with silence while the ring fills, and where it is empty.
    pub(super) fn fill<T: Sample + FromSample<f32>>(&mut self, data: &mut [T], latency: Duration) {
        self.health.count_callback();
        let (channels, device_channels) = self.channels;
        let (wanted, available) = (data.len() / device_channels, self.frames.slots() / channels);
        if available >= wanted.max(self.start_at.load(Ordering::Relaxed)) {
            self.is_playing = true;
        }
        let frames = if self.is_playing { available.min(wanted) } else { 0 };
        let (played, silent) = data.split_at_mut(frames * device_channels);
        if let Ok(chunk) = self.frames.read_chunk(frames * channels) {
            let (first, second) = chunk.as_slices();
            let sample = |index: usize| first.get(index).or_else(|| second.get(index - first.len()));
            for (index, frame) in played.chunks_exact_mut(device_channels).enumerate() {
                let sample = |channel| sample(index * channels + channel).copied().unwrap_or_default();
                let width = frame.len();
                for (channel, out) in frame.iter_mut().enumerate() {
                    *out = T::from_sample(sound(spread(sample, (channels, width), channel)));
                }
            }
            chunk.commit_all();
        }
        silent.fill(T::from_sample(0.0));
        if self.is_playing && frames < wanted {
            self.is_playing = false;
            self.health.count_underrun();
        }
        let stamp = Stamp { at: self.clock.now(), before: self.played, frames: frames as u32, latency };
        self.played += frames as u64;
        // Without a writer, there is nothing to note.
        self.stamps.push(stamp).ok();
    }
}

/// Sample of one channel of the device: a mono call is heard on the first two, a stereo call on a
/// mono device as the average; further channels are silent.
fn spread(sample: impl Fn(usize) -> f32, (channels, width): (usize, usize), channel: usize) -> f32 {
    match (channels, width) {
        (1, _) if channel < 2 => sample(0),
        (2.., 1) => (sample(0) + sample(1)) / 2.0,
        _ if channel < channels => sample(channel),
        _ => 0.0,
    }
}

/// Parts of a sink that the opening has made.
pub(super) struct OutputParts {
    pub(super) format: AudioFormat,
    pub(super) period: Duration,
    pub(super) device_rate: u32,
    /// Expected duration of a callback's frames.
    pub(super) callback_period: Duration,
    pub(super) frames: Producer<f32>,
    pub(super) stamps: Consumer<Stamp>,
    pub(super) start_at: Arc<AtomicUsize>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) health: Arc<StreamHealth>,
    pub(super) stream: StreamGuard,
}

/// A loudspeaker that takes a block of one period per period of the caller's clock.
pub(super) struct DeviceSink {
    parts: OutputParts,
    rate: f64,
    device: DeviceClock,
    control: RateControl,
    resampler: Resampler,
    /// A block of the call's samples, of which the first `filled` are there.
    block: Vec<f32>,
    filled: usize,
    /// Frames written to the ring.
    written: u64,
    last_write: Option<Instant>,
    /// Greatest recent lateness of a write, in seconds.
    jitter: f64,
    underruns: u64,
    reserve: f64,
}

impl DeviceSink {
    /// A sink over the rings of a stream.
    ///
    /// # Errors
    /// [`Invalid`](blink_api::ErrorKind::Invalid) for rates that cannot be converted.
    pub(super) fn new(parts: OutputParts) -> Result<Self> {
        let channels = usize::from(parts.format.channels);
        let block = parts.format.samples_in(parts.period).max(channels);
        let (from, to) = (parts.format.sample_rate, parts.device_rate);
        let sink = Self {
            rate: f64::from(to),
            device: DeviceClock::new(to, parts.callback_period),
            control: RateControl::default(),
            resampler: Resampler::new(from, to, channels, Fixed::Input(block / channels))?,
            block: vec![0.0; block],
            filled: 0,
            written: 0,
            last_write: None,
            jitter: EXPECTED_JITTER,
            underruns: 0,
            reserve: RESERVE,
            parts,
        };
        sink.set_start();
        Ok(sink)
    }

    /// Length of the ring before a write, in seconds: what the next callback takes, should the
    /// write be late.
    fn target(&self) -> f64 {
        self.device.burst() + self.jitter + self.reserve
    }

    /// Part of the target that is reported as latency, in seconds.
    fn needed(&self) -> f64 {
        (self.target() - MAX_QUEUED).clamp(0.0, 10.0)
    }

    /// Playing begins at the target and half a period, the average time to the next write.
    fn set_start(&self) {
        let start = (self.target() + self.parts.period.as_secs_f64() / 2.0) * self.rate;
        self.parts.start_at.store(start as usize, Ordering::Relaxed);
    }

    /// Frames written and not yet due to be played, in seconds.
    fn queued_seconds(&self, now: Instant) -> f64 {
        (self.written as f64 - self.device.position(now).unwrap_or(0.0)) / self.rate
    }

    /// Sets the resampling ratio by the length of the ring.
    fn control(&mut self, now: Instant) {
        while let Ok(stamp) = self.parts.stamps.pop() {
            self.device.update(stamp);
        }
        let elapsed = self.last_write.map_or(0.0, |last| now.saturating_duration_since(last).as_secs_f64());
        self.last_write = Some(now);
        let late = elapsed - self.parts.period.as_secs_f64();
        self.jitter *= (-elapsed / JITTER_MEMORY).exp();
        if late < PAUSE {
            self.jitter = self.jitter.max(late.min(MAX_JITTER));
        }
        let underruns = self.parts.health.underruns();
        if underruns > self.underruns {
            self.reserve = (self.reserve + MORE_RESERVE).min(MAX_RESERVE);
            self.underruns = underruns;
        } else {
            self.reserve = (self.reserve - RESERVE_DECAY * elapsed).max(RESERVE);
        }
        if self.device.last_frames() > 0.0 {
            let error = self.queued_seconds(now) - self.target();
            self.resampler.set_speed(self.control.update(error, elapsed));
        } else {
            self.control.reset();
        }
        self.set_start();
    }

    /// Latency of the device and of the filter.
    fn device_latency(&self) -> Duration {
        let filter = self.resampler.delay() as f64 / self.rate;
        self.device.latency() + Duration::from_secs_f64(filter)
    }

    #[cfg(test)]
    pub(super) fn drift_ppm(&self) -> f64 {
        self.control.drift_ppm()
    }

    #[cfg(test)]
    pub(super) fn underruns(&self) -> u64 {
        self.parts.health.underruns()
    }
}

impl AudioSink for DeviceSink {
    fn format(&self) -> AudioFormat {
        self.parts.format
    }

    fn write(&mut self, samples: &[f32]) -> Result<usize> {
        self.parts.health.check()?;
        let now = self.parts.clock.now();
        let channels = usize::from(self.parts.format.channels);
        let mut taken = 0;
        while taken < samples.len() {
            let count = (samples.len() - taken).min(self.block.len() - self.filled);
            self.block[self.filled..self.filled + count].copy_from_slice(&samples[taken..taken + count]);
            if self.filled + count == self.block.len() {
                if self.parts.frames.slots() < self.resampler.max_output_frames() * channels {
                    break;
                }
                self.control(now);
                let output = self.resampler.process(&self.block);
                // There is room for the longest block.
                if self.parts.frames.push_entire_slice(output).is_ok() {
                    self.written += (output.len() / channels) as u64;
                }
                self.filled = 0;
            } else {
                self.filled += count;
            }
            taken += count;
        }
        Ok(taken)
    }

    fn queued(&self) -> usize {
        let queued = self.queued_seconds(self.parts.clock.now()) - self.needed();
        self.parts.format.samples_in(Duration::from_secs_f64(queued.clamp(0.0, 10.0)))
    }

    fn latency(&self) -> Duration {
        self.device_latency() + Duration::from_secs_f64(self.needed())
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Drop for DeviceSink {
    fn drop(&mut self) {
        self.parts.stream.log_end("loudspeaker", &self.parts.health, self.control.drift_ppm());
    }
}
