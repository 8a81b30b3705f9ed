//! When to tick.

use std::time::{Duration, Instant};

/// Says which ticks are due. Reads no clock: a thread asks it, ticks, and sleeps until [`next_due`](Pacer::next_due).
///
/// Ticks keep their distance on average: one that comes late does not move those after it. After a stall the missed ticks are made up
/// for at once, but no more than a burst of them; the rest is skipped and counted.
#[derive(Debug, Clone)]
pub struct Pacer {
    period: Duration,
    burst: u32,
    next: Instant,
    skipped: u64,
}

impl Pacer {
    /// The tick of the media path: 10 ms.
    pub const PERIOD: Duration = Duration::from_millis(10);

    /// The most ticks that are due at once: 100 ms.
    const BURST: u32 = 10;

    /// A pacer whose first tick is due at `start`, one every [`PERIOD`](Pacer::PERIOD).
    pub fn new(start: Instant) -> Self {
        Self { period: Self::PERIOD, burst: Self::BURST, next: start, skipped: 0 }
    }

    /// The time of a tick that is due and has not been taken, oldest first; `None` when there is none. Tick with this time rather than
    /// with `now`: then ticks are evenly spaced even where the thread is not.
    pub fn due(&mut self, now: Instant) -> Option<Instant> {
        let behind = now.checked_duration_since(self.next)?;
        let missed = behind.as_nanos() / self.period.as_nanos();
        // This tick and `missed` after it are due.
        let skip = (missed + 1).saturating_sub(u128::from(self.burst));
        let skip = u32::try_from(skip).unwrap_or(u32::MAX);
        self.skipped += u64::from(skip);
        let due = self.next + self.period * skip;
        self.next = due + self.period;
        Some(due)
    }

    /// When the next tick is due.
    pub fn next_due(&self) -> Instant {
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

    fn ticks(pacer: &mut Pacer, now: Instant) -> usize {
        std::iter::from_fn(|| pacer.due(now)).count()
    }

    #[test]
    fn a_tick_is_due_every_10_ms_however_late_the_thread_wakes() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start);
        assert_eq!(pacer.due(start), Some(start));
        assert_eq!(pacer.due(start + Duration::from_millis(9)), None);
        assert_eq!(pacer.due(start + Duration::from_millis(17)), Some(start + Duration::from_millis(10)));
        assert_eq!(pacer.next_due(), start + Duration::from_millis(20));
        assert_eq!(ticks(&mut pacer, start + Duration::from_millis(59)), 4);
        assert_eq!(pacer.skipped(), 0);
    }

    #[test]
    fn a_stall_is_made_up_for_up_to_100_ms_and_the_rest_is_skipped() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start);
        assert_eq!(ticks(&mut pacer, start), 1);
        let woken = start + Duration::from_secs(2);
        assert_eq!(pacer.due(woken), Some(start + Duration::from_millis(1_910)));
        assert_eq!(ticks(&mut pacer, woken), 9);
        assert_eq!(pacer.skipped(), 190);
        assert_eq!(pacer.next_due(), start + Duration::from_millis(2_010));
        assert_eq!(pacer.due(start), None);
    }
}
