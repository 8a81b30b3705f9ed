//! The recorders' sections of the configuration.

use blink_api::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// Smallest limit of a file's size that makes sense, in bytes.
const SMALLEST_FILE: u64 = 64 << 10;

/// Sample format of WAV files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SampleFormat {
    /// 16-bit integers.
    #[default]
    Int16,
    /// 32-bit floats.
    Float32,
}

/// `[recorders.wav]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WavConfig {
    /// Sample format.
    pub format: SampleFormat,
    /// Whether a mix of all tracks is written, too.
    pub mix: bool,
    /// Size in bytes at which a track continues in a new file, at most 4,000,000,000: lengths in
    /// WAV files have 32 bits.
    pub max_file_bytes: u64,
}

impl WavConfig {
    const LARGEST_FILE: u64 = 4_000_000_000;

    pub(crate) fn check(&self) -> Result<()> {
        if (SMALLEST_FILE..=Self::LARGEST_FILE).contains(&self.max_file_bytes) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Invalid, "a WAV file has 65,536 to 4,000,000,000 bytes")
            .with("max_file_bytes", self.max_file_bytes))
    }
}

impl Default for WavConfig {
    fn default() -> Self {
        Self { format: SampleFormat::Int16, mix: false, max_file_bytes: Self::LARGEST_FILE }
    }
}

/// `[recorders.mp4]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mp4Config {
    /// Bytes reserved for the description of the tracks, about 600 each. Tracks beyond that go to a
    /// second file.
    pub reserve: u32,
}

impl Mp4Config {
    pub(crate) fn check(&self) -> Result<()> {
        if (4 << 10..=1 << 20).contains(&self.reserve) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Invalid, "the reserve has 4,096 to 1,048,576 bytes").with("reserve", self.reserve))
    }
}

impl Default for Mp4Config {
    fn default() -> Self {
        Self { reserve: 16 << 10 }
    }
}

/// `[recorders.rtp-log]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RtpLogConfig {
    /// Whether payloads are kept: the log then holds what was said.
    pub payload: bool,
    /// Size in bytes at which the log continues in a new file, at most 1,073,741,824, which is what
    /// the tools read.
    pub max_file_bytes: u64,
}

impl RtpLogConfig {
    /// Bytes of a log that the tools read at most.
    pub(crate) const LARGEST_FILE: u64 = 1 << 30;

    pub(crate) fn check(&self) -> Result<()> {
        if (SMALLEST_FILE..=Self::LARGEST_FILE).contains(&self.max_file_bytes) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Invalid, "an RTP log has 65,536 to 1,073,741,824 bytes")
            .with("max_file_bytes", self.max_file_bytes))
    }
}

impl Default for RtpLogConfig {
    fn default() -> Self {
        Self { payload: false, max_file_bytes: 256 << 20 }
    }
}
