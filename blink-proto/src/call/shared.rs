//! Context that all calls of a machine share: time, identity, settings, and the queue of outputs.

use std::collections::{BTreeMap, BTreeSet};

use blink_api::{CallId, CallSettings, CallTimers, Did, Endpoint, Invitations};
use rand::{Rng, SeedableRng};
use web_time::{Duration, Instant};

use super::event::Event;
use super::history_log::HistoryNote;
use super::io::{Now, Output, SessionId};
use super::mailbox::MESSAGE_RATE;
use super::memory::{Change, REMEMBERED};
use super::outbox::{Outbox, Queued};
use super::voice::Voice;
use crate::quota_map::Quota;
use crate::secure::{AgreementKey, Bucket, Channel, Identity, Random, Refusal, SignatureChecks, hmac_sha256};
use crate::wire::{Body, Bytes16, StreamOffer};

/// Minimum time between two unsolicited replies to one person about one call.
const REPLY_PAUSE: Duration = Duration::from_secs(1);
/// Replies remembered. When the table is full, no further reply is sent; strangers may fill half
/// of it.
const MAX_REPLIES: usize = 1_024;
const MAX_REPLIES_TO_STRANGERS: usize = MAX_REPLIES / 2;
/// How far a reported boot counter may lie ahead of this device's clock, in milliseconds: about 140
/// years.
const FARTHEST_BOOT: u64 = 1 << 42;
/// The year 2000, in Unix milliseconds. A clock that shows less has not been set since power-on: it
/// counts from 1970 or 1980.
const CLOCK_IS_SET: u64 = 946_684_800_000;

/// State of this device that all calls share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) now: Now,
    pub(super) identity: Identity,
    pub(super) own: Endpoint,
    pub(super) settings: CallSettings,
    /// People whom the integrator named as known.
    pub(super) known: BTreeSet<Did>,
    pub(super) random: Random,
    pub(super) muted: bool,
    pub(super) deafened: bool,
    pub(super) recording: bool,
    /// Voice activity of this device.
    pub(super) voice: Voice,
    /// Streams that this device offers in its call.
    pub(super) streams: Vec<StreamOffer>,
    pub(super) signatures: SignatureChecks,
    /// Name that this person gives itself.
    pub(super) name: Option<String>,
    /// Application messages that were sent so far, and their rate.
    pub(super) messages: u64,
    pub(super) message_rate: Bucket,
    /// Time of the machine's creation.
    started: Instant,
    boot: u64,
    /// The boot counter was raised during this input.
    boot_raised: bool,
    outbox: Outbox,
    /// Key of the nonces; changes with every start.
    nonce_key: [u8; 32],
    sessions: u64,
    replies: BTreeMap<(CallId, Did), Instant>,
}

impl Shared {
    pub(super) fn new(
        now: Now,
        identity: Identity,
        own: Endpoint,
        boot: u64,
        settings: CallSettings,
        seed: [u8; 32],
    ) -> Self {
        let mut random = Random::from_seed(seed);
        let mut nonce_key = [0; 32];
        random.fill_bytes(&mut nonce_key);
        Self {
            now,
            identity,
            own,
            settings,
            known: BTreeSet::new(),
            random,
            muted: false,
            deafened: false,
            recording: false,
            voice: Voice::default(),
            streams: Vec::new(),
            signatures: SignatureChecks::new(now.mono),
            name: None,
            messages: 0,
            message_rate: Bucket::new(MESSAGE_RATE.0, MESSAGE_RATE.1, now.mono),
            started: now.mono,
            boot,
            boot_raised: false,
            outbox: Outbox::default(),
            nonce_key,
            sessions: 0,
            replies: BTreeMap::new(),
        }
    }

    // --- time

    pub(super) fn mono(&self) -> Instant {
        self.now.mono
    }

    pub(super) fn timers(&self) -> &CallTimers {
        &self.settings.timers
    }

    /// Zero of the media clock.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// Media clock of this device: microseconds since the machine's creation.
    pub(super) fn media_us(&self) -> u64 {
        let elapsed = self.mono().saturating_duration_since(self.started);
        u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
    }

    /// Converts an instant to Unix milliseconds.
    pub(super) fn unix_ms(&self, at: Instant) -> u64 {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        match at.checked_duration_since(self.mono()) {
            Some(ahead) => self.now.unix_ms.saturating_add(ms(ahead)),
            None => self.now.unix_ms.saturating_sub(ms(self.mono() - at)),
        }
    }

    /// Age of a saved time. Times in the future have no age, and neither have times saved before
    /// the clock was set.
    pub(super) fn age(&self, unix_ms: u64) -> Duration {
        if self.is_age_unknown(unix_ms) {
            return Duration::ZERO;
        }
        Duration::from_millis(self.now.unix_ms.saturating_sub(unix_ms))
    }

