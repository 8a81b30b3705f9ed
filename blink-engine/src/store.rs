//! What survives a restart, under `data_dir`: who this is, how often it started, and what is remembered of calls.

mod directory;
mod memory;

use std::path::{Path, PathBuf};

use blink_api::{DeviceId, Error, ErrorKind, Result};
use redb::{Database, ReadableDatabase, TableDefinition};
use zeroize::Zeroizing;

use crate::secure::Identity;

pub use directory::DataDirectory;

/// The file in a data directory.
const FILE: &str = "blink.redb";
/// How what is in it is written. One that is written otherwise has a greater number.
const FORMAT: u64 = 1;
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// The open database; no other process can open it meanwhile.
pub(crate) struct Store {
    directory: PathBuf,
    database: Database,
}

impl Store {
    /// Opens or creates `blink.redb` in a directory, which is made if need be.
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        let file = directory.join(FILE);
        let failed =
            |kind, why: &'static str| Error::new(kind, why).operation("open").with("data_dir", directory.display());
        std::fs::create_dir_all(directory)
            .map_err(|source| failed(ErrorKind::Io, "the data directory cannot be made").source(source))?;
        let database = Database::create(&file).map_err(|source| match source {
            redb::DatabaseError::DatabaseAlreadyOpen => {
                failed(ErrorKind::Busy, "another process uses this data directory")
            }
            source => failed(ErrorKind::Io, "the data directory cannot be used").source(source),
        })?;
        restrict(&file).map_err(|source| failed(ErrorKind::Io, "the data file cannot be protected").source(source))?;
        let store = Self { directory: directory.to_owned(), database };
        store.check_format().map_err(|error| error.with("data_dir", directory.display()))?;
        Ok(store)
    }

    /// Refuses what a later version wrote, before anything of it is changed.
    fn check_format(&self) -> Result<()> {
        match self.read_number("format")? {
            None => self.write("format", &FORMAT.to_be_bytes()),
            Some(format) if format > FORMAT => {
                Err(Error::new(ErrorKind::Invalid, "the data directory was written by a later version of Blink")
                    .operation("open")
                    .with("format", format)
                    .with("known", FORMAT))
            }
            Some(_) => Ok(()),
        }
    }

    /// Where it is.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The identity kept here, or this one from now on.
    pub(crate) fn identity(&self, fresh: impl FnOnce() -> Identity) -> Result<Identity> {
        if let Some(seed) = self.read("identity")? {
            let seed: [u8; 32] = seed[..].try_into().map_err(|_| damaged("identity"))?;
            return Ok(Identity::from_seed(&Zeroizing::new(seed)));
        }
        let identity = fresh();
        self.write("identity", &identity.seed()[..])?;
        Ok(identity)
    }

    /// The device kept here, or this one from now on.
    pub(crate) fn device(&self, fresh: DeviceId) -> Result<DeviceId> {
        match self.read("device")? {
            Some(bytes) => Ok(DeviceId::from_bytes(bytes[..].try_into().map_err(|_| damaged("device"))?)),
            None => self.write("device", fresh.as_bytes()).map(|()| fresh),
        }
    }

    /// A boot greater than every one before.
    pub(crate) fn next_boot(&self, unix_ms: u64) -> Result<u64> {
        let stored = self.read_number("boot")?.unwrap_or(0);
        let boot = unix_ms.max(stored.saturating_add(1));
        self.write("boot", &boot.to_be_bytes())?;
        Ok(boot)
    }

    fn read_number(&self, key: &'static str) -> Result<Option<u64>> {
        let bytes = self.read(key)?;
        bytes.map(|bytes| bytes[..].try_into().map(u64::from_be_bytes).map_err(|_| damaged(key))).transpose()
    }

    fn read(&self, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let read = || -> Result<_, redb::Error> {
            let transaction = self.database.begin_read()?;
            match transaction.open_table(META) {
                Ok(table) => Ok(table.get(key)?.map(|value| Zeroizing::new(value.value().to_vec()))),
                Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
                Err(error) => Err(error.into()),
            }
        };
        read().map_err(unusable)
    }

    fn write(&self, key: &str, value: &[u8]) -> Result<()> {
        let write = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            transaction.open_table(META)?.insert(key, value)?;
            transaction.commit()?;
            Ok(())
        };
        write().map_err(unusable)
    }
}

fn unusable(source: redb::Error) -> Error {
    Error::new(ErrorKind::Io, "the data directory cannot be used").source(source)
}

fn damaged(what: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, "the data directory is damaged").with("entry", what)
}

/// Only its owner may read it: it holds the secret key.
#[cfg(unix)]
fn restrict(file: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600))
}

#[cfg(not(unix))]
fn restrict(_: &Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
