//! Invitations: offering a call until each person has decided, and telling those it concerns that
//! it is over.

use std::collections::BTreeSet;
use web_time::{Duration, Instant};

use blink_api::{CallId, Did, Endpoint, Topic};

use super::event::{CancelledReason, EndReason, Event, LeftReason};
use super::lifecycle::{Call, Phase};
use super::member::Peer;
use super::repeat::Repeat;
use super::shared::Shared;
use crate::secure::{Refusal, inbox_topic};
use crate::wire::{self, Body, Bytes16, Cancel, CancelReason, Offer, Reject, Ringing, Status};

/// Nonces remembered of one person: one for each of its devices.
const MAX_ECHO: usize = 4;

/// One person on the roster other than the own.
#[derive(Clone)]
pub(super) struct Person {
    pub(super) state: PersonState,
    pub(super) inbox: Topic,
    pub(super) ringing_announced: bool,
    /// Until when the invitation rings.
    ring_until: Instant,
    offer: Repeat,
    echo: Vec<Bytes16>,
}

/// What an invited person has decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PersonState {
    /// Nothing heard.
    Invited,
    /// A device of it rings.
    Ringing,
    /// A device of it is in another call since; final after a grace.
    Busy { since: Instant, announced: bool },
    /// Will not come.
    Rejected,
    /// Did not decide in time.
    Missed,
    /// Is or was on its way into the call.
    Joined,
    /// Was in the call.
    Gone,
}

impl PersonState {
    /// Still to be asked.
    pub(super) fn is_unresolved(self) -> bool {
        matches!(self, Self::Invited | Self::Ringing | Self::Busy { announced: false, .. })
    }

    fn is_final(self) -> bool {
        matches!(self, Self::Rejected | Self::Missed | Self::Gone | Self::Busy { announced: true, .. })
    }
}

impl Call {
    /// A person for everybody valid on the roster; those who are new ring until then.
    pub(super) fn sync_people(&mut self, ring_until: Instant, shared: &Shared) {
        let (now, timers) = (shared.mono(), shared.timers());
        let rejected = self.roster.rejected();
        for did in self.roster.valid() {
            if *did != shared.own.did && !self.people.contains_key(did) {
                let state = if rejected.contains(did) { PersonState::Rejected } else { PersonState::Invited };
                let person = Person {
                    state,
                    inbox: inbox_topic(did),
                    ringing_announced: false,
                    ring_until,
                    offer: Repeat::starting(now, timers.repeat_first, timers.repeat_longest),
                    echo: Vec::new(),
                };
                self.people.insert(*did, person);
            }
        }
    }

    pub(super) fn set_person(&mut self, did: &Did, state: PersonState) {
        if let Some(person) = self.people.get_mut(did) {
            person.state = state;
        }
    }

    /// Sends the offers that are due, and draws the line under those whose time is over.
    pub(super) fn invite(&mut self, shared: &mut Shared) {
        let now = shared.mono();
        if !matches!(self.phase, Phase::Out | Phase::Active) {
            return;
        }
        self.settle_busy(shared);
        self.stop_ringing(shared);
        if !matches!(self.phase, Phase::Out | Phase::Active) {
            return;
        }
        let own_call = self.phase == Phase::Out || self.roster.root().creator == shared.own;
        let joined = self.present().count() as u32 + 1;
        let due: Vec<Did> = self
            .people
            .iter_mut()
            .filter(|(_, person)| person.state.is_unresolved())
            .filter_map(|(did, person)| person.offer.fire(now, &mut shared.random).then_some((did, person)))
            .map(|(did, person)| {
                if !own_call {
                    person.offer.stop();
                    person.offer.at_latest(now + shared.settings.timers.repeat_longest * joined);
                }
                *did
            })
            .collect();
        for did in due {
            let offer = self.offer_for(&did, shared);
            shared.send_inbox(did, self.id(), Body::Offer(Box::new(offer)));
        }
    }

