//! What all calls of a machine share: the time of the input, the identity, the outputs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use web_time::{Duration, Instant};

use blink_api::{CallId, CallSettings, CallTimers, Did, Endpoint};

use super::history::History;
use super::memory::Change;
use super::speaking::Voice;
use super::{Event, Now, Output, SessionId};
use crate::secure::{AgreementKey, Channel, Identity, Random, Refusal, SignatureChecks, hmac_sha256};
use crate::shares::Share;
use crate::wire::{Body, Bytes16, StreamOffer};

/// Unasked answers to one person about one call.
const REPLY_PAUSE: Duration = Duration::from_secs(1);
/// Answers remembered, so many of them only while strangers are answered; beyond, none is given.
const MAX_REPLIES: usize = 1_024;
const MAX_REPLIES_TO_STRANGERS: usize = MAX_REPLIES / 2;
/// How far ahead of this device's clock a boot may be that others heard of it, in milliseconds:
/// about 140 years.
const FARTHEST_BOOT: u64 = 1 << 42;

#[derive(Clone)]
pub(super) struct Shared {
    pub(super) now: Now,
    pub(super) started: Instant,
    pub(super) identity: Identity,
    pub(super) own: Endpoint,
    pub(super) boot: u64,
    /// The boot has just grown.
    pub(super) jumped: bool,
    pub(super) settings: CallSettings,
    pub(super) known: BTreeSet<Did>,
    pub(super) random: Random,
    pub(super) muted: bool,
    pub(super) deafened: bool,
    pub(super) recording: bool,
    /// Of this device.
    pub(super) voice: Voice,
    /// What this device offers in the call it is in.
    pub(super) streams: Vec<StreamOffer>,
    pub(super) out: VecDeque<Output>,
    pub(super) boot_secret: [u8; 32],
    pub(super) sessions: u64,
    pub(super) replies: BTreeMap<(CallId, Did), Instant>,
    pub(super) signatures: SignatureChecks,
    pub(super) history: History,
}

impl Shared {
    pub(super) fn mono(&self) -> Instant {
        self.now.mono
    }

    pub(super) fn timers(&self) -> &CallTimers {
        &self.settings.timers
    }

    /// An instant in Unix milliseconds.
    pub(super) fn unix_ms(&self, at: Instant) -> u64 {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        match at.checked_duration_since(self.mono()) {
            Some(ahead) => self.now.unix_ms.saturating_add(ms(ahead)),
            None => self.now.unix_ms.saturating_sub(ms(self.mono() - at)),
        }
    }

    /// Something that is remembered has changed.
    pub(super) fn keep(&mut self, memo: Change) {
        self.out.push_back(Output::Persist(memo));
    }

    pub(super) fn emit(&mut self, event: Event) {
        self.observe(&event);
        self.out.push_back(Output::Emit(event));
    }

    pub(super) fn refuse(&mut self, refusal: Refusal) {
        self.out.push_back(Output::CountRefusal(refusal));
    }

    pub(super) fn fresh_session(&mut self) -> SessionId {
        self.sessions += 1;
        SessionId(self.sessions)
    }

    /// Sends to a person's inbox, where every device of that person reads it.
    pub(super) fn send_inbox(&mut self, to: Did, call: CallId, body: Body) {
        // Everybody on a roster had a sound key when the root was checked or made; a weak one gets
        // nothing.
        let Ok(key) = AgreementKey::public_of(&to) else { return };
        let channel = Channel::Inbox(to);
        self.out.push_back(Output::Send { channel, recipients: vec![key], call, body: Box::new(body) });
    }

    pub(super) fn send_call(&mut self, recipients: Vec<[u8; 32]>, call: CallId, body: Body) {
        if !recipients.is_empty() {
            let channel = Channel::Call(call);
            self.out.push_back(Output::Send { channel, recipients, call, body: Box::new(body) });
        }
    }

    /// Whether an unasked answer may be given now: one a second for each person and call.
    pub(super) fn may_reply(&mut self, call: CallId, to: Did) -> bool {
        let now = self.mono();
        if self.replies.get(&(call, to)).is_some_and(|last| now < *last + REPLY_PAUSE) {
            return false;
        }
        let most = if self.is_familiar(&to) { MAX_REPLIES } else { MAX_REPLIES_TO_STRANGERS };
        if self.replies.len() >= most {
            self.replies.retain(|_, last| now < *last + REPLY_PAUSE);
        }
        if self.replies.len() >= most {
            return false;
        }
        self.replies.insert((call, to), now);
        true
    }

    /// What somebody must echo so that its offer rings here: it proves that the offer was made
    /// after this start of the device and in this minute or the one before, and nothing need be
    /// stored for it.
    pub(super) fn nonce(&self, call: CallId, from: Did) -> Bytes16 {
        self.nonce_of(self.minute(), call, from)
    }

    /// Whether an offer echoes a nonce that was given out just now.
    pub(super) fn is_fresh(&self, echo: &[Bytes16], call: CallId, from: Did) -> bool {
        let minute = self.minute();
        let fresh = [Some(minute), minute.checked_sub(1)].into_iter().flatten();
        fresh.map(|minute| self.nonce_of(minute, call, from)).any(|nonce| echo.contains(&nonce))
    }

    fn minute(&self) -> u64 {
        self.mono().saturating_duration_since(self.started).as_secs() / 60
    }

    fn nonce_of(&self, minute: u64, call: CallId, from: Did) -> Bytes16 {
        let parts: [&[u8]; 3] = [&minute.to_be_bytes(), from.public_key(), call.as_bytes()];
        let mac = hmac_sha256(&self.boot_secret[..], &parts);
        Bytes16::from(*mac.first_chunk().expect("HMAC-SHA256 gives 32 bytes"))
    }

    /// Others heard this endpoint under a greater boot than its own: what it counts them by was
    /// lost. They take nothing from it before it counts above. Only a hint, of whoever says so: a
    /// number that no clock of the next century gives is not believed, or nothing would be above
    /// it.
    pub(super) fn jump_above(&mut self, boot: u64) {
        if boot <= self.boot || boot > self.now.unix_ms.saturating_add(FARTHEST_BOOT) {
            return;
        }
        self.boot = boot + 1;
        self.jumped = true;
        self.out.push_back(Output::SetBoot(self.boot));
        self.keep(Change::Boot(self.boot));
    }

    /// Whether this is the own person or one that the integrator named as known.
    pub(super) fn is_familiar(&self, did: &Did) -> bool {
        *did == self.own.did || self.known.contains(did)
    }

    /// The share of this device's memory that a person's messages take.
    pub(super) fn share_of(&self, did: &Did) -> Share {
        Share::familiar(self.is_familiar(did))
    }

    /// Whether this person's offers ring here.
    pub(super) fn rings_for(&self, did: &Did) -> bool {
        self.settings.from == blink_api::Invitations::Anyone || self.known.contains(did)
    }
}
