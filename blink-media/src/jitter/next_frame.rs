//! What is played next: a packet, or what stands for it.

use web_time::{Duration, Instant};

use super::{JitterBuffer, PlayoutDecision, State};

/// Concealment ends after so long; whatever comes then starts afresh.
const LONGEST_CONCEALMENT: Duration = Duration::from_millis(120);

/// Where the delay is so much shorter than the target, what is missing is waited for.
const HOLD: Duration = Duration::from_millis(5);

/// What is that much over the target is not worth playing faster: it is dropped, down to [`KEPT`]
/// over the target, and that is played faster.
const TOLERATED: Duration = Duration::from_millis(200);
const KEPT: Duration = Duration::from_millis(60);

/// Sound is asked for every so often: what is missing is made up in pieces of this length at most,
/// for it may come at any time.
const GRAIN: Duration = Duration::from_millis(10);

/// A gap longer than this (and the target) is not waited for.
const LONGEST_GAP: Duration = Duration::from_millis(500);

impl JitterBuffer {
    /// What to play from `now` on, and moves on by it; `Wait` moves nothing. What comes after the
    /// next `wanted` ticks is not needed yet.
    pub fn next(&mut self, now: Instant, wanted: u32) -> PlayoutDecision {
        let Some(cursor) = self.cursor(now) else { return PlayoutDecision::Wait };
        let cursor = self.shorten(now, cursor);
        self.state = State::Playing(cursor);
        self.delay = self.transit.delay(now, cursor).unwrap_or(self.target);
        let Some(front) = self.slots.front() else { return self.run_dry(cursor, wanted.into()) };

        let gap = front.timestamp - cursor;
        if gap <= 0 || gap > self.target + self.ticks(LONGEST_GAP) {
            return self.play(cursor);
        }
        let frame = if self.frame > 0 { self.frame } else { front.ticks };
        let (due, ticks) = if self.is_next(front.sequence) {
            // Nothing is missing.
            let ticks = gap.min(frame);
            (PlayoutDecision::Silence { ticks: ticks_u32(ticks) }, ticks)
        } else if gap <= front.ticks && front.has_fec {
            let past = ticks_u32(front.ticks - gap);
            (PlayoutDecision::Fec { next: front.payload.clone(), ticks: ticks_u32(gap), past }, gap)
        } else {
            let recoverable = if front.has_fec { front.ticks } else { 0 };
            let ticks = self.ticks(GRAIN).max(1).min(gap - recoverable);
            let ticks_wire = ticks_u32(ticks);
            let made_up = self.concealed.0 < self.ticks(LONGEST_CONCEALMENT);
            let later = front.payload.clone();
            let restore = PlayoutDecision::Dred { later, distance: ticks_u32(gap), ticks: ticks_wire };
            (if made_up { restore } else { PlayoutDecision::Silence { ticks: ticks_wire } }, ticks)
        };
        match &due {
            PlayoutDecision::Fec { .. } => self.statistics.fec_recovered += 1,
            // Whether it can be restored, the decoder knows.
            PlayoutDecision::Dred { .. } => self.count_concealed(ticks),
            _ => {}
        }
        self.state = State::Playing(cursor + ticks);
        due
    }

    /// The timestamp that is due; starts playing when it is time. `None` where there is nothing to
    /// play yet.
    fn cursor(&mut self, now: Instant) -> Option<i64> {
        match self.state {
            State::Idle => None,
            State::Playing(cursor) => Some(cursor),
            State::Filling => {
                let first = self.slots.front()?.timestamp;
                (self.transit.delay(now, first)? >= self.target).then_some(first)
            }
        }
    }

    /// Drops what is far over the target delay, and what is past; returns the timestamp that is due
    /// then.
    fn shorten(&mut self, now: Instant, mut cursor: i64) -> i64 {
        let grain = self.ticks(GRAIN);
        let mut dropping = false;
        while let Some(front) = self.slots.front() {
            let excess = self.transit.delay(now, cursor).map_or(0, |delay| delay - self.target);
            dropping |= excess >= self.ticks(TOLERATED) + front.ticks;
            let gap = front.timestamp - cursor;
            let pause = self.is_next(front.sequence);
            let spare = excess - self.ticks(KEPT);
            if front.end() <= cursor && self.concealed.0 == 0 {
                self.statistics.packets_late += u64::from(!front.copy);
            } else if gap > 0 && (pause && excess > grain || dropping && spare >= gap) {
                // Nobody misses a part of a pause; nor, where much is dropped anyway, what is lost.
                cursor += gap.min(excess);
                continue;
            } else if gap <= 0 && dropping && spare >= front.ticks {
                self.statistics.packets_discarded += 1;
                cursor = cursor.max(front.end());
                self.concealed = (0, 0);
            } else {
                break;
            }
            self.next_sequence = Some(self.padding.pass(front.sequence + 1));
            self.slots.pop_front();
        }
        cursor
    }

    fn play(&mut self, cursor: i64) -> PlayoutDecision {
        let Some(slot) = self.slots.pop_front() else { return PlayoutDecision::Wait };
        if self.is_next(slot.sequence) && slot.timestamp >= cursor && !slot.copy {
            // Nothing was missing: what was made up was a pause.
            self.made_up -= self.concealed.1;
        }
        // Where it is far ahead, the time between is left out; where it is behind, a part of it is
        // over.
        let past = (cursor - slot.timestamp).max(0);
        self.statistics.red_recovered += u64::from(slot.copy);
        // What was made up after it stays made up.
        let left = (cursor - slot.end()).max(0);
        self.concealed = (left, if left > 0 { self.concealed.1 } else { 0 });
        self.held = 0;
        self.next_sequence = Some(self.padding.pass(slot.sequence + 1));
        self.frame = slot.ticks;
        self.state = State::Playing(slot.end().max(cursor));
        PlayoutDecision::Packet {
            payload: slot.payload,
            ticks: ticks_u32(slot.ticks),
            past: ticks_u32(past),
            copy: slot.copy,
            loud: slot.loud,
        }
    }

    fn run_dry(&mut self, cursor: i64, wanted: i64) -> PlayoutDecision {
        let left = self.ticks(LONGEST_CONCEALMENT) - self.concealed.0 - self.held;
        let ticks = wanted.clamp(1, self.ticks(GRAIN).max(1)).min(left);
        if ticks <= 0 {
            self.state = State::Idle;
            self.concealed.0 = 0;
            self.held = 0;
            return PlayoutDecision::Wait;
        }
        let held = self.excess() <= -self.ticks(HOLD);
        if held {
            self.held += ticks;
            self.statistics.inserted_samples_for_deceleration += ticks.unsigned_abs();
        } else {
            self.count_concealed(ticks);
            self.state = State::Playing(cursor + ticks);
        }
        PlayoutDecision::Conceal { ticks: ticks_u32(ticks), held }
    }

    fn count_concealed(&mut self, ticks: i64) {
        self.concealed.0 += ticks;
        self.concealed.1 += ticks;
        self.made_up += ticks;
    }
}

/// For ticks of a packet or of a part of one.
fn ticks_u32(ticks: i64) -> u32 {
    u32::try_from(ticks).unwrap_or(0)
}