    fn offer_for(&self, did: &Did, shared: &Shared) -> Offer {
        let ring_until = self.people.get(did).map_or(self.ring_until, |person| person.ring_until);
        let remaining = ring_until.saturating_duration_since(shared.mono());
        Offer {
            root: self.roster.signed_root().clone(),
            entries: self.roster.entries(),
            secret: self.keys.secret().clone(),
            joined: self.claims(shared),
            remaining_ms: u32::try_from(remaining.as_millis()).unwrap_or(u32::MAX),
            echo: self.people.get(did).map(|person| person.echo.clone()).unwrap_or_default(),
            configuration: self.configuration.clone(),
        }
    }

    /// Busy is final once the grace is over and no other device rang.
    fn settle_busy(&mut self, shared: &mut Shared) {
        let (now, grace, call) = (shared.mono(), shared.timers().busy_grace, self.id());
        for (did, person) in &mut self.people {
            if let PersonState::Busy { since, announced: false } = person.state
                && now >= since + grace
            {
                person.state = PersonState::Busy { since, announced: true };
                shared.emit(Event::ParticipantBusy { call, participant: *did });
            }
        }
        self.end_if_nobody_comes(shared);
    }

    /// Those who did not decide in time are not asked any more.
    fn stop_ringing(&mut self, shared: &mut Shared) {
        let now = shared.mono();
        let late: Vec<Did> =
            self.unresolved().filter(|(_, person)| now >= person.ring_until).map(|(did, _)| *did).collect();
        if late.is_empty() {
            return;
        }
        for did in &late {
            shared.emit(Event::ParticipantUnanswered { call: self.id(), participant: *did });
        }
        if self.phase == Phase::Out && late.len() == self.unresolved().count() {
            return self.end(EndReason::Unanswered, shared);
        }
        self.cancel_for(&late, CancelReason::Unanswered, PersonState::Missed, shared);
    }

    fn unresolved(&self) -> impl Iterator<Item = (&Did, &Person)> {
        self.people.iter().filter(|(_, person)| person.state.is_unresolved())
    }

    /// Tells everybody who has not decided that this endpoint no longer asks.
    pub(super) fn cancel_unresolved(&mut self, reason: CancelReason, state: PersonState, shared: &mut Shared) {
        let unresolved: Vec<Did> = self.unresolved().map(|(did, _)| *did).collect();
        self.cancel_for(&unresolved, reason, state, shared);
    }

    fn cancel_for(&mut self, people: &[Did], reason: CancelReason, state: PersonState, shared: &mut Shared) {
        for did in people.iter().copied() {
            if self.people.get(&did).is_some_and(|person| person.state == PersonState::Invited) {
                let offer = Offer { remaining_ms: 0, joined: Vec::new(), ..self.offer_for(&did, shared) };
                self.unheard.push((did, offer));
            }
            self.set_person(&did, state);
            let body = self.cancel(reason, shared);
            self.notify(did, body, shared);
        }
    }

    /// Those who are not in a group's call but could join it learn that this endpoint left: once
    /// all have, it is over for them.
    pub(super) fn tell_absent(&mut self, shared: &Shared) {
        // A member that has not got the newest secret does not hear a farewell on the newest topic.
        let digest = self.roster.digest();
        let hears = |peer: &Peer| self.roster.rotation().is_none() || peer.digest == Some(digest);
        let present = self.present().filter(|(_, peer)| hears(peer));
        let present: BTreeSet<Did> = present.map(|(endpoint, _)| endpoint.did).collect();
        let told: BTreeSet<Did> = self.notices.iter().map(|notice| notice.to).collect();
        let absent = |did: &&Did| !present.contains(did) && !told.contains(did);
        let absent: Vec<Did> = self.people.keys().filter(absent).copied().collect();
        for did in absent {
            let body = self.cancel(CancelReason::Left, shared);
            self.notify(did, body, shared);
        }
    }

