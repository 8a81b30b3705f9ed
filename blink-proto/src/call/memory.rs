//! State that survives a restart of the process.
//!
//! The machine is created with a [`Memory`] and outputs a [`Change`] whenever it changes. The
//! driver writes changes to its store, or drops them where it has none: the machine itself does not
//! read them back. Times are Unix times in milliseconds, the only clock that survives a restart.

use std::collections::BTreeMap;
use std::fmt;

use blink_api::{CallId, Did, Endpoint, Topic};
use minicbor::{Decode, Encode};
use web_time::Duration;
use zeroize::Zeroizing;

use super::history::HistoryEntry;
use super::roster::Roster;
use crate::secure::Refusal;
use crate::wire::fields::{person, secret};
use crate::wire::{Bytes16, CallConfiguration, JoinedClaim, Offer, Signed, SignedKey, WireEndpoint};

/// Retention of ended calls, of calls that continue without this device, and of missed-call
/// notices.
pub(super) const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);
/// Minimum retention of ended calls after a start, whatever the clock says. No offer rings longer.
pub(super) const REMEMBERED_AT_LEAST: Duration = Duration::from_secs(600);

/// Persisted state.
#[derive(Clone, Default)]
pub struct Memory {
    /// Ended calls and the time of their end.
    pub tombstones: BTreeMap<CallId, u64>,
    /// Calls that have not ended.
    pub calls: BTreeMap<CallId, SavedCall>,
    /// Missed-call notices by call and recipient.
    pub notices: BTreeMap<(CallId, Did), SavedNotice>,
    /// Call history.
    pub history: BTreeMap<CallId, HistoryEntry>,
}

impl Memory {
    /// Applies a change.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Tombstone(call, since) => put(&mut self.tombstones, call, since),
            Change::Call(call, saved) => put(&mut self.calls, call, saved.map(|saved| *saved)),
            Change::Notice(call, to, saved) => put(&mut self.notices, (call, to), saved.map(|saved| *saved)),
            Change::History(call, entry) => put(&mut self.history, call, entry.map(|entry| *entry)),
            Change::HistoryCleared => self.history.clear(),
            // The boot counter belongs to the driver, which counts starts.
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

/// Shows numbers only.
impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("tombstones", &self.tombstones.len())
            .field("calls", &self.calls.len())
            .field("notices", &self.notices.len())
            .field("history", &self.history.len())
            .finish()
    }
}

/// One change of the persisted state. `None` removes an item.
#[derive(Clone)]
pub enum Change {
    /// A call ended at this time, in Unix milliseconds.
    Tombstone(CallId, Option<u64>),
    /// A call that has not ended.
    Call(CallId, Option<Box<SavedCall>>),
    /// A missed-call notice for a recipient.
    Notice(CallId, Did, Option<Box<SavedNotice>>),
    /// A history entry.
    History(CallId, Option<Box<HistoryEntry>>),
    /// The history was cleared.
    HistoryCleared,
    /// The next boot counter must be greater than this.
    Boot(u64),
}

/// Shows the kind only: calls and notices contain secrets, and everything names participants.
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

/// A call that had not ended. Contains the call's secret.
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
    /// Caller.
    #[cbor(n(5), with = "person")]
    pub(super) from: Did,
    /// Version of the own record.
    #[n(6)]
    pub(super) version: u64,
    #[n(7)]
    pub(super) seat: u64,
    /// Endpoints that this endpoint believed to be in the call.
    #[n(8)]
    pub(super) joined: Vec<JoinedClaim>,
    /// Time at which it entered its stage; refreshed every hour while this endpoint is in it.
    #[n(9)]
    pub(super) since_ms: u64,
    /// End of ringing.
    #[n(10)]
    pub(super) ring_until_ms: u64,
    /// Whether it did not ring because this device was in another call.
    #[n(11)]
    pub(super) busy: bool,
    /// Those of `joined` that reported it themselves.
    #[n(12)]
    pub(super) heard: Option<Vec<WireEndpoint>>,
    /// Endpoints that reported leaving, with their last record version.
    #[n(13)]
    pub(super) left: Option<Vec<JoinedClaim>>,
    /// Whether it counts towards the familiar quota. `None` in saves of earlier versions.
    #[n(14)]
    pub(super) familiar: Option<bool>,
    /// Device of the caller. `None` in saves of earlier versions.
    #[n(15)]
    pub(super) from_device: Option<Bytes16>,
}

/// Shows no content: it contains the call's secret.
impl fmt::Debug for SavedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SavedCall").field("stage", &self.stage).finish_non_exhaustive()
    }
}

impl SavedCall {
    /// Roster, verified as if another device had sent it.
    pub(super) fn roster(&self) -> Result<Roster, Refusal> {
        Roster::restore(&self.root, &self.secret, &self.entries)
    }

    /// Whether the saved roster verifies and belongs to this call id.
    pub fn is_sound(&self, call: &CallId) -> bool {
        self.roster().is_ok_and(|roster| roster.call() == *call)
    }
}

/// The part of a call's state whose change makes it worth saving again.
#[derive(Clone, PartialEq)]
pub(super) struct SavedSummary {
    /// `None` for a call that ended.
    pub(super) stage: Option<Stage>,
    pub(super) seat: u64,
    /// Digest of the roster entries.
    pub(super) entries: [u8; 16],
    pub(super) topic: Topic,
    /// Endpoints in the call, their call keys, and whether they reported it themselves.
    pub(super) joined: Vec<(Endpoint, Option<SignedKey>, bool)>,
    pub(super) left: Vec<JoinedClaim>,
    pub(super) familiar: bool,
    /// The current hour, while this endpoint is in the call.
    pub(super) hour: Option<u64>,
}

/// Stage of a saved call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub(super) enum Stage {
    /// Offered by this device, not yet joined by another.
    #[n(0)]
    Calling,
    /// Rang on this device.
    #[n(1)]
    Ringing,
    /// This device was in it or joining.
    #[n(2)]
    Joined,
    /// Continued without this device.
    #[n(3)]
    Open,
}

/// An undelivered offer, sent later as a missed-call notice. Contains the call's secret.
#[derive(Clone, Encode, Decode)]
#[cbor(map)]
pub struct SavedNotice {
    /// Offer with no remaining ring time.
    #[n(0)]
    pub(super) offer: Offer,
    #[n(1)]
    pub(super) since_ms: u64,
}

/// Shows no content: it contains the call's secret.
impl fmt::Debug for SavedNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SavedNotice").finish_non_exhaustive()
    }
}
