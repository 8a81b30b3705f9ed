//! Configuration `[processors.sonora]` and `[processors.nnnoiseless]`.

use serde::{Deserialize, Serialize};

use blink_api::{Error, ErrorKind, Result};

/// Configuration `[processors.sonora]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SonoraConfig {
    /// Whether the echo of the loudspeaker is cancelled in the microphone.
    pub echo_cancellation: bool,
    /// Whether noise is suppressed. Includes the high-pass filter, which the library's suppressor
    /// needs. `nnnoiseless` suppresses noise better and harms speech less.
    pub noise_suppression: bool,
    /// Strength of the noise suppression.
    pub noise_suppression_level: NoiseSuppressionLevel,
    /// Whether frequencies below about 100 Hz are removed: rumble and hum, and a part of deep
    /// voices.
    pub high_pass_filter: bool,
    /// Whether the level of speech is controlled.
    pub gain_control: bool,
    /// Maximum gain in dB, 0 to 50.
    pub max_gain_db: f32,
    /// Distance of speech peaks from full scale in dB, 1 to 30.
    pub headroom_db: f32,
}

/// Strength of the noise suppression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoiseSuppressionLevel {
    /// About 6 dB.
    Low,
    /// About 12 dB.
    #[default]
    Moderate,
    /// About 18 dB.
    High,
    /// About 21 dB.
    VeryHigh,
}

impl Default for SonoraConfig {
    fn default() -> Self {
        Self {
            echo_cancellation: true,
            noise_suppression: false,
            noise_suppression_level: NoiseSuppressionLevel::default(),
            high_pass_filter: false,
            gain_control: true,
            max_gain_db: 30.0,
            headroom_db: 5.0,
        }
    }
}

impl SonoraConfig {
    pub(crate) fn check(&self) -> Result<()> {
        in_range("processors.sonora.max_gain_db", self.max_gain_db, 0.0, 50.0)?;
        in_range("processors.sonora.headroom_db", self.headroom_db, 1.0, 30.0)?;
        if !(self.echo_cancellation || self.noise_suppression || self.high_pass_filter || self.gain_control) {
            let why = "everything is switched off: remove `sonora` from `processor` instead";
            return Err(Error::new(ErrorKind::Invalid, why).with("key", "processors.sonora"));
        }
        Ok(())
    }
}

fn in_range(key: &'static str, value: f32, low: f32, high: f32) -> Result<()> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Invalid, format!("expected {low} to {high} dB")).with("key", key).with("value", value))
}

/// Configuration `[processors.nnnoiseless]`, without keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NnnoiselessConfig {}
