//! Messages from others: which call they are about, and offers of calls that are new here.

use web_time::Duration;

use blink_api::{BusyPolicy, CallId, Did, Endpoint};

use super::Signal;
use super::event::{CancelledReason, Event, LeftReason};
use super::history::CallOutcome;
use super::lifecycle::{Call, Phase};
use super::machine::{MAX_CONVERSATION, Machine};
use super::member::MAX_CLAIMS;
use super::roster::Roster;
use super::shared::Shared;
use crate::secure::{BootRollback, CallKeys, Channel, Refusal};
use crate::wire::{Body, Busy, Cancel, CancelReason, Offer, Ringing, StaleBoot, Status, WireEndpoint};

/// Calls that ring here at the same time, familiar ones and those of strangers.
const MAX_PENDING: (usize, usize) = (12, 4);
/// Calls that go on without this device and are remembered, familiar ones and those of strangers.
const MAX_OPEN: (usize, usize) = (64, 16);

impl Machine {
    pub(super) fn handle_signal(&mut self, signal: Signal) {
        let share = self.shared.share_of(&signal.from.did);
        self.heard.note(share, signal.from.did, self.shared.mono());
        self.end_calls_before(&signal);
        self.tell_if_behind(&signal);
        let Signal { channel, from, boot, call: id, body } = signal;
        if let (Body::Offer(offer), Channel::Inbox(_)) = (&body, &channel) {
            return self.handle_offer(id, from, boot, offer);
        }
        match &body {
            Body::StaleBoot(behind) => return self.handle_behind(&id, from, behind),
            Body::Ringing(ringing) if self.missed.handle_ringing(&id, &from.did, ringing, &mut self.shared) => return,
            Body::Cancel(_) => self.missed.remove(&id, &from.did, &mut self.shared),
            _ => {}
        }
        if !self.calls.contains_key(&id) {
            return self.handle_stray(id, from, boot, &body);
        }
        let other = match &body {
            Body::Cancel(cancel) => self.successor(&id, cancel, &from),
            _ => None,
        };
        self.with_call(id, |call, shared| match &body {
            Body::Offer(_) | Body::StaleBoot(_) => {}
            Body::Ringing(ringing) => call.handle_ringing(from, ringing, shared),
            Body::Busy(_) => call.handle_busy(from, shared),
            Body::Reject(reject) => call.handle_reject(from, reject, shared),
            Body::Cancel(cancel) => call.handle_cancel(from, boot, cancel, shared),
            Body::Link(link) => call.handle_link(from, link, shared),
            Body::Member(member) if call.phase == Phase::Over => {
                reply_ended(call.id(), from.did, member.record.status, shared);
            }
            Body::Member(member) => call.handle_member(from, boot, member, shared),
        });
        if let Some(other) = other {
            self.follow(id, other, &from);
        }
    }

    /// The door knows only what was heard since this device started. What was written down says of
    /// calls how far their members had counted.
    fn tell_if_behind(&mut self, signal: &Signal) {
        let peer = self.calls.get(&signal.call).and_then(|call| call.peers.get(&signal.from));
        if let Some(boot) = peer.filter(|peer| peer.own_word && signal.boot < peer.boot).map(|peer| peer.boot) {
            self.handle_set_back(&BootRollback { endpoint: signal.from, boot, call: signal.call });
        }
    }

    /// An endpoint is not heard, because it counts below what it has said before. A device that
    /// lost its count cannot know that.
    pub(super) fn handle_set_back(&mut self, boot_rollback: &BootRollback) {
        let BootRollback { endpoint, boot, call } = *boot_rollback;
        let member = self.calls.get(&call).is_some_and(|call| call.roster.is_valid(&endpoint.did));
        let concerns = member || endpoint.did == self.shared.own.did || self.shared.rings_for(&endpoint.did);
        if concerns && self.shared.may_reply(call, endpoint.did) {
            let behind = StaleBoot { endpoint: WireEndpoint(endpoint), boot };
            self.shared.send_inbox(endpoint.did, call, Body::StaleBoot(behind));
        }
    }

