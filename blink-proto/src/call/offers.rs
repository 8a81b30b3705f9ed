//! Offers of other people: checks, the freshness proof, and what a new call becomes.

use blink_api::{BusyPolicy, CallId, Did, Endpoint};
use web_time::Duration;

use super::commands::MAX_CONVERSATION;
use super::event::Event;
use super::history::CallOutcome;
use super::history_log::HistoryNote;
use super::incoming::reply_ended;
use super::machine::Machine;
use super::reason::CancelledReason;
use super::roster::Roster;
use super::shared::Shared;
use super::state::{Call, Phase};
use crate::secure::{CallKeys, Refusal};
use crate::wire::{Body, Busy, Cancel, CancelReason, MAX_CLAIMS, Offer, Ringing, Status};

/// Calls that ring at the same time: familiar ones, and those of strangers.
const MAX_PENDING: (usize, usize) = (12, 4);
/// Calls that continue without this device and are remembered: familiar ones, and those of
/// strangers.
const MAX_OPEN: (usize, usize) = (64, 16);

impl Machine {
    pub(super) fn handle_offer(&mut self, id: CallId, from: Endpoint, boot: u64, offer: &Offer) {
        if let Some(tombstone) = self.tombstones.get(&id) {
            if !tombstone.silent {
                reply_ended(id, from.did, Status::Joined, &mut self.shared);
            }
            return;
        }
        if self.calls.contains_key(&id) {
            return self.with_call(id, |call, shared| call.handle_repeated_offer(from, offer, shared));
        }
        if let Err(refusal) = self.check_new_offer(id, from, boot, offer) {
            self.shared.refuse(refusal);
        }
    }

    fn check_new_offer(&mut self, id: CallId, from: Endpoint, boot: u64, offer: &Offer) -> Result<(), Refusal> {
        if !self.shared.rings_for(&from.did) || from.did == self.shared.own.did {
            return Err(Refusal::NotAuthorized);
        }
        // The cheap checks first: hashes, then one signature. The entries' signatures only once
        // the sender has proved that it offers now.
        let mut roster = Roster::unverified(id, &offer.root, &offer.secret, &offer.entries)?;
        let own = self.shared.own.did;
        if !roster.could_name(&from.did, &offer.entries) || !roster.could_name(&own, &offer.entries) {
            return Err(Refusal::NotAuthorized);
        }
        if !self.shared.is_fresh(&offer.echo, id, from.did) {
            // Reply with a nonce and store nothing: a replayed offer never echoes it.
            if self.shared.may_reply(id, from.did) {
                self.shared.signatures.verify(&roster.root_statement())?;
                let nonce = self.shared.nonce(id, from.did);
                self.shared.send_inbox(from.did, id, Body::Ringing(Ringing { nonce, rings: false }));
            }
            return Ok(());
        }
        let sender = (from.did, self.shared.quota_of(&from.did));
        let (now, signatures) = (self.shared.mono(), &mut self.shared.signatures);
        signatures.verify(&roster.root_statement())?;
        roster.merge_checked(&offer.entries, Some(&offer.secret), &mut |it| signatures.verify_for(now, sender, it))?;
        if !roster.is_valid(&from.did) || !roster.is_valid(&own) {
            return Err(Refusal::NotAuthorized);
        }
        self.admit_offer(roster, from, boot, offer);
        Ok(())
    }

    /// Handles a verified and fresh offer of a new call.
    fn admit_offer(&mut self, roster: Roster, from: Endpoint, boot: u64, offer: &Offer) {
        let id = roster.call();
        let glare = self.glare_with(&roster, &from);
        if glare.is_some_and(|own| self.wins_glare(&own, &roster)) {
            // The other side gives its call up when it receives this one's offer.
            return;
        }
        let busy = self.current().is_some() && self.shared.settings.busy == BusyPolicy::Reject;
        let (mut call, remaining) = self.call_of_offer(roster, from, offer);
        let shared = &mut self.shared;
        let own_claim = offer.joined.iter().find(|claim| claim.endpoint == from && claim.boot == boot);
        // Members whose cancel overtook the offer are not in the call any more.
        let cancelled = |endpoint: &Endpoint, boot, version| {
            self.early.get(&(id, *endpoint)).is_some_and(|early| (boot, version) <= *early)
        };
        let claims = offer.joined.iter().take(MAX_CLAIMS).copied();
        let joined: Vec<_> = claims.filter(|it| !cancelled(&it.endpoint, it.boot, it.version)).collect();
        call.apply_claims(&joined, Some(&from), shared);
        if remaining.is_zero() {
            // A missed-call notice.
            call.start_missed_history(shared);
            call.end_missed(shared);
            acknowledge_missed(id, from.did, shared);
            self.calls.insert(id, call);
            self.limit_open();
            return self.settle();
        }
        if own_claim.is_none() {
            return self.shared.refuse(Refusal::Inconsistent);
        }
        if call.is_deserted() {
            if call.roster.root().creator.did != from.did {
                // Only its creator can end a call before it rings.
                return self.shared.refuse(Refusal::Inconsistent);
            }
            return self.mark_ended_silently(id, call.quota());
        }
        if let Some(own) = glare {
            return self.resolve_glare(own, call);
        }
        call.start_history(shared);
        if busy {
            call.enter(Phase::Open, shared);
            call.busy = true;
            shared.note_history(HistoryNote::Finished(id, CallOutcome::Busy));
            shared.send_inbox(from.did, id, Body::Busy(Busy {}));
        } else {
            let (members, conversation) = (call.roster.valid().to_vec(), call.conversation());
            let Endpoint { did, device } = from;
            shared.emit(Event::IncomingCall { call: id, from: did, device, members, conversation });
            let nonce = shared.nonce(id, from.did);
            shared.send_inbox(from.did, id, Body::Ringing(Ringing { nonce, rings: true }));
        }
        self.calls.insert(id, call);
        self.limit_pending();
        self.limit_open();
        self.settle();
    }

