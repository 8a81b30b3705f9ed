//! Configuration of a jitter buffer.

use web_time::Duration;

use blink_api::Preference;

/// Configuration of a [`JitterBuffer`](super::JitterBuffer).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JitterConfig {
    /// RTP ticks per second; 48,000 for Opus (RFC 7587 §4.1). Not 0.
    pub clock_rate: u32,
    /// Delay from a packet's arrival to its decoding: packets that are slower than the fastest by
    /// less than this are in time. With `adapt`, the delay to begin with.
    pub delay: Duration,
    /// Range within which the delay follows the network; `None` for a fixed delay.
    pub adapt: Option<DelayRange>,
    /// Preference of an adapting delay: short, or long enough for nearly every packet.
    pub prefer: Preference,
    /// Most packets held. Where one more comes, the oldest is dropped.
    pub max_packets: usize,
}

/// Delays that an adapting buffer may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DelayRange {
    /// Delay on a network without jitter.
    pub shortest: Duration,
    /// Delay on the worst network; not less than `shortest`.
    pub longest: Duration,
}

impl Default for DelayRange {
    fn default() -> Self {
        Self { shortest: Duration::from_millis(10), longest: Duration::from_millis(250) }
    }
}

impl Default for JitterConfig {
    fn default() -> Self {
        Self {
            clock_rate: 48_000,
            delay: Duration::from_millis(40),
            adapt: None,
            prefer: Preference::Latency,
            max_packets: 150,
        }
    }
}
