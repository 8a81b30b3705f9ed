//! `[call.audio]`: sending of audio.

use web_time::Duration;

use serde::{Deserialize, Serialize};

use crate::{AudioFormat, Error, ErrorKind, Result};

/// `[call.audio]`: sending of audio.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AudioSettings {
    /// Duration of a packet: 10, 20, 40 or 60 ms. Short packets reduce delay, long ones reduce
    /// overhead.
    #[serde(with = "humantime_serde")]
    pub frame: Duration,
    /// Number of channels that are captured, sent and played: 1 or 2.
    pub channels: u16,
    /// Maximum bitrate in bits per second before redundancy, 6,000 to 510,000, for codecs of
    /// variable bitrate; absent: the codec's own setting.
    pub bitrate: Option<u32>,
}

impl Default for AudioSettings {
    fn default() -> Self {
        Self { frame: Duration::from_millis(20), channels: 1, bitrate: None }
    }
}

impl AudioSettings {
    /// Format of captured and played audio: 48 kHz with the configured channels.
    pub fn format(&self) -> AudioFormat {
        AudioFormat { channels: self.channels, ..AudioFormat::CALL }
    }

    /// Checks what can be checked without a codec.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for values out of range, naming the key.
    pub fn check(&self) -> Result<()> {
        if ![10, 20, 40, 60].map(Duration::from_millis).contains(&self.frame) {
            let frame = format!("{:?}", self.frame);
            return Err(out_of_range("a frame lasts 10, 20, 40 or 60 ms", "frame").with("value", frame));
        }
        if !(1..=2).contains(&self.channels) {
            return Err(out_of_range("there are one or two channels", "channels").with("value", self.channels));
        }
        match self.bitrate {
            Some(bitrate) if !(6_000..=510_000).contains(&bitrate) => {
                let why = "the bitrate is 6,000 to 510,000 bits per second";
                Err(out_of_range(why, "bitrate").with("value", bitrate))
            }
            _ => Ok(()),
        }
    }
}

fn out_of_range(why: &'static str, key: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, why).with("key", format!("call.audio.{key}"))
}
