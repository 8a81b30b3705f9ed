//! Devices that a call no longer uses.

use std::fmt;

use blink_api::{AudioSink, AudioSource};

/// A device that is no longer in use. A call never drops one itself: a device whose daemon is gone
/// may block for good, and audio must not wait.
#[must_use = "the device stays open until it is closed"]
pub enum RetiredDevice {
    /// A microphone, or the source of an audio stream.
    Source(Box<dyn AudioSource>),
    /// A speaker.
    Sink(Box<dyn AudioSink>),
}

impl RetiredDevice {
    /// Completes its output, such as a file, and closes it. May block for as long as the device
    /// hangs.
    pub fn close(self) {
        if let Self::Sink(mut sink) = self
            && let Err(error) = sink.finish()
        {
            tracing::error!(%error, "the output of a speaker could not be completed");
        }
    }
}

impl fmt::Debug for RetiredDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source(_) => "RetiredDevice::Source",
            Self::Sink(_) => "RetiredDevice::Sink",
        })
    }
}
