//! Failures while capturing.

use std::fmt;

use blink_api::Error;

/// A failure while capturing. Each is reported once, and capturing goes on.
#[derive(Debug)]
pub enum CaptureFault {
    /// The source failed: silence replaces it, until it has samples again or
    /// [`Capture::set_source`](super::Capture::set_source).
    Source(Error),
    /// A processor failed and was removed.
    Processor(Error),
    /// The encoder failed; the frame is not sent.
    Encoder(Error),
}

impl fmt::Display for CaptureFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(error) => write!(f, "the source failed: {error}"),
            Self::Processor(error) => write!(f, "a processor failed: {error}"),
            Self::Encoder(error) => write!(f, "the encoder failed: {error}"),
        }
    }
}

impl std::error::Error for CaptureFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Source(error) | Self::Processor(error) | Self::Encoder(error) => Some(error),
        }
    }
}
