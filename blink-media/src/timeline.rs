//! Unwrapped places of packets: from 16-bit sequence numbers and 32-bit timestamps to a line
//! without wraps.

use web_time::Instant;

use blink_api::RtpTime;

use super::loss_estimator::LossEstimator;
use super::unwrap::{SequenceUnwrapper, TimestampUnwrapper};

/// Sequence numbers that may be missed before it is another sender's numbering (RFC 3550 §A.1,
/// `MAX_DROPOUT`).
const MAX_DROPOUT: i64 = 3_000;

/// Distance behind the newest packet at which a missing one counts as lost.
const SETTLED: i64 = 16;

/// Greatest distance of two packets out of line that confirm a new numbering.
const MAX_CONFIRM: u16 = 8;

/// A packet that a [`Timeline`] finds a place for.
pub(super) trait Numbered {
    /// How far behind the newest a packet may be (RFC 3550 §A.1, `MAX_MISORDER`).
    const MAX_MISORDER: i64;
    /// How many ticks its timestamp may be behind the newest's.
    const MAX_AGE: i64;
    /// Whether several packets have the same timestamp, as those of a video frame do.
    const SHARED_TIMESTAMPS: bool;

    fn sequence(&self) -> u16;
    fn timestamp(&self) -> RtpTime;
    fn arrival(&self) -> Instant;
}

/// Unwraps numbers, finds duplicates, and distinguishes a sender's restart from a stray packet by
/// two packets in a row.
#[derive(Debug)]
pub(super) struct Timeline<P> {
    clock_rate: u32,
    newest: Option<Newest>,
    /// Bit n: the packet n before the newest came.
    seen: u128,
    /// Packets up to the newest, from the first one on.
    length: i64,
    stray: Option<P>,
    losses: LossEstimator,
}

/// The end of the line.
#[derive(Debug, Clone, Copy)]
struct Newest {
    /// The highest number, with or without payload.
    sequences: SequenceUnwrapper,
    /// The number and time of the furthest packet with payload.
    payload: Option<(i64, TimestampUnwrapper)>,
}

/// The place of a packet.
#[derive(Debug)]
pub(super) enum Placement<P> {
    /// Here.
    At { sequence: i64, timestamp: i64, packet: P },
    /// It came before. Known for the last 128 packets.
    Duplicate,
    /// Nowhere, so far: the packet is held until the next one out of line, and dropped when the
    /// next one is in line.
    Stray,
    /// The sender began anew; these two packets are its first. The line is empty and wants both of
    /// them again.
    Restart(P, P),
}

impl<P: Numbered> Timeline<P> {
    /// Least difference of a later packet's timestamp.
    const LEAST_MOVE: i64 = if P::SHARED_TIMESTAMPS { 0 } else { 1 };

    /// An empty line of timestamps with this clock rate.
    pub(super) fn new(clock_rate: u32) -> Self {
        Self { clock_rate, newest: None, seen: 0, length: 0, stray: None, losses: LossEstimator::default() }
    }

    pub(super) fn place(&mut self, packet: P) -> Placement<P> {
        let (begun, number) = (self.begin(&packet), packet.sequence());
        // After padding alone, the first packet with payload may be anywhere.
        let Some(mut newest) = self.newest.filter(|newest| newest.payload.is_some() || Self::is_near(newest, number))
        else {
            let newest = self.newest.insert(Newest { sequences: SequenceUnwrapper::new(number), payload: None });
            let sequence = newest.sequences.highest();
            newest.payload = Some((sequence, begun));
            (self.seen, self.length) = (1, 1);
            return Placement::At { sequence, timestamp: begun.newest(), packet };
        };
        let sequence = newest.sequences.extend(number);
        let (in_line, timestamp) = match newest.payload {
            None => (true, begun.newest()),
            Some((furthest, timestamps)) => {
                let timestamp = timestamps.extend(packet.timestamp(), packet.arrival());
                let moved = timestamp - timestamps.newest();
                let follows = match sequence - furthest {
                    0 => moved == 0,
                    1.. => moved >= Self::LEAST_MOVE,
                    _ => (-P::MAX_AGE..=0).contains(&moved),
                };
                (follows && Self::is_near(&newest, number), timestamp)
            }
        };
        if !in_line {
            return self.hold(packet);
        }
        self.stray = None;
        if !self.mark(sequence - newest.sequences.highest()) {
            return Placement::Duplicate;
        }
        newest.sequences.advance(number);
        match &mut newest.payload {
            Some((furthest, _)) if sequence <= *furthest => {}
            Some((furthest, timestamps)) => {
                *furthest = sequence;
                timestamps.advance(packet.timestamp(), packet.arrival());
            }
            none => *none = Some((sequence, begun)),
        }
        self.newest = Some(newest);
        Placement::At { sequence, timestamp, packet }
    }

