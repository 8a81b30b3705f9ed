//! When a virtual machine's processors were taken away: nobody is heard then, whatever the call
//! does.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How often the system is asked.
const BEAT: Duration = Duration::from_millis(10);
/// What the system counts in: `USER_HZ`, 100 a second on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// Time that the host of this virtual machine ran others in, while something here was ready to run.
/// A machine on which too much runs does not stand still.
#[derive(Default)]
pub(crate) struct Stalls(Mutex<Vec<Stall>>);

/// Between two looks so much was missing, all processors together.
struct Stall {
    looks: Range<Instant>,
    missing: Duration,
}

impl Stalls {
    /// Those of this machine, from the first time this is called in a process on. None where the
    /// system does not tell.
    pub(crate) fn watched() -> &'static Self {
        static STALLS: Stalls = Stalls(Mutex::new(Vec::new()));
        static WATCH: OnceLock<()> = OnceLock::new();
        WATCH.get_or_init(|| {
            let Some(before) = stolen() else { return };
            let watch = move || STALLS.watch(before);
            if let Err(error) = std::thread::Builder::new().name("blink-stalls".to_owned()).spawn(watch) {
                tracing::warn!(%error, "nobody sees whether the machine stands still");
            }
        });
        &STALLS
    }

    /// For how long the machine stood still in a stretch of time, and at most its length.
    pub(crate) fn within(&self, stretch: Range<Instant>) -> Duration {
        let meets = |stall: &&Stall| stall.looks.start < stretch.end && stall.looks.end > stretch.start;
        let missing: Duration = self.list().iter().filter(meets).map(|stall| stall.missing).sum();
        missing.min(stretch.end.saturating_duration_since(stretch.start))
    }

    fn watch(&self, mut before: Duration) {
        let mut looked = Instant::now();
        loop {
            std::thread::sleep(BEAT);
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

/// Steal time of all processors since the system began (proc_stat(5)); `None` where the system does
/// not tell.
fn stolen() -> Option<Duration> {
    steal_in(&std::fs::read_to_string("/proc/stat").ok()?)
}

/// The eighth number of the first line: user, nice, system, idle, iowait, irq, softirq, steal.
fn steal_in(stat: &str) -> Option<Duration> {
    let ticks: u32 = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().nth(7)?.parse().ok()?;
    Some(TICK * ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_missing_counts_where_it_may_have_been_and_never_for_more_than_the_stretch() {
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
    fn steal_time_is_read_from_what_linux_prints() {
        let stat =
            "cpu  2596583 17826 180745 2206056 27660 0 5157 86718 0 0\ncpu0 1292649 8652 87133 1 2 0 3 43000 0 0\n";
        assert_eq!(steal_in(stat), Some(Duration::from_millis(867_180)));
        for other in ["", "cpu  1 2 3 4 5 6 7\n", "cpu  1 2 3 4 5 6 7 x 0 0\n", "intr 1 2 3 4 5 6 7 8 9\n"] {
            assert_eq!(steal_in(other), None, "{other}");
        }
    }
}
