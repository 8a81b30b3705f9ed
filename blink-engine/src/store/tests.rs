//! Reading of stored state, also from files with damaged entries.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use blink_api::{CallId, CallSettings, DeviceId, Endpoint, ErrorKind, Result};
use redb::backends::InMemoryBackend;
use redb::{Database, ReadableDatabase, StorageBackend, TableDefinition};

use super::database::{FILE, META};
use super::*;

mod damage;
mod permissions;

use blink_proto::call::{Change, Machine, MachineConfig, Memory, Now, Output};
use blink_proto::secure::Identity;

/// A store whose disk is full from now on. Opened again in its directory it works.
pub(crate) fn on_a_full_disk(directory: &Path) -> Store {
    let disk = FullDisk::default();
    let full = disk.full.clone();
    let database = Database::builder().create_with_backend(disk).unwrap();
    full.store(true, Ordering::Relaxed);
    Store { directory: directory.to_owned(), database }
}

#[derive(Debug, Default)]
struct FullDisk {
    memory: InMemoryBackend,
    full: Arc<AtomicBool>,
}

impl FullDisk {
    fn check(&self) -> std::io::Result<()> {
        if self.full.load(Ordering::Relaxed) { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl StorageBackend for FullDisk {
    fn len(&self) -> std::io::Result<u64> {
        self.memory.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.memory.read(offset, out)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.check().and_then(|()| self.memory.set_len(len))
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.check().and_then(|()| self.memory.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.check().and_then(|()| self.memory.write(offset, data))
    }
}

type Raw = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// Changes of a device with calls of every kind: an offered one, an ended one, a notice of a missed
/// call, two entries of the history.
fn changes() -> Vec<Change> {
    let identity = |seed| Identity::from_seed(&[seed; 32]);
    let own = Endpoint { did: identity(1).did(), device: DeviceId::from_random([1; 16]) };
    let settings = CallSettings::default();
    let memory = Memory::default();
    let config = MachineConfig { identity: identity(1), own, boot: 1, settings, seed: [1; 32], memory };
    let now = Now { mono: Instant::now(), unix_ms: 1_000_000 };
    let mut machine = Machine::new(config, now);
    machine.offer(now, &[identity(2).did()], b"tea").unwrap();
    machine.offer(now, &[identity(3).did()], b"").unwrap();
    let outputs = std::iter::from_fn(|| machine.poll());
    outputs.filter_map(|output| if let Output::Persist(change) = output { Some(change) } else { None }).collect()
}

fn counts(memory: &Memory) -> [usize; 4] {
    [memory.tombstones.len(), memory.calls.len(), memory.notices.len(), memory.history.len()]
}

fn put(store: &Store, table: &'static str, key: &[u8], value: &[u8]) {
    let transaction = store.database.begin_write().unwrap();
    transaction.open_table(Raw::new(table)).unwrap().insert(key, value).unwrap();
    transaction.commit().unwrap();
}

#[test]
fn stored_state_is_read_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let mut expected = Memory::default();
    changes().into_iter().for_each(|change| expected.apply(change));
    {
        let store = Store::open(directory.path()).unwrap();
        assert_eq!(counts(&store.memory().unwrap().0), [0; 4]);
        store.write_memory(&changes()).unwrap();
    }
    let (read, damaged) = Store::open(directory.path()).unwrap().memory().unwrap();
    assert_eq!((counts(&read), damaged), ([1, 1, 1, 2], 0));
    assert_eq!((&read.tombstones, &read.history), (&expected.tombstones, &expected.history));
    let calls = |memory: &Memory| memory.calls.keys().copied().collect::<BTreeSet<_>>();
    assert_eq!(calls(&read), calls(&expected));
}

#[test]
fn removed_entries_are_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    store.write_memory(&changes()).unwrap();
    let (memory, _) = store.memory().unwrap();
    let mut forgotten = vec![Change::HistoryCleared];
    forgotten.extend(memory.tombstones.keys().map(|call| Change::Tombstone(*call, None)));
    forgotten.extend(memory.calls.keys().map(|call| Change::Call(*call, None)));
    forgotten.extend(memory.notices.keys().map(|(call, to)| Change::Notice(*call, *to, None)));
    store.write_memory(&forgotten).unwrap();
    assert_eq!(counts(&store.memory().unwrap().0), [0; 4]);
}

#[test]
fn a_damaged_entry_is_left_out_and_the_rest_is_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    store.write_memory(&changes()).unwrap();
    let calls = Raw::new("calls");
    let sound = {
        let entries = store.database.begin_read().unwrap().open_table(calls).unwrap();
        let key = store.memory().unwrap().0.calls.keys().next().copied().unwrap();
        entries.get(&key.as_bytes()[..]).unwrap().unwrap().value().to_vec()
    };
    let other = CallId::from_bytes([9; 16]);
    for table in ["tombstones", "calls", "notices", "history"] {
        put(&store, table, b"short", b"");
        put(&store, table, other.as_bytes(), b"nonsense");
        put(&store, table, &[8; 48], &vec![0xff; 100_000]);
    }
    // A sound call in the place of another, and one whose signature no longer holds.
    put(&store, "calls", other.as_bytes(), &sound);
    let mut flipped = sound;
    let middle = flipped.len() / 4;
    flipped[middle] ^= 1;
    put(&store, "calls", &[7; 16], &flipped);
    let (memory, damaged) = store.memory().unwrap();
    assert_eq!(counts(&memory), [1, 1, 1, 2]);
    assert_eq!(damaged, 13);
    assert_eq!(store.memory().unwrap().1, 0, "it is counted once");
}

#[test]
fn what_a_later_version_wrote_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    {
        let store = Store::open(directory.path()).unwrap();
        store.write_memory(&changes()).unwrap();
        store.write("format", &2_u64.to_be_bytes()).unwrap();
    }
    let refused = Store::open(directory.path()).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(refused.to_string().contains("later version"), "{refused}");
    assert_eq!(DataDirectory::open(directory.path()).err().unwrap().kind(), ErrorKind::Invalid);
    let database = Database::open(directory.path().join(FILE)).unwrap();
    let store = Store { directory: directory.path().to_owned(), database };
    assert_eq!(counts(&store.memory().unwrap().0), [1, 1, 1, 2]);
}

#[test]
fn a_boot_that_was_jumped_to_is_counted_on_from() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(store.next_boot(1_000).unwrap(), 1_000);
    store.write_memory(&[Change::Boot(5_000), Change::Boot(4_000)]).unwrap();
    assert_eq!(store.next_boot(1_001).unwrap(), 5_001);
}

#[test]
fn nothing_secret_is_shown() {
    let shown = format!("{:?}", changes());
    assert!(shown.len() < 200 && shown.starts_with('['), "{shown}");
}
