//! What is remembered of calls, as entries of the database: one table for each sort, deterministic
//! CBOR in it.

use blink_api::{CallId, Did, Result};
use minicbor::{Decode, Encode};
use redb::{ReadableDatabase, ReadableTable, TableDefinition};
use zeroize::Zeroizing;

use super::{META, Store, guarded};
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

/// All of them.
pub(super) const TABLES: [Table; 4] = [TOMBSTONES, CALLS, NOTICES, HISTORY];

/// An entry that is larger than any that was written.
const MAX_ENTRY: usize = 32_768;

impl Store {
    /// What is remembered, and how many entries were damaged. Those are taken out; the rest is as
    /// it was.
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
            let (call, kept) = (call_id(key)?, entry::<SavedCall>(value)?);
            kept.is_sound(&call).then(|| drop(memory.calls.insert(call, kept)))
        })?;
        self.read_entries(NOTICES, &mut damaged, |key, value| {
            let (call, did) = key.split_at_checked(16)?;
            let to = Did::from_public_key(did.try_into().ok()?);
            memory.notices.insert((call_id(call)?, to), entry::<SavedNotice>(value)?);
            Some(())
        })?;
        self.read_entries(HISTORY, &mut damaged, |key, value| {
            let (call, kept) = (call_id(key)?, entry::<HistoryEntry>(value)?);
            (kept.call == call).then(|| drop(memory.history.insert(call, kept)))
        })?;
        self.remove(&damaged)?;
        Ok((memory, damaged.len()))
    }

    /// Writes changes down, all or none.
    ///
    /// # Errors
    /// [`Io`](blink_api::ErrorKind::Io), such as for a full disk.
    pub(crate) fn write_memory(&self, memos: &[Change]) -> Result<()> {
        guarded(|| {
            let transaction = self.database.begin_write()?;
            for memo in memos {
                apply(&transaction, memo)?;
            }
            transaction.commit()?;
            Ok(())
        })
    }

    /// Reads a table; `take` gives `None` for what is damaged.
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

fn apply(transaction: &redb::WriteTransaction, memo: &Change) -> Result<(), redb::Error> {
    let put = |table: Table, key: &[u8], value: Option<Zeroizing<Vec<u8>>>| -> Result<(), redb::Error> {
        let mut table = transaction.open_table(table)?;
        match value {
            Some(value) => drop(table.insert(key, &value[..])?),
            None => drop(table.remove(key)?),
        }
        Ok(())
    };
    match memo {
        Change::Tombstone(call, since) => put(TOMBSTONES, call.as_bytes(), since.as_ref().map(bytes)),
        Change::Call(call, kept) => put(CALLS, call.as_bytes(), kept.as_deref().map(bytes)),
        Change::Notice(call, to, kept) => {
            put(NOTICES, &[&call.as_bytes()[..], to.public_key()].concat(), kept.as_deref().map(bytes))
        }
        Change::History(call, kept) => put(HISTORY, call.as_bytes(), kept.as_deref().map(bytes)),
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

/// An entry may hold secrets: its bytes are wiped, and made in one place that need not grow.
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
