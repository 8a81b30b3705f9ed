//! Bounded maps with a separate quota for strangers, so that strangers evict only strangers.

use std::collections::BTreeMap;

/// Quota of a bounded map that an entry uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quota {
    /// The own person, people whom the integrator named as known, and calls in which the user took
    /// part.
    Familiar,
    /// Everyone else.
    Strangers,
}

impl Quota {
    pub(crate) fn familiar(is: bool) -> Self {
        if is { Self::Familiar } else { Self::Strangers }
    }
}

/// Map with a capacity per quota. Beyond it, the quota's oldest entry is evicted.
#[derive(Debug, Clone)]
pub(crate) struct QuotaMap<K, V> {
    entries: BTreeMap<K, Entry<V>>,
    /// Keys in order of insertion, by quota.
    order: [BTreeMap<u64, K>; 2],
    capacity: [usize; 2],
    inserted: u64,
}

#[derive(Debug, Clone)]
struct Entry<V> {
    number: u64,
    quota: Quota,
    value: V,
}

impl<K: Ord + Copy, V> QuotaMap<K, V> {
    /// Creates an empty map with the capacities of both quotas.
    pub(crate) fn new(familiar: usize, strangers: usize) -> Self {
        let order = [BTreeMap::new(), BTreeMap::new()];
        Self { entries: BTreeMap::new(), order, capacity: [familiar, strangers], inserted: 0 }
    }

    /// Inserts or replaces an entry; returns the evicted key. An existing key keeps its position in
    /// the order, and a familiar entry remains familiar.
    pub(crate) fn insert(&mut self, quota: Quota, key: K, value: V) -> Option<K> {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.value = value;
            return if quota == Quota::Familiar { self.make_familiar(&key) } else { None };
        }
        self.inserted += 1;
        self.entries.insert(key, Entry { number: self.inserted, quota, value });
        self.order[quota as usize].insert(self.inserted, key);
        self.evict(quota)
    }

    /// Moves an entry to the familiar quota; returns the evicted key.
    pub(crate) fn make_familiar(&mut self, key: &K) -> Option<K> {
        let entry = self.entries.get_mut(key).filter(|entry| entry.quota == Quota::Strangers)?;
        entry.quota = Quota::Familiar;
        self.order[Quota::Strangers as usize].remove(&entry.number);
        self.order[Quota::Familiar as usize].insert(entry.number, *key);
        self.evict(Quota::Familiar)
    }

    /// Evicts the oldest entry of a quota that is over its capacity; returns its key.
    fn evict(&mut self, quota: Quota) -> Option<K> {
        let order = &mut self.order[quota as usize];
        if order.len() <= self.capacity[quota as usize] {
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

    /// Removes the oldest entry of a quota for which the condition holds.
    pub(crate) fn pop_oldest_if(&mut self, is: impl Fn(&V) -> bool) -> Option<K> {
        let oldest = self.order.iter().filter_map(|order| order.first_key_value());
        let applies = |key: &K| self.entries.get(key).is_some_and(|entry| is(&entry.value));
        let key = oldest.map(|(_, key)| *key).find(applies)?;
        let entry = self.entries.remove(&key)?;
        self.order[entry.quota as usize].remove(&entry.number);
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
    fn strangers_evict_strangers_only() {
        let mut map = QuotaMap::new(3, 2);
        for key in 0..3 {
            assert_eq!(map.insert(Quota::Familiar, key, ()), None);
        }
        let evicted: Vec<_> = (10..15).filter_map(|key| map.insert(Quota::Strangers, key, ())).collect();
        assert_eq!(evicted, [10, 11, 12]);
        assert!((0..3).all(|key| map.contains_key(&key)));
        assert_eq!(map.make_familiar(&13), Some(0));
        assert_eq!(map.insert(Quota::Strangers, 13, ()), None, "it stays familiar");
        assert_eq!(map.insert(Quota::Strangers, 15, ()), None, "the quota of strangers has a free place");
        assert_eq!(map.len(), 5);
    }

    #[test]
    fn old_entries_are_removed_from_both_quotas_oldest_first() {
        let mut map = QuotaMap::new(4, 4);
        for (key, quota) in [(1, Quota::Familiar), (2, Quota::Strangers), (3, Quota::Familiar), (4, Quota::Strangers)] {
            map.insert(quota, key, key);
        }
        let mut gone = Vec::new();
        while let Some(key) = map.pop_oldest_if(|value| *value < 4) {
            gone.push(key);
        }
        assert_eq!((gone, map.len()), (vec![1, 3, 2], 1));
    }
}
