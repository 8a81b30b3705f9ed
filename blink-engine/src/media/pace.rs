//! When to tick.

use std::time::Instant;

use super::TICK;

/// The most ticks that are due at once: 100 ms.
const BURST: u32 = 10;

/// Says which ticks are due, one every 10 ms. Reads no clock: a thread asks it, ticks, and sleeps until [`next`](Pacer::next).
///
/// Ticks keep their distance on average: one that comes late does not move those after it. After a stall the missed ticks are made up
/// for at once, but no more than the last 100 ms of them; the rest is skipped and counted.
#[derive(Debug, Clone)]
pub struct Pacer {
    next: Instant,
    skipped: u64,
}

impl Pacer {
    /// A pacer whose first tick is due at `start`.
    pub fn new(start: Instant) -> Self {
        Self { next: start, skipped: 0 }
    }

    /// The times of the ticks that are due and were not given before, oldest first. Tick with these rather than with `now`: then ticks are evenly
    /// spaced even where the thread is not.
    pub fn due(&mut self, now: Instant) -> impl Iterator<Item = Instant> + use<> {
        let mut count = 0;
        if let Some(behind) = now.checked_duration_since(self.next) {
            let missed = u32::try_from(behind.as_nanos() / TICK.as_nanos()).unwrap_or(u32::MAX - 1) + 1;
            count = missed.min(BURST);
            self.skipped += u64::from(missed - count);
            self.next += TICK * (missed - count);
        }
        let first = self.next;
        self.next += TICK * count;
        (0..count).map(move |tick| first + TICK * tick)
    }

    /// When the next tick is due.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Ticks that were left out since the beginning.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn ticks(pacer: &mut Pacer, start: Instant, now_ms: u64) -> Vec<u128> {
        pacer.due(start + Duration::from_millis(now_ms)).map(|at| (at - start).as_millis()).collect()
    }

    #[test]
    fn a_tick_is_due_every_10_ms_however_late_the_thread_wakes() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start);
        assert_eq!(ticks(&mut pacer, start, 0), [0]);
        assert!(ticks(&mut pacer, start, 9).is_empty());
        assert_eq!(ticks(&mut pacer, start, 17), [10]);
        assert_eq!(pacer.next(), start + Duration::from_millis(20));
        assert_eq!(ticks(&mut pacer, start, 59), [20, 30, 40, 50]);
        assert_eq!(pacer.skipped(), 0);
    }

    #[test]
    fn a_stall_is_made_up_for_up_to_100_ms_and_the_rest_is_skipped() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start);
        assert_eq!(ticks(&mut pacer, start, 0), [0]);
        let made_up = ticks(&mut pacer, start, 2_000);
        assert_eq!((made_up.len(), made_up[0], made_up[9]), (10, 1_910, 2_000));
        assert_eq!(pacer.skipped(), 190);
        assert_eq!(pacer.next(), start + Duration::from_millis(2_010));
        assert!(ticks(&mut pacer, start, 0).is_empty());
    }
}
