//! Adaptation of a stream's delay to its target, by time stretching and by moving ticks.

use web_time::Duration;

use super::Stream;
use crate::relative_delay::{duration_of, ticks_in};
use crate::tick_scheduler::TICK;
use crate::time_stretcher::TimeStretcher;

/// Playout-delay error beyond which active speech is time-stretched, by the waveform similarity
/// that it takes: small errors only where it is hardly heard, large ones at any price. In silence
/// the error is removed whole.
const ACCELERATE_BEYOND: [(Duration, f32); 3] = [
    (Duration::from_millis(45), 0.85),
    (Duration::from_millis(80), 0.5),
    (Duration::from_millis(120), TimeStretcher::ANY),
];
/// As above, where the delay is too short.
const EXPAND_BEYOND: [(Duration, f32); 3] = [
    (Duration::from_millis(12), 0.85),
    (Duration::from_millis(25), 0.5),
    (Duration::from_millis(50), TimeStretcher::ANY),
];
/// Error over the target, beyond a tick, up to which the delay stays as it is.
const SETTLED: Duration = Duration::from_millis(3);
/// Error under the target up to which it does where ticks follow the audio: they come later then.
const FOLLOWED: Duration = Duration::from_millis(4);
/// Offset into a tick up to which something counts as being at its beginning.
const ALIGNED: Duration = Duration::from_micros(200);
/// Least duration of silence that counts as a pause: within words it is shorter.
const PAUSE: Duration = Duration::from_millis(60);
/// Least duration between two changes of speech, unless the delay is far off.
const REST: Duration = Duration::from_millis(50);

impl Stream {
    /// Brings the delay nearer to its target: removes or repeats a part of what is to be played
    /// from `at` in this tick on. In silence the whole error, in speech a period of the voice, if
    /// need be.
    pub(super) fn adapt(&mut self, at: usize) {
        let off = self.off(at);
        let (long, steps) = if off > 0 { (true, ACCELERATE_BEYOND) } else { (false, EXPAND_BEYOND) };
        let distance = duration_of(off.abs(), self.config.jitter.clock_rate);
        let resting = self.unstretched < self.format.samples_in(REST);
        let (before, most) = (self.filled, self.samples_of(u32::try_from(off.abs()).unwrap_or(u32::MAX)));
        let min_similarity = match steps.map(|(beyond, _)| distance >= beyond) {
            _ if off == 0 => return,
            _ if self.quiet_for >= self.format.samples_in(PAUSE) => None,
            [.., true] => Some(steps[2].1),
            [_, true, _] => Some(steps[1].1),
            [true, ..] if !resting => Some(steps[0].1),
            _ => return,
        };
        let exactly = most.min(self.stretch.most());
        let sound = &mut self.sound;
        self.filled = match (long, min_similarity) {
            (true, None) => self.stretch.remove(&mut sound[..before], exactly),
            (true, Some(least)) => self.stretch.accelerate(&mut sound[..before], most, least),
            (false, None) => self.stretch.repeat(sound, before, exactly),
            (false, Some(least)) => self.stretch.preemptive_expand(sound, before, most, least),
        };
        self.removed += before.saturating_sub(self.filled) as u64;
        self.repeated += self.filled.saturating_sub(before) as u64;
        if self.filled != before {
            self.unstretched = 0;
        }
    }

    /// Error of the delay in ticks, positive where it is too long. It should be the least not under
    /// the target with which packets are due when a tick begins: in the middle of one, they must
    /// have been there at its beginning, and the rest of it would be delay for nothing. Where ticks
    /// follow the audio it may be a little under the target.
    fn off(&mut self, at: usize) -> i64 {
        let ticks = |duration| ticks_in(duration, self.config.jitter.clock_rate);
        let (tick, into_tick) = (ticks(TICK).max(1), i64::from(self.ticks_of(at)));
        // This much over the target it would be at the beginning of the tick.
        let begun = self.jitter.excess() - into_tick;
        let least = if self.follow_media_clock { -ticks(FOLLOWED) } else { 0 };
        let is_settled = (least..least + tick + ticks(SETTLED)).contains(&begun);
        self.late = (is_settled && self.follow_media_clock)
            .then_some(begun * 1_000_000_000 / i64::from(self.config.jitter.clock_rate.max(1)));
        if is_settled && into_tick <= ticks(ALIGNED) {
            return 0;
        }
        // The same, at the beginning of the one at which it is least.
        let wanted = (begun - least).rem_euclid(tick) + least;
        self.jitter.excess() - wanted
    }
}
