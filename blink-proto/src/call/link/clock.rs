//! Clock offset between the two ends of a link, from pings and their pongs (clock filter of RFC
//! 5905 §10).

use std::collections::VecDeque;

use serde::Serialize;

/// Rounds that are kept: those of the last 10 s while pings are frequent, of the last 50 s later.
const NEWEST: usize = 20;
/// Outstanding pings, the newest; an answer to an older one is ignored.
const OUTSTANDING: usize = 8;

/// Offset of another device's media clock. Each clock counts from a moment of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ClockSync {
    /// The other clock minus this one, in microseconds; off by half the round trip at most.
    pub offset_us: i64,
    /// Round trip of the measurement, in microseconds.
    pub round_trip_us: u64,
}

/// One round of the time sync: a Ping of this device and its Pong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockRound {
    /// When the Ping left, in microseconds of this device's media clock.
    pub sent_us: u64,
    /// When the Ping arrived, in microseconds of the other device's.
    pub received_us: u64,
    /// When the Pong arrived, in microseconds of this device's.
    pub answered_us: u64,
}

impl ClockRound {
    /// Offset and round trip; `None` where the other clock's value is out of range.
    pub fn sync(self) -> Option<ClockSync> {
        let round_trip_us = self.answered_us.saturating_sub(self.sent_us);
        let halfway = self.sent_us + round_trip_us / 2;
        // The difference of two u64 fits an i128 whatever the other side sends.
        let offset_us = i64::try_from(i128::from(self.received_us) - i128::from(halfway)).ok()?;
        Some(ClockSync { offset_us, round_trip_us })
    }
}

/// The newest rounds of one link.
#[derive(Debug, Clone, Default)]
pub(in crate::call) struct ClockFilter {
    outstanding: VecDeque<(u64, u64)>,
    rounds: VecDeque<ClockRound>,
}

impl ClockFilter {
    /// Records a ping that is sent.
    pub(in crate::call) fn handle_ping(&mut self, id: u64, sent_us: u64) {
        if self.outstanding.len() == OUTSTANDING {
            self.outstanding.pop_front();
        }
        self.outstanding.push_back((id, sent_us));
    }

    /// Evaluates a pong. One without an outstanding ping, such as a second one, is ignored.
    pub(in crate::call) fn handle_pong(&mut self, id: u64, received_us: u64, now_us: u64) {
        let Some(at) = self.outstanding.iter().position(|(ping, _)| *ping == id) else { return };
        let Some((_, sent_us)) = self.outstanding.remove(at) else { return };
        let round = ClockRound { sent_us, received_us, answered_us: now_us };
        if round.sync().is_none() {
            return;
        }
        if self.rounds.len() == NEWEST {
            self.rounds.pop_front();
        }
        self.rounds.push_back(round);
    }

    /// Measurement with the shortest round trip.
    pub(in crate::call) fn best(&self) -> Option<ClockSync> {
        self.rounds.iter().filter_map(|round| round.sync()).min_by_key(|sync| sync.round_trip_us)
    }

    /// The newest rounds, oldest first.
    pub(in crate::call) fn rounds(&self) -> impl Iterator<Item = ClockRound> + '_ {
        self.rounds.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_round_trip_of_the_newest_counts() {
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
    fn answers_to_no_outstanding_ping_are_ignored() {
        let mut filter = ClockFilter::default();
        filter.handle_ping(1, 100);
        filter.handle_pong(2, 0, 200);
        filter.handle_pong(1, u64::MAX, 200);
        filter.handle_pong(1, 150, 200);
        assert_eq!(filter.best(), None);
    }
}
