//! User commands: offer, answer, reject, leave, invite, remove, mute.

use std::collections::BTreeSet;

use blink_api::{CallId, Did, Error, ErrorKind, RejectReason, Result, display_name};
use minicbor::bytes::ByteVec;
use rand::Rng;
use zeroize::Zeroizing;

use super::io::Now;
use super::machine::Machine;
use super::reason::EndReason;
use super::roster::{MAX_ROOT_MEMBERS, Roster};
use super::state::{Call, Phase};
use crate::secure::{AgreementKey, CallKeys, Identity, sha256};
use crate::wire::{CallConfiguration, Root};

/// Longest conversation of an integrator, in bytes.
pub(super) const MAX_CONVERSATION: usize = 1_024;

impl Machine {
    /// Offers a call to other people. A ringing call of exactly the same people is answered
    /// instead. The current call is left.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) without other people, for too many, an unusable DID or too
    /// long a conversation.
    pub fn offer(&mut self, now: Now, people: &[Did], conversation: &[u8]) -> Result<CallId> {
        self.begin_input(now);
        self.check_offer(people, conversation)?;
        let members = self.root_members(people)?;
        let same = |call: &&Call| call.phase() == Phase::In && call.roster.root().members == members;
        if let Some(pending) = self.calls.values().find(same).map(Call::id) {
            return self.answer(now, pending);
        }
        self.leave_current(EndReason::Left);
        let secret = self.fresh_secret();
        let shared = &mut self.shared;
        let root = Root {
            creator: shared.own,
            nonce: Call::fresh_nonce(shared),
            unix_ms: now.unix_ms,
            secret_hash: sha256(&[&secret[..]]),
            members,
        };
        let roster = Roster::create(root, &shared.identity);
        let keys = CallKeys::new(roster.call(), secret);
        let conversation = (!conversation.is_empty()).then(|| ByteVec::from(conversation.to_vec()));
        let (from, ring) = (shared.own.did, shared.settings.ring_time);
        let mut call = Call::new(roster, keys, CallConfiguration { conversation }, Phase::Out, from, ring, shared);
        call.begin(shared);
        let id = call.id();
        call.handle_timeout(shared);
        self.calls.insert(id, call);
        self.settle();
        Ok(id)
    }

    fn root_members(&self, people: &[Did]) -> Result<Vec<Did>> {
        let own = self.shared.own.did;
        let members: BTreeSet<Did> = people.iter().copied().chain([own]).collect();
        if members.len() < 2 {
            return Err(
                Error::new(ErrorKind::Invalid, "a call needs at least one other person").operation("offer_call")
            );
        }
        if members.len() > MAX_ROOT_MEMBERS {
            return Err(Error::new(ErrorKind::Invalid, "a call starts with at most 16 people").operation("offer_call"));
        }
        for did in &members {
            if AgreementKey::public_of(did).is_err() {
                return Err(Error::new(ErrorKind::Invalid, "not a usable key")
                    .operation("offer_call")
                    .with("did", did));
            }
        }
        Ok(members.into_iter().collect())
    }

    /// Answers a ringing call, or joins one that continues without this device. The current call is
    /// left.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for an unknown call, [`State`](ErrorKind::State) for one
    /// that this device is in already or that has ended.
    pub fn answer(&mut self, now: Now, id: CallId) -> Result<CallId> {
        self.begin_input(now);
        self.check_answer(id)?;
        let id = self.resolve(id);
        self.leave_current(EndReason::Left);
        self.with_call(id, Call::join);
        Ok(id)
    }

    /// Rejects a ringing call.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for an unknown call, [`State`](ErrorKind::State) for one
    /// that does not ring.
    pub fn reject(&mut self, now: Now, id: CallId) -> Result<()> {
        self.reject_because(now, id, RejectReason::Declined)
    }

    /// Rejects a ringing call with a reason, which the others are told.
    ///
    /// # Errors
    /// As [`reject`](Self::reject).
    pub fn reject_because(&mut self, now: Now, id: CallId, reason: RejectReason) -> Result<()> {
        self.begin_input(now);
        let id = self.resolve(id);
        if self.known(id)?.phase() != Phase::In {
            return Err(Error::new(ErrorKind::State, "that call does not ring").with("call", id));
        }
        self.with_call(id, |call, shared| call.reject(reason, shared));
        Ok(())
    }

    /// Leaves the current call, or withdraws its offer.
    ///
    /// # Errors
    /// [`State`](ErrorKind::State) without one.
    pub fn leave(&mut self, now: Now) -> Result<()> {
        self.begin_input(now);
        if self.leave_current(EndReason::Left) { Ok(()) } else { Err(Error::new(ErrorKind::State, "not in a call")) }
    }

    /// Invites a person into the current call, which is a group from then on.
    ///
    /// # Errors
    /// [`State`](ErrorKind::State) without a call, or where the roster does not allow it;
    /// [`Invalid`](ErrorKind::Invalid) for an unusable DID.
    pub fn add(&mut self, now: Now, did: Did) -> Result<()> {
        self.begin_input(now);
        if AgreementKey::public_of(&did).is_err() {
            return Err(Error::new(ErrorKind::Invalid, "not a usable key").with("did", did));
        }
        let id = self.change_roster(|roster, identity| roster.add(did, identity))?;
        self.with_call(id, Call::handle_own_invitation);
        Ok(())
    }

