//! Statistics of sessions.

use std::fmt;

use serde::Serialize;
use web_time::Duration;

/// Statistics of a session since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct SessionStats {
    /// RTP packets sent.
    pub packets_sent: u64,
    /// RTP packets received.
    pub packets_received: u64,
    /// RTP packets lost on the way to this device, by gaps in their sequence numbers.
    pub packets_lost: u64,
    /// RTP payload bytes sent.
    pub bytes_sent: u64,
    /// RTP payload bytes received.
    pub bytes_received: u64,
    /// The newest round trip time; `None` before the first measurement.
    pub round_trip: Option<Duration>,
    /// Whether packets take a detour; `None` before a connection, and where the transport cannot
    /// tell.
    pub path: Option<MediaPath>,
}

/// Path of a session's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MediaPath {
    /// From device to device.
    Direct,
    /// Through a TURN server of either side (RFC 8656).
    Relayed,
}

impl fmt::Display for MediaPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::Relayed => "relayed",
        })
    }
}
