//! Clock offset between the two ends of a link, measured with pings: the measurement with the
//! shortest round trip among the newest is used (clock filter of RFC 5905 §10).

use std::collections::VecDeque;

use serde::Serialize;

/// Measurements kept: about the last 10 s.
const NEWEST: usize = 20;
/// Outstanding pings whose pongs are accepted.
const OUTSTANDING: usize = 8;

/// Offset of a remote media clock against the local one. Each clock has an epoch of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ClockSync {
    /// Remote minus local clock, in microseconds. The error is at most half the round trip.
    pub offset_us: i64,
    /// Round-trip time of the measurement, in microseconds.
    pub round_trip_us: u64,
}

/// Newest measurements of one link.
#[derive(Debug, Clone, Default)]
pub(in crate::call) struct ClockFilter {
    outstanding: VecDeque<(u64, u64)>,
    measured: VecDeque<ClockSync>,
}

impl ClockFilter {
    /// Records a ping that is sent.
    pub(in crate::call) fn handle_ping(&mut self, id: u64, sent_us: u64) {
        if self.outstanding.len() == OUTSTANDING {
            self.outstanding.pop_front();
        }
        self.outstanding.push_back((id, sent_us));
    }

    /// Evaluates a pong. One without an outstanding ping is ignored.
    pub(in crate::call) fn handle_pong(&mut self, id: u64, received_us: u64, now_us: u64) {
        let Some(at) = self.outstanding.iter().position(|(ping, _)| *ping == id) else { return };
        let Some((_, sent_us)) = self.outstanding.remove(at) else { return };
        let round_trip_us = now_us.saturating_sub(sent_us);
        let halfway = sent_us + round_trip_us / 2;
        // The remote value is untrusted: the difference of two u64 fits an i128, and a clock offset
        // fits an i64.
        let Ok(offset_us) = i64::try_from(i128::from(received_us) - i128::from(halfway)) else { return };
        if self.measured.len() == NEWEST {
            self.measured.pop_front();
        }
        self.measured.push_back(ClockSync { offset_us, round_trip_us });
    }

    /// Best measurement: that with the shortest round trip.
    pub(in crate::call) fn best(&self) -> Option<ClockSync> {
        self.measured.iter().copied().min_by_key(|measured| measured.round_trip_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quickest_of_the_newest_counts() {
        let mut filter = ClockFilter::default();
        assert_eq!(filter.best(), None);
        // The other clock is 1 s ahead; answers take ever longer on the way back.
        for n in 0..30_u64 {
            let sent = n * 500_000;
            filter.handle_ping(n, sent);
            filter.handle_pong(n, sent + 5_000 + 1_000_000, sent + 10_000 + n * 2_000);
        }
        let best = filter.best().unwrap();
        assert_eq!((best.offset_us, best.round_trip_us), (990_000, 30_000), "the tenth is the quickest of twenty");
    }

    #[test]
    fn answers_that_were_not_asked_for_tell_nothing() {
        let mut filter = ClockFilter::default();
        filter.handle_ping(1, 100);
        filter.handle_pong(2, 0, 200);
        filter.handle_pong(1, u64::MAX, 200);
        filter.handle_pong(1, 150, 200);
        assert_eq!(filter.best(), None);
    }
}
