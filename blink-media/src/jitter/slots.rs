//! Packets that wait in the jitter buffer.

use std::collections::VecDeque;

use blink_api::AudioLevel;
use bytes::Bytes;

/// Packet, or copy of one.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) sequence: i64,
    pub(super) timestamp: i64,
    pub(super) ticks: i64,
    pub(super) level: Option<AudioLevel>,
    /// Whether it is a redundant copy from a later packet; its own packet has not arrived.
    pub(super) redundant: bool,
    /// It holds the codec's own copy of the frame before.
    pub(super) has_fec: bool,
    pub(super) payload: Bytes,
}

impl Slot {
    pub(super) fn end(&self) -> i64 {
        self.timestamp + self.ticks
    }
}

/// Packets in order, of a bounded number.
#[derive(Debug)]
pub(super) struct Slots {
    slots: VecDeque<Slot>,
    most: usize,
}

/// Outcome of an insertion.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Inserted {
    Added,
    /// Dropped: it is the oldest, and there is no room.
    Refused,
    /// Added in place of the oldest, which is dropped.
    Displaced,
}

impl Slots {
    pub(super) fn new(most: usize) -> Self {
        Self { slots: VecDeque::with_capacity(most), most }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn front(&self) -> Option<&Slot> {
        self.slots.front()
    }

    pub(super) fn back(&self) -> Option<&Slot> {
        self.slots.back()
    }

    pub(super) fn pop_front(&mut self) -> Option<Slot> {
        self.slots.pop_front()
    }

    pub(super) fn clear(&mut self) {
        self.slots.clear();
    }

    /// Adds a packet, in place of its copy if there is one.
    pub(super) fn insert(&mut self, slot: Slot) -> Inserted {
        let copy = self.slots.iter().position(|other| other.redundant && other.timestamp == slot.timestamp);
        if let Some(at) = copy {
            self.slots.remove(at);
        }
        let at = self.slots.iter().rposition(|other| other.sequence < slot.sequence).map_or(0, |before| before + 1);
        if self.slots.len() < self.most {
            self.slots.insert(at, slot);
            Inserted::Added
        } else if at == 0 {
            Inserted::Refused
        } else {
            self.slots.pop_front();
            self.slots.insert(at - 1, slot);
            Inserted::Displaced
        }
    }

    /// Adds a copy unless its packet or another copy is there; `false` where it has no place. Its
    /// `sequence` is estimated, since RFC 2198 transmits none: it lies between those of its
    /// neighbours, at least `after_last` and less than `carrier`.
    pub(super) fn insert_copy(&mut self, copy: Slot, after_last: i64, carrier: i64) -> bool {
        let at = self.slots.partition_point(|other| other.timestamp < copy.timestamp);
        let before = at.checked_sub(1).and_then(|before| self.slots.get(before));
        let after = self.slots.get(at);
        let least = before.map_or(after_last, |slot| slot.sequence + 1).max(after_last);
        let most = after.map_or(carrier, |slot| slot.sequence).min(carrier) - 1;
        let free = before.is_none_or(|slot| slot.end() <= copy.timestamp)
            && after.is_none_or(|slot| slot.timestamp >= copy.end());
        if !free || least > most || self.slots.len() >= self.most {
            return false;
        }
        let sequence = copy.sequence.clamp(least, most);
        self.slots.insert(at, Slot { sequence, ..copy });
        true
    }
}
