//! The open data file, and the entries of this device in it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use blink_api::{DeviceId, Error, ErrorKind, Result, private};
use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase, TableDefinition};
use zeroize::Zeroizing;

use blink_proto::secure::Identity;

/// Name of the file in a data directory.
pub(super) const FILE: &str = "blink.redb";
/// Version of the file's format; each incompatible format has a greater one.
const FORMAT: u64 = 1;
pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// The open database. It is locked against other processes.
pub(crate) struct Store {
    pub(super) directory: PathBuf,
    pub(super) database: Database,
}

impl Store {
    /// Opens or creates `blink.redb` in a directory, which is created if necessary. Neither is
    /// accessible to other users.
    ///
    /// Verifies the checksums of the whole file, so that later reads see what an engine wrote.
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        let failed =
            |kind, why: &'static str| Error::new(kind, why).operation("open").with("data_dir", directory.display());
        private::create_directory(directory)
            .map_err(|source| failed(ErrorKind::Io, "the data directory cannot be created").source(source))?;
        let file = private::open_or_create(&directory.join(FILE))
            .map_err(|source| failed(ErrorKind::Io, "the data file cannot be opened").source(source))?;
        let mut builder = Database::builder();
        builder.set_check_integrity_on_open(true);
        let opened = guarded(|| Ok(builder.create_with_backend(FileBackend::new(file)?)?));
        let database = opened.map_err(|error| error.operation("open").with("data_dir", directory.display()))?;
        let store = Self { directory: directory.to_owned(), database };
        store.check_format().map_err(|error| error.with("data_dir", directory.display()))?;
        Ok(store)
    }

    /// Refuses a file of a later version before anything of it is changed.
    pub(super) fn check_format(&self) -> Result<()> {
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

    /// The data directory.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The stored identity; stores a fresh one where there is none.
    pub(crate) fn identity(&self, fresh: impl FnOnce() -> Identity) -> Result<Identity> {
        if let Some(seed) = self.read("identity")? {
            let seed: [u8; 32] = seed[..].try_into().map_err(|_| damaged("identity"))?;
            let identity = Identity::from_seed(&Zeroizing::new(seed));
            if self.read("did")?.is_none() {
                self.write("did", identity.did().public_key())?;
            }
            return Ok(identity);
        }
        let identity = fresh();
        self.write("identity", &identity.seed()[..])?;
        // A repair recognizes a damaged key by it.
        self.write("did", identity.did().public_key())?;
        Ok(identity)
    }

    /// The stored device id; stores the fresh one where there is none.
    pub(crate) fn device(&self, fresh: DeviceId) -> Result<DeviceId> {
        match self.read("device")? {
            Some(bytes) => Ok(DeviceId::from_bytes(bytes[..].try_into().map_err(|_| damaged("device"))?)),
            None => self.write("device", fresh.as_bytes()).map(|()| fresh),
        }
    }

    /// A boot number greater than every earlier one.
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

    pub(super) fn read(&self, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        guarded(|| {
            let transaction = self.database.begin_read()?;
            match transaction.open_table(META) {
                Ok(table) => Ok(table.get(key)?.map(|value| Zeroizing::new(value.value().to_vec()))),
                Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
                Err(error) => Err(error.into()),
            }
        })
    }

    pub(super) fn write(&self, key: &str, value: &[u8]) -> Result<()> {
        guarded(|| {
            let transaction = self.database.begin_write()?;
            transaction.open_table(META)?.insert(key, value)?;
            transaction.commit()?;
            Ok(())
        })
    }
}

/// Runs an operation on the file. With a damaged file redb returns an error or panics.
pub(super) fn guarded<T>(work: impl FnOnce() -> std::result::Result<T, redb::Error>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(unusable),
        Err(_) => Err(damaged_file()),
    }
}

fn unusable(source: redb::Error) -> Error {
    match source {
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
            Error::new(ErrorKind::Busy, "another engine uses this data directory")
        }
        // Errors that neither the disk nor a later version of redb explains.
        redb::Error::Corrupted(_)
        | redb::Error::RepairAborted
        | redb::Error::UpgradeRequired(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TypeDefinitionChanged { .. }
        | redb::Error::LockPoisoned(_)
        | redb::Error::PersistentSavepointExists => damaged_file().source(source),
        redb::Error::Io(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::InvalidData | std::io::ErrorKind::InvalidInput
            ) =>
        {
            damaged_file().source(error)
        }
        source => Error::new(ErrorKind::Io, "the data directory cannot be used").source(source),
    }
}

const DAMAGED: &str = "the data file is damaged; `blink history --repair` keeps all readable entries, the identity first, and renames the damaged file";

fn damaged_file() -> Error {
    Error::new(ErrorKind::Invalid, DAMAGED)
}

pub(super) fn is_damaged(error: &Error) -> bool {
    error.message() == DAMAGED
}

pub(super) fn damaged(what: &'static str) -> Error {
    damaged_file().with("entry", what)
}
