//! Sink of a call without a speaker.

use web_time::Duration;

use blink_api::{AudioFormat, AudioSink, Result};

/// Sink that discards all samples, for a call that has no speaker or none at the moment.
///
/// It has no device behind it: it never fails and never ends, also after `finish`. The device
/// `null` of the synthetic media host is another sink, which fails after `finish` as devices do.
#[derive(Debug, Clone, Copy)]
pub struct NullSink {
    format: AudioFormat,
}

impl NullSink {
    /// A sink in this format.
    pub fn new(format: AudioFormat) -> Self {
        Self { format }
    }
}

impl AudioSink for NullSink {
    fn format(&self) -> AudioFormat {
        self.format
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
