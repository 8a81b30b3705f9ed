//! How much a thread computed.

use std::time::{Duration, Instant};

/// The processor time of this thread since a point in time; where the system does not tell, simply
/// the time.
pub(super) struct CpuTime {
    began: Instant,
    used: Option<Duration>,
}

impl CpuTime {
    pub(super) fn start() -> Self {
        Self { began: Instant::now(), used: of_this_thread() }
    }

    pub(super) fn elapsed(&self) -> Duration {
        match (self.used, of_this_thread()) {
            (Some(before), Some(now)) => now.saturating_sub(before),
            _ => self.began.elapsed(),
        }
    }
}

/// What Linux counts in nanoseconds (`Documentation/scheduler/sched-stats.rst`,
/// `/proc/<pid>/schedstat`, first field).
fn of_this_thread() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}
