//! The history: what the user is shown of calls that were.

use std::collections::{BTreeMap, VecDeque};

use blink_api::{CallId, Did};
use minicbor::{Decode, Encode};
use serde::Serialize;

use super::event::{CancelledReason, EndReason, Event};
use super::lifecycle::Call;
use super::memory::Change;
use super::shared::Shared;
use crate::wire::fields::{call, people, person};

/// One call as this device saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
#[cbor(map)]
pub struct HistoryEntry {
    /// The call.
    #[cbor(n(0), with = "call")]
    pub call: CallId,
    /// Whether this person called.
    #[n(1)]
    pub direction: CallDirection,
    /// Who called.
    #[cbor(n(2), with = "person")]
    pub from: Did,
    /// Everybody on the roster, this person too.
    #[cbor(n(3), with = "people")]
    pub members: Vec<Did>,
    /// The others to whom there was a path, in the order in which they came.
    #[cbor(n(4), with = "people")]
    pub participants: Vec<Did>,
    /// What the caller's integrator passed along.
    #[cbor(n(5), with = "minicbor::bytes")]
    pub conversation: Vec<u8>,
    /// When it was offered or first heard of here, in Unix milliseconds.
    #[n(6)]
    pub started_ms: u64,
    /// When this device was first in it with somebody, in Unix milliseconds.
    #[n(7)]
    pub answered_ms: Option<u64>,
    /// When it was over for this device, in Unix milliseconds. `None` while it is not, and where
    /// the process ended without a word during it.
    #[n(8)]
    pub ended_ms: Option<u64>,
    /// What became of it.
    #[n(9)]
    pub outcome: CallOutcome,
    /// Place in the order in which calls were recorded on this device, which no clock decides.
    /// `None` in entries from before there was such an order: they are older than all that have
    /// one.
    #[n(10)]
    #[serde(skip)]
    pub sequence: Option<u64>,
    /// Whether the caller is not known to the integrator and this device was not in it. Such calls
    /// leave room for others.
    #[cbor(n(11), default)]
    pub stranger: bool,
}

/// Which way a call went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
pub enum CallDirection {
    /// Somebody else called.
    #[n(0)]
    Incoming,
    /// This person called.
    #[n(1)]
    Outgoing,
}

/// What became of a call on this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
#[non_exhaustive]
pub enum CallOutcome {
    /// Nothing yet: it rings, is being offered, or this device is in it.
    #[n(0)]
    Ongoing,
    /// This device was in it.
    #[n(1)]
    Answered,
    /// It was not answered here before its caller gave up or the time was over.
    #[n(2)]
    Missed,
    /// Incoming: the user rejected it. Outgoing: everybody invited did.
    #[n(3)]
    Rejected,
    /// The user took it back before anybody was in it.
    #[n(4)]
    Cancelled,
    /// Incoming: it never rang, since this device was in another call. Outgoing: everybody invited
    /// was in another call.
    #[n(5)]
    Busy,
    /// Outgoing: nobody answered in time.
    #[n(6)]
    Unanswered,
    /// Another device of this person answered or rejected it.
    #[n(7)]
    Elsewhere,
    /// Nobody could be reached, no path could be made, or the process ended before anybody was in
    /// it.
    #[n(8)]
    Failed,
}

/// Strangers' calls keep a quarter of a history that is full, and no more than that.
const STRANGERS: usize = 4;

/// The newest calls, up to a limit.
#[derive(Clone, Default)]
pub(super) struct History {
    /// The oldest first.
    entries: VecDeque<HistoryEntry>,
    limit: usize,
    /// Place of the next entry.
    next: u64,
}

impl History {
    pub(super) fn new(limit: usize) -> Self {
        Self { entries: VecDeque::new(), limit, next: 0 }
    }

    /// The newest first.
    pub(super) fn newest_first(&self) -> Vec<HistoryEntry> {
        self.entries.iter().rev().cloned().collect()
    }

    fn get_mut(&mut self, call: &CallId) -> Option<&mut HistoryEntry> {
        self.entries.iter_mut().rev().find(|entry| entry.call == *call)
    }

    /// Which entry goes so that one more finds room: the oldest of strangers where these have more
    /// than their share by then, or else the oldest of others.
    fn surplus(&self, stranger: bool) -> Option<usize> {
        if self.entries.len() < self.limit {
            return None;
        }
        let of_strangers = self.entries.iter().filter(|entry| entry.stranger).count() + usize::from(stranger);
        let too_many = of_strangers > (self.limit / STRANGERS).max(1);
        Some(self.entries.iter().position(|entry| entry.stranger == too_many).unwrap_or(0))
    }
}

impl HistoryEntry {
    /// Sorts entries in the order in which they were recorded. Only those without a place in it are
    /// sorted by what a clock said, which may have been wrong.
    pub fn order(&self) -> impl Ord + use<> {
        (self.sequence, self.started_ms, self.call)
    }

