//! The schedule of ticks: when the next 10 ms of audio are due.

use web_time::{Duration, Instant};

/// Duration of a tick: audio is captured and played in blocks of this length.
pub const TICK: Duration = Duration::from_millis(10);

/// Duration of audio in a packet, unless configured otherwise.
pub const FRAME: Duration = Duration::from_millis(20);

/// Most ticks that are due at once: 100 ms.
const BURST: u32 = 10;

/// Most that [`TickScheduler::slew`] moves a tick: one percent of the time between two.
const MAX_STEP: Duration = Duration::from_micros(100);
/// Most that ticks are slewed in all.
const MAX_SLEW: Duration = Duration::from_millis(20);

/// Says which ticks are due, one every 10 ms. Reads no clock: a thread asks it, ticks, and sleeps
/// until [`next`](TickScheduler::next).
///
/// Ticks keep their distance on average: a late tick does not move those after it. After a stall
/// the missed ticks are caught up with at once, but no more than the last 100 ms of them; the rest
/// is skipped and counted.
#[derive(Debug, Clone)]
pub struct TickScheduler {
    next: Instant,
    skipped: u64,
    /// By how much ticks were slewed to later times, in nanoseconds.
    slewed: i64,
}

impl TickScheduler {
    /// A schedule whose first tick is due at `start`.
    pub fn new(start: Instant) -> Self {
        Self { next: start, skipped: 0, slewed: 0 }
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

    /// Moves all ticks from the next one on towards the times that the media need. `late` is by how
    /// many nanoseconds they are late, negative where they are early. A call moves them by at most
    /// one percent of a tick, and all calls together by at most two ticks. Returns by how many
    /// nanoseconds they are less late now.
    pub fn slew(&mut self, late: i64) -> i64 {
        let (step, limit) = (MAX_STEP.as_nanos() as i64, MAX_SLEW.as_nanos() as i64);
        let slewed = (self.slewed - late.clamp(-step, step)).clamp(-limit, limit);
        let by = Duration::from_nanos(slewed.abs_diff(self.slewed));
        if slewed > self.slewed {
            self.next += by;
        } else {
            self.next = self.next.checked_sub(by).unwrap_or(self.next);
        }
        std::mem::replace(&mut self.slewed, slewed) - slewed
    }

    /// When the next tick is due.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Ticks that were skipped since the start.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }
}

/// The last time not after `now` that is a multiple of [`TICK`] before or after `grid`.
pub(crate) fn last_on_grid(grid: Instant, now: Instant) -> Instant {
    let ahead = grid.saturating_duration_since(now).as_nanos().div_ceil(TICK.as_nanos());
    let before = grid.checked_sub(TICK * ahead as u32).unwrap_or(now);
    let next = next_on_grid(before, now);
    if next == now { now } else { next.checked_sub(TICK).unwrap_or(now) }
}

/// The first time not before `now` that is a multiple of [`TICK`] after `grid`.
pub(crate) fn next_on_grid(grid: Instant, now: Instant) -> Instant {
    let into_tick = now.saturating_duration_since(grid).as_nanos() % TICK.as_nanos();
    if into_tick == 0 { now } else { now + TICK - Duration::from_nanos(into_tick as u64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(scheduler: &mut TickScheduler, start: Instant, now_ms: u64) -> Vec<u128> {
        scheduler.due(start + Duration::from_millis(now_ms)).map(|at| (at - start).as_millis()).collect()
    }

    #[test]
    fn a_tick_is_due_every_10_ms_however_late_the_thread_wakes() {
        let start = Instant::now();
        let mut scheduler = TickScheduler::new(start);
        assert_eq!(ticks(&mut scheduler, start, 0), [0]);
        assert!(ticks(&mut scheduler, start, 9).is_empty());
        assert_eq!(ticks(&mut scheduler, start, 17), [10]);
        assert_eq!(scheduler.next(), start + Duration::from_millis(20));
        assert_eq!(ticks(&mut scheduler, start, 59), [20, 30, 40, 50]);
        assert_eq!(scheduler.skipped(), 0);
    }

    #[test]
    fn ticks_lean_to_where_they_should_be_a_little_at_a_time_and_by_two_ticks_at_most() {
        let start = Instant::now();
        let mut scheduler = TickScheduler::new(start + TICK * 2);
        for (late, micros) in [(40_000, 19_960), (-40_000, 20_000), (70_000_000, 19_900), (-70_000_000, 20_000)] {
            let (before, moved) = (scheduler.next(), scheduler.slew(late));
            assert_eq!((scheduler.next() - start).as_micros(), micros, "{late}");
            let (there, back) = (before - start, scheduler.next() - start);
            assert_eq!(there.as_nanos() as i64 - back.as_nanos() as i64, moved);
        }
        for (late, end) in [(i64::MAX, 0), (i64::MIN, 40)] {
            while scheduler.slew(late) != 0 {}
            assert_eq!((scheduler.next() - start).as_millis(), end);
        }
        assert_eq!(ticks(&mut scheduler, start, 65), [40, 50, 60]);
    }

    #[test]
    fn a_stall_is_made_up_for_up_to_100_ms_and_the_rest_is_skipped() {
        let start = Instant::now();
        let mut scheduler = TickScheduler::new(start);
        assert_eq!(ticks(&mut scheduler, start, 0), [0]);
        let made_up = ticks(&mut scheduler, start, 2_000);
        assert_eq!((made_up.len(), made_up[0], made_up[9]), (10, 1_910, 2_000));
        assert_eq!(scheduler.skipped(), 190);
        assert_eq!(scheduler.next(), start + Duration::from_millis(2_010));
        assert!(ticks(&mut scheduler, start, 0).is_empty());
    }
}
