//! Playout: a packet, or what stands for it.

use web_time::{Duration, Instant};

use super::gap::Gap;
use super::{JitterBuffer, PlayoutDecision, State};

/// Longest concealment; what comes later starts afresh.
const LONGEST_CONCEALMENT: Duration = Duration::from_millis(120);

/// Delay under the target from which on time stands still for missing audio.
const HOLD: Duration = Duration::from_millis(5);

/// Delay over the target that is not worth playing faster: it is dropped, down to [`KEPT`] over the
/// target, which acceleration removes.
const TOLERATED: Duration = Duration::from_millis(200);
const KEPT: Duration = Duration::from_millis(60);

/// Step in which missing audio is concealed at most: its packet may come at any time.
const GRAIN: Duration = Duration::from_millis(10);

/// Gap, beyond the target, that is not played out: the sender's clock jumped.
const LONGEST_GAP: Duration = Duration::from_millis(500);

impl JitterBuffer {
    /// Decides what to play from `now` on, and advances by it; `Wait` advances nothing. Of missing
    /// audio, only the next `wanted` ticks are concealed at once.
    pub fn next(&mut self, now: Instant, wanted: u32) -> PlayoutDecision {
        let Some(cursor) = self.cursor(now) else { return PlayoutDecision::Wait };
        let cursor = self.shorten(now, cursor);
        self.state = State::Playing(cursor);
        self.delay = self.relative_delay.delay(now, cursor).unwrap_or(self.target);
        let Some(front) = self.slots.front() else { return self.run_dry(cursor, wanted.into()) };

        // Between the time that is due and the next packet lies nothing, a pause, or lost packets.
        let gap = front.timestamp - cursor;
        if gap <= 0 || gap > self.target + self.ticks(LONGEST_GAP) {
            return self.release(cursor);
        }
        let frame = if self.frame > 0 { self.frame } else { front.ticks };
        let (decision, ticks) = if self.is_next(front.sequence) {
            // Timestamps jump and sequence numbers do not: the sender paused.
            let ticks = gap.min(frame);
            (PlayoutDecision::Silence { ticks: ticks_u32(ticks) }, ticks)
        } else if gap <= front.ticks && front.has_fec {
            // The copy is of the one frame before the packet. If a part of that was concealed
            // already, the decoder restores it whole and that part is not played again.
            let already_concealed = ticks_u32(front.ticks - gap);
            (PlayoutDecision::Fec { next: front.payload.clone(), ticks: ticks_u32(gap), already_concealed }, gap)
        } else {
            // Several frames are missing. The last one is left for the copy, the others go in
            // steps: while one is concealed, the packet of the next may come.
            let recoverable = if front.has_fec { front.ticks } else { 0 };
            let ticks = self.ticks(GRAIN).max(1).min(gap - recoverable);
            let step = ticks_u32(ticks);
            if self.gap.before_next < self.ticks(LONGEST_CONCEALMENT) {
                let (later, distance) = (front.payload.clone(), ticks_u32(gap));
                (PlayoutDecision::Dred { later, distance, ticks: step }, ticks)
            } else {
                (PlayoutDecision::Silence { ticks: step }, ticks)
            }
        };
        match &decision {
            PlayoutDecision::Fec { .. } => self.statistics.fec_recovered += 1,
            // The decoder knows whether it can be restored, and corrects the count then.
            PlayoutDecision::Dred { .. } => self.count_concealed(ticks),
            _ => {}
        }
        self.state = State::Playing(cursor + ticks);
        decision
    }

    /// Timestamp that is due; starts playing when it is time. `None` where there is nothing to play
    /// yet.
    fn cursor(&mut self, now: Instant) -> Option<i64> {
        match self.state {
            State::Idle => None,
            State::Playing(cursor) => Some(cursor),
            State::Filling => {
                let first = self.slots.front()?.timestamp;
                // The very first packet is played at once where the delay follows the network: it
                // grows where the next ones are late.
                let at_once = self.delay_manager.is_some() && self.next_sequence.is_none();
                (at_once || self.relative_delay.delay(now, first)? >= self.target).then_some(first)
            }
        }
    }