    /// Somebody does not hear this device, or another one of this person.
    fn handle_behind(&mut self, id: &CallId, from: Endpoint, behind: &StaleBoot) {
        let Some(call) = self.calls.get(id).filter(|call| call.roster.is_valid(&from.did)) else {
            return self.shared.refuse(Refusal::NotAuthorized);
        };
        // While a call only rings, a copy of this device may be what was heard. It shows itself
        // once it answers.
        if behind.endpoint.0 == self.shared.own && call.phase.is_current() {
            self.shared.jump_above(behind.boot);
        }
    }

    /// An endpoint that speaks under a new boot is no longer in the calls it was in before.
    fn end_calls_before(&mut self, signal: &Signal) {
        let from = signal.from;
        let restarted = |call: &Call| {
            let peer = call.peers.get(&from);
            call.id() != signal.call && peer.is_some_and(|peer| peer.is_present() && peer.boot < signal.boot)
        };
        let calls: Vec<_> = self.calls.values().filter(|call| restarted(call)).map(Call::id).collect();
        for id in calls {
            self.with_call(id, |call, shared| call.handle_gone(from, LeftReason::Restarted, shared));
        }
    }

    /// About a call that is over or was never heard of here.
    fn handle_stray(&mut self, id: CallId, from: Endpoint, boot: u64, body: &Body) {
        let tombstone = self.tombstones.get(&id);
        if tombstone.is_some_and(|tombstone| tombstone.silent) {
            return;
        }
        let over = tombstone.is_some();
        match body {
            Body::Member(member) if over => reply_ended(id, from.did, member.record.status, &mut self.shared),
            Body::Cancel(cancel) if over && !cancel.acknowledged && cancel.reason != CancelReason::Ended => {
                let acknowledgement = Cancel { acknowledged: true, joined: Vec::new(), ..cancel.clone() };
                self.shared.send_inbox(from.did, id, Body::Cancel(acknowledgement));
            }
            Body::Reject(reject) if over && !reject.acknowledged => {
                let acknowledgement = crate::wire::Reject { acknowledged: true, ..reject.clone() };
                self.shared.send_inbox(from.did, id, Body::Reject(acknowledgement));
            }
            Body::Cancel(cancel) if !over && !cancel.acknowledged && !cancel.stays(&from) => {
                self.remember_early(id, from, boot, cancel.version);
            }
            _ if over => {}
            _ => self.shared.refuse(Refusal::NotAuthorized),
        }
    }

    /// A cancel may overtake its offer, which then must not ring.
    fn remember_early(&mut self, id: CallId, from: Endpoint, boot: u64, version: u64) {
        self.early.insert(self.shared.share_of(&from.did), (id, from), (boot, version));
    }

    fn handle_offer(&mut self, id: CallId, from: Endpoint, boot: u64, offer: &Offer) {
        if let Some(tombstone) = self.tombstones.get(&id) {
            if !tombstone.silent {
                reply_ended(id, from.did, Status::Joined, &mut self.shared);
            }
            return;
        }
        if self.calls.contains_key(&id) {
            return self.with_call(id, |call, shared| repeated_offer(call, from, offer, shared));
        }
        if let Err(refusal) = self.new_offer(id, from, boot, offer) {
            self.shared.refuse(refusal);
        }
    }

