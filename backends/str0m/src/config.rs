//! Configuration `[transports.str0m]`.

use std::fmt;
use std::time::Duration;

use blink_api::{Error, ErrorKind, Result};
use blink_transport_kit::handshake;
use serde::de::{self, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

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

/// DTLS version. In configurations also a number, `1.2` or `1.3`, as on a command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
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

impl<'de> Deserialize<'de> for DtlsVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(VersionVisitor)
    }
}

#[derive(Clone, Copy)]
struct VersionVisitor;

impl Visitor<'_> for VersionVisitor {
    type Value = DtlsVersion;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`1.2`, `1.3` or `auto`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<DtlsVersion, E> {
        match text {
            "1.2" => Ok(DtlsVersion::V1_2),
            "1.3" => Ok(DtlsVersion::V1_3),
            "auto" => Ok(DtlsVersion::Auto),
            other => Err(E::unknown_variant(other, &["1.2", "1.3", "auto"])),
        }
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> std::result::Result<DtlsVersion, E> {
        // The shortest text of the number that was written.
        self.visit_str(&number.to_string()).map_err(|_: E| E::invalid_value(Unexpected::Float(number), &self))
    }
}

impl DtlsVersion {
    /// The versions that are negotiated.
    pub(crate) fn versions(self) -> &'static [handshake::DtlsVersion] {
        use handshake::DtlsVersion::{V1_2, V1_3};
        match self {
            Self::V1_2 => &[V1_2],
            Self::V1_3 => &[V1_3],
            Self::Auto => &[V1_2, V1_3],
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_texts_or_numbers() {
        let read = |text: &str| serde_json::from_str::<DtlsVersion>(text);
        for (text, version) in [
            ("\"1.2\"", DtlsVersion::V1_2),
            ("1.2", DtlsVersion::V1_2),
            ("1.3", DtlsVersion::V1_3),
            ("\"auto\"", DtlsVersion::Auto),
        ] {
            assert_eq!(read(text).unwrap(), version, "{text}");
        }
        for text in ["1.4", "1", "\"1.4\"", "null", "true", "1.2e30"] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains("`1.2`") && error.contains("`auto`"), "{text}: {error}");
        }
        assert_eq!(serde_json::to_string(&DtlsVersion::V1_3).unwrap(), "\"1.3\"");
    }
}
