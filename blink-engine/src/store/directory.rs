//! Read access to a data directory that no engine uses.

use std::fmt;
use std::path::Path;

use blink_api::{DeviceId, Endpoint, Error, ErrorKind, Result};
use zeroize::Zeroizing;

use super::database::{FILE, Store, damaged};
use super::repair::{self, Repair};
use blink_proto::call::HistoryEntry;
use blink_proto::secure::Identity;

/// The persistent state of an engine under `data_dir`. While this is open, no engine can use the
/// directory.
pub struct DataDirectory {
    store: Store,
}

impl fmt::Debug for DataDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataDirectory").finish_non_exhaustive()
    }
}

impl DataDirectory {
    /// Opens a directory that an engine has used.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) where no engine has used it, [`Busy`](ErrorKind::Busy)
    /// where one uses it now, [`Invalid`](ErrorKind::Invalid) for a directory of a later version,
    /// [`Io`](ErrorKind::Io) for one that cannot be read.
    pub fn open(directory: &Path) -> Result<Self> {
        if !directory.join(FILE).exists() {
            return Err(Error::new(ErrorKind::NotFound, "there is no data file in this directory")
                .with("data_dir", directory.display()));
        }
        Store::open(directory).map(|store| Self { store })
    }

    /// Repairs a directory whose file is damaged. All readable entries, the identity first, go to a
    /// new file, and the damaged one is renamed. A sound directory is not changed.
    ///
    /// Reads the whole file and may take half a minute.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) where no engine has used the directory,
    /// [`Busy`](ErrorKind::Busy) where one does now, [`Invalid`](ErrorKind::Invalid) for one of a
    /// later version, [`Io`](ErrorKind::Io) where a file cannot be read or written. The damaged
    /// file is unchanged then, under one of the two names.
    pub fn repair(directory: &Path) -> Result<Repair> {
        repair::repair(directory)
    }

    /// The stored identity and device.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) without an identity, [`Invalid`](ErrorKind::Invalid) where
    /// that is damaged.
    pub fn endpoint(&self) -> Result<Endpoint> {
        let absent = || Error::new(ErrorKind::NotFound, "there is no identity in this directory");
        let seed = self.store.read("identity")?.ok_or_else(absent)?;
        let seed = Zeroizing::new(seed[..].try_into().map_err(|_| damaged("identity"))?);
        let device = self.store.read("device")?.ok_or_else(absent)?;
        let device = DeviceId::from_bytes(device[..].try_into().map_err(|_| damaged("device"))?);
        Ok(Endpoint { did: Identity::from_seed(&seed).did(), device })
    }

    /// The call history, newest entry first. An ongoing call was ongoing when the engine was
    /// killed.
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
