//! The report of one media section, as the two ends of a path exchange it.

use blink_api::Mid;
use web_time::Duration;

/// How what is sent on one media section arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectionReport {
    /// The media section.
    pub mid: Mid,
    /// Packets that were sent, by their sequence numbers.
    pub expected: u32,
    /// Those of them that were lost.
    pub lost: u32,
    /// Runs of lost packets.
    pub runs: u32,
    /// Interarrival jitter (RFC 3550 §6.4.1).
    pub jitter: Duration,
    /// Delay that every packet had, beyond the shortest.
    pub delay: Duration,
    /// Bytes of payload that arrived.
    pub bytes: u32,
}
