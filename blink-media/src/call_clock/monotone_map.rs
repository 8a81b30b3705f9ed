//! A mapping that follows its target and never goes backwards.

use std::collections::VecDeque;

/// Seconds beyond the newest packet that are settled: playout may have asked for them already,
/// concealment included.
pub(super) const SETTLED_S: f64 = 0.25;
/// The mapping is steered this often, in seconds of the track.
const STEER_EVERY_S: f64 = 0.5;
/// Errors up to this are slewed: at most 50 ms in a second, and slowly enough to take two seconds,
/// which also smooths the noise of the estimates.
const SLEWED_US: f64 = 250_000.0;
const MAX_SLEW: f64 = 0.05;
const SLEW_S: f64 = 2.0;
/// Larger ones that would take the mapping back let it stand still for at least this long.
const HOLD_S: f64 = 0.5;
/// Pieces that are kept: what lies before the oldest is extrapolated from it.
const PIECES: usize = 128;

/// Track time in seconds to own time in microseconds: straight pieces, each from where it begins.
#[derive(Debug, Clone)]
pub(super) struct MonotoneMap {
    pieces: VecDeque<Piece>,
    steered: f64,
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    from: f64,
    value: f64,
    /// Microseconds per microsecond.
    rate: f64,
}

impl MonotoneMap {
    pub(super) fn new(from: f64, value: f64) -> Self {
        let mut pieces = VecDeque::with_capacity(PIECES);
        pieces.push_back(Piece { from, value, rate: 1.0 });
        Self { pieces, steered: f64::NEG_INFINITY }
    }

    /// Own time at a track time.
    pub(super) fn at(&self, time: f64) -> f64 {
        let after = self.pieces.partition_point(|piece| piece.from <= time);
        let piece = self.pieces[after.saturating_sub(1)];
        let value = piece.value + (time - piece.from) * 1e6 * piece.rate;
        // Where a step forward follows, the piece before it does not overtake it.
        self.pieces.get(after).map_or(value, |next| value.min(next.value))
    }

    /// Track time at an own time.
    pub(super) fn inverse(&self, value: f64) -> f64 {
        // Call times are whole microseconds: one that is cut off belongs to the piece after it.
        let after = self.pieces.partition_point(|piece| piece.value <= value + 1.0);
        let piece = self.pieces[after.saturating_sub(1)];
        if piece.rate <= 0.0 {
            return piece.from;
        }
        let time = piece.from + (value - piece.value) / (1e6 * piece.rate);
        // Nothing was captured in a step: the answer is where it is.
        self.pieces.get(after).map_or(time, |next| time.min(next.from))
    }

    /// Whether it is time to [`steer`](Self::steer).
    pub(super) fn is_due(&self, newest: f64) -> bool {
        newest + SETTLED_S >= self.steered + STEER_EVERY_S
    }

    /// Brings the mapping nearer to its target, from the time that is not settled yet on. `newest`
    /// is the track time of the newest packet, `skew` the slope of the target less 1, in ppm.
    pub(super) fn steer(&mut self, newest: f64, skew: f64, target: impl Fn(f64) -> f64) {
        if !self.is_due(newest) {
            return;
        }
        let from = newest + SETTLED_S;
        self.steered = from;
        let value = self.at(from);
        let error = target(from) - value;
        while self.pieces.len() > 1 && self.pieces.back().is_some_and(|piece| piece.from > from) {
            self.pieces.pop_back();
        }
        let nominal = 1.0 + skew / 1e6;
        if error > SLEWED_US {
            // Forward: in one step. Nothing was captured in between.
            return self.push(Piece { from, value: value + error, rate: nominal });
        }
        let slew = if error < -SLEWED_US {
            (error / 1e6 / HOLD_S).max(-nominal)
        } else {
            (error / 1e6 / SLEW_S).clamp(-MAX_SLEW, MAX_SLEW)
        };
        self.push(Piece { from, value, rate: nominal + slew });
        if slew != 0.0 {
            // The slew ends when the error is gone, should nothing come to steer by until then.
            let ends = error / 1e6 / slew;
            self.push(Piece { from: from + ends, value: value + (nominal + slew) * ends * 1e6, rate: nominal });
        }
    }

