//! Invitations: offers are retransmitted until each invited person decides, or the ring time ends.

use std::collections::BTreeSet;

use blink_api::{CallId, Did, Topic};
use web_time::{Duration, Instant};

use super::event::Event;
use super::peer::Peer;
use super::person::{Person, PersonState};
use super::reason::EndReason;
use super::shared::Shared;
use super::state::{Call, Phase};
use crate::wire::{Body, Cancel, CancelReason, Offer};

/// Longest ring time that an offer may ask for.
const LONGEST_RING: Duration = Duration::from_secs(600);

impl Call {
    fn is_inviting(&self) -> bool {
        matches!(self.phase(), Phase::Out | Phase::Active)
    }

    /// Sends the offers that are due, and ends the invitations whose time is over.
    pub(super) fn send_due_offers(&mut self, shared: &mut Shared) {
        if self.is_inviting() {
            self.finalize_busy(shared);
            self.expire_invitations(shared);
        }
        // The call may have ended with its last invitation.
        if !self.is_inviting() {
            return;
        }
        let now = shared.mono();
        let own_call = self.phase() == Phase::Out || self.roster.root().creator == shared.own;
        let joined = self.present().count() as u32 + 1;
        let mut due = Vec::new();
        for (did, person) in &mut self.people {
            if person.fire_offer(now, &mut shared.random) {
                if !own_call {
                    // All members repeat the offers of a group: together not more often than one
                    // member alone would.
                    person.offer_again_at(now + shared.settings.timers.repeat_longest * joined);
                }
                due.push(*did);
            }
        }
        for did in due {
            let offer = self.offer_for(&did, shared);
            shared.send_inbox(did, self.id(), Body::Offer(Box::new(offer)));
        }
    }

    fn offer_for(&self, did: &Did, shared: &Shared) -> Offer {
        let person = self.people.get(did);
        let ring_until = person.map_or(self.ring_until, Person::ring_until);
        let remaining = ring_until.saturating_duration_since(shared.mono());
        Offer {
            root: self.roster.signed_root().clone(),
            entries: self.roster.entries(),
            secret: self.keys.secret().clone(),
            joined: self.claims(shared),
            remaining_ms: u32::try_from(remaining.as_millis()).unwrap_or(u32::MAX),
            echo: person.map(|person| person.nonces().to_vec()).unwrap_or_default(),
            configuration: self.configuration.clone(),
        }
    }

    /// Reports people as busy for whom no other device rang within the grace period.
    fn finalize_busy(&mut self, shared: &mut Shared) {
        let (now, grace, call) = (shared.mono(), shared.timers().busy_grace, self.id());
        for (did, person) in &mut self.people {
            if let Some(device) = person.finalize_busy(now, grace) {
                shared.emit(Event::ParticipantBusy { call, participant: *did, device });
            }
        }
        self.end_if_all_declined(shared);
    }

    /// Cancels the invitations that were not answered in time.
    fn expire_invitations(&mut self, shared: &mut Shared) {
        let now = shared.mono();
        let late: Vec<Did> =
            self.unresolved().filter(|(_, person)| now >= person.ring_until()).map(|(did, _)| *did).collect();
        if late.is_empty() {
            return;
        }
        for did in &late {
            shared.emit(Event::ParticipantUnanswered { call: self.id(), participant: *did });
        }
        if self.phase() == Phase::Out && late.len() == self.unresolved().count() {
            return self.end(EndReason::Unanswered, shared);
        }
        self.cancel_for(&late, CancelReason::Unanswered, PersonState::Missed, shared);
    }

    fn unresolved(&self) -> impl Iterator<Item = (&Did, &Person)> {
        self.people.iter().filter(|(_, person)| person.is_unresolved())
    }

    /// Cancels all unresolved invitations.
    pub(super) fn cancel_unresolved(&mut self, reason: CancelReason, state: PersonState, shared: &mut Shared) {
        let unresolved: Vec<Did> = self.unresolved().map(|(did, _)| *did).collect();
        self.cancel_for(&unresolved, reason, state, shared);
    }

