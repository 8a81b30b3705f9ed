//! Configuration `[media_hosts.synthetic]`.

use blink_api::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::NAME;

/// Configuration `[media_hosts.synthetic]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyntheticConfig {
    /// Level of tones and noise in dB relative to a full-scale sine: −90 to 0.
    pub level: f32,
    /// Maximum duration of a file in seconds: 1 to 7,200. Files are held in memory: 11.5 MB per
    /// minute of audio at 48 kHz mono.
    pub longest_file: u32,
}

impl Default for SyntheticConfig {
    fn default() -> Self {
        Self { level: -20.0, longest_file: 600 }
    }
}

impl SyntheticConfig {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) with the key.
    pub fn check(&self) -> Result<()> {
        let invalid = |why: &'static str, key: &'static str| {
            Err(Error::new(ErrorKind::Invalid, why).backend(NAME).with("key", key))
        };
        if !(-90.0..=0.0).contains(&self.level) {
            return invalid("the level must be -90 to 0 dB", "media_hosts.synthetic.level");
        }
        if !(1..=7_200).contains(&self.longest_file) {
            return invalid(
                "the maximum file duration must be 1 to 7200 seconds",
                "media_hosts.synthetic.longest_file",
            );
        }
        Ok(())
    }

    /// Amplitude of a sine at the configured level.
    pub(crate) fn amplitude(&self) -> f32 {
        10f32.powf(self.level / 20.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_refused_by_key() {
        SyntheticConfig::default().check().unwrap();
        for level in [0.1, -91.0, f32::NAN] {
            let error = SyntheticConfig { level, ..SyntheticConfig::default() }.check().unwrap_err();
            assert!(error.to_string().contains("media_hosts.synthetic.level"), "{error}");
        }
        for longest_file in [0, 7_201] {
            let error = SyntheticConfig { longest_file, ..SyntheticConfig::default() }.check().unwrap_err();
            assert!(error.to_string().contains("media_hosts.synthetic.longest_file"), "{error}");
        }
    }
}
