//! Bounded maps with a separate share for strangers, so that strangers only evict strangers.

use std::collections::BTreeMap;

/// Share of a bounded map that an entry uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    /// The own person, people whom the integrator named as known, and calls in which the user took
    /// part.
    Familiar,
    /// Everyone else.
    Strangers,
}

impl Share {
    pub(crate) fn familiar(is: bool) -> Self {
        if is { Self::Familiar } else { Self::Strangers }
    }
}

/// A map with a limit for each share. When a share is full, its oldest entry is evicted.
#[derive(Debug, Clone)]
pub(crate) struct SharedMap<K, V> {
    entries: BTreeMap<K, Entry<V>>,
    /// Keys in order of insertion, by share.
    order: [BTreeMap<u64, K>; 2],
    room: [usize; 2],
    inserted: u64,
}

#[derive(Debug, Clone)]
struct Entry<V> {
    number: u64,
    share: Share,
    value: V,
}

impl<K: Ord + Copy, V> SharedMap<K, V> {
    /// Empty map with the limits of both shares.
    pub(crate) fn new(familiar: usize, strangers: usize) -> Self {
        let order = [BTreeMap::new(), BTreeMap::new()];
        Self { entries: BTreeMap::new(), order, room: [familiar, strangers], inserted: 0 }
    }

    /// Inserts or replaces an entry; returns the evicted key. An existing key keeps its position in
    /// the order, and a familiar entry remains familiar.
    pub(crate) fn insert(&mut self, share: Share, key: K, value: V) -> Option<K> {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.value = value;
            return if share == Share::Familiar { self.make_familiar(&key) } else { None };
        }
        self.inserted += 1;
        self.entries.insert(key, Entry { number: self.inserted, share, value });
        self.order[share as usize].insert(self.inserted, key);
        self.make_room(share)
    }

    /// Moves an entry to the familiar share; returns the evicted key.
    pub(crate) fn make_familiar(&mut self, key: &K) -> Option<K> {
        let entry = self.entries.get_mut(key).filter(|entry| entry.share == Share::Strangers)?;
        entry.share = Share::Familiar;
        self.order[Share::Strangers as usize].remove(&entry.number);
        self.order[Share::Familiar as usize].insert(entry.number, *key);
        self.make_room(Share::Familiar)
    }

    fn make_room(&mut self, share: Share) -> Option<K> {
        let order = &mut self.order[share as usize];
        if order.len() <= self.room[share as usize] {
            return None;
        }
        let (_, oldest) = order.pop_first()?;
        self.entries.remove(&oldest);
        Some(oldest)
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).map(|entry| &mut entry.value)
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    /// All entries, ordered by key.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, entry)| (key, &entry.value))
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.entries.values_mut().map(|entry| &mut entry.value)
    }

    /// Removes the oldest entry of a share for which the condition holds.
    pub(crate) fn pop_oldest_if(&mut self, is: impl Fn(&V) -> bool) -> Option<K> {
        let oldest = self.order.iter().filter_map(|order| order.first_key_value());
        let applies = |key: &K| self.entries.get(key).is_some_and(|entry| is(&entry.value));
        let key = oldest.map(|(_, key)| *key).find(applies)?;
        let entry = self.entries.remove(&key)?;
        self.order[entry.share as usize].remove(&entry.number);
        Some(key)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_push_out_strangers_only() {
        let mut map = SharedMap::new(3, 2);
        for key in 0..3 {
            assert_eq!(map.insert(Share::Familiar, key, ()), None);
        }
        let made_room: Vec<_> = (10..15).filter_map(|key| map.insert(Share::Strangers, key, ())).collect();
        assert_eq!(made_room, [10, 11, 12]);
        assert!((0..3).all(|key| map.contains_key(&key)));
        assert_eq!(map.make_familiar(&13), Some(0));
        assert_eq!(map.insert(Share::Strangers, 13, ()), None, "it stays familiar");
        assert_eq!(map.insert(Share::Strangers, 15, ()), None, "there is room for one more stranger");
        assert_eq!(map.len(), 5);
    }

    #[test]
    fn what_is_old_goes_from_both_shares_the_oldest_of_each_first() {
        let mut map = SharedMap::new(4, 4);
        for (key, share) in [(1, Share::Familiar), (2, Share::Strangers), (3, Share::Familiar), (4, Share::Strangers)] {
            map.insert(share, key, key);
        }
        let mut gone = Vec::new();
        while let Some(key) = map.pop_oldest_if(|value| *value < 4) {
            gone.push(key);
        }
        assert_eq!((gone, map.len()), (vec![1, 3, 2], 1));
    }
}
