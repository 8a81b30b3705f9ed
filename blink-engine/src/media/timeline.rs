//! From 16-bit sequence numbers and 32-bit timestamps to a line without wraps.

use blink_api::RtpTime;

use super::losses::Losses;

/// Sequence numbers that may be missed before it is another sender's numbering (RFC 3550 §A.1, `MAX_DROPOUT`).
const MAX_DROPOUT: i64 = 3_000;

/// A packet so many behind the newest that is not there by then is lost.
const SETTLED: i64 = 16;

/// After one packet out of line, so many numbers further another may be to confirm a new numbering.
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
}

/// Extends what the wire cuts off, finds duplicates, and tells a sender's restart from a stray packet by asking for two in a row.
#[derive(Debug)]
pub(super) struct Timeline<P> {
    newest: Option<Newest>,
    /// Bit n: the packet n before the newest came.
    seen: u128,
    /// Packets up to the newest, from the first one on.
    length: i64,
    stray: Option<P>,
    losses: Losses,
}

/// The packet furthest on.
#[derive(Debug, Clone, Copy)]
struct Newest {
    sequence: i64,
    timestamp: i64,
    wire: (u16, RtpTime),
}

/// Where a packet belongs.
#[derive(Debug)]
pub(super) enum Placement<P> {
    /// Here.
    At { sequence: i64, timestamp: i64, packet: P },
    /// It came before. Told of the last 128 packets.
    Duplicate,
    /// Nowhere, so far: the packet is held until the next one out of line, and dropped when the next one is in line.
    Stray,
    /// The sender began anew; these two packets are its first. The line is empty and wants both of them again.
    Restart(P, P),
}

impl<P> Default for Timeline<P> {
    fn default() -> Self {
        Self { newest: None, seen: 0, length: 0, stray: None, losses: Losses::default() }
    }
}

impl<P: Numbered> Timeline<P> {
    /// By how much a later packet's timestamp is later, at least.
    const LEAST_MOVE: i64 = if P::SHARED_TIMESTAMPS { 0 } else { 1 };

    pub(super) fn place(&mut self, packet: P) -> Placement<P> {
        let wire = (packet.sequence(), packet.timestamp());
        let Some(newest) = self.newest else {
            let (sequence, timestamp) = (i64::from(wire.0), i64::from(wire.1.0));
            self.newest = Some(Newest { sequence, timestamp, wire });
            self.seen = 1;
            self.length = 1;
            return Placement::At { sequence, timestamp, packet };
        };
        let step = i64::from(wire.0.wrapping_sub(newest.wire.0).cast_signed());
        let moved = i64::from(wire.1.since(newest.wire.1));
        let in_line = match step {
            1..MAX_DROPOUT => moved >= Self::LEAST_MOVE,
            0 => moved == 0,
            _ => (-P::MAX_MISORDER..0).contains(&step) && (-P::MAX_AGE..=0).contains(&moved),
        };
        if !in_line {
            return self.hold(packet);
        }
        self.stray = None;
        let (sequence, timestamp) = (newest.sequence + step, newest.timestamp + moved);
        if step > 0 {
            self.settle(step);
            self.seen = self.seen.checked_shl(step as u32).unwrap_or(0) | 1;
            self.newest = Some(Newest { sequence, timestamp, wire });
        } else if let Some(bit) = 1u128.checked_shl(step.unsigned_abs() as u32) {
            if self.seen & bit != 0 {
                return Placement::Duplicate;
            }
            self.seen |= bit;
        }
        Placement::At { sequence, timestamp, packet }
    }

    /// What the network lost, of all lines so far.
    pub(super) fn losses(&self) -> &Losses {
        &self.losses
    }

    /// The newest packet will be `step` further on: what is left behind by that is lost if it did not come.
    fn settle(&mut self, step: i64) {
        for behind in ((SETTLED - step)..SETTLED).rev() {
            // Those in front of the newest so far are left out by the step.
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
        let step = packet.sequence().wrapping_sub(first.sequence());
        let moved = i64::from(packet.timestamp().since(first.timestamp()));
        if (1..=MAX_CONFIRM).contains(&step) && moved >= Self::LEAST_MOVE {
            *self = Self { losses: self.losses, ..Self::default() };
            return Placement::Restart(first, packet);
        }
        self.stray = Some(packet);
        Placement::Stray
    }
}
