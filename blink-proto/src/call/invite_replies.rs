//! Replies to invitations, and messages that end them: `Ringing`, `Busy`, `Reject`, `Cancel`.

use std::collections::BTreeSet;

use blink_api::{Did, Endpoint};

use super::event::Event;
use super::person::PersonState;
use super::reason::{CancelledReason, LeftReason};
use super::shared::Shared;
use super::state::{Call, Phase};
use crate::secure::Refusal;
use crate::wire::{Body, Cancel, CancelReason, Kind, Reject, Ringing, rejection};

impl Call {
    pub(super) fn handle_ringing(&mut self, from: Endpoint, ringing: &Ringing, shared: &mut Shared) {
        let (call, current) = (self.id(), self.takes_part());
        let Some(person) = self.people.get_mut(&from.did) else { return shared.refuse(Refusal::NotAuthorized) };
        if !person.is_unresolved() {
            return;
        }
        person.add_nonce(ringing.nonce, shared.mono());
        if ringing.rings && person.set_ringing() && current {
            shared.emit(Event::ParticipantRinging { call, participant: from.did, device: from.device });
        }
    }

    pub(super) fn handle_busy(&mut self, from: Endpoint, shared: &mut Shared) {
        match self.people.get_mut(&from.did) {
            Some(person) => person.set_busy(from.device, shared.mono()),
            None => shared.refuse(Refusal::NotAuthorized),
        }
    }

    pub(super) fn handle_reject(&mut self, from: Endpoint, reject: &Reject, shared: &mut Shared) {
        if reject.acknowledged {
            return self.notices.acknowledge(&from.did, Kind::Reject);
        }
        if !self.people.contains_key(&from.did) {
            return shared.refuse(Refusal::NotAuthorized);
        }
        if let Some(person) = self.people.get_mut(&from.did) {
            person.set_rejection(from.device, rejection(reject.reason));
        }
        if let Err(refusal) = self.merge_entries(&from.did, std::slice::from_ref(&reject.entry), None, shared) {
            return shared.refuse(refusal);
        }
        if !self.roster.rejected().contains(&from.did) {
            // The sender's budget of signature checks is exhausted. It repeats the message until
            // it is acknowledged.
            return;
        }
        let acknowledgement = Reject { acknowledged: true, ..reject.clone() };
        shared.send_inbox(from.did, self.id(), Body::Reject(acknowledgement));
    }

    /// Ends the invitations of everyone who rejected.
    pub(super) fn apply_rejections(&mut self, rejected: &BTreeSet<Did>, shared: &mut Shared) {
        let (call, current) = (self.id(), self.takes_part());
        for (did, person) in &mut self.people {
            if rejected.contains(did) && person.is_unresolved() {
                person.set_state(PersonState::Rejected);
                if current {
                    let (device, reason) = person.rejection();
                    shared.emit(Event::ParticipantRejected { call, participant: *did, device, reason });
                }
            }
        }
        self.end_if_all_declined(shared);
    }

    pub(super) fn handle_cancel(&mut self, from: Endpoint, boot: u64, cancel: &Cancel, shared: &mut Shared) {
        if cancel.acknowledged {
            return self.notices.acknowledge(&from.did, Kind::Cancel);
        }
        if from.did == shared.own.did {
            return self.handle_elsewhere(cancel, shared);
        }
        if !self.roster.is_valid(&from.did) {
            return shared.refuse(Refusal::NotAuthorized);
        }
        if !matches!(cancel.reason, CancelReason::Ended) {
            self.acknowledge_cancel(from.did, cancel, shared);
        }
        let stays = cancel.stays(&from);
        let mut reason = LeftReason::Left;
        if let Some(peer) = self.peers.get_mut(&from).filter(|_| !stays) {
            // Claims of others do not outweigh its own report.
            if peer.is_outdated(boot, cancel.version) {
                return;
            }
            if boot > peer.boot() {
                reason = LeftReason::Restarted;
            }
            peer.report_left(boot, cancel.version);
        }
        self.apply_claims(&cancel.joined, Some(&from), shared);
        match (self.phase(), cancel.reason) {
            (Phase::In, CancelReason::Unanswered) => self.end_missed(shared),
            (Phase::Out, _) if !stays => {
                self.set_person(&from.did, PersonState::Missed);
                self.end_if_all_declined(shared);
            }
            _ if !stays && self.peers.contains_key(&from) => self.handle_gone(from, reason, shared),
            _ => {}
        }
    }

    /// Handles that another device of this person answered or rejected.
    fn handle_elsewhere(&mut self, cancel: &Cancel, shared: &mut Shared) {
        let reason = match cancel.reason {
            CancelReason::AcceptedElsewhere => CancelledReason::AnsweredElsewhere,
            CancelReason::RejectedElsewhere => CancelledReason::RejectedElsewhere,
            _ => return,
        };
        let own = shared.own;
        self.apply_claims(&cancel.joined, Some(&own), shared);
        self.acknowledge_cancel(own.did, cancel, shared);
        if self.phase() == Phase::In {
            self.stop_ringing(reason, shared);
        }
    }

    fn acknowledge_cancel(&self, to: Did, cancel: &Cancel, shared: &mut Shared) {
        let acknowledgement = Cancel { acknowledged: true, joined: Vec::new(), ..cancel.clone() };
        shared.send_inbox(to, self.id(), Body::Cancel(acknowledgement));
    }
}
