//! Glare: two people call each other at the same time. Both continue in one of the two calls.
//!
//! The endpoints of the two creators decide which. Call ids must not: a callee could try roots
//! until it finds an id smaller than that of the offer it received, and would become the creator of
//! the call that continues.

use blink_api::{CallId, Endpoint};
use web_time::Duration;

use super::event::Event;
use super::machine::Machine;
use super::peer::Peer;
use super::roster::Roster;
use super::state::{Call, Phase};
use crate::wire::Cancel;

/// Two offers to the same people are glare if the older one is not older than this.
const GLARE: Duration = Duration::from_secs(60);

impl Machine {
    /// The current call of this device, if an offer is glare with it: the same people, at about the
    /// same time.
    pub(super) fn glare_with(&self, roster: &Roster, from: &Endpoint) -> Option<CallId> {
        let own = self.calls.get(&self.current()?)?;
        let same = own.roster.root().members == roster.root().members && own.id() != roster.call();
        // A person whose other device is already in the call really means a new one.
        let elsewhere = own.present().any(|(other, _)| other.did == from.did && other != from);
        (same && !elsewhere && self.shared.mono() < own.began + GLARE).then(|| own.id())
    }

    /// Whether a call of this device continues rather than the one that was offered.
    pub(super) fn wins_glare(&self, own: &CallId, other: &Roster) -> bool {
        self.calls.get(own).is_some_and(|call| rank(&call.roster) < rank(other))
    }

    /// Resolves glare: this device gives its call up and joins the other one, which does not ring.
    pub(super) fn resolve_glare(&mut self, old: CallId, mut call: Call) {
        let new = call.id();
        self.with_call(old, |call, shared| call.yield_to(new, shared));
        call.join(&mut self.shared);
        self.shared.emit(Event::CallReplaced { old, new });
        self.calls.insert(new, call);
        self.alias(old, new);
        self.with_call(new, |_, _| {});
    }

    /// Call that a cancel names as the replacement, if it is known here and has the same people.
    pub(super) fn replacement_of(&self, old: &CallId, cancel: &Cancel, from: &Endpoint) -> Option<CallId> {
        let new = cancel.replaced_by.filter(|_| !cancel.acknowledged)?;
        let (yielded, continues) = self.calls.get(old).zip(self.calls.get(&new))?;
        let same = yielded.roster.root().members == continues.roster.root().members
            && rank(&continues.roster) < rank(&yielded.roster);
        // The user must not be heard by people whom it did not accept.
        let no_stranger = continues.roster.valid().iter().all(|did| yielded.roster.is_valid(did));
        (same && no_stranger && continues.roster.is_valid(&from.did)).then_some(new)
    }

    /// Handles that an endpoint gave a call up for another one. If this device is in the first, it
    /// moves to the other one where that rings or is open; once the first has ended, its id names
    /// the other one.
    pub(super) fn follow_replacement(&mut self, old: CallId, new: CallId, from: &Endpoint) {
        let Some(yielded) = self.calls.get(&old) else { return self.alias(old, new) };
        let stays = yielded.peers.get(from).is_some_and(Peer::is_present);
        let may_join = self
            .calls
            .get(&new)
            .is_some_and(|call| matches!(call.phase(), Phase::In | Phase::Open) && !call.is_deserted());
        match yielded.phase() {
            // A held call is left alone: the user is elsewhere, and would be moved.
            Phase::Out | Phase::Joining | Phase::Active if may_join && !stays && !yielded.is_held() => {
                self.with_call(old, |call, shared| call.yield_to(new, shared));
                self.with_call(new, Call::join);
                self.shared.emit(Event::CallReplaced { old, new });
                self.alias(old, new);
            }
            Phase::Over => self.alias(old, new),
            _ => {}
        }
    }
}

/// Rank among calls in glare; the smallest continues. Ids only distinguish calls of the same
/// device.
fn rank(roster: &Roster) -> (Endpoint, CallId) {
    (roster.root().creator, roster.call())
}
