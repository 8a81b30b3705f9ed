//! Configuration `[transports.str0m]`.

use std::time::Duration;

use blink_api::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::NAME;

/// Configuration `[transports.str0m]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Str0mConfig {
    /// Interval of consent checks (RFC 7675) and round-trip measurements. The path counts as lost
    /// after about eight missed responses.
    #[serde(with = "humantime_serde")]
    pub check_interval: Duration,
    /// DTLS versions to negotiate.
    pub dtls: DtlsVersion,
    /// Bandwidth estimation by transport-wide congestion control, which also paces video. Otherwise
    /// the engine's own receiver reports are used, at almost no cost.
    pub bandwidth_estimate: bool,
}

/// DTLS version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum DtlsVersion {
    /// DTLS 1.2 (RFC 6347), which every WebRTC stack supports.
    #[serde(rename = "1.2")]
    V1_2,
    /// DTLS 1.3 (RFC 9147), whose handshake takes a round trip less.
    #[serde(rename = "1.3")]
    V1_3,
    /// DTLS 1.3 where both ends support it, otherwise 1.2.
    #[default]
    #[serde(rename = "auto")]
    Auto,
}

impl Default for Str0mConfig {
    fn default() -> Self {
        Self { check_interval: Duration::from_secs(1), dtls: DtlsVersion::default(), bandwidth_estimate: false }
    }
}

impl Str0mConfig {
    /// Checks the values.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for an interval that would flood the path or let its NAT
    /// bindings expire.
    pub(crate) fn check(&self) -> Result<()> {
        if (Duration::from_millis(250)..=Duration::from_secs(15)).contains(&self.check_interval) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Invalid, "must be from 250ms to 15s")
            .backend(NAME)
            .with("key", "transports.str0m.check_interval"))
    }
}
