//! Messages of signaling on their way: who sends what to whom, and what a scenario does to it.

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
use super::line::Line;

/// A message that somebody published.
#[derive(Debug, Clone)]
pub struct Published {
    /// When, counted from the lab's beginning.
    pub at: Duration,
    /// The number of the participant that published it.
    pub from: usize,
    /// The topic.
    pub topic: Topic,
    /// The bytes.
    pub message: Bytes,
}

/// A message that is about to arrive at a participant.
#[derive(Debug, Clone)]
pub struct Letter {
    /// The number of the participant that published it; `None` for one that somebody made up.
    pub from: Option<usize>,
    /// The number of the participant it is about to arrive at.
    pub to: usize,
    /// Whose inbox it is in; `None` on a call's topic.
    pub inbox_of: Option<Did>,
    /// What it says, where it is in an inbox and for its owner: the lab has everybody's keys.
    pub body: Option<Body>,
}

impl Letter {
    /// Whether it is an offer that would ring: one that echoes what the callee gave out.
    pub fn rings(&self) -> bool {
        matches!(&self.body, Some(Body::Offer(offer)) if !offer.echo.is_empty() && offer.remaining_ms > 0)
    }
}

/// What happens to a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handling {
    /// It arrives.
    Deliver,
    /// It never arrives.
    Lose,
    /// It arrives when the lab releases what it holds.
    Hold,
    /// It arrives later.
    Delay(Duration),
    /// It arrives so many times.
    Repeat(u32),
}

type Rule = Box<dyn FnMut(&Letter) -> Handling + Send>;

/// A message that waits for [`Post::release`].
pub(crate) struct Held {
    pub(crate) queue: DeliveryQueue,
    pub(crate) delivery: Delivery,
}

/// Everything that is under way or was.
pub(crate) struct Post {
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

impl Post {
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

    /// Learns whose inbox is where.
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

    /// Bytes of what it wrote down.
    pub(crate) fn size(&self) -> usize {
        let state = self.state();
        let messages: usize = state.published.iter().map(|published| published.message.len()).sum();
        messages
            + state.published.capacity() * size_of::<Published>()
            + state.senders.capacity() * size_of::<(Bytes, usize)>()
    }

    /// The kinds of what somebody published, as far as the lab can read it.
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

    /// All that is held, oldest first.
    pub(crate) fn release(&self) -> Vec<Held> {
        self.state().held.drain(..).collect()
    }

    /// What happens to a message that is about to arrive.
    pub(crate) fn judge(&self, line: &Line, topic: &Topic, message: &Bytes) -> Handling {
        let mut state = self.state();
        let lost = matches!(self.fault, Some(Fault::Loses(_)));
        if state.rule.is_some() || lost {
            let letter = state.letter(line, topic, message);
            if let Some(Fault::Loses(kind)) = self.fault
                && letter.body.as_ref().is_some_and(|body| body.kind() == kind)
            {
                return Handling::Lose;
            }
            if let Some(rule) = &mut state.rule {
                match rule(&letter) {
                    Handling::Deliver => {}
                    other => return other,
                }
            }
        }
        Handling::Deliver
    }

    /// The delays after which the network delivers a message: none where it loses it.
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
    fn letter(&self, line: &Line, topic: &Topic, message: &Bytes) -> Letter {
        Letter {
            from: self.senders.get(message).copied(),
            to: line.number,
            inbox_of: self.inboxes.get(topic).map(|(did, _)| *did),
            body: self.read(topic, message),
        }
    }

    /// What a message in an inbox says.
    fn read(&self, topic: &Topic, message: &Bytes) -> Option<Body> {
        let (_, key) = self.inboxes.get(topic)?;
        open(topic, message, &[key], None).ok().map(|content| content.body)
    }
}
