//! A microphone that captures silence.

use web_time::Duration;

use blink_api::{AudioFormat, AudioSource, ReadResult, Result};

/// Gives silence, for a call without a microphone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NullSource {
    format: AudioFormat,
}

impl NullSource {
    /// A source of silence in this format.
    pub(crate) fn new(format: AudioFormat) -> Self {
        Self { format }
    }
}

impl AudioSource for NullSource {
    fn format(&self) -> AudioFormat {
        self.format
    }

    fn read(&mut self, out: &mut [f32]) -> Result<ReadResult> {
        out.fill(0.0);
        Ok(ReadResult::new(out.len()))
    }

    fn latency(&self) -> Duration {
        Duration::ZERO
    }
}
