//! Offset between the clock of another endpoint and this device's.

use super::SyncRound;
use super::envelope::LowerEnvelope;

/// A delay this far under all others of several minutes is no fast packet but a step of a clock, or
/// another path.
const STEP_US: f64 = 50_000.0;
/// From this many samples on, a direction is known well enough to tell.
const ESTABLISHED: u32 = 8;
/// Rounds after a step that wait for a capture report to say how large it was; one more, and the
/// clock is measured anew.
const WAITING: usize = 3;
/// A capture report's step and the rounds that show it come within this time of each other.
const STEP_SEEN_S: f64 = 10.0;
/// Time constant of the drift that packets of media tell, in updates.
const SKEW_SHARE: f64 = 0.1;
/// From this span on, pings alone tell of drift.
const SKEW_SPAN_S: f64 = 60.0;

/// Estimates `own − remote` from pings in both directions.
///
/// A round trip's midpoint is wrong by half the difference of its two ways, which jitter makes
/// large even for the quickest of twenty rounds. So the two ways are kept apart: the least
/// `arrived − sent` of each contains the base delay and the offset, with opposite signs, and hardly
/// any jitter. Their half difference is the offset, as far as the base delays are equal.
#[derive(Debug, Clone, Default)]
pub(super) struct RemoteClock {
    /// Their way here: own − remote, plus the delay.
    back: LowerEnvelope,
    /// Our way there: remote − own, plus the delay.
    forth: LowerEnvelope,
    /// Packets of media with a known capture time: as `back`, with packetization in the delay.
    media: LowerEnvelope,
    /// Drift of own − remote that media tells, in ppm.
    media_skew: Option<f64>,
    newest_round: u64,
    /// Rounds that contradict the envelopes.
    waiting: Vec<SyncRound>,
    /// When a capture report told of a step of the remote clock, and of how much.
    stepped: Option<(f64, f64)>,
    /// The step that was followed last: when, how large, and how many there were.
    followed: (f64, f64),
    steps: u32,
}

impl RemoteClock {
    /// Takes a round; one that is not newer than the newest is ignored.
    pub(super) fn handle_round(&mut self, round: SyncRound) {
        if round.answered_us <= self.newest_round || round.answered_us < round.sent_us {
            return;
        }
        self.newest_round = round.answered_us;
        if !self.contradicts(round) {
            self.waiting.clear();
            return self.observe(round);
        }
        self.waiting.push(round);
        let now = seconds(round.answered_us);
        if let Some((_, by)) = self.stepped.filter(|(at, _)| (now - at).abs() <= STEP_SEEN_S) {
            self.shift(now, by);
        } else if self.waiting.len() > WAITING {
            self.clear_rounds();
            self.take_waiting();
        }
    }

    /// Takes note of a capture report that is `by` microseconds off those before. Either this clock
    /// stepped, and pings tell so too, or the track's. Returns whether this clock did.
    pub(super) fn handle_step(&mut self, now: f64, by: f64) -> bool {
        let (when, followed) = self.followed;
        if self.steps > 0 && now - when <= STEP_SEEN_S && (by - followed).abs() < STEP_US {
            // Another track tells of the same.
            return true;
        }
        self.stepped = Some((now, by));
        if self.waiting.is_empty() {
            return false;
        }
        self.shift(now, by);
        true
    }

    /// Steps of the clock that were followed so far.
    pub(super) fn steps(&self) -> u32 {
        self.steps
    }

    /// Takes a packet of media that was captured at a time of the remote clock.
    pub(super) fn handle_media(&mut self, captured: f64, arrival: f64) {
        self.media.observe(arrival / 1e6, arrival - captured);
    }

    /// Takes the drift of own − remote that a track's packets tell.
    pub(super) fn handle_skew(&mut self, skew: f64) {
        let known = self.media_skew.get_or_insert(skew);
        *known += (skew - *known) * SKEW_SHARE;
    }

    /// Own time less remote time at an own time, in microseconds; `None` before there is evidence.
    pub(super) fn offset(&self, now: f64) -> Option<f64> {
        let skew = self.skew();
        match (self.back.at(now, skew), self.forth.at(now, -skew)) {
            (Some(back), Some(forth)) => Some((back - forth) / 2.0),
            _ => self.media.at(now, skew),
        }
    }

    /// Whether the offset comes from pings.
    pub(super) fn is_synchronized(&self) -> bool {
        self.forth.samples() > 0
    }

    /// Shortest delay of one way, in microseconds, if both are alike.
    pub(super) fn one_way(&self, now: f64) -> Option<f64> {
        let skew = self.skew();
        let both = self.back.at(now, skew)? + self.forth.at(now, -skew)?;
        Some((both / 2.0).max(0.0))
    }

    /// Drift of own − remote in ppm, 0 while it is unknown.
    pub(super) fn skew(&self) -> f64 {
        self.media_skew.unwrap_or_else(|| {
            let long = self.back.span() >= SKEW_SPAN_S && self.forth.span() >= SKEW_SPAN_S;
            let both = self.back.skew().zip(self.forth.skew()).filter(|_| long);
            both.map_or(0.0, |(back, forth)| (back - forth) / 2.0)
        })
    }

