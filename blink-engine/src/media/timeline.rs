//! From 16-bit sequence numbers and 32-bit timestamps to a line without wraps.

use super::jitter::AudioPacket;

/// Sequence numbers that may be missed before it is another sender's numbering (RFC 3550 §A.1, `MAX_DROPOUT`).
const MAX_DROPOUT: i64 = 3_000;

/// How far behind the newest a packet may be (RFC 3550 §A.1, `MAX_MISORDER`).
const MAX_MISORDER: i64 = 100;

/// After one packet out of line, so many numbers further another may be to confirm a new numbering.
const MAX_CONFIRM: u16 = 8;

/// Extends what the wire cuts off, finds duplicates, and tells a sender's restart from a stray packet by asking for two in a row.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    newest: Option<Newest>,
    /// Bit n: the packet n before the newest came.
    seen: u128,
    stray: Option<AudioPacket>,
}

/// The packet furthest on.
#[derive(Debug, Clone, Copy)]
struct Newest {
    sequence: i64,
    timestamp: i64,
    wire: (u16, blink_api::RtpTime),
}

/// Where a packet belongs.
#[derive(Debug)]
pub(super) enum Placement {
    /// Here.
    At { sequence: i64, timestamp: i64, packet: AudioPacket },
    /// It came before.
    Duplicate,
    /// Nowhere, so far: the packet is held until the next one out of line, and dropped when the next one is in line.
    Stray,
    /// The sender began anew; these two packets are its first. The line is empty and wants both of them again.
    Restart(AudioPacket, AudioPacket),
}

impl Timeline {
    pub(super) fn place(&mut self, packet: AudioPacket) -> Placement {
        let Some(newest) = self.newest else {
            let (sequence, timestamp) = (i64::from(packet.sequence), i64::from(packet.timestamp.0));
            self.newest = Some(Newest { sequence, timestamp, wire: (packet.sequence, packet.timestamp) });
            self.seen = 1;
            return Placement::At { sequence, timestamp, packet };
        };
        let step = i64::from(packet.sequence.wrapping_sub(newest.wire.0).cast_signed());
        let moved = i64::from(packet.timestamp.since(newest.wire.1));
        let in_line = match step {
            1..MAX_DROPOUT => moved > 0,
            0 => moved == 0,
            _ => (-MAX_MISORDER..0).contains(&step) && moved <= 0,
        };
        if !in_line {
            return self.hold(packet);
        }
        self.stray = None;
        let (sequence, timestamp) = (newest.sequence + step, newest.timestamp + moved);
        if step > 0 {
            self.seen = self.seen.checked_shl(step as u32).unwrap_or(0) | 1;
            self.newest = Some(Newest { sequence, timestamp, wire: (packet.sequence, packet.timestamp) });
        } else {
            let bit = 1 << step.unsigned_abs();
            if self.seen & bit != 0 {
                return Placement::Duplicate;
            }
            self.seen |= bit;
        }
        Placement::At { sequence, timestamp, packet }
    }

    fn hold(&mut self, packet: AudioPacket) -> Placement {
        let Some(first) = self.stray.take() else {
            self.stray = Some(packet);
            return Placement::Stray;
        };
        let step = packet.sequence.wrapping_sub(first.sequence);
        if (1..=MAX_CONFIRM).contains(&step) && packet.timestamp.since(first.timestamp) > 0 {
            *self = Self::default();
            return Placement::Restart(first, packet);
        }
        self.stray = Some(packet);
        Placement::Stray
    }
}
