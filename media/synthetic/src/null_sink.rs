//! The device `null`: a speaker that discards all audio.

use std::time::Duration;

use blink_api::{AudioFormat, AudioSink, Error, ErrorKind, Result};

use crate::NAME;

/// Speaker that discards all samples and otherwise behaves as a device: it fails once it is
/// finished.
///
/// Calls without a speaker use `NullSink` of `blink-media` instead, which has no device and never
/// fails.
pub(crate) struct NullSink {
    format: AudioFormat,
    finished: bool,
}

impl NullSink {
    pub(crate) fn new(format: AudioFormat) -> Self {
        Self { format, finished: false }
    }
}

impl AudioSink for NullSink {
    fn format(&self) -> AudioFormat {
        self.format
    }

    fn write(&mut self, samples: &[f32]) -> Result<usize> {
        if self.finished {
            return Err(Error::new(ErrorKind::Closed, "the sink is finished").backend(NAME).operation("write"));
        }
        Ok(samples.len())
    }

    fn queued(&self) -> usize {
        0
    }

    fn latency(&self) -> Duration {
        Duration::ZERO
    }

    fn finish(&mut self) -> Result<()> {
        self.finished = true;
        Ok(())
    }
}
