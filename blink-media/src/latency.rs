//! Latencies that devices and processors report, within what can be true.

use web_time::Duration;

/// Greatest latency that is believed: that of wireless loudspeakers is some 300 ms.
pub(crate) const MAX_LATENCY: Duration = Duration::from_secs(2);

/// A reported latency, bounded: it comes from a driver, and is added to times.
pub(crate) fn believed(reported: Duration) -> Duration {
    reported.min(MAX_LATENCY)
}