    fn contradicts(&self, round: SyncRound) -> bool {
        let (back, forth, now) = ways(round);
        let skew = self.skew();
        let under = |way: &LowerEnvelope, value: f64, skew: f64| {
            way.samples() >= ESTABLISHED && way.at(now, skew).is_some_and(|least| value < least - STEP_US)
        };
        under(&self.back, back, skew) || under(&self.forth, forth, -skew)
    }

    fn observe(&mut self, round: SyncRound) {
        let (back, forth, now) = ways(round);
        self.back.observe(now, back);
        self.forth.observe(now, forth);
    }

    /// The remote clock went forward by so many microseconds, at once.
    fn shift(&mut self, now: f64, by: f64) {
        self.stepped = None;
        self.followed = (now, by);
        self.steps = self.steps.saturating_add(1);
        self.back.shift(-by);
        self.forth.shift(by);
        self.media.shift(-by);
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.iter().any(|round| self.contradicts(*round)) {
            // It was something else after all.
            self.clear_rounds();
        }
        self.waiting = waiting;
        self.take_waiting();
    }

    fn clear_rounds(&mut self) {
        self.back.clear();
        self.forth.clear();
        self.media.clear();
    }

    fn take_waiting(&mut self) {
        for round in std::mem::take(&mut self.waiting) {
            self.observe(round);
        }
    }
}

/// Delay of the way here, delay of the way there, and when the round ended in seconds.
fn ways(round: SyncRound) -> (f64, f64, f64) {
    let micros = |later: u64, earlier: u64| (i128::from(later) - i128::from(earlier)) as f64;
    let (back, forth) = (micros(round.answered_us, round.received_us), micros(round.received_us, round.sent_us));
    (back, forth, seconds(round.answered_us))
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;

    /// Rounds every 2.5 s over ways of 20 ms and jitter, with a clock that is 5 s behind, drifts,
    /// and steps forward by `step` after three minutes.
    fn rounds(seed: u64, ppm: f64, step: f64) -> impl Iterator<Item = (SyncRound, f64)> {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        (0..240).map(move |n| {
            let mut way = || 20_000.0 + random.random_range(0.0..150_000.0);
            let sent = 10e6 + f64::from(n) * 2.5e6;
            let there = sent + way();
            let answered = there + way();
            let stepped = if n > 72 { step } else { 0.0 };
            let remote = |own: f64| (own - 5e6) * (1.0 - ppm / 1e6) + stepped;
            let round =
                SyncRound { sent_us: sent as u64, received_us: remote(there) as u64, answered_us: answered as u64 };
            (round, answered - remote(answered))
        })
    }

    #[test]
    fn the_offset_is_found_under_jitter_and_drift() {
        for (seed, ppm) in [(1, 0.0), (2, 80.0), (3, -80.0), (4, 80.0)] {
            let mut clock = RemoteClock::default();
            assert_eq!(clock.offset(0.0), None);
            for (n, (round, truth)) in rounds(seed, ppm, 0.0).enumerate() {
                clock.handle_skew(ppm);
                clock.handle_round(round);
                let off = clock.offset(seconds(round.answered_us)).unwrap() - truth;
                // The more rounds, the nearer the least delay of each way comes to its base.
                let most = if n < 40 {
                    100_000.0
                } else if n < 100 {
                    15_000.0
                } else {
                    5_000.0
                };
                assert!(off.abs() < most, "seed {seed}, round {n}: off by {off}");
            }
            let one_way = clock.one_way(610.0).unwrap();
            assert!((19_000.0..26_000.0).contains(&one_way), "{one_way}");
        }
    }

    #[test]
    fn a_step_of_the_clock_is_followed_with_and_without_a_report_of_it() {
        for (seed, step) in [(1, 3_600e6), (2, -2e6), (3, 500_000.0)] {
            for reported in [true, false] {
                let mut clock = RemoteClock::default();
                for (n, (round, truth)) in rounds(seed, 0.0, step).enumerate() {
                    if reported && n == 74 {
                        assert!(clock.handle_step(seconds(round.answered_us), step));
                    }
                    clock.handle_round(round);
                    let off = clock.offset(seconds(round.answered_us)).unwrap() - truth;
                    // Without a report, the way begins to be measured anew.
                    let settled = (40..73).contains(&n) || n > if reported { 76 } else { 120 };
                    assert!(!settled || off.abs() < 15_000.0, "{step}, {reported}, {n}: off by {off}");
                }
            }
        }
    }

    #[test]
    fn absurd_rounds_are_bounded() {
        let mut clock = RemoteClock::default();
        for received_us in [0, u64::MAX, 5, u64::MAX / 2] {
            clock.handle_round(SyncRound { sent_us: u64::MAX - 10, received_us, answered_us: u64::MAX - 5 });
            clock.handle_round(SyncRound { sent_us: 7, received_us, answered_us: 3 });
        }
        assert!(clock.offset(1e13).unwrap().is_finite());
    }
}