    fn new_offer(&mut self, id: CallId, from: Endpoint, boot: u64, offer: &Offer) -> Result<(), Refusal> {
        if !self.shared.rings_for(&from.did) || from.did == self.shared.own.did {
            return Err(Refusal::NotAuthorized);
        }
        // The cheap checks first: hashes, then one signature, and those of the entries only once
        // the sender shows that it asks now.
        let mut roster = Roster::unverified(id, &offer.root, &offer.secret, &offer.entries)?;
        let own = self.shared.own.did;
        if !roster.could_name(&from.did, &offer.entries) || !roster.could_name(&own, &offer.entries) {
            return Err(Refusal::NotAuthorized);
        }
        if !self.shared.is_fresh(&offer.echo, id, from.did) {
            // Nothing is stored: whoever asks must show that it asks now.
            if self.shared.may_reply(id, from.did) {
                self.shared.signatures.verify(&roster.root_statement())?;
                let nonce = self.shared.nonce(id, from.did);
                self.shared.send_inbox(from.did, id, Body::Ringing(Ringing { nonce, rings: false }));
            }
            return Ok(());
        }
        let sender = (from.did, self.shared.share_of(&from.did));
        let (now, signatures) = (self.shared.mono(), &mut self.shared.signatures);
        signatures.verify(&roster.root_statement())?;
        roster.merge_checked(&offer.entries, Some(&offer.secret), &mut |it| signatures.verify_for(now, sender, it))?;
        if !roster.is_valid(&from.did) || !roster.is_valid(&own) {
            return Err(Refusal::NotAuthorized);
        }
        self.admit_offer(roster, from, boot, offer);
        Ok(())
    }

    /// A fresh offer of somebody who may call.
    fn admit_offer(&mut self, roster: Roster, from: Endpoint, boot: u64, offer: &Offer) {
        let id = roster.call();
        let crossed = self.crossed_by(&roster, &from);
        if crossed.is_some_and(|own| self.goes_on_before(&own, &roster)) {
            // The other side gives its own call up when it hears of this one.
            return;
        }
        let busy = self.current().is_some() && self.shared.settings.busy == BusyPolicy::Reject;
        let keys = CallKeys::new(id, offer.secret.clone());
        let remaining = Call::remaining(offer).min(self.shared.settings.ring_time.max(Duration::from_secs(60)));
        let shared = &mut self.shared;
        let mut configuration = offer.configuration.clone();
        configuration.conversation = configuration.conversation.filter(|bytes| bytes.len() <= MAX_CONVERSATION);
        let mut call = Call::new(roster, keys, configuration, Phase::In, from.did, remaining, shared);
        let own_claim = offer.joined.iter().find(|claim| claim.endpoint == from && claim.boot == boot);
        let cancelled = |endpoint: &Endpoint, boot, version| {
            self.early.get(&(id, *endpoint)).is_some_and(|early| (boot, version) <= *early)
        };
        let joined: Vec<_> = offer
            .joined
            .iter()
            .take(MAX_CLAIMS)
            .filter(|claim| !cancelled(&claim.endpoint, claim.boot, claim.version))
            .copied()
            .collect();
        call.take_claims(&joined, Some(&from), shared);
        if remaining.is_zero() {
            shared.begin_history(call.history_entry(shared));
            call.missed(shared);
            acknowledge_missed(id, from.did, shared);
            self.calls.insert(id, call);
            self.limit_open();
            return self.settle();
        }
        if own_claim.is_none() {
            return self.shared.refuse(Refusal::Inconsistent);
        }
        if call.present().next().is_none() {
            if call.roster.root().creator.did != from.did {
                // Others of the call cannot end it for this device.
                return self.shared.refuse(Refusal::Inconsistent);
            }
            return self.bury(id, call.share());
        }
        if let Some(own) = crossed {
            return self.replace(own, call);
        }
        let members = call.roster.valid().to_vec();
        shared.begin_history(call.history_entry(shared));
        if busy {
            call.phase = Phase::Open;
            call.busy = true;
            shared.finish_history(&id, CallOutcome::Busy);
            shared.send_inbox(from.did, id, Body::Busy(Busy {}));
        } else {
            let conversation = call.conversation();
            shared.emit(Event::IncomingCall { call: id, from: from.did, members, conversation });
            let nonce = shared.nonce(id, from.did);
            shared.send_inbox(from.did, id, Body::Ringing(Ringing { nonce, rings: true }));
        }
        self.calls.insert(id, call);
        self.limit_pending();
        self.limit_open();
        self.settle();
    }

