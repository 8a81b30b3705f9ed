//! CPU steal time of a virtual machine, which interrupts audio whatever the call does.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Sampling interval.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(10);
/// Unit of the system's counters: `USER_HZ`, 100 per second on Linux.
const TICK: Duration = Duration::from_millis(10);

/// Steal time: time in which the host ran other machines while a task of this one was ready to run.
/// Load within this machine does not count.
#[derive(Default)]
pub(crate) struct Stalls(Mutex<Vec<Stall>>);

/// Steal time between two samples, over all processors.
struct Stall {
    looks: Range<Instant>,
    missing: Duration,
}

impl Stalls {
    /// Stalls of this machine, sampled from the first call in the process on. Empty on systems
    /// without steal time.
    pub(crate) fn watched() -> &'static Self {
        static STALLS: Stalls = Stalls(Mutex::new(Vec::new()));
        static WATCH: OnceLock<()> = OnceLock::new();
        WATCH.get_or_init(|| {
            let Some(before) = stolen() else { return };
            let watch = move || STALLS.watch(before);
            if let Err(error) = std::thread::Builder::new().name("blink-stalls".to_owned()).spawn(watch) {
                tracing::warn!(%error, "cannot sample CPU stalls");
            }
        });
        &STALLS
    }

    /// Stall time that overlaps a time range, at most the length of the range.
    pub(crate) fn within(&self, stretch: Range<Instant>) -> Duration {
        let meets = |stall: &&Stall| stall.looks.start < stretch.end && stall.looks.end > stretch.start;
        let missing: Duration = self.list().iter().filter(meets).map(|stall| stall.missing).sum();
        missing.min(stretch.end.saturating_duration_since(stretch.start))
    }

    fn watch(&self, mut before: Duration) {
        let mut looked = Instant::now();
        loop {
            std::thread::sleep(SAMPLE_INTERVAL);
            let Some(now_stolen) = stolen() else { return };
            let looks = std::mem::replace(&mut looked, Instant::now())..looked;
            let missing = now_stolen.saturating_sub(std::mem::replace(&mut before, now_stolen));
            if !missing.is_zero() {
                self.list().push(Stall { looks, missing });
            }
        }
    }

    fn list(&self) -> MutexGuard<'_, Vec<Stall>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Steal time of all processors since boot (proc_stat(5)); `None` on systems without it.
fn stolen() -> Option<Duration> {
    steal_in(&std::fs::read_to_string("/proc/stat").ok()?)
}

/// Eighth number of the first link: user, nice, system, idle, iowait, irq, softirq, steal.
fn steal_in(stat: &str) -> Option<Duration> {
    let ticks: u32 = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().nth(7)?.parse().ok()?;
    Some(TICK * ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stall_time_counts_overlapping_samples_and_at_most_the_range() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let ms = Duration::from_millis;
        let stalls = Stalls::default();
        for (from, to, missing) in [(10, 30, 20), (30, 40, 10), (200, 300, 100)] {
            stalls.list().push(Stall { looks: at(from)..at(to), missing: ms(missing) });
        }
        for (from, to, total) in [(0, 100, 30), (35, 60, 10), (40, 90, 0), (0, 1_000, 130), (250, 270, 20)] {
            assert_eq!(stalls.within(at(from)..at(to)), ms(total), "{from} to {to}");
        }
    }

    #[test]
    fn steal_time_is_parsed_from_proc_stat() {
        let stat =
            "cpu  2596583 17826 180745 2206056 27660 0 5157 86718 0 0\ncpu0 1292649 8652 87133 1 2 0 3 43000 0 0\n";
        assert_eq!(steal_in(stat), Some(Duration::from_millis(867_180)));
        for other in ["", "cpu  1 2 3 4 5 6 7\n", "cpu  1 2 3 4 5 6 7 x 0 0\n", "intr 1 2 3 4 5 6 7 8 9\n"] {
            assert_eq!(steal_in(other), None, "{other}");
        }
    }
}
