//! A microphone: the ring that its callback fills, and the source that reads it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use blink_api::{AudioFormat, AudioSource, Clock, ReadResult, Result};
use cpal::{FromSample, Sample};
use rtrb::{Consumer, Producer};

use super::device_clock::{DeviceClock, Stamp};
use super::opening::StreamGuard;
use super::rate_control::RateControl;
use super::resampler::{Fixed, Resampler};
use super::stream_health::StreamHealth;

/// Least reserve of the ring beyond the time between callbacks, in seconds.
const RESERVE: f64 = 0.002;
/// Additional reserve after each underrun, and most of it.
const MORE_RESERVE: f64 = 0.003;
const MAX_RESERVE: f64 = 0.06;
/// Reserve that is given up per second without an underrun.
const RESERVE_DECAY: f64 = 0.000_1;

/// Pause of the reader after which what was captured in it is stale.
const STALE: Duration = Duration::from_millis(500);

/// Side of the callback: converts samples and channels, and notes when they came.
pub(super) struct InputRing {
    pub(super) frames: Producer<f32>,
    pub(super) stamps: Producer<Stamp>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) health: Arc<StreamHealth>,
    /// Channels of the call, and of the device.
    pub(super) channels: (usize, usize),
    pub(super) written: u64,
}

impl InputRing {
    /// Takes the frames of a callback. Those without room are dropped: they are not read.
    pub(super) fn take<T: Sample>(&mut self, data: &[T], latency: Duration)
    where
        f32: FromSample<T>,
    {
        self.health.count_callback();
        let (channels, device_channels) = self.channels;
        let frames = (data.len() / device_channels).min(self.frames.slots() / channels);
        if let Ok(chunk) = self.frames.write_chunk_uninit(frames * channels) {
            let samples = data.chunks_exact(device_channels).take(frames);
            chunk
                .fill_from_iter(samples.flat_map(|frame| (0..channels).map(|channel| mixed(frame, channel, channels))));
        }
        let stamp = Stamp { at: self.clock.now(), before: self.written, frames: frames as u32, latency };
        self.written += frames as u64;
        // Without a reader, there is nothing to note.
        self.stamps.push(stamp).ok();
    }
}

/// Sample of one channel of the call: of a device with more channels than a mono call, the average
/// of the first two; of a mono device, the same in all channels.
fn mixed<T: Sample>(frame: &[T], channel: usize, channels: usize) -> f32
where
    f32: FromSample<T>,
{
    let sample = |index: usize| frame.get(index).map_or(0.0, |sample| sound(f32::from_sample(*sample)));
    match (channels, frame.len()) {
        (1, 2..) => (sample(0) + sample(1)) / 2.0,
        (_, 1) => sample(0),
        _ => sample(channel),
    }
}

/// A sample within −1.0..=1.0, whatever a driver gives.
pub(super) fn sound(sample: f32) -> f32 {
    if sample.is_nan() { 0.0 } else { sample.clamp(-1.0, 1.0) }
}

/// Parts of a source that the opening has made.
pub(super) struct InputParts {
    pub(super) format: AudioFormat,
    pub(super) period: Duration,
    pub(super) device_rate: u32,
    /// Expected time between callbacks.
    pub(super) callback_period: Duration,
    pub(super) frames: Consumer<f32>,
    pub(super) stamps: Consumer<Stamp>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) health: Arc<StreamHealth>,
    pub(super) stream: StreamGuard,
}

/// A microphone that gives a block of one period per period of the caller's clock.
pub(super) struct DeviceSource {
    parts: InputParts,
    rate: f64,
    device: DeviceClock,
    control: RateControl,
    resampler: Resampler,
    /// A block of the device's frames.
    input: Vec<f32>,
    /// A block of the call's samples, of which those from `taken` on were not read yet.
    block: Vec<f32>,
    taken: usize,
    block_at: Instant,
    /// Frames read from the ring.
    read: u64,
    schedule: Schedule,
    last_read: Option<Instant>,
    reserve: f64,
    latency: Duration,
}

/// When blocks are due.
#[derive(Debug, Clone, Copy)]
enum Schedule {
    /// The ring fills. What is in it beyond its target is stale, or not.
    Filling { is_stale: bool },
    /// One block per period since `start`.
    Running { start: Instant, blocks: u32, controlled: Instant },
}

impl DeviceSource {
    /// A source over the rings of a stream.
    ///
    /// # Errors
    /// [`Invalid`](blink_api::ErrorKind::Invalid) for rates that cannot be converted.
    pub(super) fn new(parts: InputParts) -> Result<Self> {
        let channels = usize::from(parts.format.channels);
        let block = parts.format.samples_in(parts.period).max(channels);
        let (from, to) = (parts.device_rate, parts.format.sample_rate);
        let resampler = Resampler::new(from, to, channels, Fixed::Output(block / channels))?;
        let now = parts.clock.now();
        Ok(Self {
            rate: f64::from(from),
            device: DeviceClock::new(from, parts.callback_period),
            control: RateControl::default(),
            input: vec![0.0; resampler.max_input_frames() * channels],
            block: vec![0.0; block],
            taken: block,
            block_at: now,
            read: 0,
            schedule: Schedule::Filling { is_stale: true },
            last_read: None,
            reserve: RESERVE,
            latency: Duration::ZERO,
            resampler,
            parts,
        })
    }

