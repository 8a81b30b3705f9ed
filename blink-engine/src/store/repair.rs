//! Repair of a damaged data directory: all readable entries go to a new file, the identity first.
//!
//! redb verifies the checksums of all pages when it opens a file, and refuses a file with any wrong
//! page, even if that page holds only an old call. A repair reads a copy in memory without that
//! check, entry by entry, on a thread of its own, because redb may panic there or loop for ever.
//! Where nothing can be read that way, a search in the bytes looks for the entries of this device
//! (identity, device, boot): redb never overwrites a page in place, and most of them exist several
//! times.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use blink_api::{Did, Error, ErrorKind, Result, private};
use redb::backends::{FileBackend, InMemoryBackend};
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, StorageBackend};
use zeroize::Zeroizing;

use super::database::{FILE, META, Store, guarded, is_damaged};
use super::memory::TABLES;
use blink_proto::secure::Identity;

/// Largest file that is repaired, in bytes: it is read into memory.
const LARGEST: u64 = 1 << 30;
/// Longest time that reading a damaged file may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Name of the new file until it is complete.
const NEW: &str = "blink.redb.new";
/// Entries of this device: keys in sorted order, as they follow one another in a page, with the
/// lengths of their values.
const ENTRIES: [(&str, usize); 5] = [("boot", 8), ("device", 16), ("did", 32), ("format", 8), ("identity", 32)];

/// Greatest plausible boot number. Boot numbers are Unix times in milliseconds, or a little
/// greater.
const MOST_BOOT: u64 = 1 << 53;

type Bytes = Zeroizing<Vec<u8>>;

/// Outcome of [`DataDirectory::repair`](super::DataDirectory::repair).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repair {
    /// New path of the damaged file; `None` where the file was sound and is unchanged.
    pub damaged: Option<PathBuf>,
    /// The recovered identity; `None` where its key could not be read, and the next start generates
    /// a new one.
    pub identity: Option<Did>,
    /// Whether the identity's key was read together with its DID, and they match. Otherwise damage
    /// of the key itself would not be noticed.
    pub is_verified: bool,
    /// Number of recovered calls in the history.
    pub history: usize,
}

/// As [`DataDirectory::repair`](super::DataDirectory::repair).
pub(super) fn repair(directory: &Path) -> Result<Repair> {
    let failed = |why: &'static str| {
        move |source: std::io::Error| {
            Error::new(ErrorKind::Io, why).operation("repair").with("data_dir", directory.display()).source(source)
        }
    };
    let file = directory.join(FILE);
    if !file.exists() {
        return Err(Error::new(ErrorKind::NotFound, "there is no data file in this directory")
            .with("data_dir", directory.display()));
    }
    match Store::open(directory).and_then(|store| summary(&store, None)) {
        Err(error) if is_damaged(&error) => {}
        sound_or_other => return sound_or_other,
    }
    let mut bytes = Bytes::default();
    let opened = private::open(&file).map_err(failed("the damaged file cannot be read"))?;
    opened.take(LARGEST).read_to_end(&mut bytes).map_err(failed("the damaged file cannot be read"))?;
    let new = directory.join(NEW);
    // Left by a repair that was interrupted.
    fs::remove_file(&new).or_else(ignore_missing).map_err(failed("an older repair cannot be removed"))?;
    let salvaged = Contents::salvage(bytes);
    salvaged.write(&new)?;
    let aside = free_name(directory);
    // The file name always exists: without it the next start would generate a new identity.
    fs::hard_link(&file, &aside)
        .or_else(|_| fs::copy(&file, &aside).map(drop))
        .map_err(failed("the damaged file cannot be renamed"))?;
    fs::rename(&new, &file).map_err(failed("the new file cannot be put in place"))?;
    let mut repaired = Store::open(directory).and_then(|store| summary(&store, Some(aside)))?;
    repaired.is_verified = salvaged.is_verified;
    Ok(repaired)
}

fn summary(store: &Store, damaged: Option<PathBuf>) -> Result<Repair> {
    let (memory, _) = store.memory()?;
    let seed = store.read("identity")?;
    let seed = seed.and_then(|seed| Some(Zeroizing::new(<[u8; 32]>::try_from(&seed[..]).ok()?)));
    let identity = seed.map(|seed| Identity::from_seed(&seed).did());
    Ok(Repair { damaged, identity, is_verified: identity.is_some(), history: memory.history.len() })
}

