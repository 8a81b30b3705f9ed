//! Audio processing between a device and a codec: echo cancellation, noise suppression, gain
//! control.

use web_time::{Duration, Instant};

use serde::Serialize;

use crate::{AudioFormat, Result};

/// A kind of audio processing. Each call has a processor of its own.
pub trait AudioProcessorFactory: Send + Sync {
    /// Capabilities of its processors as configured: at most those of the registry entry, as
    /// configuration may switch abilities off.
    fn capabilities(&self) -> ProcessorCapabilities;

    /// A new processor for audio in this format.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for a format that it does not support.
    fn processor(&self, format: AudioFormat) -> Result<Box<dyn AudioProcessor>>;
}

/// Capabilities of a processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ProcessorCapabilities {
    /// Cancellation of the far end's echo in the near end.
    pub echo_cancellation: bool,
    /// Noise suppression.
    pub noise_suppression: bool,
    /// Automatic gain control.
    pub gain_control: bool,
}

impl ProcessorCapabilities {
    /// No capability: the base for entries, which stay valid when a field is added.
    pub const NONE: Self = Self { echo_cancellation: false, noise_suppression: false, gain_control: false };
}

/// A processor of 10 ms blocks of interleaved samples. Used by one thread, which it never blocks,
/// and free of allocations in the steady state.
///
/// Both directions carry times of one clock. Their difference is the delay of the acoustic path
/// that an echo canceller has to span: a block that is played at `t` reaches the microphone at `t`
/// plus the time in the air, and is captured with that time.
pub trait AudioProcessor: Send {
    /// Takes a block of the far end, before it is played.
    ///
    /// * `far_end` is the final signal: mixed, with volumes applied, limited.
    /// * `at` is the time at which its first sample leaves the loudspeaker, with the device's queue
    ///   and latency counted in.
    /// * Every block that is played comes, also while nothing is captured.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for another number of samples than 10 ms.
    fn render(&mut self, far_end: &[f32], at: Instant) -> Result<()>;

    /// Processes a block of the near end in place.
    ///
    /// * `at` is the time at which its first sample reached the microphone, with the device's
    ///   latency counted in.
    /// * Blocks follow each other without gaps until [`reset`](AudioProcessor::reset).
    ///
    /// # Errors
    /// As [`render`](AudioProcessor::render).
    fn capture(&mut self, near_end: &mut [f32], at: Instant) -> Result<()>;

    /// Discards what was learned of the acoustic path and all buffered audio, such as after a
    /// device change.
    fn reset(&mut self);

    /// Delay from a block that goes into [`capture`](AudioProcessor::capture) to the same audio
    /// that comes out.
    fn delay(&self) -> Duration;
}
