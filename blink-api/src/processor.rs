//! Echo cancelling, noise suppression, gain.

use serde::Serialize;

use crate::{AudioFormat, Result};

/// Makes processors; each call has its own.
pub trait AudioProcessorFactory: Send + Sync {
    /// What its processors can do. The same value its registry entry has.
    fn capabilities(&self) -> ProcessorCapabilities;

    /// A fresh processor for sound in this format.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for a format it does not have.
    fn processor(&self, format: AudioFormat) -> Result<Box<dyn AudioProcessor>>;
}

/// What a processor can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ProcessorCapabilities {
    /// Removes the far end from the near end.
    pub echo: bool,
    /// Removes noise.
    pub noise: bool,
    /// Evens out loudness.
    pub gain: bool,
}

/// Works on 10 ms of interleaved samples at a time. Used by one thread, which it never blocks.
pub trait AudioProcessor: Send {
    /// Sees what is about to be played.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for another number of samples than 10 ms.
    fn render(&mut self, far_end: &[f32]) -> Result<()>;

    /// Changes what was captured, in place.
    ///
    /// # Errors
    /// As [`render`](AudioProcessor::render).
    fn capture(&mut self, near_end: &mut [f32]) -> Result<()>;
}