    fn observe(&mut self, event: &Event, now_ms: u64) {
        match event {
            Event::CallJoined { .. } => {
                self.answered_ms.get_or_insert(now_ms);
                (self.outcome, self.ended_ms) = (CallOutcome::Ongoing, None);
            }
            Event::ParticipantJoined { participant, .. } if !self.participants.contains(&participant.did) => {
                self.participants.push(participant.did);
            }
            Event::MissedCall { .. } => self.finish(CallOutcome::Missed, now_ms),
            Event::CallCancelled { reason, .. } => self.finish(cancelled(*reason), now_ms),
            Event::CallEnded { reason, .. } => self.finish(self.outcome_of(*reason), now_ms),
            _ => {}
        }
    }

    fn finish(&mut self, outcome: CallOutcome, now_ms: u64) {
        self.outcome = outcome;
        self.ended_ms = Some(now_ms);
    }

    fn outcome_of(&self, reason: EndReason) -> CallOutcome {
        let answered = self.answered_ms.is_some();
        match reason {
            _ if !self.participants.is_empty() => CallOutcome::Answered,
            EndReason::Failed | EndReason::Unreachable | EndReason::TimedOut | EndReason::Gone => CallOutcome::Failed,
            _ if answered => CallOutcome::Answered,
            EndReason::Rejected => CallOutcome::Rejected,
            EndReason::Busy => CallOutcome::Busy,
            EndReason::Unanswered | EndReason::RemoteLeft => CallOutcome::Unanswered,
            EndReason::OtherDevice => CallOutcome::Elsewhere,
            EndReason::Left | EndReason::Removed => CallOutcome::Cancelled,
        }
    }

    /// The process ended while it was ongoing.
    fn interrupted(&mut self) {
        self.outcome = match (self.answered_ms, self.direction) {
            (Some(_), _) => CallOutcome::Answered,
            (None, CallDirection::Incoming) => CallOutcome::Missed,
            (None, CallDirection::Outgoing) => CallOutcome::Failed,
        };
    }
}

fn cancelled(reason: CancelledReason) -> CallOutcome {
    match reason {
        CancelledReason::CallerLeft | CancelledReason::Displaced => CallOutcome::Missed,
        CancelledReason::AnsweredElsewhere | CancelledReason::RejectedElsewhere => CallOutcome::Elsewhere,
    }
}

/// The history follows what the user is told; what is not told of is noted where it happens.
impl Shared {
    /// What is kept from the time before.
    pub(super) fn restore_history(&mut self, kept: BTreeMap<CallId, HistoryEntry>) {
        let mut entries: Vec<_> = kept.into_values().collect();
        entries.sort_by_key(HistoryEntry::order);
        let newest = entries.iter().filter_map(|entry| entry.sequence).max();
        self.history.next = newest.map_or(0, |newest| newest.saturating_add(1));
        let mut entries = entries.into_iter();
        // As if each came now, so that strangers have their share of a smaller limit, too.
        while self.history.limit > 0
            && let Some(entry) = entries.next()
        {
            self.make_history_room(entry.stranger);
            self.history.entries.push_back(entry);
        }
        entries.for_each(|entry| self.keep(Change::History(entry.call, None)));
    }

    fn make_history_room(&mut self, stranger: bool) {
        if let Some(goes) = self.history.surplus(stranger).and_then(|at| self.history.entries.remove(at)) {
            self.keep(Change::History(goes.call, None));
        }
    }

    /// The integrator named people as known: calls of theirs are not those of strangers.
    pub(super) fn recognize_history(&mut self) {
        let known = |entry: &&HistoryEntry| entry.stranger && self.known.contains(&entry.from);
        let calls: Vec<_> = self.history.entries.iter().filter(known).map(|entry| entry.call).collect();
        calls.iter().for_each(|call| self.change_history(call, |entry| entry.stranger = false));
    }

    /// What was ongoing when the process ended, and is no more, is over.
    pub(super) fn interrupt_history(&mut self, is_ongoing: impl Fn(&CallId) -> bool) {
        let interrupted = |entry: &&HistoryEntry| entry.outcome == CallOutcome::Ongoing && !is_ongoing(&entry.call);
        let calls: Vec<_> = self.history.entries.iter().filter(interrupted).map(|entry| entry.call).collect();
        calls.iter().for_each(|call| self.change_history(call, HistoryEntry::interrupted));
    }

    /// A call begins, or this device comes back to one.
    pub(super) fn begin_history(&mut self, mut entry: HistoryEntry) {
        if self.history.get_mut(&entry.call).is_some() {
            // A stranger's call that the user joins is familiar from then on.
            return self.change_history(&entry.call, |known| known.stranger &= entry.stranger);
        }
        if self.history.limit == 0 {
            return;
        }
        self.make_history_room(entry.stranger);
        entry.sequence = Some(self.history.next);
        self.history.next = self.history.next.saturating_add(1);
        self.keep(Change::History(entry.call, Some(Box::new(entry.clone()))));
        self.history.entries.push_back(entry);
    }

