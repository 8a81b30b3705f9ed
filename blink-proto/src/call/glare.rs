//! Glare: calls that people offered each other at the same time. Both sides go on in one of them.
//!
//! The endpoints of the two creators decide which. Call ids must not: a callee could try roots
//! until it has an id smaller than that of the offer it was sent, and would be the creator of the
//! call that goes on.

use web_time::Duration;

use blink_api::{CallId, Endpoint};

use super::event::Event;
use super::lifecycle::{Call, Phase};
use super::machine::Machine;
use super::member::Peer;
use super::roster::Roster;
use crate::wire::Cancel;

/// Two offers to the same people are one call where the older is not older than this.
const GLARE: Duration = Duration::from_secs(60);

impl Machine {
    /// The call of this device, if it was offered to the very same people at about the same time.
    pub(super) fn crossed_by(&self, roster: &Roster, from: &Endpoint) -> Option<CallId> {
        let own = self.calls.get(&self.current()?)?;
        let same = own.roster.root().members == roster.root().members && own.id() != roster.call();
        // Somebody whose other device is in the call means what it says.
        let elsewhere = own.present().any(|(other, _)| other.did == from.did && other != from);
        (same && !elsewhere && self.shared.mono() < own.began + GLARE).then(|| own.id())
    }

    /// Whether a call of this device goes on rather than one that was offered at the same time.
    pub(super) fn goes_on_before(&self, own: &CallId, other: &Roster) -> bool {
        self.calls.get(own).is_some_and(|call| rank(&call.roster) < rank(other))
    }

    /// Resolves glare: both go on in one of the calls, and neither rings.
    pub(super) fn replace(&mut self, old: CallId, mut call: Call) {
        let new = call.id();
        self.with_call(old, |call, shared| call.give_up_for(new, shared));
        call.join(&mut self.shared);
        self.shared.emit(Event::CallReplaced { old, new });
        self.calls.insert(new, call);
        self.alias(old, new);
        self.with_call(new, |_, _| {});
    }

    /// The call in which somebody says to go on instead of this one, where it is known here and has
    /// the same people.
    pub(super) fn successor(&self, old: &CallId, cancel: &Cancel, from: &Endpoint) -> Option<CallId> {
        let new = cancel.replaced_by.filter(|_| !cancel.acknowledged)?;
        let (given_up, goes_on) = self.calls.get(old).zip(self.calls.get(&new))?;
        let same = given_up.roster.root().members == goes_on.roster.root().members
            && rank(&goes_on.roster) < rank(&given_up.roster);
        // Nobody comes to be heard by somebody the user did not accept.
        let no_stranger = goes_on.roster.valid().iter().all(|did| given_up.roster.is_valid(did));
        (same && no_stranger && goes_on.roster.is_valid(&from.did)).then_some(new)
    }

    /// Somebody gave a call up for another one. Whoever is in the first comes along if the other
    /// one rings or is open here; otherwise, once the first is over, its id names the other one.
    pub(super) fn follow(&mut self, old: CallId, new: CallId, from: &Endpoint) {
        let Some(given_up) = self.calls.get(&old) else { return self.alias(old, new) };
        let stays = given_up.peers.get(from).is_some_and(Peer::is_present);
        let may_join = self
            .calls
            .get(&new)
            .is_some_and(|call| matches!(call.phase, Phase::In | Phase::Open) && call.present().next().is_some());
        match given_up.phase {
            Phase::Out | Phase::Joining | Phase::Active if may_join && !stays => {
                self.with_call(old, |call, shared| call.give_up_for(new, shared));
                self.with_call(new, Call::join);
                self.shared.emit(Event::CallReplaced { old, new });
                self.alias(old, new);
            }
            Phase::Over => self.alias(old, new),
            _ => {}
        }
    }
}

/// Rank of a call among those that crossed: the first goes on. Only calls of one device are told
/// apart by their ids.
fn rank(roster: &Roster) -> (Endpoint, CallId) {
    (roster.root().creator, roster.call())
}
