//! The transport's section of the configuration.

use std::time::Duration;

use blink_api::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::NAME;

/// `[transports.str0m]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Str0mConfig {
    /// How often a working path is checked (RFC 7675), which is also how fresh the round trip time
    /// is. A path counts as lost after about eight checks without an answer.
    #[serde(with = "humantime_serde")]
    pub check_interval: Duration,
    /// Which versions of DTLS to speak.
    pub dtls: DtlsVersion,
    /// Estimate what the path carries from what the other side tells of every packet
    /// (transport-wide congestion control), and pace pictures by it. Otherwise the receivers'
    /// reports of the engine have to do, which cost next to nothing.
    pub bandwidth_estimate: bool,
}

/// Versions of DTLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum DtlsVersion {
    /// RFC 6347, which every WebRTC stack speaks.
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
    /// RFC 9147.
    #[serde(rename = "1.3")]
    V1_3,
    /// The one the other side begins with.
    #[serde(rename = "auto")]
    Auto,
}

impl Default for Str0mConfig {
    fn default() -> Self {
        Self { check_interval: Duration::from_secs(1), dtls: DtlsVersion::default(), bandwidth_estimate: false }
    }
}

impl Str0mConfig {
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