    fn channels(&self) -> usize {
        usize::from(self.parts.format.channels)
    }

    /// Length of the ring at which blocks are due, in seconds: what the device delivers late, and
    /// the block itself.
    fn target(&self) -> f64 {
        self.device.gap() + self.parts.period.as_secs_f64() + self.reserve
    }

    /// Prepares the next block if it is due and there. Returns whether.
    fn next_block(&mut self, now: Instant) -> bool {
        let Some(position) = self.device.position(now) else { return false };
        // Frames captured and not read, with those that the device has not delivered yet.
        let queued = (position + self.device.last_frames() - self.read as f64) / self.rate;
        let (start, blocks, controlled) = match self.schedule {
            Schedule::Running { start, blocks, controlled } => (start, blocks, controlled),
            Schedule::Filling { .. } if queued < self.target() => return false,
            Schedule::Filling { is_stale } => {
                if is_stale {
                    self.skip(queued - self.target());
                }
                self.control.reset();
                (now, 0, now)
            }
        };
        let due = start + self.parts.period * blocks;
        if now + self.parts.period / 2 < due {
            return false;
        }
        let queued = (position + self.device.last_frames() - self.read as f64) / self.rate;
        let late = now.saturating_duration_since(due).as_secs_f64() - due.saturating_duration_since(now).as_secs_f64();
        let elapsed = now.saturating_duration_since(controlled).as_secs_f64();
        let change = self.control.update(queued - late - self.target(), elapsed);
        // The length of the next block depends on the ratio.
        self.resampler.set_speed(change);
        let needed = self.resampler.input_frames() * self.channels();
        if self.parts.frames.slots() < needed {
            if now >= due {
                self.parts.health.count_underrun();
                self.reserve = (self.reserve + MORE_RESERVE).min(MAX_RESERVE);
                self.schedule = Schedule::Filling { is_stale: false };
            }
            return false;
        }
        self.reserve = (self.reserve - RESERVE_DECAY * elapsed).max(RESERVE);
        self.schedule = Schedule::Running { start, blocks: blocks + 1, controlled: now };
        self.read_block(needed);
        self.note_age(now, queued);
        true
    }

    /// Reads a block from the ring and resamples it.
    fn read_block(&mut self, needed: usize) {
        let input = &mut self.input[..needed];
        if self.parts.frames.pop_entire_slice(input).is_ok() {
            self.read += (needed / usize::from(self.parts.format.channels)) as u64;
        }
        let output = self.resampler.process(input);
        for (to, from) in self.block.iter_mut().zip(output) {
            *to = sound(*from);
        }
        self.taken = 0;
    }

    /// Notes how old the block is that was just read from a queue of this length.
    fn note_age(&mut self, now: Instant, queued: f64) {
        let filter = self.resampler.delay() as f64 / f64::from(self.parts.format.sample_rate);
        // The device's latency is that of a callback's first frame; the queue counts from its last.
        let last = self.device.latency().as_secs_f64() - self.device.last_frames() / self.rate;
        let age = (queued + filter + last.max(0.0)).clamp(0.0, 10.0);
        self.latency = Duration::from_secs_f64(age);
        self.block_at = now.checked_sub(self.latency).unwrap_or(now);
    }

    /// Discards stale frames.
    fn skip(&mut self, seconds: f64) {
        let frames = (seconds.max(0.0) * self.rate) as usize;
        let samples = (frames * self.channels()).min(self.parts.frames.slots());
        if let Ok(chunk) = self.parts.frames.read_chunk(samples) {
            chunk.commit_all();
            self.read += (samples / self.channels()) as u64;
        }
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

impl AudioSource for DeviceSource {
    fn format(&self) -> AudioFormat {
        self.parts.format
    }

    fn read(&mut self, out: &mut [f32]) -> Result<ReadResult> {
        self.parts.health.check()?;
        let now = self.parts.clock.now();
        if self.last_read.is_some_and(|last| now.saturating_duration_since(last) > STALE) {
            self.schedule = Schedule::Filling { is_stale: true };
            self.taken = self.block.len();
        }
        self.last_read = Some(now);
        while let Ok(stamp) = self.parts.stamps.pop() {
            self.device.update(stamp);
        }
        let (mut samples, mut at) = (0, None);
        while samples < out.len() && (self.taken < self.block.len() || self.next_block(now)) {
            at = at.or_else(|| Some(self.block_at + self.parts.format.duration_of(self.taken)));
            let count = (out.len() - samples).min(self.block.len() - self.taken);
            out[samples..samples + count].copy_from_slice(&self.block[self.taken..self.taken + count]);
            samples += count;
            self.taken += count;
        }
        Ok(ReadResult::captured(samples, at.unwrap_or(now)))
    }

    fn latency(&self) -> Duration {
        self.latency
    }
}

impl Drop for DeviceSource {
    fn drop(&mut self) {
        self.parts.stream.log_end("microphone", &self.parts.health, self.control.drift_ppm());
    }
}
