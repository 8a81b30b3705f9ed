//! The call history: the newest entries, kept up to date by observing the outputs of calls.
//!
//! Calls do not write history themselves. [`HistoryLog::observe`] sees every event before it is
//! delivered to the user, and [`HistoryNote`]s tell it of what the user is not told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use blink_api::{CallId, Did};

use super::event::Event;
use super::history::{CallOutcome, HistoryEntry};
use super::memory::Change;

/// Strangers' calls keep at most one in this many entries of a full history.
const STRANGERS: usize = 4;

/// A fact for the history that no event carries.
#[derive(Debug, Clone)]
pub(super) enum HistoryNote {
    /// A call started, or this device comes back to it.
    Started(Box<HistoryEntry>),
    /// A call ended by an action of the user, or without telling the user.
    Finished(CallId, CallOutcome),
    /// The roster changed.
    Members(CallId, Vec<Did>),
}

/// The newest calls, up to a limit. Every method returns the changes to persist.
#[derive(Clone, Default)]
pub(super) struct HistoryLog {
    /// Oldest first.
    entries: VecDeque<HistoryEntry>,
    limit: usize,
    /// Sequence of the next entry.
    next: u64,
}

impl HistoryLog {
    pub(super) fn new(limit: usize) -> Self {
        Self { entries: VecDeque::new(), limit, next: 0 }
    }

    /// All entries, newest first.
    pub(super) fn newest_first(&self) -> Vec<HistoryEntry> {
        self.entries.iter().rev().cloned().collect()
    }

    /// Loads the entries of earlier runs.
    pub(super) fn restore(&mut self, saved: BTreeMap<CallId, HistoryEntry>) -> Vec<Change> {
        let mut entries: Vec<_> = saved.into_values().collect();
        entries.sort_by_key(HistoryEntry::order);
        let newest = entries.iter().filter_map(|entry| entry.sequence).max();
        self.next = newest.map_or(0, |newest| newest.saturating_add(1));
        let mut changes = Vec::new();
        let mut entries = entries.into_iter();
        // Entries are added one after the other, so that the share of strangers also holds where
        // the limit is now smaller.
        while self.limit > 0
            && let Some(entry) = entries.next()
        {
            changes.extend(self.evict_for(entry.stranger));
            self.entries.push_back(entry);
        }
        changes.extend(entries.map(|entry| Change::History(entry.call, None)));
        changes
    }

    /// Ends all entries that were ongoing when the process ended and are not any more.
    pub(super) fn interrupt(&mut self, is_ongoing: impl Fn(&CallId) -> bool) -> Vec<Change> {
        let interrupted = |entry: &HistoryEntry| entry.outcome == CallOutcome::Ongoing && !is_ongoing(&entry.call);
        self.change_all(interrupted, HistoryEntry::interrupt)
    }

    /// Reclassifies calls of people whom the integrator named as known.
    pub(super) fn recognize(&mut self, known: &BTreeSet<Did>) -> Vec<Change> {
        self.change_all(|entry| entry.stranger && known.contains(&entry.from), |entry| entry.stranger = false)
    }

    /// Applies an event that is about to be delivered to the user.
    pub(super) fn observe(&mut self, event: &Event, now_ms: u64) -> Vec<Change> {
        match event {
            Event::CallReplaced { old, new } => self.replace(old, new),
            Event::CallJoined { call }
            | Event::ParticipantJoined { call, .. }
            | Event::MissedCall { call, .. }
            | Event::CallCancelled { call, .. }
            | Event::CallEnded { call, .. } => self.change(call, |entry| entry.observe(event, now_ms)),
            _ => Vec::new(),
        }
    }

    /// Applies a note of a call.
    pub(super) fn apply(&mut self, note: HistoryNote, now_ms: u64) -> Vec<Change> {
        match note {
            HistoryNote::Started(entry) => self.start(*entry),
            HistoryNote::Finished(call, outcome) => self.change(&call, |entry| entry.finish(outcome, now_ms)),
            HistoryNote::Members(call, members) => self.change(&call, |entry| entry.members = members),
        }
    }

    /// Removes all entries except ongoing ones.
    pub(super) fn clear(&mut self) -> Vec<Change> {
        self.entries.retain(|entry| entry.outcome == CallOutcome::Ongoing);
        let ongoing = self.entries.iter().map(|entry| Change::History(entry.call, Some(Box::new(entry.clone()))));
        std::iter::once(Change::HistoryCleared).chain(ongoing).collect()
    }

    fn start(&mut self, mut entry: HistoryEntry) -> Vec<Change> {
        if self.get_mut(&entry.call).is_some() {
            // A stranger's call becomes familiar when the user joins it.
            return self.change(&entry.call, |known| known.stranger &= entry.stranger);
        }
        if self.limit == 0 {
            return Vec::new();
        }
        let evicted = self.evict_for(entry.stranger);
        entry.sequence = Some(self.next);
        self.next = self.next.saturating_add(1);
        let added = Change::History(entry.call, Some(Box::new(entry.clone())));
        self.entries.push_back(entry);
        evicted.into_iter().chain([added]).collect()
    }

    /// Merges two calls into one: it started when the first of them did, and the user called.
    fn replace(&mut self, old: &CallId, new: &CallId) -> Vec<Change> {
        let Some(at) = self.entries.iter().position(|entry| entry.call == *old) else { return Vec::new() };
        let Some(entry) = self.entries.remove(at) else { return Vec::new() };
        let merged = self.change(new, |kept| {
            kept.direction = entry.direction;
            kept.started_ms = entry.started_ms;
            (kept.outcome, kept.ended_ms) = (CallOutcome::Ongoing, None);
        });
        std::iter::once(Change::History(*old, None)).chain(merged).collect()
    }

    fn get_mut(&mut self, call: &CallId) -> Option<&mut HistoryEntry> {
        self.entries.iter_mut().rev().find(|entry| entry.call == *call)
    }

    fn change(&mut self, call: &CallId, change: impl FnOnce(&mut HistoryEntry)) -> Vec<Change> {
        let Some(entry) = self.get_mut(call) else { return Vec::new() };
        let before = entry.clone();
        change(entry);
        if *entry == before { Vec::new() } else { vec![Change::History(*call, Some(Box::new(entry.clone())))] }
    }

    fn change_all(&mut self, of: impl Fn(&HistoryEntry) -> bool, change: impl Fn(&mut HistoryEntry)) -> Vec<Change> {
        let calls: Vec<_> = self.entries.iter().filter(|entry| of(entry)).map(|entry| entry.call).collect();
        calls.iter().flat_map(|call| self.change(call, &change)).collect()
    }

    /// Evicts an entry so that one more fits: the oldest of strangers where these would exceed
    /// their share, otherwise the oldest of others.
    fn evict_for(&mut self, stranger: bool) -> Option<Change> {
        if self.entries.len() < self.limit {
            return None;
        }
        let of_strangers = self.entries.iter().filter(|entry| entry.stranger).count() + usize::from(stranger);
        let too_many = of_strangers > (self.limit / STRANGERS).max(1);
        let oldest = self.entries.iter().position(|entry| entry.stranger == too_many).unwrap_or(0);
        self.entries.remove(oldest).map(|evicted| Change::History(evicted.call, None))
    }
}