    /// The user is told something of a call.
    pub(super) fn observe(&mut self, event: &Event) {
        let now_ms = self.now.unix_ms;
        match event {
            Event::CallReplaced { old, new } => self.replace_history(old, new),
            Event::CallJoined { call }
            | Event::ParticipantJoined { call, .. }
            | Event::MissedCall { call, .. }
            | Event::CallCancelled { call, .. }
            | Event::CallEnded { call, .. } => self.change_history(call, |entry| entry.observe(event, now_ms)),
            _ => {}
        }
    }

    /// A call has this outcome, of which the user is not told since it did it or should not be
    /// bothered.
    pub(super) fn finish_history(&mut self, call: &CallId, outcome: CallOutcome) {
        let now_ms = self.now.unix_ms;
        self.change_history(call, |entry| entry.finish(outcome, now_ms));
    }

    /// Who may take part has changed.
    pub(super) fn set_history_members(&mut self, call: &CallId, members: &[Did]) {
        self.change_history(call, |entry| entry.members = members.to_vec());
    }

    /// Forgets all but what is ongoing.
    pub(super) fn clear_history(&mut self) {
        self.history.entries.retain(|entry| entry.outcome == CallOutcome::Ongoing);
        self.keep(Change::HistoryCleared);
        let ongoing: Vec<_> = self.history.entries.iter().cloned().collect();
        ongoing.into_iter().for_each(|entry| self.keep(Change::History(entry.call, Some(Box::new(entry)))));
    }

    fn change_history(&mut self, call: &CallId, change: impl FnOnce(&mut HistoryEntry)) {
        let Some(entry) = self.history.get_mut(call) else { return };
        let before = entry.clone();
        change(entry);
        if *entry != before {
            let memo = Change::History(*call, Some(Box::new(entry.clone())));
            self.keep(memo);
        }
    }

    /// Two calls are one: it began when the first of them did, and the user called.
    fn replace_history(&mut self, old: &CallId, new: &CallId) {
        let Some(at) = self.history.entries.iter().position(|entry| entry.call == *old) else { return };
        let Some(entry) = self.history.entries.remove(at) else { return };
        self.keep(Change::History(*old, None));
        self.change_history(new, |kept| {
            kept.direction = entry.direction;
            kept.started_ms = entry.started_ms;
            (kept.outcome, kept.ended_ms) = (CallOutcome::Ongoing, None);
        });
    }
}

impl Call {
    /// How its history begins.
    pub(super) fn history_entry(&self, shared: &Shared) -> HistoryEntry {
        let outgoing = self.from == shared.own.did;
        HistoryEntry {
            call: self.id(),
            direction: if outgoing { CallDirection::Outgoing } else { CallDirection::Incoming },
            from: self.from,
            members: self.roster.valid().to_vec(),
            participants: Vec::new(),
            conversation: self.conversation(),
            started_ms: shared.unix_ms(self.began),
            answered_ms: None,
            ended_ms: None,
            outcome: CallOutcome::Ongoing,
            sequence: None,
            stranger: !self.familiar,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the versions before [`HistoryEntry::sequence`] wrote it.
    #[derive(Encode)]
    #[cbor(map)]
    struct Before {
        #[cbor(n(0), with = "call")]
        call: CallId,
        #[n(1)]
        direction: CallDirection,
        #[cbor(n(2), with = "person")]
        from: Did,
        #[cbor(n(3), with = "people")]
        members: Vec<Did>,
        #[cbor(n(4), with = "people")]
        participants: Vec<Did>,
        #[cbor(n(5), with = "minicbor::bytes")]
        conversation: Vec<u8>,
        #[n(6)]
        started_ms: u64,
        #[n(9)]
        outcome: CallOutcome,
    }

    #[test]
    fn entries_of_earlier_versions_are_read_and_are_older_than_all_that_have_a_place() {
        let did = Did::from_public_key([7; 32]);
        let before = Before {
            call: CallId::from_bytes([3; 16]),
            direction: CallDirection::Incoming,
            from: did,
            members: vec![did],
            participants: Vec::new(),
            conversation: b"tea".to_vec(),
            started_ms: 4_102_444_800_000,
            outcome: CallOutcome::Missed,
        };
        let old: HistoryEntry = crate::wire::cbor::decode(&minicbor::to_vec(&before).unwrap()).unwrap();
        assert_eq!((old.call, old.started_ms, old.sequence), (before.call, before.started_ms, None));
        let placed = |sequence, started_ms| HistoryEntry { sequence: Some(sequence), started_ms, ..old.clone() };
        let older = HistoryEntry { started_ms: 5, ..old.clone() };
        let mut entries = [placed(1, 0), old.clone(), placed(0, 9_000), older.clone()];
        entries.sort_by_key(HistoryEntry::order);
        assert_eq!(entries, [older, old.clone(), placed(0, 9_000), placed(1, 0)]);
        let again: HistoryEntry = crate::wire::cbor::decode(&minicbor::to_vec(&entries[3]).unwrap()).unwrap();
        assert_eq!(again, entries[3]);
    }
}