    fn cancel_for(&mut self, people: &[Did], reason: CancelReason, state: PersonState, shared: &mut Shared) {
        for did in people.iter().copied() {
            if self.people.get(&did).is_some_and(|person| person.state() == PersonState::Invited) {
                // No device replied: the person learns later that it missed a call.
                let offer = Offer { remaining_ms: 0, joined: Vec::new(), ..self.offer_for(&did, shared) };
                self.undelivered.push((did, offer));
            }
            self.set_person(&did, state);
            let body = self.cancel_body(reason, shared);
            self.notify(did, body, shared);
        }
    }

    /// Tells people who are not in a group's call, but could join it, that this endpoint left: the
    /// call is over for them once all members have.
    pub(super) fn notify_absent(&mut self, shared: &Shared) {
        // A member that lacks the newest secret cannot read a farewell on the newest topic.
        let digest = self.roster.digest();
        let reads = |peer: &Peer| self.roster.rotation().is_none() || peer.digest == Some(digest);
        let present = self.present().filter(|(_, peer)| reads(peer));
        let present: BTreeSet<Did> = present.map(|(endpoint, _)| endpoint.did).collect();
        let notified: BTreeSet<Did> = self.notices.recipients().collect();
        let absent = |did: &&Did| !present.contains(did) && !notified.contains(did);
        let absent: Vec<Did> = self.people.keys().filter(absent).copied().collect();
        for did in absent {
            let body = self.cancel_body(CancelReason::Left, shared);
            self.notify(did, body, shared);
        }
    }

    /// `Cancel` with this endpoint's view of who is joined, itself included where it only stops
    /// inviting.
    pub(super) fn cancel_body(&self, reason: CancelReason, shared: &Shared) -> Body {
        Body::Cancel(self.cancel(reason, None, shared))
    }

    /// `Cancel` that names the call which continues instead.
    pub(super) fn replaced_body(&self, other: CallId, shared: &Shared) -> Body {
        Body::Cancel(self.cancel(CancelReason::Replaced, Some(other), shared))
    }

    fn cancel(&self, reason: CancelReason, replaced_by: Option<CallId>, shared: &Shared) -> Cancel {
        let joined = self.claims(shared);
        Cancel { reason, version: self.version(), joined, acknowledged: false, replaced_by }
    }

    /// Ends an offer once none of the invited people can join any more.
    pub(super) fn end_if_all_declined(&mut self, shared: &mut Shared) {
        if self.phase() != Phase::Out || self.people.values().any(|person| !person.state().is_final()) {
            return;
        }
        let any = |state: PersonState| self.people.values().any(|person| person.state() == state);
        let reason = if any(PersonState::Missed) {
            EndReason::Unanswered
        } else if any(PersonState::Rejected) {
            EndReason::Rejected
        } else if any(PersonState::Gone) {
            EndReason::RemoteLeft
        } else {
            EndReason::Busy
        };
        self.end(reason, shared);
    }

    /// Time at which [`send_due_offers`](Self::send_due_offers) is due.
    pub(super) fn invitation_deadline(&self, shared: &Shared) -> Option<Instant> {
        let grace = shared.timers().busy_grace;
        self.is_inviting().then(|| self.people.values().filter_map(|person| person.deadline(grace)).min()).flatten()
    }

    /// Makes the offer to the owner of an inbox due: a new subscriber may be that person.
    pub(super) fn handle_inbox_subscriber(&mut self, topic: &Topic, at_once: bool, shared: &Shared) {
        for person in self.people.values_mut() {
            person.expedite_for_subscriber(topic, shared.mono(), at_once);
        }
    }

    /// Remaining ring time according to an offer.
    pub(super) fn remaining(offer: &Offer) -> Duration {
        Duration::from_millis(u64::from(offer.remaining_ms)).min(LONGEST_RING)
    }
}