    /// Only so many calls ring at once: the oldest of its sort makes room.
    fn limit_pending(&mut self) {
        let (of_known, of_strangers) = MAX_PENDING;
        for (known, limit) in [(true, of_known), (false, of_strangers)] {
            let pending = || {
                let is = |call: &&Call| call.phase == Phase::In && call.familiar == known;
                self.calls.values().filter(is)
            };
            if pending().count() > limit
                && let Some(oldest) = pending().min_by_key(|call| call.since).map(Call::id)
            {
                self.with_call(oldest, |call, shared| {
                    call.phase = call.phase_when_out();
                    shared.emit(Event::CallCancelled { call: call.id(), reason: CancelledReason::Displaced });
                });
            }
        }
    }

    /// Only so many calls that go on without this device are remembered: the oldest of its sort
    /// makes room.
    pub(super) fn limit_open(&mut self) {
        let (of_known, of_strangers) = MAX_OPEN;
        for (known, limit) in [(true, of_known), (false, of_strangers)] {
            let is_open = |call: &&Call| call.phase == Phase::Open && call.familiar == known;
            let mut open: Vec<_> = self.calls.values().filter(is_open).map(|call| (call.since, call.id())).collect();
            open.sort_unstable();
            for (_, oldest) in open.drain(..open.len().saturating_sub(limit)) {
                self.with_call(oldest, |call, _| call.phase = Phase::Over);
            }
        }
    }
}

/// An offer of a call that is known here.
fn repeated_offer(call: &mut Call, from: Endpoint, offer: &Offer, shared: &mut Shared) {
    if !call.roster.is_valid(&from.did) || call.roster.signed_root() != &offer.root {
        return shared.refuse(Refusal::NotAuthorized);
    }
    if let Err(refusal) = call.take_entries(&from.did, &offer.entries, Some(&offer.secret), shared) {
        return shared.refuse(refusal);
    }
    let id = call.id();
    match call.phase {
        Phase::Over => reply_ended(id, from.did, Status::Joined, shared),
        Phase::In => {
            call.offer_heard = shared.mono();
            call.take_claims(&offer.joined, Some(&from), shared);
            if shared.may_reply(id, from.did) {
                let nonce = shared.nonce(id, from.did);
                shared.send_inbox(from.did, id, Body::Ringing(Ringing { nonce, rings: true }));
            }
        }
        Phase::Open if call.busy => {
            if shared.may_reply(id, from.did) {
                shared.send_inbox(from.did, id, Body::Busy(Busy {}));
            }
        }
        Phase::Open if shared.may_reply(id, from.did) => {
            call.take_claims(&offer.joined, Some(&from), shared);
            let reply = call.cancel(CancelReason::Ended, shared);
            shared.send_inbox(from.did, id, reply);
        }
        // Whoever still offers has not heard that this endpoint is in the call.
        Phase::Joining | Phase::Active => {
            call.take_claims(&offer.joined, Some(&from), shared);
            call.announce(shared, false);
        }
        Phase::Out | Phase::Open => {}
    }
}

/// Tells whoever told of a missed call that it is known now.
fn acknowledge_missed(id: CallId, to: Did, shared: &mut Shared) {
    let cancel = Cancel {
        reason: CancelReason::Unanswered,
        version: 0,
        joined: Vec::new(),
        acknowledged: true,
        replaced_by: None,
    };
    shared.send_inbox(to, id, Body::Cancel(cancel));
}

/// Tells somebody who believes otherwise that the call is over here.
fn reply_ended(id: CallId, to: Did, status: Status, shared: &mut Shared) {
    if status != Status::Left && shared.may_reply(id, to) {
        let version = u64::from(u32::MAX);
        let cancel =
            Cancel { reason: CancelReason::Ended, version, joined: Vec::new(), acknowledged: false, replaced_by: None };
        shared.send_inbox(to, id, Body::Cancel(cancel));
    }
}