    /// Whether the clock was set after a time was saved.
    pub(super) fn is_age_unknown(&self, unix_ms: u64) -> bool {
        unix_ms < CLOCK_IS_SET && CLOCK_IS_SET <= self.now.unix_ms
    }

    /// Converts a saved time to an instant; `None` beyond the retention time.
    pub(super) fn since(&self, unix_ms: u64) -> Option<Instant> {
        let age = self.age(unix_ms);
        (age < REMEMBERED).then(|| self.ago(age))
    }

    /// Instant in the past. Where the monotonic clock cannot go back so far, the current time: what
    /// started then is retained longer, by a day at most.
    pub(super) fn ago(&self, age: Duration) -> Instant {
        self.mono().checked_sub(age).unwrap_or(self.mono())
    }

    // --- outputs

    /// No call is current any more: what belongs to it alone ends.
    pub(super) fn end_media(&mut self) {
        self.voice = Voice::default();
        self.streams.clear();
        self.recording = false;
    }

    /// Queues an output.
    pub(super) fn output(&mut self, output: Output) {
        self.outbox.push(output);
    }

    /// Queues a change of the persisted state.
    pub(super) fn persist(&mut self, change: Change) {
        self.output(Output::Persist(change));
    }

    /// Queues an event.
    pub(super) fn emit(&mut self, event: Event) {
        self.output(Output::Emit(event));
    }

    /// Queues the count of a refused message.
    pub(super) fn refuse(&mut self, refusal: Refusal) {
        self.output(Output::CountRefusal(refusal));
    }

    /// Queues a fact for the history.
    pub(super) fn note_history(&mut self, note: HistoryNote) {
        self.outbox.note(note);
    }

    /// Takes the oldest queued item.
    pub(super) fn pop_queued(&mut self) -> Option<Queued> {
        self.outbox.pop()
    }

    pub(super) fn fresh_session(&mut self) -> SessionId {
        self.sessions += 1;
        SessionId(self.sessions)
    }

    /// Sends to a person's inbox, which every device of that person reads.
    pub(super) fn send_inbox(&mut self, to: Did, call: CallId, body: Body) {
        // Keys on a roster were checked with its root; nothing can be sealed for a weak key.
        let Ok(key) = AgreementKey::public_of(&to) else { return };
        let channel = Channel::Inbox(to);
        self.output(Output::Send { channel, recipients: vec![key], call, body: Box::new(body) });
    }

    /// Sends on a call's topic.
    pub(super) fn send_call(&mut self, recipients: Vec<[u8; 32]>, call: CallId, body: Body) {
        if !recipients.is_empty() {
            let channel = Channel::Call(call);
            self.output(Output::Send { channel, recipients, call, body: Box::new(body) });
        }
    }

    // --- limits and proofs

    /// Whether an unsolicited reply may be sent now: one a second for each person and call. Counts
    /// it as sent.
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

    /// Nonce that an offer must echo to ring on this device. It proves that the offer was made
    /// after this start of the device and in the current or the previous minute, without storing
    /// anything (a stateless cookie as in RFC 6347 §4.2.1).
    pub(super) fn nonce(&self, call: CallId, from: Did) -> Bytes16 {
        self.nonce_of(self.minute(), call, from)
    }

    /// Whether an offer echoes a current nonce.
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
        let mac = hmac_sha256(&self.nonce_key[..], &parts);
        Bytes16::from(*mac.first_chunk().expect("HMAC-SHA256 gives 32 bytes"))
    }

    // --- boot counter

    /// Boot counter of this device.
    pub(super) fn boot(&self) -> u64 {
        self.boot
    }

    /// Raises the boot counter above one under which others have heard this endpoint: this device
    /// lost its own count, and others refuse its messages until it counts higher.
    ///
    /// The report is an unauthenticated hint. A number that no clock of the next century reaches is
    /// ignored, or no greater number would be left.
    pub(super) fn raise_boot_above(&mut self, boot: u64) {
        if boot <= self.boot || boot > self.now.unix_ms.saturating_add(FARTHEST_BOOT) {
            return;
        }
        self.boot = boot + 1;
        self.boot_raised = true;
        self.output(Output::SetBoot(self.boot));
        self.persist(Change::Boot(self.boot));
    }

    /// Whether the boot counter was raised since the last call of this method.
    pub(super) fn take_boot_raised(&mut self) -> bool {
        std::mem::take(&mut self.boot_raised)
    }

    // --- people

    /// Whether this is the own person or one whom the integrator named as known.
    pub(super) fn is_familiar(&self, did: &Did) -> bool {
        *did == self.own.did || self.known.contains(did)
    }

    /// Quota of bounded tables that a person's messages use.
    pub(super) fn quota_of(&self, did: &Did) -> Quota {
        Quota::familiar(self.is_familiar(did))
    }

    /// Whether offers of this person ring on this device.
    pub(super) fn rings_for(&self, did: &Did) -> bool {
        self.settings.from == Invitations::Anyone || self.known.contains(did)
    }
}
