//! A speaker that is not there.

use std::time::Duration;

use blink_api::{AudioFormat, MediaSink, Result};

/// Takes sound in [`AudioFormat::CALL`] and throws it away, for a call without a speaker.
#[derive(Debug, Clone, Copy, Default)]
pub struct NullSink;

impl MediaSink for NullSink {
    fn format(&self) -> AudioFormat {
        AudioFormat::CALL
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
