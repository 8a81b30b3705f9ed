//! How much the process and its threads computed (POSIX `clock_gettime`).

use std::time::Duration;

/// Processor time of all threads of this process up to now; `None` where the system does not tell.
pub(super) fn of_process() -> Option<Duration> {
    #[cfg(unix)]
    return Some(read(rustix::time::ClockId::ProcessCPUTime));
    #[cfg(not(unix))]
    None
}

/// Processor time of this thread up to now; `None` where the system does not tell.
pub(super) fn of_thread() -> Option<Duration> {
    #[cfg(unix)]
    return Some(read(rustix::time::ClockId::ThreadCPUTime));
    #[cfg(not(unix))]
    None
}

/// How much processor time [`of_thread`] takes.
pub(super) fn reading() -> Duration {
    const READINGS: u32 = 10_000;
    let before = of_thread().unwrap_or_default();
    for _ in 1..READINGS {
        std::hint::black_box(of_thread());
    }
    of_thread().unwrap_or_default().saturating_sub(before) / READINGS
}

#[cfg(unix)]
fn read(clock: rustix::time::ClockId) -> Duration {
    let time = rustix::time::clock_gettime(clock);
    // Neither is ever negative.
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}
