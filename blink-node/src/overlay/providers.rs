//! Store of the DHT's provider records, with limits per source so that fakes cannot fill it.
//!
//! A record is accepted from the node that it names, over a connection from a known address. The
//! *source* of a record is that address (IPv6: its /64). A full key, source or store evicts the
//! oldest record of the source with most records, so that a newcomer always finds a place and a
//! flood displaces itself.

use std::borrow::Cow;
use std::collections::HashMap;
use std::iter;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use blink_signaling_kit::admission::{Prefix, Source};
use libp2p::PeerId;
use libp2p::kad::store::{Error, RecordStore, Result};
use libp2p::kad::{ProviderRecord, Record, RecordKey};

/// Time for which a record is valid. Providers renew theirs after a fraction of it.
pub(super) const RECORD_TTL: Duration = Duration::from_secs(3600);

/// Longest key in bytes: a SHA-512 multihash.
const LONGEST_KEY: usize = 66;
/// Largest number of addresses of a record, and of their bytes.
const MAX_ADDRESSES: usize = 8;
const MAX_ADDRESS_BYTES: usize = 1024;
/// Bytes of addresses in one answer; a packet of the protocol has at most 16 KiB.
const ANSWER_BYTES: usize = 12 * 1024;
/// Bytes of a provider in an answer besides its addresses: peer id, connection type, lengths.
const PROVIDER_BYTES: usize = 64;

/// Limits of the store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Records in total.
    pub(super) total: usize,
    /// Records of a key.
    pub(super) per_key: usize,
    /// Records of a key from one source.
    pub(super) per_key_and_source: usize,
    /// Records from one source.
    pub(super) per_source: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { total: 65_536, per_key: 64, per_key_and_source: 8, per_source: 512 }
    }
}

/// Reason for which a record is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The key is too long to be a hash.
    Key,
    /// The node is connected from no known address.
    NoSource,
}

/// Store of provider records. Values (`PUT_VALUE`) are not stored.
#[derive(Debug)]
pub(crate) struct ProviderStore {
    limits: Limits,
    keys: HashMap<RecordKey, Vec<Entry>>,
    /// Records of each source, oldest first.
    per_source: HashMap<Prefix, Vec<(RecordKey, PeerId)>>,
    total: usize,
}

#[derive(Debug)]
struct Entry {
    record: ProviderRecord,
    source: Prefix,
    since: Instant,
}

impl ProviderStore {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, keys: HashMap::new(), per_source: HashMap::new(), total: 0 }
    }

    /// Number of keys with a record.
    pub(super) fn keys(&self) -> usize {
        self.keys.len()
    }

    /// Number of records.
    pub(super) fn records(&self) -> usize {
        self.total
    }

    /// Stores or renews a record of a node that is connected from `address`.
    pub(super) fn insert(
        &mut self,
        mut record: ProviderRecord,
        address: Option<IpAddr>,
        now: Instant,
    ) -> std::result::Result<(), Refusal> {
        if record.key.as_ref().len() > LONGEST_KEY {
            return Err(Refusal::Key);
        }
        let source = Source::from(address.ok_or(Refusal::NoSource)?).host();
        trim_addresses(&mut record);
        record.expires = Some(now + RECORD_TTL);
        self.take(&record.key, |entry| entry.record.provider == record.provider);
        self.make_room(&record.key, source);
        self.total += 1;
        self.per_source.entry(source).or_default().push((record.key.clone(), record.provider));
        self.keys.entry(record.key.clone()).or_default().push(Entry { record, source, since: now });
        Ok(())
    }

    /// Removes expired records.
    pub(super) fn expire(&mut self, now: Instant) {
        let keys: Vec<_> = self.keys.keys().cloned().collect();
        for key in keys {
            while self.take(&key, |entry| entry.record.is_expired(now)) {}
        }
    }

    fn make_room(&mut self, key: &RecordKey, source: Prefix) {
        let Limits { total, per_key, per_key_and_source, per_source } = self.limits;
        let of_key = self.keys.get(key).map_or(&[][..], Vec::as_slice);
        let is_crowded = of_key.len() >= per_key;
        if of_key.iter().filter(|entry| entry.source == source).count() >= per_key_and_source {
            self.evict_from_key(key, |entry| entry.source == source);
        } else if is_crowded {
            let mut counts = HashMap::new();
            of_key.iter().for_each(|entry| *counts.entry(entry.source).or_insert(0_usize) += 1);
            let largest = counts.values().copied().max().unwrap_or_default();
            self.evict_from_key(key, |entry| counts.get(&entry.source) == Some(&largest));
        }
        if self.per_source.get(&source).map_or(0, Vec::len) >= per_source {
            self.evict_from_source(source);
        } else if self.total >= total {
            let crowded = self.per_source.iter().max_by_key(|(_, records)| records.len()).map(|(source, _)| *source);
            if let Some(crowded) = crowded {
                self.evict_from_source(crowded);
            }
        }
    }

    /// Removes the oldest matching record of a key.
    fn evict_from_key(&mut self, key: &RecordKey, matches: impl Fn(&Entry) -> bool) {
        let matching = self.keys.get(key).into_iter().flatten().filter(|entry| matches(entry));
        let oldest = matching.min_by_key(|entry| entry.since).map(|entry| entry.record.provider);
        if let Some(provider) = oldest {
            self.take(key, |entry| entry.record.provider == provider);
        }
    }

    /// Removes the oldest record of the node that has most records among those of a source.
    fn evict_from_source(&mut self, source: Prefix) {
        let Some(records) = self.per_source.get(&source) else { return };
        let mut counts = HashMap::new();
        records.iter().for_each(|(_, provider)| *counts.entry(*provider).or_insert(0_usize) += 1);
        let busiest = counts.into_iter().max_by_key(|(_, records)| *records).map(|(provider, _)| provider);
        let oldest = records.iter().find(|(_, provider)| Some(*provider) == busiest).cloned();
        if let Some((key, provider)) = oldest {
            self.take(&key, |entry| entry.record.provider == provider);
        }
    }

    /// Removes the first matching record of a key, and returns whether there was one.
    fn take(&mut self, key: &RecordKey, matches: impl Fn(&Entry) -> bool) -> bool {
        let Some(entries) = self.keys.get_mut(key) else { return false };
        let Some(index) = entries.iter().position(matches) else { return false };
        let taken = entries.swap_remove(index);
        if entries.is_empty() {
            self.keys.remove(key);
        }
        self.total -= 1;
        if let Some(records) = self.per_source.get_mut(&taken.source) {
            records.retain(|(key, provider)| (key, provider) != (&taken.record.key, &taken.record.provider));
            if records.is_empty() {
                self.per_source.remove(&taken.source);
            }
        }
        true
    }
}

