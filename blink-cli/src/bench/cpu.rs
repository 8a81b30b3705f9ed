//! CPU time of a thread.

use std::time::{Duration, Instant};

/// CPU time of this thread since a point in time; wall-clock time if the system does not provide
/// it.
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

/// CPU time in nanoseconds on Linux (`Documentation/scheduler/sched-stats.rst`,
/// `/proc/<pid>/schedstat`, first field).
fn of_this_thread() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}
