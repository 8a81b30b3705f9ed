//! Messages of other endpoints: dispatch to the call that they are about.

use blink_api::{CallId, Did, Endpoint};

use super::io::Signal;
use super::machine::Machine;
use super::peer::Peer;
use super::reason::LeftReason;
use super::shared::Shared;
use super::state::{Call, Phase};
use crate::secure::{BootRollback, Channel, Refusal};
use crate::wire::{Body, Cancel, CancelReason, Member, Reject, StaleBoot, Status, WireEndpoint};

impl Machine {
    pub(super) fn handle_signal(&mut self, signal: Signal) {
        let quota = self.shared.quota_of(&signal.from.did);
        self.heard.record(quota, signal.from.did, self.shared.mono());
        self.end_calls_of_earlier_boots(&signal);
        self.reply_if_boot_is_stale(&signal);
        let Signal { channel, from, boot, call: id, body } = signal;
        if let (Body::Offer(offer), Channel::Inbox(_)) = (&body, &channel) {
            return self.handle_offer(id, from, boot, offer);
        }
        match &body {
            Body::StaleBoot(stale) => return self.handle_stale_boot(&id, from, stale),
            Body::Ringing(ringing) if self.missed.handle_ringing(&id, &from.did, ringing, &mut self.shared) => return,
            Body::Cancel(_) => self.missed.remove(&id, &from.did, &mut self.shared),
            _ => {}
        }
        if !self.calls.contains_key(&id) {
            return self.handle_unknown_call(id, from, boot, &body);
        }
        // Determined first: the cancel changes the call that it is about.
        let replacement = match &body {
            Body::Cancel(cancel) => self.replacement_of(&id, cancel, &from),
            _ => None,
        };
        self.with_call(id, |call, shared| match &body {
            Body::Offer(_) | Body::StaleBoot(_) => {}
            Body::Ringing(ringing) => call.handle_ringing(from, ringing, shared),
            Body::Busy(_) => call.handle_busy(from, shared),
            Body::Reject(reject) => call.handle_reject(from, reject, shared),
            Body::Cancel(cancel) => call.handle_cancel(from, boot, cancel, shared),
            Body::Link(link) => call.handle_link(from, link, shared),
            Body::Member(member) if call.phase() == Phase::Over => {
                call.reply_over(from.did, member.record.status, shared);
            }
            Body::Member(member) => call.handle_member(from, boot, member, shared),
        });
        if let Some(replacement) = replacement {
            self.follow_replacement(id, replacement, &from);
        }
    }

    /// Replies to an endpoint whose boot counter is lower than the one persisted with the call. The
    /// replay windows of the envelope codec only know what was heard since this device started.
    fn reply_if_boot_is_stale(&mut self, signal: &Signal) {
        let peer = self.calls.get(&signal.call).and_then(|call| call.peers.get(&signal.from));
        let newest = peer.filter(|peer| peer.is_self_reported()).map(Peer::boot);
        if let Some(boot) = newest.filter(|newest| signal.boot < *newest) {
            self.handle_boot_rollback(&BootRollback { endpoint: signal.from, boot, call: signal.call });
        }
    }

    /// Tells an endpoint that its messages are refused because its boot counter went back. A device
    /// that lost its count cannot know it otherwise.
    pub(super) fn handle_boot_rollback(&mut self, rollback: &BootRollback) {
        let BootRollback { endpoint, boot, call } = *rollback;
        let member = self.calls.get(&call).is_some_and(|call| call.roster.is_valid(&endpoint.did));
        let concerns = member || endpoint.did == self.shared.own.did || self.shared.rings_for(&endpoint.did);
        if concerns && self.shared.may_reply(call, endpoint.did) {
            let stale = StaleBoot { endpoint: WireEndpoint(endpoint), boot };
            self.shared.send_inbox(endpoint.did, call, Body::StaleBoot(stale));
        }
    }

    /// Handles that another endpoint refuses the messages of a device of this person.
    fn handle_stale_boot(&mut self, id: &CallId, from: Endpoint, stale: &StaleBoot) {
        let Some(call) = self.calls.get(id).filter(|call| call.roster.is_valid(&from.did)) else {
            return self.shared.refuse(Refusal::NotAuthorized);
        };
        // While a call only rings, the greater boot may be that of a copy of this device, which
        // becomes visible once it answers.
        if stale.endpoint.0 == self.shared.own && call.takes_part() {
            self.shared.raise_boot_above(stale.boot);
        }
    }

    /// Removes a restarted endpoint from the other calls in which it was before.
    fn end_calls_of_earlier_boots(&mut self, signal: &Signal) {
        let from = signal.from;
        let restarted = |call: &Call| {
            let peer = call.peers.get(&from);
            call.id() != signal.call && peer.is_some_and(|peer| peer.is_present() && peer.boot() < signal.boot)
        };
        let calls: Vec<_> = self.calls.values().filter(|call| restarted(call)).map(Call::id).collect();
        for id in calls {
            self.with_call(id, |call, shared| call.handle_gone(from, LeftReason::Restarted, shared));
        }
    }

    /// Handles a message about a call that has ended or was never heard of here.
    fn handle_unknown_call(&mut self, id: CallId, from: Endpoint, boot: u64, body: &Body) {
        let tombstone = self.tombstones.get(&id);
        if tombstone.is_some_and(|tombstone| tombstone.silent) {
            return;
        }
        let ended = tombstone.is_some();
        match body {
            Body::Member(member) if ended => reply_ended(id, from.did, member.record.status, &mut self.shared),
            Body::Cancel(cancel) if ended && !cancel.acknowledged && cancel.reason != CancelReason::Ended => {
                let acknowledgement = Cancel { acknowledged: true, joined: Vec::new(), ..cancel.clone() };
                self.shared.send_inbox(from.did, id, Body::Cancel(acknowledgement));
            }
            Body::Reject(reject) if ended && !reject.acknowledged => {
                let acknowledgement = Reject { acknowledged: true, ..reject.clone() };
                self.shared.send_inbox(from.did, id, Body::Reject(acknowledgement));
            }
            Body::Cancel(cancel) if !ended && !cancel.acknowledged && !cancel.stays(&from) => {
                // A cancel may overtake its offer, which then must not ring.
                self.early.insert(self.shared.quota_of(&from.did), (id, from), (boot, cancel.version));
            }
            _ if ended => {}
            _ => self.shared.refuse(Refusal::NotAuthorized),
        }
    }
}

impl Call {
    /// Tells a person who believes otherwise that the call has ended here, and why where its path
    /// failed: the farewells that say so may be lost, or arrive later than this.
    pub(super) fn reply_over(&self, to: Did, status: Status, shared: &mut Shared) {
        if self.path_failure.is_none() || !self.roster.is_valid(&to) {
            return reply_ended(self.id(), to, status, shared);
        }
        if status != Status::Left && shared.may_reply(self.id(), to) {
            let member = Member { record: self.record(shared), entries: Vec::new(), secret: None };
            shared.send_inbox(to, self.id(), Body::Member(Box::new(member)));
        }
    }
}

/// Tells a person who believes otherwise that the call has ended here.
pub(super) fn reply_ended(id: CallId, to: Did, status: Status, shared: &mut Shared) {
    if status != Status::Left && shared.may_reply(id, to) {
        let version = u64::from(u32::MAX);
        let cancel =
            Cancel { reason: CancelReason::Ended, version, joined: Vec::new(), acknowledged: false, replaced_by: None };
        shared.send_inbox(to, id, Body::Cancel(cancel));
    }
}