impl RecordStore for ProviderStore {
    type RecordsIter<'a> = iter::Empty<Cow<'a, Record>>;
    type ProvidedIter<'a> = iter::Empty<Cow<'a, ProviderRecord>>;

    fn get(&self, _: &RecordKey) -> Option<Cow<'_, Record>> {
        None
    }

    fn put(&mut self, _: Record) -> Result<()> {
        Err(Error::MaxRecords)
    }

    fn remove(&mut self, _: &RecordKey) {}

    fn records(&self) -> Self::RecordsIter<'_> {
        iter::empty()
    }

    /// Refuses records of the node itself, which provides nothing. Those of others are filtered,
    /// and come by [`insert`](ProviderStore::insert).
    fn add_provider(&mut self, _: ProviderRecord) -> Result<()> {
        Err(Error::MaxProvidedKeys)
    }

    /// Newest records first, of alternating sources, as many as fit in one answer.
    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        let mut entries: Vec<_> = self.keys.get(key).into_iter().flatten().collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.since));
        let mut turns = HashMap::new();
        let mut turn = |entry: &Entry| {
            let turn = turns.entry(entry.source).or_insert(0_usize);
            *turn += 1;
            *turn
        };
        let mut ordered: Vec<_> = entries.into_iter().map(|entry| (turn(entry), entry)).collect();
        ordered.sort_by_key(|(turn, _)| *turn);
        let mut bytes = 0;
        let fits = |(_, entry): &(usize, &Entry)| {
            bytes += PROVIDER_BYTES + address_bytes(&entry.record);
            bytes <= ANSWER_BYTES
        };
        ordered.into_iter().take_while(fits).map(|(_, entry)| entry.record.clone()).collect()
    }

    fn provided(&self) -> Self::ProvidedIter<'_> {
        iter::empty()
    }

    fn remove_provider(&mut self, key: &RecordKey, provider: &PeerId) {
        self.take(key, |entry| entry.record.provider == *provider);
    }
}

fn trim_addresses(record: &mut ProviderRecord) {
    record.addresses.truncate(MAX_ADDRESSES);
    while address_bytes(record) > MAX_ADDRESS_BYTES {
        record.addresses.pop();
    }
}

