//! The envelope codec: seals all messages of one endpoint, and opens and checks all received ones.
//! Cheap checks come first, and no state changes before all have passed.

use std::collections::BTreeMap;

use blink_api::{CallId, Delivery, DeviceId, Did, Endpoint, Topic, Verdict};
use rand::Rng;
use web_time::Instant;

use super::counters::{Refusal, SecurityCounters};
use super::envelope::{MAX_ENVELOPE, Sealing, open, seal};
use super::identity::Identity;
use super::keys::{AgreementKey, CallKeys, inbox_topic};
use super::random::Random;
use super::rates::{RateLimits, TopicKind};
use super::window::ReplayWindows;
use crate::wire::{Body, Content, Kind};

/// Resolution of the times in messages, in milliseconds: they are for display, and a precise clock
/// would identify the device.
const COARSE: u64 = 60_000;

/// Channel on which a message is received or sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Channel {
    /// Inbox of a person.
    Inbox(Did),
    /// Topic of a call.
    Call(CallId),
}

/// Seals and opens all envelopes of one endpoint.
pub struct EnvelopeCodec {
    identity: Identity,
    inbox_key: AgreementKey,
    own: Endpoint,
    boot: u64,
    seq: u64,
    calls: BTreeMap<Topic, TopicKeys>,
    topics: BTreeMap<CallId, Topic>,
    windows: ReplayWindows,
    rates: RateLimits,
    counters: SecurityCounters,
    random: Random,
    cloned: Option<u64>,
    boot_rollback: Option<BootRollback>,
}

/// A message whose boot counter is smaller than that of an earlier message of the same endpoint: a
/// replay, or a device that lost its counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootRollback {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Greatest boot counter received of it.
    pub boot: u64,
    /// Call that the message is about.
    pub call: CallId,
}

/// Keys that open envelopes on a call's topic.
struct TopicKeys {
    keys: CallKeys,
    key: AgreementKey,
    /// Key of the previous stay in the call, for messages in flight while rejoining.
    previous: Option<AgreementKey>,
}

/// Shows the endpoint and the counters only.
impl std::fmt::Debug for EnvelopeCodec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { own, boot, counters, .. } = self;
        f.debug_struct("EnvelopeCodec").field("own", own).field("boot", boot).field("counters", counters).finish()
    }
}

impl EnvelopeCodec {
    /// Codec of an endpoint with a boot counter.
    pub fn new(identity: Identity, own: Endpoint, boot: u64, random: Random, now: Instant) -> Self {
        Self {
            inbox_key: identity.agreement(),
            identity,
            own,
            boot,
            seq: 0,
            calls: BTreeMap::new(),
            topics: BTreeMap::new(),
            windows: ReplayWindows::default(),
            rates: RateLimits::new(now),
            counters: SecurityCounters::default(),
            random,
            cloned: None,
            boot_rollback: None,
        }
    }

    /// Adds a call's topic, with this endpoint's key in the call.
    pub fn join(&mut self, keys: CallKeys, key: AgreementKey) {
        self.topics.insert(keys.id, keys.topic);
        match self.calls.get_mut(&keys.topic) {
            Some(topic_keys) => topic_keys.previous = Some(std::mem::replace(&mut topic_keys.key, key)),
            None => {
                self.calls.insert(keys.topic, TopicKeys { keys, key, previous: None });
            }
        }
    }

    /// Removes a call and its topic.
    pub fn leave(&mut self, call: &CallId) {
        if let Some(topic) = self.topics.remove(call) {
            self.calls.remove(&topic);
            self.rates.forget_call(&topic);
        }
    }

    /// Removes an earlier topic of a call.
    pub fn retire_topic(&mut self, topic: &Topic) {
        if self.topics.values().all(|newest| newest != topic) {
            self.calls.remove(topic);
            self.rates.forget_call(topic);
        }
    }

