//! When to tick.

use web_time::{Duration, Instant};

use super::TICK;

/// The most ticks that are due at once: 100 ms.
const BURST: u32 = 10;

/// [`TickScheduler::lean`] moves a tick by at most so much, one percent of what lies between two,
/// and ticks by no more than this in all.
const LEANING: Duration = Duration::from_micros(100);
const LEANT: Duration = Duration::from_millis(20);

/// Says which ticks are due, one every 10 ms. Reads no clock: a thread asks it, ticks, and sleeps
/// until [`next`](TickScheduler::next).
///
/// Ticks keep their distance on average: one that comes late does not move those after it. After a
/// stall the missed ticks are made up for at once, but no more than the last 100 ms of them; the
/// rest is skipped and counted.
#[derive(Debug, Clone)]
pub struct TickScheduler {
    next: Instant,
    skipped: u64,
    /// How much later than at first the ticks are, in nanoseconds.
    moved: i64,
}

impl TickScheduler {
    /// A pacer whose first tick is due at `start`.
    pub fn new(start: Instant) -> Self {
        Self { next: start, skipped: 0, moved: 0 }
    }

    /// The times of the ticks that are due and were not given before, oldest first. Tick with these
    /// rather than with `now`: then ticks are evenly spaced even where the thread is not.
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

    /// Moves the ticks from the next one on a little towards where they should be: `late` is by how
    /// many nanoseconds they are late, negative where they are early. They move by at most one
    /// percent of the time, and never further than two ticks from where they began. Returns by how
    /// many nanoseconds they are less late then.
    pub fn lean(&mut self, late: i64) -> i64 {
        let (most, room) = (LEANING.as_nanos() as i64, LEANT.as_nanos() as i64);
        let moved = (self.moved - late.clamp(-most, most)).clamp(-room, room);
        let by = Duration::from_nanos(moved.abs_diff(self.moved));
        if moved > self.moved {
            self.next += by;
        } else {
            self.next = self.next.checked_sub(by).unwrap_or(self.next);
        }
        std::mem::replace(&mut self.moved, moved) - moved
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

    fn ticks(pacer: &mut TickScheduler, start: Instant, now_ms: u64) -> Vec<u128> {
        pacer.due(start + Duration::from_millis(now_ms)).map(|at| (at - start).as_millis()).collect()
    }

    #[test]
    fn a_tick_is_due_every_10_ms_however_late_the_thread_wakes() {
        let start = Instant::now();
        let mut pacer = TickScheduler::new(start);
        assert_eq!(ticks(&mut pacer, start, 0), [0]);
        assert!(ticks(&mut pacer, start, 9).is_empty());
        assert_eq!(ticks(&mut pacer, start, 17), [10]);
        assert_eq!(pacer.next(), start + Duration::from_millis(20));
        assert_eq!(ticks(&mut pacer, start, 59), [20, 30, 40, 50]);
        assert_eq!(pacer.skipped(), 0);
    }

    #[test]
    fn ticks_lean_to_where_they_should_be_a_little_at_a_time_and_by_two_ticks_at_most() {
        let start = Instant::now();
        let mut pacer = TickScheduler::new(start + TICK * 2);
        for (late, micros) in [(40_000, 19_960), (-40_000, 20_000), (70_000_000, 19_900), (-70_000_000, 20_000)] {
            let (before, moved) = (pacer.next(), pacer.lean(late));
            assert_eq!((pacer.next() - start).as_micros(), micros, "{late}");
            let (there, back) = (before - start, pacer.next() - start);
            assert_eq!(there.as_nanos() as i64 - back.as_nanos() as i64, moved);
        }
        for (late, end) in [(i64::MAX, 0), (i64::MIN, 40)] {
            while pacer.lean(late) != 0 {}
            assert_eq!((pacer.next() - start).as_millis(), end);
        }
        assert_eq!(ticks(&mut pacer, start, 65), [40, 50, 60]);
    }

    #[test]
    fn a_stall_is_made_up_for_up_to_100_ms_and_the_rest_is_skipped() {
        let start = Instant::now();
        let mut pacer = TickScheduler::new(start);
        assert_eq!(ticks(&mut pacer, start, 0), [0]);
        let made_up = ticks(&mut pacer, start, 2_000);
        assert_eq!((made_up.len(), made_up[0], made_up[9]), (10, 1_910, 2_000));
        assert_eq!(pacer.skipped(), 190);
        assert_eq!(pacer.next(), start + Duration::from_millis(2_010));
        assert!(ticks(&mut pacer, start, 0).is_empty());
    }
}