    /// A `Cancel` with this endpoint's own view; it is in the view itself where it only stops
    /// asking.
    pub(super) fn cancel(&self, reason: CancelReason, shared: &Shared) -> Body {
        let joined = self.claims(shared);
        Body::Cancel(Cancel { reason, version: self.version, joined, acknowledged: false, replaced_by: None })
    }

    /// A `Cancel` that names the call which goes on instead.
    pub(super) fn replaced_by(&self, other: CallId, shared: &Shared) -> Body {
        match self.cancel(CancelReason::Replaced, shared) {
            Body::Cancel(cancel) => Body::Cancel(Cancel { replaced_by: Some(other), ..cancel }),
            body => body,
        }
    }

    /// An offer that is over ends when nobody is left who might come.
    fn end_if_nobody_comes(&mut self, shared: &mut Shared) {
        if self.phase != Phase::Out || self.people.values().any(|person| !person.state.is_final()) {
            return;
        }
        let any = |state: fn(PersonState) -> bool| self.people.values().any(|person| state(person.state));
        let reason = if any(|state| state == PersonState::Missed) {
            EndReason::Unanswered
        } else if any(|state| state == PersonState::Rejected) {
            EndReason::Rejected
        } else if any(|state| state == PersonState::Gone) {
            EndReason::RemoteLeft
        } else {
            EndReason::Busy
        };
        self.end(reason, shared);
    }

    pub(super) fn invitation_deadline(&self, shared: &Shared) -> Option<Instant> {
        if !matches!(self.phase, Phase::Out | Phase::Active) {
            return None;
        }
        let unresolved = || self.unresolved().map(|(_, person)| person);
        let busy = unresolved().filter_map(|person| match person.state {
            PersonState::Busy { since, .. } => Some(since + shared.timers().busy_grace),
            _ => None,
        });
        let offers = unresolved().filter_map(|person| person.offer.due());
        let ring = unresolved().map(|person| person.ring_until);
        busy.chain(offers).chain(ring).min()
    }

    /// Somebody subscribed to a person's inbox: that may be the person.
    pub(super) fn handle_inbox_subscriber(&mut self, topic: &Topic, at_once: bool, shared: &Shared) {
        for person in self.people.values_mut() {
            if person.inbox == *topic && person.state.is_unresolved() {
                person.offer.hurry_for_subscriber(shared.mono(), at_once);
            }
        }
    }

    // --- messages to the one who invites

    pub(super) fn handle_ringing(&mut self, from: Endpoint, ringing: &Ringing, shared: &mut Shared) {
        let call = self.id();
        let now = shared.mono();
        let Some(person) = self.people.get_mut(&from.did) else { return shared.refuse(Refusal::NotAuthorized) };
        if !person.state.is_unresolved() {
            return;
        }
        if !person.echo.contains(&ringing.nonce) {
            if person.echo.len() == MAX_ECHO {
                person.echo.remove(0);
            }
            person.echo.push(ringing.nonce);
            person.offer.hurry(now);
        }
        if ringing.rings {
            person.state = PersonState::Ringing;
            person.offer.slow_down();
            if !std::mem::replace(&mut person.ringing_announced, true) && self.phase.is_current() {
                shared.emit(Event::ParticipantRinging { call, participant: from.did });
            }
        }
    }

    pub(super) fn handle_busy(&mut self, from: Endpoint, shared: &mut Shared) {
        let since = shared.mono();
        match self.people.get_mut(&from.did) {
            Some(person) if person.state == PersonState::Invited => {
                person.state = PersonState::Busy { since, announced: false };
            }
            Some(_) => {}
            None => shared.refuse(Refusal::NotAuthorized),
        }
    }

