//! Signaling network of the lab: records published messages, and drops, holds, delays or duplicates
//! deliveries as a scenario demands.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use blink_api::{Delivery, DeliveryQueue, Did, Topic};
use blink_engine::Identity;
use blink_proto::secure::{AgreementKey, inbox_topic, open};
use blink_proto::wire::{Body, Kind};
use blink_sim::impairment::{Impairments, LinkModel};
use bytes::Bytes;
use tokio::time::Instant;

use super::fault::Fault;
use super::link::Link;

/// A published message.
#[derive(Debug, Clone)]
pub struct Published {
    /// Time since the lab was created.
    pub at: Duration,
    /// Number of the publishing participant.
    pub from: usize,
    /// Topic of the message.
    pub topic: Topic,
    /// Encoded message.
    pub message: Bytes,
}

/// A message that is about to be delivered to a participant.
#[derive(Debug, Clone)]
pub struct Message {
    /// Number of the publishing participant; `None` for an injected message.
    pub from: Option<usize>,
    /// Number of the receiving participant.
    pub to: usize,
    /// Owner of the inbox; `None` on a call's topic.
    pub inbox_of: Option<Did>,
    /// Decrypted body of a message to its inbox's owner: the lab has the keys of all participants.
    pub body: Option<Body>,
}

impl Message {
    /// Whether it is an offer that would ring: one that echoes the callee's nonce and has not
    /// expired.
    pub fn rings(&self) -> bool {
        matches!(&self.body, Some(Body::Offer(offer)) if !offer.echo.is_empty() && offer.remaining_ms > 0)
    }
}

/// Action on a message that is about to be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageAction {
    /// Deliver it.
    Deliver,
    /// Drop it.
    Drop,
    /// Hold it until the lab releases held messages.
    Hold,
    /// Deliver it after a delay.
    Delay(Duration),
    /// Deliver it this many times.
    Duplicate(u32),
}

type Rule = Box<dyn FnMut(&Message) -> MessageAction + Send>;

/// A message held until [`MessageNetwork::release`].
pub(crate) struct Held {
    pub(crate) queue: DeliveryQueue,
    pub(crate) delivery: Delivery,
}

/// Published and held messages, and the rule that decides about deliveries.
pub(crate) struct MessageNetwork {
    fault: Option<Fault>,
    state: Mutex<State>,
}

struct State {
    /// Impairments of all messages.
    network: LinkModel,
    published: Vec<Published>,
    senders: HashMap<Bytes, usize>,
    inboxes: HashMap<Topic, (Did, AgreementKey)>,
    rule: Option<Rule>,
    held: VecDeque<Held>,
}

impl MessageNetwork {
    pub(crate) fn new(impairments: Impairments, fault: Option<Fault>) -> Self {
        let state = State {
            network: LinkModel::new(impairments, 0),
            published: Vec::new(),
            senders: HashMap::new(),
            inboxes: HashMap::new(),
            rule: None,
            held: VecDeque::new(),
        };
        Self { fault, state: Mutex::new(state) }
    }

    /// Registers a participant's inbox.
    pub(crate) fn add_inbox(&self, identity: &Identity) {
        let did = identity.did();
        self.state().inboxes.insert(inbox_topic(&did), (did, identity.agreement()));
    }

    pub(crate) fn is_inbox(&self, topic: &Topic) -> bool {
        self.state().inboxes.contains_key(topic)
    }

    pub(crate) fn record(&self, published: Published) {
        let mut state = self.state();
        state.senders.insert(published.message.clone(), published.from);
        state.published.push(published);
    }

    pub(crate) fn published(&self) -> Vec<Published> {
        self.state().published.clone()
    }

    /// Approximate memory of its records, in bytes.
    pub(crate) fn size(&self) -> usize {
        let state = self.state();
        let messages: usize = state.published.iter().map(|published| published.message.len()).sum();
        messages
            + state.published.capacity() * size_of::<Published>()
            + state.senders.capacity() * size_of::<(Bytes, usize)>()
    }

    /// Kinds of the messages that a participant published, as far as the lab can decrypt them.
    pub(crate) fn kinds_from(&self, number: usize) -> Vec<Option<Kind>> {
        let state = self.state();
        let own = state.published.iter().filter(|published| published.from == number);
        own.map(|published| Some(state.read(&published.topic, &published.message)?.kind())).collect()
    }

    pub(crate) fn set_rule(&self, rule: Option<Rule>) {
        self.state().rule = rule;
    }

    pub(crate) fn hold(&self, held: Held) {
        self.state().held.push_back(held);
    }

    /// Takes all held messages, oldest first.
    pub(crate) fn release(&self) -> Vec<Held> {
        self.state().held.drain(..).collect()
    }

    /// Decides what happens to a message that is about to be delivered.
    pub(crate) fn decide(&self, link: &Link, topic: &Topic, message: &Bytes) -> MessageAction {
        let mut state = self.state();
        let lost = matches!(self.fault, Some(Fault::DropsInboxMessages(_)));
        if state.rule.is_some() || lost {
            let message = state.message(link, topic, message);
            if let Some(Fault::DropsInboxMessages(kind)) = self.fault
                && message.body.as_ref().is_some_and(|body| body.kind() == kind)
            {
                return MessageAction::Drop;
            }
            if let Some(rule) = &mut state.rule {
                match rule(&message) {
                    MessageAction::Deliver => {}
                    other => return other,
                }
            }
        }
        MessageAction::Deliver
    }

    /// Delays of the deliveries of a message: none if it is lost, several if it is duplicated.
    pub(crate) fn delays(&self, message: &Bytes) -> impl Iterator<Item = Duration> + use<> {
        let now = Instant::now().into_std();
        let arrivals = self.state().network.transmit(now, message.len());
        arrivals.map(move |at| at.duration_since(now))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn message(&self, link: &Link, topic: &Topic, message: &Bytes) -> Message {
        Message {
            from: self.senders.get(message).copied(),
            to: link.number,
            inbox_of: self.inboxes.get(topic).map(|(did, _)| *did),
            body: self.read(topic, message),
        }
    }

    /// Decrypted body of a message in an inbox.
    fn read(&self, topic: &Topic, message: &Bytes) -> Option<Body> {
        let (_, key) = self.inboxes.get(topic)?;
        open(topic, message, &[key], None).ok().map(|content| content.body)
    }
}