    /// Ringing call of an offer, and its remaining ring time.
    fn call_of_offer(&mut self, roster: Roster, from: Endpoint, offer: &Offer) -> (Call, Duration) {
        let keys = CallKeys::new(roster.call(), offer.secret.clone());
        let remaining = Call::remaining(offer).min(self.shared.settings.ring_time.max(Duration::from_secs(60)));
        let mut configuration = offer.configuration.clone();
        configuration.conversation = configuration.conversation.filter(|bytes| bytes.len() <= MAX_CONVERSATION);
        let mut call = Call::new(roster, keys, configuration, Phase::In, from.did, remaining, &mut self.shared);
        call.from_device = Some(from.device);
        (call, remaining)
    }

    /// Limits the number of ringing calls: the oldest of the same quota stops ringing.
    fn limit_pending(&mut self) {
        let (of_known, of_strangers) = MAX_PENDING;
        for (known, limit) in [(true, of_known), (false, of_strangers)] {
            let pending = || {
                let is = |call: &&Call| call.phase() == Phase::In && call.familiar == known;
                self.calls.values().filter(is)
            };
            if pending().count() > limit
                && let Some(oldest) = pending().min_by_key(|call| call.since()).map(Call::id)
            {
                self.with_call(oldest, |call, shared| call.stop_ringing(CancelledReason::Displaced, shared));
            }
        }
    }

    /// Limits the number of calls that continue without this device: the oldest of the same quota
    /// is forgotten.
    pub(super) fn limit_open(&mut self) {
        let (of_known, of_strangers) = MAX_OPEN;
        for (known, limit) in [(true, of_known), (false, of_strangers)] {
            let is_open = |call: &&Call| call.phase() == Phase::Open && call.familiar == known;
            let mut open: Vec<_> = self.calls.values().filter(is_open).map(|call| (call.since(), call.id())).collect();
            open.sort_unstable();
            for (_, oldest) in open.drain(..open.len().saturating_sub(limit)) {
                self.with_call(oldest, |call, shared| call.enter(Phase::Over, shared));
            }
        }
    }
}

impl Call {
    /// Handles an offer of a call that is known here.
    fn handle_repeated_offer(&mut self, from: Endpoint, offer: &Offer, shared: &mut Shared) {
        if !self.roster.is_valid(&from.did) || self.roster.signed_root() != &offer.root {
            return shared.refuse(Refusal::NotAuthorized);
        }
        if let Err(refusal) = self.merge_entries(&from.did, &offer.entries, Some(&offer.secret), shared) {
            return shared.refuse(refusal);
        }
        let id = self.id();
        match self.phase() {
            Phase::Over => self.reply_over(from.did, Status::Joined, shared),
            Phase::In => {
                self.offer_heard = shared.mono();
                self.apply_claims(&offer.joined, Some(&from), shared);
                if shared.may_reply(id, from.did) {
                    let nonce = shared.nonce(id, from.did);
                    shared.send_inbox(from.did, id, Body::Ringing(Ringing { nonce, rings: true }));
                }
            }
            Phase::Open if self.busy => {
                if shared.may_reply(id, from.did) {
                    shared.send_inbox(from.did, id, Body::Busy(Busy {}));
                }
            }
            Phase::Open if shared.may_reply(id, from.did) => {
                self.apply_claims(&offer.joined, Some(&from), shared);
                let reply = self.cancel_body(CancelReason::Ended, shared);
                shared.send_inbox(from.did, id, reply);
            }
            // The sender has not heard that this endpoint is in the call.
            Phase::Joining | Phase::Active => {
                self.apply_claims(&offer.joined, Some(&from), shared);
                self.announce(shared, false);
            }
            Phase::Out | Phase::Open => {}
        }
    }
}

/// Acknowledges a missed-call notice.
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
