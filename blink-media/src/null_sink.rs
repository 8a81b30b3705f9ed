//! A speaker that plays nothing.

use web_time::Duration;

use blink_api::{AudioFormat, AudioSink, Result};

/// Drops what it takes, for a call without a speaker.
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
