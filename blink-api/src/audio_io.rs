//! Audio devices, files and generators that samples are read from and written to.

use web_time::{Duration, Instant};

use serde::Serialize;

use crate::Result;

/// Interleaved f32 samples in −1.0..=1.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct AudioFormat {
    /// Samples per second and channel.
    pub sample_rate: u32,
    /// Number of channels.
    pub channels: u16,
}

impl AudioFormat {
    /// The format of a call unless configured otherwise: 48 kHz, one channel.
    pub const CALL: Self = Self { sample_rate: 48_000, channels: 1 };

    /// Samples of all channels in a duration, rounded down to whole frames.
    pub fn samples_in(self, duration: Duration) -> usize {
        let frames = u128::from(self.sample_rate) * duration.as_nanos() / 1_000_000_000;
        frames as usize * usize::from(self.channels)
    }

    /// Duration of a number of samples, all channels counted.
    pub fn duration_of(self, samples: usize) -> Duration {
        let samples_per_second = u64::from(self.sample_rate) * u64::from(self.channels);
        let nanos = (samples as u128 * 1_000_000_000).checked_div(u128::from(samples_per_second)).unwrap_or(0);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// Request to open an audio device. A host converts where the device's own format is different.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenRequest {
    /// Sample rate and channels that `read` and `write` will use.
    pub format: AudioFormat,
    /// Duration that is read or written at a time.
    pub period: Duration,
}

impl OpenRequest {
    /// A request for blocks of `period` in a format.
    pub const fn new(format: AudioFormat, period: Duration) -> Self {
        Self { format, period }
    }
}

/// A source of audio: a microphone, a file, a generator. Used by one thread, which it never blocks.
pub trait AudioSource: Send {
    /// The format of the samples that `read` gives.
    fn format(&self) -> AudioFormat;

    /// Reads interleaved samples that were captured, at most `out.len()`.
    ///
    /// * A source with a hardware clock gives what it has, possibly nothing.
    /// * One without (a file, a generator) gives all that is asked; after a file's end it gives
    ///   silence.
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed) where the device is gone, for good.
    fn read(&mut self, out: &mut [f32]) -> Result<ReadResult>;

    /// Delay from the air to `read`, as far as the device knows it.
    fn latency(&self) -> Duration;

    /// Whether the source came to its end, such as a file that is not looped: all later reads give
    /// silence. A source without an end, such as a device, never does.
    fn has_ended(&self) -> bool {
        false
    }
}

/// Result of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadResult {
    /// Samples written to the caller's buffer, all channels counted.
    pub samples: usize,
    /// The time at which the first of them was captured; `None` where the source has no hardware
    /// clock.
    pub at: Option<Instant>,
}

impl ReadResult {
    /// Samples of a source without a hardware clock.
    pub const fn new(samples: usize) -> Self {
        Self { samples, at: None }
    }

    /// Samples of which the first was captured at this time.
    pub const fn captured(samples: usize, at: Instant) -> Self {
        Self { samples, at: Some(at) }
    }
}

/// A destination of audio: a loudspeaker, a file. Used by one thread, which it never blocks.
pub trait AudioSink: Send {
    /// The format of the samples that `write` takes.
    fn format(&self) -> AudioFormat;

    /// Writes interleaved samples and returns how many were taken. The others found no room and
    /// should be dropped.
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed) where the device is gone for good,
    /// [`Io`](crate::ErrorKind::Io) where a file cannot grow.
    fn write(&mut self, samples: &[f32]) -> Result<usize>;

    /// Samples written and not yet played, all channels counted.
    fn queued(&self) -> usize;

    /// Delay from `write` to the air beyond what is queued.
    fn latency(&self) -> Duration;

    /// Completes the output, such as a file's header, so that what was written is kept. Idempotent;
    /// also done by dropping, where errors are lost.
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io).
    fn finish(&mut self) -> Result<()>;
}
