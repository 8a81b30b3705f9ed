//! Packets in the order of their RTP time, across time bases.

use std::collections::BTreeMap;
use std::time::Duration;

use blink_api::{CallTime, RtpTime};

use super::{Item, position};

/// Packets that wait at most. Beyond that the first is given out at once.
const MOST_WAITING: usize = 512;
/// Difference between the progress of RTP time and of the call clock from which on it is another
/// time base: more than any correction of the call clock, and missed by two random bases once in
/// 90,000 times (at 48 kHz).
const NEW_BASE: Duration = Duration::from_millis(500);

/// Place of a packet in a track: which time base, and the extended RTP time within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) generation: u32,
    pub(super) timestamp: i64,
}

/// The newest packet of a time base.
#[derive(Debug, Clone, Copy)]
struct Base {
    key: Key,
    timestamp: RtpTime,
    at: CallTime,
}

/// A packet whose turn it is.
#[derive(Debug)]
pub(super) struct Released<T> {
    pub(super) key: Key,
    pub(super) item: Item<T>,
}

#[derive(Debug)]
struct Waiting<T> {
    item: Item<T>,
    since: CallTime,
}

/// Puts the packets of one track in order.
///
/// A packet that follows the last one without a gap is given out at once. Others wait for `hold`,
/// so that a packet which was overtaken still finds its place.
#[derive(Debug)]
pub(super) struct Reorder<T> {
    rate: u32,
    hold: Duration,
    waiting: BTreeMap<Key, Waiting<T>>,
    base: Option<Base>,
    /// The time base before: its last packets may be overtaken by the first of the new one.
    previous: Option<Base>,
    /// The packet given out last, and the RTP time of its end.
    last: Option<(Key, i64)>,
}

impl<T> Reorder<T> {
    pub(super) fn new(rate: u32, hold: Duration) -> Self {
        Self { rate, hold, waiting: BTreeMap::new(), base: None, previous: None, last: None }
    }

    /// Takes a packet at `now`; `false` where it is a copy or comes too late.
    pub(super) fn insert(&mut self, item: Item<T>, now: CallTime) -> bool {
        let key = self.key(&item);
        if self.last.is_some_and(|(last, _)| key <= last) || self.waiting.contains_key(&key) {
            return false;
        }
        self.waiting.insert(key, Waiting { item, since: now });
        true
    }

    /// The next packet that need not wait any longer.
    pub(super) fn pop(&mut self, now: CallTime) -> Option<Released<T>> {
        let (key, first) = self.waiting.first_key_value()?;
        let follows = self.last.is_some_and(|(last, end)| last.generation == key.generation && end == key.timestamp);
        let waited = now.0.saturating_sub(first.since.0) >= self.hold;
        if follows || waited || self.waiting.len() > MOST_WAITING { self.pop_any() } else { None }
    }

    /// The next packet, however long it has waited.
    pub(super) fn pop_any(&mut self) -> Option<Released<T>> {
        let (key, Waiting { item, .. }) = self.waiting.pop_first()?;
        self.last = Some((key, key.timestamp + i64::from(item.ticks)));
        Some(Released { key, item })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Finds the time base of a packet, or begins a new one.
    fn key(&mut self, item: &Item<T>) -> Key {
        if let Some(base) = &mut self.base
            && let Some(key) = continues(base, item, self.rate)
        {
            if key > base.key {
                *base = Base { key, timestamp: item.timestamp, at: item.at };
            }
            return key;
        }
        if let Some(key) = self.previous.and_then(|previous| continues(&previous, item, self.rate)) {
            return key;
        }
        let generation = self.base.map_or(0, |base| base.key.generation.saturating_add(1));
        let key = Key { generation, timestamp: 0 };
        self.previous = self.base.replace(Base { key, timestamp: item.timestamp, at: item.at });
        key
    }
}

/// The key of a packet in a time base; `None` where RTP time and call clock progressed differently.
fn continues<T>(base: &Base, item: &Item<T>, rate: u32) -> Option<Key> {
    let by_rtp = i64::from(item.timestamp.since(base.timestamp));
    let by_clock = position(base.at, item.at, rate);
    let limit = i64::try_from(super::ticks_in(NEW_BASE, rate)).unwrap_or(i64::MAX);
    let key = Key { generation: base.key.generation, timestamp: base.key.timestamp + by_rtp };
    (by_rtp.saturating_sub(by_clock).saturating_abs() <= limit).then_some(key)
}
