//! Changes of the roster, and the choice among a person's devices.

use blink_api::{DeviceId, Did, Endpoint};
use zeroize::Zeroizing;

use super::history_log::HistoryNote;
use super::reason::{EndReason, LeftReason};
use super::shared::Shared;
use super::state::Call;
use crate::secure::{Refusal, Statement};
use crate::wire::{Body, Member, Record, Reject, Signed, Status};

impl Call {
    /// Merges roster entries of a message, with the secret that came along, and applies the
    /// changes. Where the sender's budget of signature checks is exhausted, they are ignored: they
    /// are repeated while the digests differ.
    pub(super) fn merge_entries(
        &mut self,
        from: &Did,
        entries: &[Signed],
        secret: Option<&Zeroizing<[u8; 32]>>,
        shared: &mut Shared,
    ) -> Result<(), Refusal> {
        let (now, sender) = (shared.mono(), (*from, self.quota()));
        let signatures = &mut shared.signatures;
        let check = &mut |it: &Statement<'_>| signatures.verify_for(now, sender, it);
        let changed = match self.roster.merge_checked(entries, secret.map(|secret| &**secret), check) {
            Err(Refusal::RateLimited) => {
                shared.refuse(Refusal::RateLimited);
                return Ok(());
            }
            changed => changed?,
        };
        if changed {
            self.handle_roster_changed(shared);
            self.follow_rotation(secret, shared);
        }
        Ok(())
    }

    /// Announces an invitation by this person.
    pub(super) fn handle_own_invitation(&mut self, shared: &mut Shared) {
        self.send_record_with_entries(shared);
        self.handle_roster_changed(shared);
        self.change_record(shared, false);
    }

    /// Applies a changed roster: new people are invited, removed ones are disconnected.
    pub(super) fn handle_roster_changed(&mut self, shared: &mut Shared) {
        self.sync_people(shared.mono() + shared.settings.ring_time, shared);
        let rejected = self.roster.rejected();
        self.apply_rejections(&rejected, shared);
        let removed: Vec<Endpoint> =
            self.peers.keys().filter(|endpoint| !self.roster.is_valid(&endpoint.did)).copied().collect();
        for endpoint in removed {
            self.handle_gone(endpoint, LeftReason::Removed, shared);
            self.peers.remove(&endpoint);
        }
        // Pending messages to removed people may contain the secret, and say who is in the call.
        let uninvited: Vec<Did> = self.people.keys().filter(|did| !self.roster.is_valid(did)).copied().collect();
        self.notices.retain(|to| !uninvited.contains(to));
        self.undelivered.retain(|(did, _)| !uninvited.contains(did));
        self.people.retain(|did, _| self.roster.is_valid(did));
        self.uninvited.extend(uninvited);
        shared.note_history(HistoryNote::Members(self.id(), self.roster.valid().to_vec()));
        if !self.roster.is_valid(&shared.own.did) {
            self.end_removed(shared);
        }
    }

    /// Tells a person that does not know it yet that it was removed, or that its inviter has given
    /// the place to another one. People who were never on the roster get no reply: their invitation
    /// may not have arrived here yet.
    pub(super) fn reply_removed(&self, to: Did, member: &Member, shared: &mut Shared) {
        if member.record.status == Status::Left {
            return;
        }
        let rival = || self.roster.rival_of_invitation(&to, &member.entries);
        let Some(entry) = self.roster.removal_of(&to).or_else(rival) else { return };
        if shared.may_reply(self.id(), to) {
            let notice = Reject { entry: entry.clone(), acknowledged: false, reason: None };
            shared.send_inbox(to, self.id(), Body::Reject(notice));
        }
    }

    /// Handles the record of another device of this person: the greatest seat takes part.
    pub(super) fn handle_own_device(&mut self, from: Endpoint, record: &Record, shared: &mut Shared) {
        if record.status == Status::Left {
            return;
        }
        if self.takes_part() {
            if (record.seat, from.device) > (self.seat, shared.own.device) {
                self.seat = record.seat;
                self.end(EndReason::OtherDevice, shared);
            }
        } else {
            self.seat = self.seat.max(record.seat);
        }
    }

    /// Whether an endpoint is the device with which its person takes part.
    pub(super) fn holds_seat(&self, endpoint: &Endpoint) -> bool {
        let seat = |(endpoint, seat): (&Endpoint, u64)| -> (u64, DeviceId) { (seat, endpoint.device) };
        let devices = self.present().filter(|(other, _)| other.did == endpoint.did);
        let greatest = devices.map(|(other, peer)| seat((other, peer.seat()))).max();
        greatest.is_none_or(|(_, device)| device == endpoint.device)
    }
}
