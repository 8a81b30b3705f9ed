//! CPU time of the process and its threads (POSIX `clock_gettime`).

use std::time::Duration;

/// CPU time of all threads of this process; `None` if the system does not provide it.
pub(super) fn of_process() -> Option<Duration> {
    #[cfg(unix)]
    return Some(read(rustix::time::ClockId::ProcessCPUTime));
    #[cfg(not(unix))]
    None
}

/// CPU time of this thread; `None` if the system does not provide it.
pub(super) fn of_thread() -> Option<Duration> {
    #[cfg(unix)]
    return Some(read(rustix::time::ClockId::ThreadCPUTime));
    #[cfg(not(unix))]
    None
}

/// CPU time of one call of [`of_thread`].
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
    // CPU time is never negative.
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}