fn address_bytes(record: &ProviderRecord) -> usize {
    record.addresses.iter().map(libp2p::Multiaddr::len).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { total: 40, per_key: 6, per_key_and_source: 2, per_source: 10 };

    struct Fixture {
        store: ProviderStore,
        now: Instant,
    }

    impl Fixture {
        fn new() -> Self {
            Self { store: ProviderStore::new(LIMITS), now: Instant::now() }
        }

        fn add(&mut self, key: u8, provider: PeerId, address: [u8; 4]) {
            self.now += Duration::from_millis(1);
            let record = ProviderRecord::new(name(key), provider, Vec::new());
            self.store.insert(record, Some(IpAddr::from(address)), self.now).unwrap();
        }

        fn has(&self, key: u8, provider: PeerId) -> bool {
            self.store.providers(&name(key)).iter().any(|record| record.provider == provider)
        }
    }

    fn name(key: u8) -> RecordKey {
        RecordKey::new(&[key; 32])
    }

    #[test]
    fn records_are_renewed_and_expire() {
        let mut fixture = Fixture::new();
        let provider = PeerId::random();
        fixture.add(1, provider, [1, 1, 1, 1]);
        fixture.now += RECORD_TTL / 2;
        fixture.add(1, provider, [1, 1, 1, 1]);
        assert_eq!((fixture.store.keys(), fixture.store.records()), (1, 1), "renewed, not added");
        fixture.store.expire(fixture.now + RECORD_TTL - Duration::from_millis(1));
        assert!(fixture.has(1, provider));
        fixture.store.expire(fixture.now + RECORD_TTL);
        assert_eq!((fixture.store.keys(), fixture.store.records()), (0, 0));
        assert!(fixture.store.per_source.is_empty());
    }

    #[test]
    fn fakes_from_one_address_leave_the_real_provider_of_a_key() {
        let mut fixture = Fixture::new();
        let real = PeerId::random();
        fixture.add(1, real, [1, 1, 1, 1]);
        for _ in 0..100 {
            fixture.add(1, PeerId::random(), [6, 6, 6, 6]);
        }
        assert!(fixture.has(1, real));
        assert_eq!(fixture.store.records(), 1 + LIMITS.per_key_and_source);
    }

    #[test]
    fn a_newcomer_finds_a_place_in_a_full_key() {
        let mut fixture = Fixture::new();
        for host in 0..20 {
            fixture.add(1, PeerId::random(), [6, 6, 6, host]);
        }
        let real = PeerId::random();
        fixture.add(1, real, [1, 1, 1, 1]);
        assert!(fixture.has(1, real));
        assert_eq!(fixture.store.records(), LIMITS.per_key);
    }

    #[test]
    fn a_flood_of_keys_displaces_records_of_the_flooding_node() {
        let mut fixture = Fixture::new();
        let (neighbour, flooder) = (PeerId::random(), PeerId::random());
        fixture.add(0, neighbour, [6, 6, 6, 6]);
        for key in 1..=200 {
            fixture.add(key, flooder, [6, 6, 6, 6]);
        }
        assert!(fixture.has(0, neighbour), "the neighbour behind the same address keeps its record");
        assert!(fixture.has(200, flooder));
        assert_eq!(fixture.store.records(), LIMITS.per_source);
    }

    #[test]
    fn a_full_store_evicts_from_the_largest_source() {
        let mut fixture = Fixture::new();
        let real = PeerId::random();
        fixture.add(0, real, [1, 1, 1, 1]);
        for host in 0..10 {
            for key in 1..=10 {
                fixture.add(host * 10 + key, PeerId::random(), [6, 6, 6, host]);
            }
        }
        assert!(fixture.has(0, real));
        assert_eq!(fixture.store.records(), LIMITS.total);
        let counted: usize = fixture.store.per_source.values().map(Vec::len).sum();
        assert_eq!(counted, LIMITS.total);
    }

    #[test]
    fn answers_fit_in_a_packet_and_alternate_between_sources() {
        let mut store = ProviderStore::new(Limits::default());
        let now = Instant::now();
        let long: libp2p::Multiaddr = format!("/dns4/{}/tcp/4001", "a".repeat(200)).parse().unwrap();
        for host in 0..8 {
            for _ in 0..8 {
                let record = ProviderRecord::new(name(1), PeerId::random(), vec![long.clone(); 100]);
                store.insert(record, Some(IpAddr::from([6, 6, 6, host])), now).unwrap();
            }
        }
        let answer = store.providers(&name(1));
        let bytes: usize = answer.iter().map(|record| PROVIDER_BYTES + address_bytes(record)).sum();
        assert!(answer.len() >= 8 && bytes <= ANSWER_BYTES, "{} records, {bytes} bytes", answer.len());
        let sources =
            |provider| store.keys[&name(1)].iter().find(|entry| entry.record.provider == provider).unwrap().source;
        let first: std::collections::HashSet<_> = answer[..8].iter().map(|record| sources(record.provider)).collect();
        assert_eq!(first.len(), 8, "one of each source comes first");
    }

    #[test]
    fn long_keys_and_unknown_sources_are_refused() {
        let mut store = ProviderStore::new(LIMITS);
        let now = Instant::now();
        let long = ProviderRecord::new(RecordKey::new(&[1; 67]), PeerId::random(), Vec::new());
        assert_eq!(store.insert(long, Some(IpAddr::from([1, 1, 1, 1])), now), Err(Refusal::Key));
        let record = ProviderRecord::new(name(1), PeerId::random(), Vec::new());
        assert_eq!(store.insert(record, None, now), Err(Refusal::NoSource));
        assert_eq!(store.records(), 0);
    }
}