    /// Takes note of a packet without payload, whose timestamp says nothing; such packets fill the
    /// path (RFC 3550 §5.1). Returns its number; `None` where it came before, or is of another
    /// line.
    pub(super) fn place_padding(&mut self, number: u16) -> Option<i64> {
        let Some(mut newest) = self.newest else {
            let sequences = SequenceUnwrapper::new(number);
            self.newest = Some(Newest { sequences, payload: None });
            (self.seen, self.length) = (1, 1);
            return Some(sequences.highest());
        };
        let sequence = newest.sequences.extend(number);
        if !Self::is_near(&newest, number) || !self.mark(sequence - newest.sequences.highest()) {
            return None;
        }
        newest.sequences.advance(number);
        self.newest = Some(newest);
        Some(sequence)
    }

    /// Losses of all lines so far.
    pub(super) fn losses(&self) -> &LossEstimator {
        &self.losses
    }

    fn begin(&self, packet: &P) -> TimestampUnwrapper {
        TimestampUnwrapper::new(self.clock_rate, packet.timestamp(), packet.arrival())
    }

    /// Whether a number may be of the line, by the number alone.
    fn is_near(newest: &Newest, number: u16) -> bool {
        let step = newest.sequences.extend(number) - newest.sequences.highest();
        (-P::MAX_MISORDER..MAX_DROPOUT).contains(&step)
    }

    /// Marks the packet `step` numbers after the newest. `false` where it came before, as far as
    /// that is known.
    fn mark(&mut self, step: i64) -> bool {
        if step > 0 {
            self.settle(step);
            self.seen = self.seen.checked_shl(step as u32).unwrap_or(0) | 1;
            return true;
        }
        let Some(bit) = 1u128.checked_shl(step.unsigned_abs() as u32) else { return true };
        let is_new = self.seen & bit == 0;
        self.seen |= bit;
        is_new
    }

    /// The newest packet will be `step` further on: what is left behind by that is lost if it did
    /// not come.
    fn settle(&mut self, step: i64) {
        for behind in ((SETTLED - step)..SETTLED).rev() {
            // Those after the newest so far are skipped by the step.
            let came = u32::try_from(behind).is_ok_and(|behind| self.seen >> behind & 1 == 1);
            if behind < self.length {
                self.losses.settle(came);
            }
        }
        self.length += step;
    }

    fn hold(&mut self, packet: P) -> Placement<P> {
        let Some(first) = self.stray.take() else {
            self.stray = Some(packet);
            return Placement::Stray;
        };
        let begun = self.begin(&first);
        let step = packet.sequence().wrapping_sub(first.sequence());
        let moved = begun.extend(packet.timestamp(), packet.arrival()) - begun.newest();
        if (1..=MAX_CONFIRM).contains(&step) && moved >= Self::LEAST_MOVE {
            *self = Self { losses: self.losses, ..Self::new(self.clock_rate) };
            return Placement::Restart(first, packet);
        }
        self.stray = Some(packet);
        Placement::Stray
    }
}