    /// Topic of a channel; `None` for an unknown call.
    pub fn topic(&self, channel: &Channel) -> Option<Topic> {
        match channel {
            Channel::Inbox(did) => Some(inbox_topic(did)),
            Channel::Call(call) => self.topics.get(call).copied(),
        }
    }

    /// Counters of refused messages.
    pub fn counters(&self) -> &SecurityCounters {
        &self.counters
    }

    /// Sets whether the sender of an opened delivery is expected. If so, the delivery's origin gets
    /// a share of the rates reserved for expected people, and loses it otherwise.
    ///
    /// `lasts` is false for a device that exists for one message only: its replay window is not
    /// kept.
    pub fn set_expected(&mut self, now: Instant, delivery: &Delivery, from: &Endpoint, expected: bool, lasts: bool) {
        if expected && lasts {
            self.windows.keep(from);
        }
        match delivery.origin {
            Some(origin) if expected => self.rates.expect(now, origin, from.did),
            Some(origin) => self.rates.distrust(&origin),
            None => {}
        }
    }

    /// Counts a refusal by the call machine.
    pub fn count(&mut self, refusal: Refusal) {
        self.counters.count(refusal);
    }

    /// Opens a delivery. A refusal is counted; the verdict tells the signaling network whether to
    /// penalise the sender. People who were expected once remain so.
    pub fn open(
        &mut self,
        now: Instant,
        topic: &Topic,
        delivery: &Delivery,
    ) -> (Result<(Channel, Content), Refusal>, Verdict) {
        self.open_expecting(now, topic, delivery, &|_| true)
    }

    /// As [`open`](EnvelopeCodec::open), where `expects` tells whether a person is still expected;
    /// see [`Machine::is_expected`](crate::call::Machine::is_expected).
    pub fn open_expecting(
        &mut self,
        now: Instant,
        topic: &Topic,
        delivery: &Delivery,
        expects: &dyn Fn(&Did) -> bool,
    ) -> (Result<(Channel, Content), Refusal>, Verdict) {
        let result = self.check(now, topic, delivery, expects);
        if let Err(refusal) = &result {
            self.counters.count(*refusal);
            if let Some(origin) = delivery.origin.filter(|_| is_forged(*refusal)) {
                self.rates.distrust(&origin);
            }
        }
        let verdict = verdict(&result);
        (result, verdict)
    }

    fn check(
        &mut self,
        now: Instant,
        topic: &Topic,
        delivery: &Delivery,
        expects: &dyn Fn(&Did) -> bool,
    ) -> Result<(Channel, Content), Refusal> {
        if delivery.message.len() > MAX_ENVELOPE {
            return Err(Refusal::Oversize);
        }
        let topic_keys = self.calls.get(topic);
        let kind = if topic_keys.is_some() { TopicKind::Call(*topic) } else { TopicKind::Inbox };
        self.rates.admit(now, delivery.origin, kind, expects)?;
        let (channel, content) = match topic_keys {
            Some(topic_keys) => {
                let keys: Vec<_> = std::iter::once(&topic_keys.key).chain(&topic_keys.previous).collect();
                let content = open(topic, &delivery.message, &keys, Some(topic_keys.keys.tag()))?;
                (Channel::Call(topic_keys.keys.id), content)
            }
            None if *topic != inbox_topic(&self.own.did) => return Err(Refusal::WrongTopic),
            None => {
                let content = open(topic, &delivery.message, &[&self.inbox_key], None)?;
                (Channel::Inbox(self.own.did), content)
            }
        };
        if content.from == self.own {
            return Err(self.handle_own(&content));
        }
        if !fits(&channel, &content) {
            return Err(Refusal::WrongTopic);
        }
        // Checked before the sender's rate, but committed only after: a refused message may come
        // again.
        self.windows.check(&content.from, content.boot, content.seq).inspect_err(|_| {
            let newest = self.windows.newest(&content.from).filter(|newest| content.boot < *newest);
            self.boot_rollback = newest.map(|boot| BootRollback { endpoint: content.from, boot, call: content.call });
        })?;
        self.rates.admit_sender(now, content.from.did)?;
        self.windows.commit(&content.from, content.boot, content.seq);
        Ok((channel, content))
    }

