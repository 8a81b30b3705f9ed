//! Records of other endpoints: what they report about themselves, and whom they list as seen.

use blink_api::{Endpoint, display_name};

use super::event::Event;
use super::participant::ParticipantState;
use super::peer::Peer;
use super::person::PersonState;
use super::reason::LeftReason;
use super::shared::Shared;
use super::state::{Call, Phase};
use crate::secure::Refusal;
use crate::wire::{Cause, Member, Record, Seen, Status};

/// Endpoints read in one `seen`; further ones are ignored.
const MAX_SEEN: usize = 64;

impl Call {
    /// Handles another endpoint's record.
    pub(super) fn handle_member(&mut self, from: Endpoint, boot: u64, member: &Member, shared: &mut Shared) {
        let secret = member.secret.as_ref().map(|secret| &secret.0);
        if let Err(refusal) = self.merge_entries(&from.did, &member.entries, secret, shared) {
            return shared.refuse(refusal);
        }
        let record = &member.record;
        if from.did == shared.own.did {
            return self.handle_own_device(from, record, shared);
        }
        if !self.roster.is_valid(&from.did) {
            shared.refuse(Refusal::NotAuthorized);
            return self.reply_removed(from.did, member, shared);
        }
        let now = shared.mono();
        if let Err(refusal) = self.verify_peer_key(&from, &record.call_key, Some(&from), shared) {
            return shared.refuse(refusal);
        }
        let Some(peer) = self.peer_entry(from, true, shared) else { return };
        if peer.is_outdated(boot, record.version) {
            return;
        }
        let new_key = !peer.has_key(&record.call_key);
        let first_report = peer.awaits_first_report();
        let changed = first_report || peer.is_newer(boot, record.version);
        peer.heard = Some(now);
        peer.digest = Some(record.digest.into());
        if changed {
            // A new key means that it joined anew: the earlier stay ended.
            if new_key && peer.is_announced() {
                self.handle_gone(from, LeftReason::Restarted, shared);
            }
            self.apply_record(from, boot, record, shared);
        }
        if changed && record.status == Status::Left && record.failed == Some(true) && self.is_ended_by_path() {
            // The link message that says so may have been lost, or be on its way. Here the person
            // may even count as invited still, and must not be told that it missed a call.
            self.set_person(&from.did, PersonState::Gone);
            return self.end_failed(Cause::failure(record.cause), shared);
        }
        if changed && record.status == Status::Left {
            self.handle_gone(from, LeftReason::Left, shared);
            return self.announce(shared, false);
        }
        self.apply_seen(from, record, shared);
        if changed && (new_key || first_report) {
            self.announce(shared, true);
        }
        self.ensure_link(from, shared);
    }

    /// Whether a call of two ends here because the endpoint of the other person left whose path to
    /// this one failed. There may be no link to it: where it opened no session, its record may be
    /// the first that is heard of its joining.
    fn is_ended_by_path(&self) -> bool {
        self.takes_part() && !self.roster.is_group() && self.is_deserted()
    }

    fn apply_record(&mut self, from: Endpoint, boot: u64, record: &Record, shared: &mut Shared) {
        let call = self.id();
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if !peer.has_key(&record.call_key) {
            Self::close_link(peer, shared);
            peer.begin_joining(shared.mono());
        }
        peer.report(boot, record);
        if record.status != Status::Left {
            let Record { muted, deafened, recording, held, .. } = *record;
            peer.state = ParticipantState { muted, deafened, recording, held: held.unwrap_or(false) };
            peer.reads_messages = record.messages == Some(true);
            // The first name of a stay counts: no one changes it under the eyes of others.
            if peer.name.is_none() {
                peer.name = record.name.as_deref().and_then(display_name);
                // A path may be up before the first record, if others told of the endpoint.
                if let Some(name) = peer.name.clone().filter(|_| peer.announced) {
                    shared.emit(Event::ParticipantNamed { call, participant: from, name });
                }
            }
            self.emit_state_changes(from, shared);
            self.update_speaking(from, shared);
            self.set_person(&from.did, PersonState::Joined);
            self.apply_streams(from, record, shared);
        }
    }

    /// Applies the list of endpoints that another one has heard: this endpoint, which is thereby
    /// acknowledged, and endpoints that are unknown here.
    fn apply_seen(&mut self, from: Endpoint, record: &Record, shared: &mut Shared) {
        let now = shared.mono();
        let mut believed = true;
        for seen in record.seen.iter().take(MAX_SEEN) {
            if seen.endpoint == shared.own {
                shared.raise_boot_above(seen.boot);
                let ours = seen.boot == shared.boot() && self.key.signed.key == seen.call_key.key;
                if let Some(peer) = self.peers.get_mut(&from).filter(|_| ours) {
                    peer.last_listed_us = now;
                    peer.acknowledged = seen.version;
                    self.handle_acknowledged(shared);
                }
            } else if seen.endpoint.did == shared.own.did {
                // Another device of this person: each announces its seat, and the lesser leaves.
                self.other_device_seen = true;
                self.announce(shared, false);
            } else if believed && self.roster.is_valid(&seen.endpoint.did) {
                // After one false key, the other endpoints of the message are ignored too.
                believed = self.apply_hint(seen, &from, shared).inspect_err(|refusal| shared.refuse(*refusal)).is_ok();
            }
        }
        if self.phase() == Phase::Out && self.peers.get(&from).is_some_and(Peer::is_present) {
            self.become_active(shared);
        }
    }

    /// Applies a hint: another member has heard an endpoint that is unknown here, or that has
    /// joined again since. Its owner signed the key, so that it can be written to; its answer is
    /// its own report.
    fn apply_hint(&mut self, seen: &Seen, from: &Endpoint, shared: &mut Shared) -> Result<(), Refusal> {
        let supersedes = self.peers.get(&seen.endpoint).is_none_or(|peer| {
            !peer.is_present() && peer.is_newer(seen.boot, seen.version) && !peer.has_key(&seen.call_key)
        });
        if !supersedes {
            return Ok(());
        }
        self.verify_peer_key(&seen.endpoint, &seen.call_key, Some(from), shared)?;
        let now = shared.mono();
        let Some(peer) = self.peer_entry(seen.endpoint, false, shared) else { return Ok(()) };
        peer.apply_hint(seen.call_key, now);
        self.announce(shared, true);
        Ok(())
    }
}
