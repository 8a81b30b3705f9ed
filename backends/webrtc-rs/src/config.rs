//! Configuration `[transports.webrtc-rs]`.

use std::time::Duration;

use blink_api::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::NAME;

/// Configuration `[transports.webrtc-rs]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebRtcConfig {
    /// Interval of connectivity checks while there is no path; unanswered ones back off. A set-up
    /// takes one interval longer, because the stack nominates a pair in the one after its response,
    /// and its default of 200 ms would delay the first audio noticeably.
    #[serde(with = "humantime_serde")]
    pub check_interval: Duration,
    /// Time for which a candidate pair is checked without a response.
    #[serde(with = "humantime_serde")]
    pub check_for: Duration,
    /// Interval of consent checks (RFC 7675) and round-trip measurements.
    #[serde(with = "humantime_serde")]
    pub keepalive: Duration,
    /// Time without packets after which the path counts as lost.
    #[serde(with = "humantime_serde")]
    pub disconnected_after: Duration,
}

impl Default for WebRtcConfig {
    fn default() -> Self {
        Self {
            check_interval: Duration::from_millis(10),
            check_for: Duration::from_secs(5),
            keepalive: Duration::from_secs(1),
            disconnected_after: Duration::from_secs(5),
        }
    }
}

impl WebRtcConfig {
    /// Checks the values.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for values that would flood the path or lose it at once.
    pub(crate) fn check(&self) -> Result<()> {
        let invalid = |key, message| Err(Error::new(ErrorKind::Invalid, message).backend(NAME).with("key", key));
        if self.check_interval < Duration::from_millis(5) {
            return invalid("transports.webrtc-rs.check_interval", "must be 5ms or more");
        }
        if self.check_for < self.check_interval {
            return invalid("transports.webrtc-rs.check_for", "must be longer than check_interval");
        }
        if self.keepalive < Duration::from_millis(250) {
            return invalid("transports.webrtc-rs.keepalive", "must be 250ms or more");
        }
        if self.disconnected_after <= self.keepalive {
            return invalid("transports.webrtc-rs.disconnected_after", "must be longer than keepalive");
        }
        // Unbounded durations overflow when added to an instant.
        if self.check_for > Duration::from_secs(600) {
            return invalid("transports.webrtc-rs.check_for", "must be 10min or less");
        }
        if self.disconnected_after > Duration::from_secs(3_600) {
            return invalid("transports.webrtc-rs.disconnected_after", "must be 1h or less");
        }
        Ok(())
    }

    /// Maximum number of checks of a pair.
    pub(crate) fn check_requests(&self) -> u16 {
        let requests = self.check_for.as_millis() / self.check_interval.as_millis().max(1);
        u16::try_from(requests).unwrap_or(u16::MAX)
    }
}
