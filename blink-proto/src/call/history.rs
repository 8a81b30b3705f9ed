//! Call history entries: one call as this device saw it, and how events change it.

use std::fmt;

use blink_api::{CallId, Did};
use minicbor::{Decode, Encode};
use serde::Serialize;

use super::event::Event;
use super::reason::{CancelledReason, EndReason};
use crate::wire::fields::{call, people, person};

/// One call as this device saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
#[cbor(map)]
#[non_exhaustive]
pub struct HistoryEntry {
    /// The call.
    #[cbor(n(0), with = "call")]
    pub call: CallId,
    /// Incoming or outgoing.
    #[n(1)]
    pub direction: CallDirection,
    /// Caller.
    #[cbor(n(2), with = "person")]
    pub from: Did,
    /// Everyone on the roster, this person included.
    #[cbor(n(3), with = "people")]
    pub members: Vec<Did>,
    /// Other people to whom a path was established, in order of arrival.
    #[cbor(n(4), with = "people")]
    pub participants: Vec<Did>,
    /// Opaque bytes of the caller's integrator.
    #[cbor(n(5), with = "minicbor::bytes")]
    pub conversation: Vec<u8>,
    /// Time at which the call was offered or first received here, in Unix milliseconds.
    #[n(6)]
    pub started_ms: u64,
    /// Time at which this device first joined another participant, in Unix milliseconds.
    #[n(7)]
    pub answered_ms: Option<u64>,
    /// Time at which the call ended on this device, in Unix milliseconds. `None` while it is
    /// ongoing, and where the process ended during the call.
    #[n(8)]
    pub ended_ms: Option<u64>,
    /// Outcome.
    #[n(9)]
    pub outcome: CallOutcome,
    /// Position in the order in which calls were recorded on this device, independent of clocks.
    /// `None` in entries of versions that had no such order: they are older than all others.
    #[n(10)]
    #[serde(skip)]
    pub(super) sequence: Option<u64>,
    /// Whether the caller is unknown to the integrator and this device did not take part. Such
    /// calls are evicted first.
    #[cbor(n(11), default)]
    pub stranger: bool,
}

/// Direction of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
pub enum CallDirection {
    /// Another person called.
    #[n(0)]
    Incoming,
    /// This person called.
    #[n(1)]
    Outgoing,
}

/// Outcome of a call on this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
#[non_exhaustive]
pub enum CallOutcome {
    /// None yet: it rings, is being offered, or this device is in it.
    #[n(0)]
    Ongoing,
    /// This device was in it.
    #[n(1)]
    Answered,
    /// Not answered on this device before the caller gave up or the ring time ended.
    #[n(2)]
    Missed,
    /// Incoming: rejected by the user. Outgoing: rejected by everyone invited.
    #[n(3)]
    Rejected,
    /// Cancelled by the user before anyone answered.
    #[n(4)]
    Cancelled,
    /// Incoming: it did not ring, because this device was in another call. Outgoing: everyone
    /// invited was in another call.
    #[n(5)]
    Busy,
    /// Outgoing: not answered in time.
    #[n(6)]
    Unanswered,
    /// Another device of this person answered or rejected it.
    #[n(7)]
    Elsewhere,
    /// No participant could be reached, no path could be established, or the process ended before
    /// anyone joined.
    #[n(8)]
    Failed,
}

impl fmt::Display for CallDirection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Incoming => "incoming",
            Self::Outgoing => "outgoing",
        })
    }
}

impl fmt::Display for CallOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ongoing => "ongoing",
            Self::Answered => "answered",
            Self::Missed => "missed",
            Self::Rejected => "rejected",
            Self::Cancelled => "cancelled",
            Self::Busy => "busy",
            Self::Unanswered => "not answered",
            Self::Elsewhere => "handled on another device",
            Self::Failed => "failed",
        })
    }
}

impl HistoryEntry {
    /// Entry of a call that starts now.
    pub fn new(call: CallId, direction: CallDirection, from: Did, members: Vec<Did>, started_ms: u64) -> Self {
        Self {
            call,
            direction,
            from,
            members,
            participants: Vec::new(),
            conversation: Vec::new(),
            started_ms,
            answered_ms: None,
            ended_ms: None,
            outcome: CallOutcome::Ongoing,
            sequence: None,
            stranger: false,
        }
    }

    /// Sort key: the order in which calls were recorded. Only entries without a sequence are sorted
    /// by wall-clock time, which may have been wrong.
    pub fn order(&self) -> impl Ord + use<> {
        (self.sequence, self.started_ms, self.call)
    }

    /// Applies an event of this call.
    pub(super) fn observe(&mut self, event: &Event, now_ms: u64) {
        match event {
            Event::CallJoined { .. } => {
                self.answered_ms.get_or_insert(now_ms);
                (self.outcome, self.ended_ms) = (CallOutcome::Ongoing, None);
            }
            Event::ParticipantJoined { participant, .. } if !self.participants.contains(&participant.did) => {
                self.participants.push(participant.did);
            }
            Event::MissedCall { .. } => self.finish(CallOutcome::Missed, now_ms),
            Event::CallCancelled { reason, .. } => self.finish(outcome_of_cancel(*reason), now_ms),
            Event::CallEnded { reason, .. } => self.finish(self.outcome_of_end(*reason), now_ms),
            _ => {}
        }
    }

    /// Sets the outcome and the time of the end.
    pub(super) fn finish(&mut self, outcome: CallOutcome, now_ms: u64) {
        self.outcome = outcome;
        self.ended_ms = Some(now_ms);
    }

    fn outcome_of_end(&self, reason: EndReason) -> CallOutcome {
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

    /// Sets the outcome of a call during which the process ended.
    pub(super) fn interrupt(&mut self) {
        self.outcome = match (self.answered_ms, self.direction) {
            (Some(_), _) => CallOutcome::Answered,
            (None, CallDirection::Incoming) => CallOutcome::Missed,
            (None, CallDirection::Outgoing) => CallOutcome::Failed,
        };
    }
}

fn outcome_of_cancel(reason: CancelledReason) -> CallOutcome {
    match reason {
        CancelledReason::CallerLeft | CancelledReason::Displaced => CallOutcome::Missed,
        CancelledReason::AnsweredElsewhere | CancelledReason::RejectedElsewhere => CallOutcome::Elsewhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Encoding of versions before [`HistoryEntry::sequence`].
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
