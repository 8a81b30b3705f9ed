//! A data file in memory for the fuzz target. Not part of the public interface.

use std::path::PathBuf;
use std::sync::Arc;

use blink_api::{DeviceId, Result};
use redb::backends::InMemoryBackend;
use redb::{Database, StorageBackend};

use super::database::{Store, guarded};
use blink_proto::call::Change;
use blink_proto::secure::Identity;

const SEED: [u8; 32] = [7; 32];

/// A file after several starts and calls.
pub fn used_file() -> Vec<u8> {
    let disk = Disk::default();
    for start in 0..4u8 {
        let store = open(disk.clone()).expect("it is sound");
        store.identity(|| Identity::from_seed(&SEED)).expect("there is room");
        store.device(DeviceId::from_random([7; 16])).expect("there is room");
        store.next_boot(1_000 + u64::from(start)).expect("there is room");
        let tombstone = |n: u8| {
            Change::Tombstone(
                blink_api::CallId::from_bytes([[start; 8], [n; 8]].concat().try_into().expect("16 bytes")),
                Some(1),
            )
        };
        store.write_memory(&(0..100).map(tombstone).collect::<Vec<_>>()).expect("there is room");
    }
    let mut bytes = vec![0; disk.0.len().expect("it is memory") as usize];
    disk.0.read(0, &mut bytes).expect("it is as long");
    bytes
}

/// Starts with a file of these bytes; returns whether the identity is that of [`used_file`].
///
/// # Errors
/// As a start with a damaged data directory.
pub fn start(bytes: &[u8]) -> Result<bool> {
    let disk = Disk::default();
    disk.0.set_len(bytes.len() as u64).and_then(|()| disk.0.write(0, bytes)).expect("there is memory");
    let store = open(disk)?;
    let identity = store.identity(|| Identity::from_seed(&[8; 32]))?;
    store.device(DeviceId::from_random([8; 16]))?;
    store.next_boot(1)?;
    store.memory()?;
    Ok(identity.did() == Identity::from_seed(&SEED).did())
}

fn open(disk: Disk) -> Result<Store> {
    let mut builder = Database::builder();
    builder.set_check_integrity_on_open(true);
    let database = guarded(|| Ok(builder.create_with_backend(disk)?))?;
    let store = Store { directory: PathBuf::new(), database };
    store.check_format()?;
    Ok(store)
}

/// Storage that outlives a database.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<InMemoryBackend>);

impl StorageBackend for Disk {
    fn len(&self) -> std::io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.0.write(offset, data)
    }
}