    /// Goes on at a track time behind `newest`: the sender began anew. What was answered before
    /// stays the least that is answered.
    pub(super) fn restart(&mut self, newest: f64, from: f64, value: f64) {
        let least = self.at(newest);
        while self.pieces.len() > 1 && self.pieces.back().is_some_and(|piece| piece.from > newest) {
            self.pieces.pop_back();
        }
        self.push(Piece { from, value: value.max(least), rate: 1.0 });
        self.steered = f64::NEG_INFINITY;
    }

    fn push(&mut self, piece: Piece) {
        if self.pieces.len() == PIECES {
            self.pieces.pop_front();
        }
        self.pieces.push_back(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steers every 20 ms of track time towards what `offset` says, and checks that nothing that
    /// was answered is ever undercut.
    fn follow(map: &mut MonotoneMap, times: std::ops::Range<u32>, offset: impl Fn(f64) -> f64) {
        let mut last = f64::NEG_INFINITY;
        for n in times {
            let newest = f64::from(n) * 0.02;
            let before: Vec<_> = (0..19).map(|k| map.at(newest - 0.13 + f64::from(k) * 0.02)).collect();
            map.steer(newest, 0.0, |time| time * 1e6 + offset(time));
            for (k, before) in before.into_iter().enumerate() {
                let time = newest - 0.13 + k as f64 * 0.02;
                assert!((map.at(time) - before).abs() < 1e-3, "what is settled is revised at {time}");
                assert!(before >= last - 1e-3 || k == 0, "{before} after {last}");
                last = before;
            }
        }
    }

    #[test]
    fn small_errors_are_slewed_and_large_ones_step_forward_or_hold() {
        for (error, seconds) in [(4_000.0, 5.0), (-80_000.0, 6.0), (200_000.0, 12.0), (3e6, 1.0), (-3e6, 6.0)] {
            let mut map = MonotoneMap::new(0.0, 10e6);
            let offset = |_| 10e6 + error;
            follow(&mut map, 0..(seconds * 50.0) as u32, offset);
            let off = map.at(seconds) - seconds * 1e6 - 10e6 - error;
            assert!(off.abs() < 3_000.0, "{error}: {off} after {seconds} s");
        }
    }

    #[test]
    fn a_slew_ends_although_nothing_steers() {
        let mut map = MonotoneMap::new(0.0, 0.0);
        map.steer(0.0, 0.0, |time| time * 1e6 + 100_000.0);
        assert!((map.at(100.0) - 100.1e6).abs() < 1.0);
        map.steer(100.0, 0.0, |time| time * 1e6 - 5e6);
        assert!((map.at(200.0) - 195e6).abs() < 1.0, "{}", map.at(200.0));
    }

    #[test]
    fn the_inverse_is_one_and_a_step_has_nothing_in_it() {
        let mut map = MonotoneMap::new(0.0, 1e6);
        map.steer(0.0, 0.0, |time| time * 1e6 + 2e6);
        for time in [0.0, 0.1, 0.2, 0.3, 1.0, 50.0] {
            assert!((map.inverse(map.at(time)) - time).abs() < 1e-6, "{time}");
        }
        assert!((map.inverse(1.9e6) - SETTLED_S).abs() < 1e-6);
        map.restart(10.0, 90_000.0, 0.0);
        assert!(map.at(90_000.0) >= map.at(10.25) && map.at(50_000.0) <= map.at(90_000.0));
        assert!((map.at(90_001.0) - map.at(90_000.0) - 1e6).abs() < 1.0);
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut map = MonotoneMap::new(0.0, 0.0);
        follow(&mut map, 0..50_000, |time| (time * 0.7).sin() * 400_000.0);
        assert_eq!(map.pieces.len(), PIECES);
    }
}
