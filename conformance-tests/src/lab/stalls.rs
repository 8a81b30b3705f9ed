//! When the machine stood still: nobody is heard then, whatever the call does.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How often each processor is looked at.
const BEAT: Duration = Duration::from_millis(10);
/// Less is how exactly threads are woken.
const STALL: Duration = Duration::from_millis(5);

/// Stretches of time in which a processor of this machine ran nothing: a virtual machine's may be taken away. One on which too much runs does not stand still.
#[derive(Default)]
pub(crate) struct Stalls(Mutex<Vec<Range<Instant>>>);

impl Stalls {
    /// Those of this machine, from the first time this is called in a process on.
    pub(crate) fn watched() -> &'static Self {
        static STALLS: Stalls = Stalls(Mutex::new(Vec::new()));
        static WATCH: OnceLock<()> = OnceLock::new();
        WATCH.get_or_init(|| {
            for processor in processors() {
                let watch = move || {
                    stay_on(processor);
                    STALLS.watch();
                };
                if let Err(error) = std::thread::Builder::new().name("blink-stalls".to_owned()).spawn(watch) {
                    tracing::warn!(%error, "nobody sees whether the machine stands still");
                }
            }
        });
        &STALLS
    }

    /// How much of a stretch of time is in stalls.
    pub(crate) fn within(&self, stretch: Range<Instant>) -> Duration {
        let mut stalls: Vec<_> = self.list().iter().filter(|stall| stall.end > stretch.start).cloned().collect();
        stalls.sort_by_key(|stall| stall.start);
        let (mut counted_to, mut total) = (stretch.start, Duration::ZERO);
        for stall in stalls {
            let (start, end) = (stall.start.max(counted_to), stall.end.min(stretch.end));
            total += end.saturating_duration_since(start);
            counted_to = counted_to.max(end);
        }
        total
    }

    fn watch(&self) -> ! {
        loop {
            let (due, queued) = (Instant::now() + BEAT, queued());
            std::thread::sleep(BEAT);
            let now = Instant::now();
            // What this thread waited behind others is no stall, and came last.
            let behind = self::queued().saturating_sub(queued);
            let end = now.checked_sub(behind).unwrap_or(now);
            if end >= due + STALL {
                self.list().push(due..end);
            }
        }
    }

    fn list(&self) -> MutexGuard<'_, Vec<Range<Instant>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For how long this thread was ready and others ran; zero where the system does not tell.
fn queued() -> Duration {
    // Linux: nanoseconds on a processor, nanoseconds ready to run, turns.
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = told.split_whitespace().nth(1).and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// The processors that this process may use; numbers without a meaning where the system does not tell.
fn processors() -> Vec<usize> {
    #[cfg(target_os = "linux")]
    if let Ok(usable) = rustix::thread::sched_getaffinity(None) {
        return (0..rustix::thread::CpuSet::MAX_CPU).filter(|processor| usable.is_set(*processor)).collect();
    }
    (0..std::thread::available_parallelism().map_or(1, usize::from)).collect()
}

/// Keeps this thread on one processor, where the system can.
fn stay_on(processor: usize) {
    #[cfg(target_os = "linux")]
    {
        let mut only = rustix::thread::CpuSet::new();
        only.set(processor);
        if let Err(error) = rustix::thread::sched_setaffinity(None, &only) {
            tracing::debug!(%error, processor, "a processor is not looked at by itself");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = processor;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stalls_count_once_and_only_within_the_stretch() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let stalls = Stalls::default();
        for (from, to) in [(90, 120), (10, 30), (20, 50), (25, 35), (200, 300)] {
            stalls.list().push(at(from)..at(to));
        }
        for (from, to, total) in [(0, 100, 50), (40, 60, 10), (50, 90, 0), (100, 1_000, 120), (120, 110, 0)] {
            assert_eq!(stalls.within(at(from)..at(to)), Duration::from_millis(total), "{from} to {to}");
        }
    }
}