/// Entries read from a damaged file.
#[derive(Default)]
struct Contents {
    meta: BTreeMap<String, Bytes>,
    is_verified: bool,
    entries: Vec<(usize, Bytes, Bytes)>,
}

/// An entry on its way from the reading thread.
enum Entry {
    Meta(String, Bytes),
    /// With the index of its table in [`TABLES`].
    Call(usize, Bytes, Bytes),
}

impl Contents {
    fn salvage(bytes: Bytes) -> Self {
        let found = find_entries(&bytes);
        let mut contents = Self::default();
        // Bounds the number of entries: a damaged table may be cyclic.
        let (entries, read) = mpsc::sync_channel(1_024);
        let most = bytes.len() / 8;
        let reading = std::thread::Builder::new().name("blink-repair".to_owned());
        if let Err(error) = reading.spawn(move || read_copy(&bytes, &entries)) {
            tracing::warn!(%error, "the damaged file is searched for the identity only");
        }
        let deadline = Instant::now() + PATIENCE;
        for _ in 0..most {
            match read.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Entry::Meta(key, value)) => drop(contents.meta.insert(key, value)),
                Ok(Entry::Call(table, key, value)) => contents.entries.push((table, key, value)),
                Err(_) => break,
            }
        }
        contents.choose_identity(&found);
        contents
    }

    /// Chooses the identity that is found together with its DID; otherwise the one that was read,
    /// or the most frequent one.
    fn choose_identity(&mut self, found: &[BTreeMap<&'static str, Bytes>]) {
        // A DID proves a key, wherever in the file either is found.
        let dids: Vec<Bytes> =
            found.iter().filter_map(|meta| meta.get("did")).chain(self.meta.get("did")).cloned().collect();
        let proven = |identity: Option<&Bytes>| {
            let seed = Zeroizing::new(<[u8; 32]>::try_from(&identity?[..]).ok()?);
            let key = Identity::from_seed(&seed).did().public_key().to_vec();
            dids.iter().find(|did| did[..] == key[..]).cloned()
        };
        let mut did = proven(self.meta.get("identity"));
        if did.is_none() {
            let whole = found.iter().find(|meta| proven(meta.get("identity")).is_some());
            let chosen = whole.or_else(|| {
                let count = |meta: &BTreeMap<_, Bytes>| {
                    found.iter().filter(|other| other.get("identity") == meta.get("identity")).count()
                };
                found.iter().max_by_key(|meta| count(meta)).filter(|_| !self.meta.contains_key("identity"))
            });
            did = whole.and_then(|meta| proven(meta.get("identity")));
            if let Some(chosen) = chosen {
                for key in ["identity", "device"] {
                    chosen.get(key).map(|value| self.meta.insert(key.to_owned(), value.clone()));
                }
            }
        }
        self.is_verified = did.is_some();
        // The store refuses a DID that does not match.
        match did {
            Some(did) => drop(self.meta.insert("did".to_owned(), did)),
            None => drop(self.meta.remove("did")),
        }
        let boots = found.iter().filter_map(|meta| meta.get("boot")).chain(self.meta.get("boot"));
        let greatest = boots
            .filter_map(|boot| Some(u64::from_be_bytes(boot[..].try_into().ok()?)))
            .filter(|boot| *boot < MOST_BOOT)
            .max();
        match greatest {
            Some(boot) => drop(self.meta.insert("boot".to_owned(), Bytes::new(boot.to_be_bytes().to_vec()))),
            None => drop(self.meta.remove("boot")),
        }
        let has_length = |key: &str, value: &Bytes| ENTRIES.contains(&(key, value.len()));
        self.meta.retain(|key, value| has_length(key, value) && key != "format");
    }

    fn write(&self, path: &Path) -> Result<()> {
        let file = private::create_new(path).map_err(|source| {
            Error::new(ErrorKind::Io, "the new file cannot be created").with("file", path.display()).source(source)
        })?;
        guarded(|| {
            let database = Database::builder().create_with_backend(FileBackend::new(file)?)?;
            let transaction = database.begin_write()?;
            {
                let mut meta = transaction.open_table(META)?;
                for (key, value) in &self.meta {
                    meta.insert(key.as_str(), &value[..])?;
                }
            }
            for (table, key, value) in &self.entries {
                transaction.open_table(TABLES[*table])?.insert(&key[..], &value[..])?;
            }
            transaction.commit()?;
            Ok(())
        })
    }
}

