//! What is remembered of calls beyond the end of the process.
//!
//! The machine is handed a [`Memory`] when it is made and says with [`Change`]s how it changes.
//! Whoever drives it writes them down or, without a place for that, drops them: until its end the
//! machine remembers by itself. Times are Unix times in milliseconds, since no other clock survives
//! a restart.

use std::collections::BTreeMap;
use std::fmt;
use web_time::Duration;

use blink_api::{CallId, Did};
use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

use super::history::HistoryEntry;
use super::roster::Roster;
use crate::secure::Refusal;
use crate::wire::fields::{person, secret};
use crate::wire::{CallConfiguration, JoinedClaim, Offer, Signed, WireEndpoint};

/// How long calls that are over, calls that go on without this device, and notices of missed calls
/// are remembered.
pub(super) const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);
/// How long after a start calls that are over are remembered at least, whatever the clock says: no
/// offer rings longer.
pub(super) const REMEMBERED_AT_LEAST: Duration = Duration::from_secs(600);

/// What is remembered.
#[derive(Clone, Default)]
pub struct Memory {
    /// Calls that are over, and since when.
    pub tombstones: BTreeMap<CallId, u64>,
    /// Calls that are not over.
    pub calls: BTreeMap<CallId, SavedCall>,
    /// People who were called and do not know it yet.
    pub notices: BTreeMap<(CallId, Did), SavedNotice>,
    /// What the user is shown of calls.
    pub history: BTreeMap<CallId, HistoryEntry>,
}

impl Memory {
    /// Writes a change down.
    pub fn apply(&mut self, memo: Change) {
        match memo {
            Change::Tombstone(call, since) => put(&mut self.tombstones, call, since),
            Change::Call(call, kept) => put(&mut self.calls, call, kept.map(|kept| *kept)),
            Change::Notice(call, to, kept) => put(&mut self.notices, (call, to), kept.map(|kept| *kept)),
            Change::History(call, entry) => put(&mut self.history, call, entry.map(|entry| *entry)),
            Change::HistoryCleared => self.history.clear(),
            // A device's start is counted by whoever starts it.
            Change::Boot(_) => {}
        }
    }
}

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}

/// One change of what is remembered. `None` means that something is forgotten.
#[derive(Clone)]
pub enum Change {
    /// A call is over since this time, in Unix milliseconds.
    Tombstone(CallId, Option<u64>),
    /// A call that is not over.
    Call(CallId, Option<Box<SavedCall>>),
    /// Somebody was called and does not know it yet.
    Notice(CallId, Did, Option<Box<SavedNotice>>),
    /// What the user is shown of a call.
    History(CallId, Option<Box<HistoryEntry>>),
    /// The user is shown nothing of calls before.
    HistoryCleared,
    /// This device's next start must count higher than this.
    Boot(u64),
}

// Calls and notices hold secrets, and everything says who talked to whom.

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tombstone(..) => "tombstone",
            Self::Call(..) => "call",
            Self::Notice(..) => "notice",
            Self::History(..) => "history",
            Self::HistoryCleared => "history cleared",
            Self::Boot(_) => "boot",
        })
    }
}

/// A call that was not over. It holds the call's secret.
#[derive(Clone, Encode, Decode)]
#[cbor(map)]
pub struct SavedCall {
    #[n(0)]
    pub(super) stage: Stage,
    #[n(1)]
    pub(super) root: Signed,
    #[n(2)]
    pub(super) entries: Vec<Signed>,
    #[cbor(n(3), with = "secret")]
    pub(super) secret: Zeroizing<[u8; 32]>,
    #[n(4)]
    pub(super) configuration: CallConfiguration,
    /// Who called.
    #[cbor(n(5), with = "person")]
    pub(super) from: Did,
    /// Of the own record.
    #[n(6)]
    pub(super) version: u64,
    #[n(7)]
    pub(super) seat: u64,
    /// Whom this endpoint believed in the call.
    #[n(8)]
    pub(super) joined: Vec<JoinedClaim>,
    /// Since when it is in its stage; while this endpoint is in it, the last hour of that.
    #[n(9)]
    pub(super) since_ms: u64,
    /// Until when it rings.
    #[n(10)]
    pub(super) ring_until_ms: u64,
    /// It never rang, since this device was in another call.
    #[n(11)]
    pub(super) busy: bool,
    /// Those of `joined` who said so themselves.
    #[n(12)]
    pub(super) heard: Option<Vec<WireEndpoint>>,
    /// Who had left by its own word, with what it said last.
    #[n(13)]
    pub(super) left: Option<Vec<JoinedClaim>>,
    /// Whether it makes no room for calls of strangers. `None` where an earlier version wrote it.
    #[n(14)]
    pub(super) familiar: Option<bool>,
}

impl SavedCall {
    /// Its roster, checked as if it had come from somebody else.
    pub(super) fn roster(&self) -> Result<Roster, Refusal> {
        Roster::kept(&self.root, &self.secret, &self.entries)
    }

    /// Whether it is the call it is kept as.
    pub fn is_sound(&self, call: &CallId) -> bool {
        self.roster().is_ok_and(|roster| roster.call() == *call)
    }
}

/// Where a call stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub(super) enum Stage {
    /// This device called, nobody had joined.
    #[n(0)]
    Calling,
    /// It rang here.
    #[n(1)]
    Ringing,
    /// This device was in it, or about to be.
    #[n(2)]
    Joined,
    /// It went on without this device.
    #[n(3)]
    Open,
}

/// An offer for somebody who did not hear of it in time. It holds the call's secret.
#[derive(Clone, Encode, Decode)]
#[cbor(map)]
pub struct SavedNotice {
    /// With nothing remaining.
    #[n(0)]
    pub(super) offer: Offer,
    #[n(1)]
    pub(super) since_ms: u64,
}