    /// Drops packets that are far over the target delay or past; returns the timestamp that is due
    /// then.
    fn shorten(&mut self, now: Instant, mut cursor: i64) -> i64 {
        let grain = self.ticks(GRAIN);
        // Once over the limit, dropping goes on down to what acceleration removes: stopping at the
        // limit would drop one packet in each tick for as long as the stall's packets last.
        let mut dropping = false;
        while let Some(front) = self.slots.front() {
            let excess = self.relative_delay.delay(now, cursor).map_or(0, |delay| delay - self.target);
            dropping |= excess >= self.ticks(TOLERATED) + front.ticks;
            let gap = front.timestamp - cursor;
            let is_pause = self.is_next(front.sequence);
            let spare = excess - self.ticks(KEPT);
            if front.end() <= cursor && self.gap.before_next == 0 {
                // Its time is over, and nothing stood for it that it could repair.
                self.statistics.packets_late += u64::from(!front.redundant);
            } else if gap > 0 && (is_pause && excess > grain || dropping && spare >= gap) {
                // A part of a pause is missed by no listener; nor is, where much is dropped anyway,
                // what was lost.
                cursor += gap.min(excess);
                continue;
            } else if gap <= 0 && dropping && spare >= front.ticks {
                self.statistics.packets_discarded += 1;
                cursor = cursor.max(front.end());
                self.gap = Gap::default();
            } else {
                break;
            }
            self.next_sequence = Some(self.padding.pass(front.sequence + 1));
            self.slots.pop_front();
        }
        cursor
    }

    /// Releases the oldest packet.
    fn release(&mut self, cursor: i64) -> PlayoutDecision {
        let Some(slot) = self.slots.pop_front() else { return PlayoutDecision::Wait };
        if self.is_next(slot.sequence) && slot.timestamp >= cursor && !slot.redundant {
            // No packet was missing: what was concealed was a pause, whose end was not known yet.
            self.concealed -= self.gap.total;
        }
        // If the packet lies far ahead, the time between is skipped; if it lies behind, a part of
        // it is over.
        let already_concealed = (cursor - slot.timestamp).max(0);
        self.statistics.red_recovered += u64::from(slot.redundant);
        self.gap.end_at((cursor - slot.end()).max(0));
        self.extended = 0;
        self.next_sequence = Some(self.padding.pass(slot.sequence + 1));
        self.frame = slot.ticks;
        self.state = State::Playing(slot.end().max(cursor));
        PlayoutDecision::Packet {
            payload: slot.payload,
            ticks: ticks_u32(slot.ticks),
            already_concealed: ticks_u32(already_concealed),
            redundant: slot.redundant,
            level: slot.level,
        }
    }

    /// Conceals what comes next while no packet is here.
    fn run_dry(&mut self, cursor: i64, wanted: i64) -> PlayoutDecision {
        let left = self.ticks(LONGEST_CONCEALMENT) - self.gap.before_next - self.extended;
        let ticks = wanted.clamp(1, self.ticks(GRAIN).max(1)).min(left);
        if ticks <= 0 {
            self.state = State::Idle;
            self.gap.before_next = 0;
            self.extended = 0;
            return PlayoutDecision::Wait;
        }
        // A delay under the target has to grow anyway: let the missing packet have the time.
        let extends_delay = self.excess() <= -self.ticks(HOLD);
        if extends_delay {
            self.extended += ticks;
            self.statistics.inserted_samples_for_deceleration += ticks.unsigned_abs();
        } else {
            self.count_concealed(ticks);
            self.state = State::Playing(cursor + ticks);
        }
        PlayoutDecision::Conceal { ticks: ticks_u32(ticks), extends_delay }
    }

    fn count_concealed(&mut self, ticks: i64) {
        self.gap.conceal(ticks);
        self.concealed += ticks;
    }
}

/// Ticks of a packet or of a part of one.
fn ticks_u32(ticks: i64) -> u32 {
    u32::try_from(ticks).unwrap_or(0)
}