/// Reads a copy of a file as far as possible, and sends each entry at once.
fn read_copy(bytes: &[u8], entries: &mpsc::SyncSender<Entry>) {
    let copy = || -> std::result::Result<_, redb::Error> {
        let copy = InMemoryBackend::new();
        copy.set_len(bytes.len() as u64).and_then(|()| copy.write(0, bytes)).map_err(redb::Error::Io)?;
        Ok(copy)
    };
    // Databases and transactions are never dropped: their destructors may panic during a panic,
    // which aborts the process. Opening read-only reads less of the file; after a crash only
    // opening for writing is possible.
    let opened = guarded(|| {
        let database = ManuallyDrop::new(Database::builder().open_read_only_with_backend(copy()?)?);
        Ok(ManuallyDrop::new(database.begin_read()?))
    });
    let opened = opened.or_else(|_| {
        guarded(|| {
            let database = ManuallyDrop::new(Database::builder().create_with_backend(copy()?)?);
            Ok(ManuallyDrop::new(database.begin_read()?))
        })
    });
    let Ok(transaction) = opened else { return };
    let meta = |key: &str| -> std::result::Result<(), redb::Error> {
        if let Some(value) = transaction.open_table(META)?.get(key)? {
            // Without a receiver the deadline has passed.
            entries.send(Entry::Meta(key.to_owned(), Bytes::new(value.value().to_vec()))).ok();
        }
        Ok(())
    };
    // The panic hook has logged a failure; entries read before it have been sent.
    for (key, _) in ENTRIES {
        guarded(|| meta(key)).ok();
    }
    for table in 0..TABLES.len() {
        // From both ends, so that damage in the middle loses only the damaged part.
        guarded(|| read_table(&transaction, table, false, entries)).ok();
        guarded(|| read_table(&transaction, table, true, entries)).ok();
    }
}

fn read_table(
    transaction: &ReadTransaction,
    table: usize,
    backwards: bool,
    entries: &mpsc::SyncSender<Entry>,
) -> std::result::Result<(), redb::Error> {
    let opened = ManuallyDrop::new(transaction.open_table(TABLES[table])?);
    let mut items = ManuallyDrop::new(opened.iter()?);
    while let Some(item) = if backwards { items.next_back() } else { items.next() } {
        let (key, value) = item?;
        let copy = |bytes: &[u8]| Bytes::new(bytes.to_vec());
        if entries.send(Entry::Call(table, copy(key.value()), copy(value.value()))).is_err() {
            break;
        }
    }
    Ok(())
}

/// Searches the bytes of a file for the entries of this device: their keys follow one another, then
/// their values.
fn find_entries(bytes: &[u8]) -> Vec<BTreeMap<&'static str, Bytes>> {
    const LAST: &[u8] = b"formatidentity";
    let mut found = Vec::new();
    for place in bytes.windows(LAST.len()).enumerate().filter(|(_, window)| *window == LAST).map(|(place, _)| place) {
        let mut before = &bytes[..place];
        let mut keys = vec![ENTRIES[3], ENTRIES[4]];
        for entry in ENTRIES[..3].iter().rev() {
            if let Some(rest) = before.strip_suffix(entry.0.as_bytes()) {
                before = rest;
                keys.insert(0, *entry);
            }
        }
        let mut values = &bytes[place + LAST.len()..];
        let mut entries = BTreeMap::new();
        for (key, length) in keys {
            let Some((value, rest)) = values.split_at_checked(length) else { break };
            entries.insert(key, Bytes::new(value.to_vec()));
            values = rest;
        }
        if entries.contains_key("identity") {
            found.push(entries);
        }
    }
    found
}

/// An unused name in the directory for the damaged file.
fn free_name(directory: &Path) -> PathBuf {
    let mut names = (1u64..).map(|n| directory.join(format!("blink.redb.damaged-{n}")));
    names.find(|path| !path.exists()).expect("there are more numbers than files")
}

fn ignore_missing(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