    /// Handles a message signed as this endpoint. A (boot, sequence) that this device already used
    /// is its own message replayed. A greater one means that another device holds its key.
    fn handle_own(&mut self, content: &Content) -> Refusal {
        if (content.boot, content.seq) <= (self.boot, self.seq) {
            return Refusal::OwnEndpoint;
        }
        self.cloned = self.cloned.max(Some(content.boot));
        Refusal::ClonedDevice
    }

    /// Boot counter of another process that signs as this endpoint, if any was heard.
    pub fn cloned(&self) -> Option<u64> {
        self.cloned
    }

    /// Takes the boot rollback that the last message was refused for, if any.
    pub fn take_boot_rollback(&mut self) -> Option<BootRollback> {
        self.boot_rollback.take()
    }

    /// Raises the boot counter.
    pub fn set_boot(&mut self, boot: u64) {
        self.boot = self.boot.max(boot);
    }

    /// Seals a message of this endpoint.
    ///
    /// # Errors
    /// As [`seal`], and [`Refusal::WrongTopic`] for a call that was not joined.
    pub fn seal(
        &mut self,
        channel: &Channel,
        recipients: &[[u8; 32]],
        call: CallId,
        body: Body,
        unix_ms: u64,
    ) -> Result<(Topic, Vec<u8>), Refusal> {
        let content = self.content(call, body, unix_ms).encode();
        let topic = self.topic(channel).ok_or(Refusal::WrongTopic)?;
        let tag = self.calls.get(&topic).map(|topic_keys| topic_keys.keys.tag());
        let sealing = Sealing { topic, recipients, tag, identity: &self.identity };
        seal(&sealing, &content, &mut self.random).map(|envelope| (topic, envelope))
    }

    /// Content of a message. Replies that strangers get without the user's knowledge (a nonce, a
    /// stale boot) come from a random device with no counter and no clock: they reveal nothing
    /// about this device except that it is online.
    fn content(&mut self, call: CallId, body: Body, unix_ms: u64) -> Content {
        if body.is_from_throwaway() {
            let mut device = [0; 16];
            self.random.fill_bytes(&mut device);
            let from = Endpoint { device: DeviceId::from_random(device), ..self.own };
            return Content { from, boot: 1, seq: 1, unix_ms: 0, call, body };
        }
        self.seq += 1;
        Content { from: self.own, boot: self.boot, seq: self.seq, unix_ms: unix_ms - unix_ms % COARSE, call, body }
    }
}

/// Whether a kind of message is allowed on a channel.
fn fits(channel: &Channel, content: &Content) -> bool {
    match (channel, content.body.kind()) {
        (Channel::Inbox(_), Kind::Link) => false,
        (Channel::Inbox(_), _) => true,
        (Channel::Call(call), Kind::Member | Kind::Link | Kind::Reject) => content.call == *call,
        (Channel::Call(_), _) => false,
    }
}

/// Whether no honest node sends this, whatever is lost, repeated or unknown.
fn is_forged(refusal: Refusal) -> bool {
    matches!(
        refusal,
        Refusal::Oversize
            | Refusal::Malformed
            | Refusal::BadTag
            | Refusal::BadSeal
            | Refusal::BadContent
            | Refusal::BadSignature
            | Refusal::WeakKey
    )
}

/// Verdict for the signaling network. Reject only what every relay can verify without keys.
/// Everything else is `Ignore`, so that forwarding nodes are not penalised.
fn verdict<T>(result: &Result<T, Refusal>) -> Verdict {
    match result {
        Ok(_) | Err(Refusal::NotForUs) => Verdict::Accept,
        Err(Refusal::Oversize | Refusal::Malformed | Refusal::BadTag) => Verdict::Reject,
        Err(_) => Verdict::Ignore,
    }
}

#[cfg(test)]
mod tests;