    /// Removes a person from the current call for good. Only the creator of the call may.
    ///
    /// # Errors
    /// [`State`](ErrorKind::State) without a call, in a call of another creator, or for a person
    /// who is not in it.
    pub fn remove(&mut self, now: Now, did: Did) -> Result<()> {
        self.begin_input(now);
        let secret = self.fresh_secret();
        let id = self.change_roster(|roster, identity| {
            roster.remove(did, identity)?;
            roster.rotate(&secret, identity);
            Ok(())
        })?;
        self.with_call(id, |call, shared| call.handle_own_removal(secret, shared));
        Ok(())
    }

    fn change_roster(&mut self, change: impl FnOnce(&mut Roster, &Identity) -> Result<()>) -> Result<CallId> {
        let id = self.current().ok_or_else(|| Error::new(ErrorKind::State, "not in a call"))?;
        let call = self.calls.get_mut(&id).ok_or_else(|| Error::new(ErrorKind::State, "not in a call"))?;
        change(&mut call.roster, &self.shared.identity)?;
        Ok(id)
    }

    fn fresh_secret(&mut self) -> Zeroizing<[u8; 32]> {
        let mut secret = Zeroizing::new([0; 32]);
        self.shared.random.fill_bytes(&mut secret[..]);
        secret
    }

    /// Sets the name that this person gives itself in the calls that it joins from now on, as far
    /// as it can be shown ([`display_name`]).
    pub fn set_name(&mut self, name: Option<&str>) {
        self.shared.name = name.and_then(display_name);
    }

    /// Announces whether this device sends audio.
    pub fn set_muted(&mut self, now: Now, muted: bool) {
        self.begin_input(now);
        if std::mem::replace(&mut self.shared.muted, muted) != muted {
            self.change_all();
        }
        if let Some(id) = self.current() {
            self.with_call(id, |call, shared| call.update_speaking(shared.own, shared));
        }
    }

    /// Announces whether this device plays audio.
    pub fn set_deafened(&mut self, now: Now, deafened: bool) {
        self.begin_input(now);
        if std::mem::replace(&mut self.shared.deafened, deafened) != deafened {
            self.change_all();
        }
    }

    /// Announces whether this device records the call. Reset at the end of the call.
    ///
    /// # Errors
    /// [`State`](ErrorKind::State) without a call.
    pub fn set_recording(&mut self, now: Now, recording: bool) -> Result<()> {
        self.begin_input(now);
        if self.current().is_none() {
            return Err(Error::new(ErrorKind::State, "not in a call"));
        }
        if std::mem::replace(&mut self.shared.recording, recording) != recording {
            self.change_current(false);
        }
        Ok(())
    }

    /// Sets the people whom the integrator knows: their offers ring under `call.from = "known"`,
    /// and they have a quota of their own in bounded tables.
    pub fn set_known(&mut self, known: BTreeSet<Did>) {
        self.shared.known = known;
        let known = &self.shared.known;
        self.calls.values_mut().for_each(|call| call.familiar |= known.contains(&call.from));
        self.deliver();
        let changes = self.history.recognize(&self.shared.known);
        self.persist_all(changes);
        self.settle();
    }

    /// Clears the history, except for ongoing calls.
    pub fn clear_history(&mut self) {
        self.deliver();
        let changes = self.history.clear();
        self.persist_all(changes);
    }

    /// Announces a change of this device's state in all calls that it is in.
    fn change_all(&mut self) {
        self.for_each_call(|call, shared| {
            if call.takes_part() {
                call.change_record(shared, false);
            }
        });
    }

    /// Announces a change of this device's state in the current call.
    pub(super) fn change_current(&mut self, at_once: bool) {
        if let Some(id) = self.current() {
            self.with_call(id, |call, shared| {
                call.change_record(shared, at_once);
                call.sync_all_flows(shared);
            });
        }
    }

    fn leave_current(&mut self, reason: EndReason) -> bool {
        let Some(id) = self.current() else { return false };
        self.with_call(id, |call, shared| call.end(reason, shared));
        true
    }

    /// Checks whether a call can be offered; changes nothing.
    ///
    /// # Errors
    /// As [`offer`](Machine::offer).
    pub fn check_offer(&self, people: &[Did], conversation: &[u8]) -> Result<()> {
        if conversation.len() > MAX_CONVERSATION {
            return Err(Error::new(ErrorKind::Invalid, "the conversation is longer than 1 KiB"));
        }
        self.root_members(people).map(drop)
    }

    /// Checks whether a call can be answered or joined; changes nothing.
    ///
    /// # Errors
    /// As [`answer`](Machine::answer).
    pub fn check_answer(&self, id: CallId) -> Result<()> {
        let call = self.known(self.resolve(id))?;
        if matches!(call.phase(), Phase::In | Phase::Open) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::State, "this device is already in that call, or it has ended").with("call", id))
    }
}