    pub(super) fn handle_reject(&mut self, from: Endpoint, reject: &Reject, shared: &mut Shared) {
        if reject.acknowledged {
            return self.acknowledge(&from.did, wire::Kind::Reject);
        }
        if !self.people.contains_key(&from.did) {
            return shared.refuse(Refusal::NotAuthorized);
        }
        if let Err(refusal) = self.take_entries(&from.did, std::slice::from_ref(&reject.entry), None, shared) {
            return shared.refuse(refusal);
        }
        if !self.roster.rejected().contains(&from.did) {
            // Its sender's budget of checks is spent: it comes again until it is acknowledged.
            return;
        }
        let acknowledgement = Reject { acknowledged: true, ..reject.clone() };
        shared.send_inbox(from.did, self.id(), Body::Reject(acknowledgement));
    }

    /// Everybody who rejected and is not in the call is asked no more.
    pub(super) fn settle_rejections(&mut self, rejected: &BTreeSet<Did>, shared: &mut Shared) {
        let call = self.id();
        for (did, person) in &mut self.people {
            if rejected.contains(did) && person.state.is_unresolved() {
                person.state = PersonState::Rejected;
                if self.phase.is_current() {
                    shared.emit(Event::ParticipantRejected { call, participant: *did });
                }
            }
        }
        self.end_if_nobody_comes(shared);
    }

    pub(super) fn handle_cancel(&mut self, from: Endpoint, boot: u64, cancel: &Cancel, shared: &mut Shared) {
        if cancel.acknowledged {
            return self.acknowledge(&from.did, wire::Kind::Cancel);
        }
        if from.did == shared.own.did {
            return self.handle_elsewhere(cancel, shared);
        }
        if !self.roster.is_valid(&from.did) {
            return shared.refuse(Refusal::NotAuthorized);
        }
        if !matches!(cancel.reason, CancelReason::Ended) {
            let acknowledgement = Cancel { acknowledged: true, joined: Vec::new(), ..cancel.clone() };
            shared.send_inbox(from.did, self.id(), Body::Cancel(acknowledgement));
        }
        let stays = cancel.stays(&from);
        let mut reason = LeftReason::Left;
        if let Some(peer) = self.peers.get_mut(&from).filter(|_| !stays) {
            // What others claimed of it counts for nothing against its own word.
            if peer.own_word && (boot, cancel.version) < (peer.boot, peer.version) {
                return;
            }
            if boot > peer.boot {
                reason = LeftReason::Restarted;
            }
            peer.boot = boot;
            peer.version = cancel.version;
            peer.own_word = true;
            peer.status = Some(Status::Left);
        }
        self.take_claims(&cancel.joined, Some(&from), shared);
        match (self.phase, cancel.reason) {
            (Phase::In, CancelReason::Unanswered) => self.missed(shared),
            (Phase::Out, _) if !stays => {
                self.set_person(&from.did, PersonState::Missed);
                self.end_if_nobody_comes(shared);
            }
            _ if !stays && self.peers.contains_key(&from) => self.handle_gone(from, reason, shared),
            _ => {}
        }
    }

    /// Another device of the same person answered or rejected.
    fn handle_elsewhere(&mut self, cancel: &Cancel, shared: &mut Shared) {
        let reason = match cancel.reason {
            CancelReason::AcceptedElsewhere => CancelledReason::AnsweredElsewhere,
            CancelReason::RejectedElsewhere => CancelledReason::RejectedElsewhere,
            _ => return,
        };
        let own = shared.own;
        let acknowledgement = Cancel { acknowledged: true, joined: Vec::new(), ..cancel.clone() };
        self.take_claims(&cancel.joined, Some(&own), shared);
        shared.send_inbox(shared.own.did, self.id(), Body::Cancel(acknowledgement));
        if self.phase == Phase::In {
            self.phase = self.phase_when_out();
            shared.emit(Event::CallCancelled { call: self.id(), reason });
        }
    }

    /// How long an offer still rings by the word of whoever sent it.
    pub(super) fn remaining(offer: &Offer) -> Duration {
        Duration::from_millis(u64::from(offer.remaining_ms)).min(Duration::from_secs(600))
    }
}
