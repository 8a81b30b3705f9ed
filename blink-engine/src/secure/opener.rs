//! The door: every message from the network passes here, the cheapest check first, and nothing is remembered before all have passed.

use std::collections::BTreeMap;
use std::time::Instant;

use blink_api::{CallId, Delivery, Did, Endpoint, Topic, Verdict};

use super::{
    AgreementKey, CallKeys, Identity, Random, RateLimits, Refusal, ReplayWindows, Sealing, SecurityCounters,
    inbox_topic, open, seal,
};
use crate::wire::{Body, Content, Kind};

/// Where a message came in or goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Channel {
    /// A person's inbox.
    Inbox(Did),
    /// A call's topic.
    Call(CallId),
}

/// Seals and opens everything of one endpoint.
pub struct Opener {
    identity: Identity,
    inbox_key: AgreementKey,
    own: Endpoint,
    boot: u64,
    seq: u64,
    calls: BTreeMap<Topic, CallDoor>,
    topics: BTreeMap<CallId, Topic>,
    windows: ReplayWindows,
    rates: RateLimits,
    counters: SecurityCounters,
    random: Random,
    cloned: Option<u64>,
    set_back: Option<SetBack>,
}

/// An endpoint that speaks under a smaller boot than it has before: whoever plays back old envelopes, or a device whose count was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetBack {
    /// Which.
    pub endpoint: Endpoint,
    /// The greatest boot that was heard of it.
    pub boot: u64,
    /// The call that it spoke of.
    pub call: CallId,
}

struct CallDoor {
    keys: CallKeys,
    key: AgreementKey,
    /// The key of the time before, for what is still under way after rejoining.
    previous: Option<AgreementKey>,
}

impl Opener {
    /// The door of an endpoint that started as `boot`.
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
            set_back: None,
        }
    }

    /// This endpoint reads a call's topic from now on, with this key.
    pub fn join(&mut self, keys: CallKeys, key: AgreementKey) {
        self.topics.insert(keys.id, keys.topic);
        match self.calls.get_mut(&keys.topic) {
            Some(door) => door.previous = Some(std::mem::replace(&mut door.key, key)),
            None => {
                self.calls.insert(keys.topic, CallDoor { keys, key, previous: None });
            }
        }
    }

    /// This endpoint reads a call's topic no more.
    pub fn part(&mut self, call: &CallId) {
        if let Some(topic) = self.topics.remove(call) {
            self.calls.remove(&topic);
        }
    }

    /// This endpoint reads no more what is said on a topic that a call had before.
    pub fn retire(&mut self, topic: &Topic) {
        if self.topics.values().all(|newest| newest != topic) {
            self.calls.remove(topic);
        }
    }

    /// The topic of a channel; `None` for a call that was not joined.
    pub fn topic(&self, channel: &Channel) -> Option<Topic> {
        match channel {
            Channel::Inbox(did) => Some(inbox_topic(did)),
            Channel::Call(call) => self.topics.get(call).copied(),
        }
    }

    /// Counts of what was refused.
    pub fn counters(&self) -> &SecurityCounters {
        &self.counters
    }

    /// Whoever sent this delivery is expected to write: the network's name for it has a share of the inbox from now on.
    pub fn expect(&mut self, now: Instant, delivery: &Delivery) {
        if let Some(origin) = delivery.origin {
            self.rates.expect(now, origin);
        }
    }

    /// Counts a refusal that the call machine decided.
    pub fn count(&mut self, refusal: Refusal) {
        self.counters.count(refusal);
    }

    /// Opens a delivery. A refusal is counted; the verdict tells the network whether the sender deserves blame.
    pub fn open(
        &mut self,
        now: Instant,
        topic: &Topic,
        delivery: &Delivery,
    ) -> (Result<(Channel, Content), Refusal>, Verdict) {
        let result = self.check(now, topic, delivery);
        if let Err(refusal) = &result {
            self.counters.count(*refusal);
        }
        let verdict = verdict(&result);
        (result, verdict)
    }

    fn check(&mut self, now: Instant, topic: &Topic, delivery: &Delivery) -> Result<(Channel, Content), Refusal> {
        if delivery.message.len() > super::MAX_ENVELOPE {
            return Err(Refusal::Oversize);
        }
        let door = self.calls.get(topic);
        self.rates.admit(now, delivery.origin, door.is_none())?;
        let (channel, content) = match door {
            Some(door) => {
                let keys: Vec<_> = std::iter::once(&door.key).chain(&door.previous).collect();
                let content = open(topic, &delivery.message, &keys, Some(door.keys.tag()))?;
                (Channel::Call(door.keys.id), content)
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
        self.windows.check(&content.from, content.boot, content.seq).inspect_err(|_| {
            let newest = self.windows.newest(&content.from).filter(|newest| content.boot < *newest);
            self.set_back = newest.map(|boot| SetBack { endpoint: content.from, boot, call: content.call });
        })?;
        self.rates.admit_sender(now, content.from.did)?;
        self.windows.commit(&content.from, content.boot, content.seq);
        Ok((channel, content))
    }

    /// Signed as this very endpoint. What it said itself, whoever says it again, counts no higher than it has come; what counts higher somebody else says.
    fn handle_own(&mut self, content: &Content) -> Refusal {
        if (content.boot, content.seq) <= (self.boot, self.seq) {
            return Refusal::OwnEndpoint;
        }
        self.cloned = self.cloned.max(Some(content.boot));
        Refusal::ClonedDevice
    }

    /// The boot under which somebody else speaks as this very endpoint, once that was heard.
    pub fn cloned(&self) -> Option<u64> {
        self.cloned
    }

    /// Whose last message was refused because it counts below what it has said before, once.
    pub fn take_set_back(&mut self) -> Option<SetBack> {
        self.set_back.take()
    }

    /// This endpoint goes on under a greater boot.
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
        self.seq += 1;
        let content = Content { from: self.own, boot: self.boot, seq: self.seq, unix_ms, call, body }.encode();
        let topic = self.topic(channel).ok_or(Refusal::WrongTopic)?;
        let tag = self.calls.get(&topic).map(|door| door.keys.tag());
        let sealing = Sealing { topic, recipients, tag, identity: &self.identity };
        seal(&sealing, &content, &mut self.random).map(|envelope| (topic, envelope))
    }
}

/// Which kinds belong where.
fn fits(channel: &Channel, content: &Content) -> bool {
    match (channel, content.body.kind()) {
        (Channel::Inbox(_), Kind::Link) => false,
        (Channel::Inbox(_), _) => true,
        (Channel::Call(call), Kind::Member | Kind::Link | Kind::Reject) => content.call == *call,
        (Channel::Call(_), _) => false,
    }
}

/// What anybody on the way can see to be garbage, no honest node passes on. What only shows once it is opened is not the fault of whoever passed it
/// on, and what only this device cannot read, has seen or will not hear may be good for others.
fn verdict<T>(result: &Result<T, Refusal>) -> Verdict {
    match result {
        Ok(_) | Err(Refusal::NotForUs) => Verdict::Accept,
        Err(Refusal::Oversize | Refusal::Malformed | Refusal::BadTag) => Verdict::Reject,
        Err(_) => Verdict::Ignore,
    }
}
