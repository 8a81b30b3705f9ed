//! Configuration `[media_hosts.cpal]`.

use std::ops::RangeInclusive;

use blink_api::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::NAME;

/// Callback periods that can be requested, in milliseconds.
const PERIODS_MS: RangeInclusive<u16> = 1..=500;

/// Configuration `[media_hosts.cpal]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CpalConfig {
    /// The sound system.
    pub system: SoundSystem,
    /// Requested time between two callbacks of a device in milliseconds, 1 to 500. A device that
    /// cannot do that uses its nearest one. Each millisecond is one of delay in both directions.
    pub period_ms: u16,
}

impl Default for CpalConfig {
    fn default() -> Self {
        Self { system: SoundSystem::Auto, period_ms: 5 }
    }
}

impl CpalConfig {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) with the key.
    pub fn check(&self) -> Result<()> {
        if PERIODS_MS.contains(&self.period_ms) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Invalid, "the period must be 1 to 500 milliseconds")
            .backend(NAME)
            .with("key", "media_hosts.cpal.period_ms"))
    }
}

/// Sound system that devices are opened through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SoundSystem {
    /// The first that answers of PipeWire, PulseAudio and the platform's own (ALSA on Linux).
    #[default]
    Auto,
    /// A PulseAudio server, or PipeWire in its place.
    Pulse,
    /// PipeWire: by its own protocol with the cargo feature `pipewire`, else through its PulseAudio
    /// server.
    Pipewire,
    /// ALSA on Linux; on other platforms, the platform's own sound system.
    Alsa,
    /// A JACK server. Needs the cargo feature `jack`.
    Jack,
}

impl SoundSystem {
    /// Name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Pulse => "pulse",
            Self::Pipewire => "pipewire",
            Self::Alsa => "alsa",
            Self::Jack => "jack",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_out_of_range_are_refused_by_key() {
        CpalConfig::default().check().unwrap();
        for period_ms in [0, 501] {
            let error = CpalConfig { period_ms, ..CpalConfig::default() }.check().unwrap_err();
            assert!(error.to_string().contains("media_hosts.cpal.period_ms"), "{error}");
        }
    }
}
