//! Changes of who may take part, and which of a person's devices does.

use blink_api::{DeviceId, Did, Endpoint};
use zeroize::Zeroizing;

use super::event::{EndReason, LeftReason};
use super::lifecycle::Call;
use super::shared::Shared;
use crate::secure::{Refusal, Statement};
use crate::wire::{Body, Record, Reject, Signed, Status};

impl Call {
    /// Takes in roster entries of a message, with the secret that came along, and does what follows
    /// from them. Where its sender has made this device check too many signatures lately, they are
    /// ignored: they come again while the digests differ.
    pub(super) fn take_entries(
        &mut self,
        from: &Did,
        entries: &[Signed],
        secret: Option<&Zeroizing<[u8; 32]>>,
        shared: &mut Shared,
    ) -> Result<(), Refusal> {
        let (now, sender) = (shared.mono(), (*from, self.share()));
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

    /// Tells all members of an invitation by this person.
    pub(super) fn handle_own_invitation(&mut self, shared: &mut Shared) {
        self.send_record_with_entries(shared);
        self.handle_roster_changed(shared);
        self.change_record(shared, false);
    }

    pub(super) fn handle_roster_changed(&mut self, shared: &mut Shared) {
        self.sync_people(shared.mono() + shared.settings.ring_time, shared);
        let rejected = self.roster.rejected();
        self.settle_rejections(&rejected, shared);
        let removed: Vec<Endpoint> =
            self.peers.keys().filter(|endpoint| !self.roster.is_valid(&endpoint.did)).copied().collect();
        for endpoint in removed {
            self.handle_gone(endpoint, LeftReason::Removed, shared);
            self.peers.remove(&endpoint);
        }
        // A notice may hold the call's secret, and says who is in the call.
        let uninvited: Vec<Did> = self.people.keys().filter(|did| !self.roster.is_valid(did)).copied().collect();
        self.notices.retain(|notice| !uninvited.contains(&notice.to));
        self.unheard.retain(|(did, _)| !uninvited.contains(did));
        self.people.retain(|did, _| self.roster.is_valid(did));
        self.uninvited.extend(uninvited);
        shared.set_history_members(&self.id(), self.roster.valid());
        if !self.roster.is_valid(&shared.own.did) {
            self.expel(shared);
        }
    }

    /// Somebody was removed and does not know it yet. Of others who do not take part nothing is
    /// said: the invitation may not have come here yet.
    pub(super) fn reply_removed(&self, to: Did, status: Status, shared: &mut Shared) {
        let Some(entry) = self.roster.removal_of(&to).filter(|_| status != Status::Left) else { return };
        if shared.may_reply(self.id(), to) {
            let notice = Reject { entry: entry.clone(), acknowledged: false };
            shared.send_inbox(to, self.id(), Body::Reject(notice));
        }
    }

    /// Another device of this person says which seat it takes: the greatest holds it.
    pub(super) fn handle_own_device(&mut self, from: Endpoint, record: &Record, shared: &mut Shared) {
        if record.status == Status::Left {
            return;
        }
        if self.phase.is_current() {
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
        let greatest = devices.map(|(other, peer)| seat((other, peer.seat))).max();
        greatest.is_none_or(|(_, device)| device == endpoint.device)
    }
}
