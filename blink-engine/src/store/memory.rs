//! State of calls as entries of the database: one table for each kind, in deterministic CBOR.

use blink_api::{CallId, Did, Result};
use minicbor::{Decode, Encode};
use redb::{ReadableDatabase, ReadableTable, TableDefinition};
use zeroize::Zeroizing;

use super::database::{META, Store, guarded};
use blink_proto::call::{Change, HistoryEntry, Memory, SavedCall, SavedNotice};
use blink_proto::wire::cbor;

pub(super) type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// Call id: Unix time in milliseconds.
const TOMBSTONES: Table = TableDefinition::new("tombstones");
/// Call id: [`SavedCall`].
const CALLS: Table = TableDefinition::new("calls");
/// Call id, DID: [`SavedNotice`].
const NOTICES: Table = TableDefinition::new("notices");
/// Call id: [`HistoryEntry`].
const HISTORY: Table = TableDefinition::new("history");

/// All tables.
pub(super) const TABLES: [Table; 4] = [TOMBSTONES, CALLS, NOTICES, HISTORY];

/// Bound above the size of every entry that an engine writes.
const MAX_ENTRY: usize = 32_768;

impl Store {
    /// The stored state, and the number of damaged entries. Those are removed; the others are
    /// unchanged.
    ///
    /// # Errors
    /// [`Io`](blink_api::ErrorKind::Io) where the file cannot be read.
    pub(crate) fn memory(&self) -> Result<(Memory, usize)> {
        let mut memory = Memory::default();
        let mut damaged = Vec::new();
        self.read_entries(TOMBSTONES, &mut damaged, |key, value| {
            memory.tombstones.insert(call_id(key)?, entry(value)?);
            Some(())
        })?;
        self.read_entries(CALLS, &mut damaged, |key, value| {
            let (call, saved) = (call_id(key)?, entry::<SavedCall>(value)?);
            saved.is_sound(&call).then(|| drop(memory.calls.insert(call, saved)))
        })?;
        self.read_entries(NOTICES, &mut damaged, |key, value| {
            let (call, did) = key.split_at_checked(16)?;
            let to = Did::from_public_key(did.try_into().ok()?);
            memory.notices.insert((call_id(call)?, to), entry::<SavedNotice>(value)?);
            Some(())
        })?;
        self.read_entries(HISTORY, &mut damaged, |key, value| {
            let (call, saved) = (call_id(key)?, entry::<HistoryEntry>(value)?);
            (saved.call == call).then(|| drop(memory.history.insert(call, saved)))
        })?;
        self.remove(&damaged)?;
        Ok((memory, damaged.len()))
    }

    /// Stores changes, all or none.
    ///
    /// # Errors
    /// [`Io`](blink_api::ErrorKind::Io), such as for a full disk.
    pub(crate) fn write_memory(&self, changes: &[Change]) -> Result<()> {
        guarded(|| {
            let transaction = self.database.begin_write()?;
            for change in changes {
                apply(&transaction, change)?;
            }
            transaction.commit()?;
            Ok(())
        })
    }

    /// Reads a table; `take` returns `None` for a damaged entry.
    fn read_entries(
        &self,
        table: Table,
        damaged: &mut Vec<(Table, Vec<u8>)>,
        mut take: impl FnMut(&[u8], &[u8]) -> Option<()>,
    ) -> Result<()> {
        guarded(|| {
            let transaction = self.database.begin_read()?;
            let entries = match transaction.open_table(table) {
                Ok(entries) => entries,
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            for item in entries.iter()? {
                let (key, value) = item?;
                if take(key.value(), value.value()).is_none() {
                    damaged.push((table, key.value().to_vec()));
                }
            }
            Ok(())
        })
    }

    fn remove(&self, entries: &[(Table, Vec<u8>)]) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        guarded(|| {
            let transaction = self.database.begin_write()?;
            for (table, key) in entries {
                transaction.open_table(*table)?.remove(&key[..])?;
            }
            transaction.commit()?;
            Ok(())
        })
    }
}

fn apply(transaction: &redb::WriteTransaction, change: &Change) -> Result<(), redb::Error> {
    let put = |table: Table, key: &[u8], value: Option<Zeroizing<Vec<u8>>>| -> Result<(), redb::Error> {
        let mut table = transaction.open_table(table)?;
        match value {
            Some(value) => drop(table.insert(key, &value[..])?),
            None => drop(table.remove(key)?),
        }
        Ok(())
    };
    match change {
        Change::Tombstone(call, since) => put(TOMBSTONES, call.as_bytes(), since.as_ref().map(bytes)),
        Change::Call(call, saved) => put(CALLS, call.as_bytes(), saved.as_deref().map(bytes)),
        Change::Notice(call, to, saved) => {
            put(NOTICES, &[&call.as_bytes()[..], to.public_key()].concat(), saved.as_deref().map(bytes))
        }
        Change::History(call, saved) => put(HISTORY, call.as_bytes(), saved.as_deref().map(bytes)),
        Change::HistoryCleared => {
            transaction.delete_table(HISTORY)?;
            Ok(())
        }
        Change::Boot(boot) => {
            let mut meta = transaction.open_table(META)?;
            let stored = meta.get("boot")?.and_then(|bytes| bytes.value().try_into().ok().map(u64::from_be_bytes));
            let boot = stored.map_or(*boot, |stored| stored.max(*boot));
            meta.insert("boot", &boot.to_be_bytes()[..])?;
            Ok(())
        }
    }
}

/// Encodes an entry. It may hold secrets: its buffer is zeroized, and large enough never to be
/// moved.
fn bytes<T: Encode<()>>(value: &T) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_ENTRY));
    minicbor::encode(value, &mut *bytes).expect("writing to a Vec does not fail");
    bytes
}

fn entry<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Option<T> {
    if bytes.len() > MAX_ENTRY { None } else { cbor::decode(bytes).ok() }
}

fn call_id(bytes: &[u8]) -> Option<CallId> {
    bytes.try_into().ok().map(CallId::from_bytes)
}
