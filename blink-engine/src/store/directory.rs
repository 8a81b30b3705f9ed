//! A data directory, to look at while no engine uses it.

use std::path::Path;

use blink_api::{DeviceId, Endpoint, Error, ErrorKind, Result};
use zeroize::Zeroizing;

use super::{FILE, Repair, Store, damaged, repair};
use blink_proto::call::HistoryEntry;
use blink_proto::secure::Identity;

/// What an engine keeps under `data_dir`. While this is open no engine can use the directory.
pub struct DataDirectory {
    store: Store,
}

impl DataDirectory {
    /// Opens a directory that an engine has used.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) where none has, [`Busy`](ErrorKind::Busy) where one does
    /// now, [`Invalid`](ErrorKind::Invalid) for one of a later version, [`Io`](ErrorKind::Io) where
    /// it cannot be read.
    pub fn open(directory: &Path) -> Result<Self> {
        if !directory.join(FILE).exists() {
            return Err(Error::new(ErrorKind::NotFound, "nothing is kept there").with("data_dir", directory.display()));
        }
        Store::open(directory).map(|store| Self { store })
    }

    /// Mends a directory whose file is damaged. What can be read, the identity first of all, goes
    /// to a new file, and the damaged one is put aside beside it. A sound directory is left as it
    /// is.
    ///
    /// It reads the whole file and may take half a minute.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) where no engine has used the directory,
    /// [`Busy`](ErrorKind::Busy) where one does now, [`Invalid`](ErrorKind::Invalid) for one of a
    /// later version, [`Io`](ErrorKind::Io) where a file cannot be read or written. The damaged
    /// file is as it was then, under one of the two names.
    pub fn repair(directory: &Path) -> Result<Repair> {
        repair::repair(directory)
    }

    /// Who is kept here, on which device.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for nobody, [`Invalid`](ErrorKind::Invalid) where that is
    /// damaged.
    pub fn endpoint(&self) -> Result<Endpoint> {
        let nobody = || Error::new(ErrorKind::NotFound, "nobody is kept there");
        let seed = self.store.read("identity")?.ok_or_else(nobody)?;
        let seed = Zeroizing::new(seed[..].try_into().map_err(|_| damaged("identity"))?);
        let device = self.store.read("device")?.ok_or_else(nobody)?;
        let device = DeviceId::from_bytes(device[..].try_into().map_err(|_| damaged("device"))?);
        Ok(Endpoint { did: Identity::from_seed(&seed).did(), device })
    }

    /// Calls that were, the one recorded last first. What is ongoing there was ongoing when the
    /// engine ended without a word.
    ///
    /// # Errors
    /// [`Io`](ErrorKind::Io) where it cannot be read.
    pub fn history(&self) -> Result<Vec<HistoryEntry>> {
        let (memory, _) = self.store.memory()?;
        let mut entries: Vec<_> = memory.history.into_values().collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.order()));
        Ok(entries)
    }
}
