//! Deliveries on their way between the nodes of a simulation, the earliest first.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

use blink_api::{Origin, Topic};
use blink_proto::call::{SessionId, SessionInput, Signal};
use bytes::Bytes;

/// Deliveries on their way at most, where nothing else is said.
const MAX_IN_FLIGHT: usize = 100_000;

/// A sealed message as it travels on a topic.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// Topic on which it is published.
    pub topic: Topic,
    /// Sealed bytes.
    pub bytes: Bytes,
    /// Signaling node that published it.
    pub origin: Origin,
}

/// Something that is about to reach a node.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// Message of a simulation without envelopes.
    Signal(Rc<Signal>),
    /// Sealed message.
    Envelope(Rc<Envelope>),
    /// Event of a transport session.
    Session(SessionId, Box<SessionInput>),
    /// New subscriber of a topic.
    Subscriber(Topic),
}

impl Delivery {
    /// Description for the trace.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Signal(signal) => format!("{:?} of {}", signal.body.kind(), signal.from.device),
            Self::Envelope(envelope) => format!("an envelope of {} bytes", envelope.bytes.len()),
            Self::Session(_, event) => format!("{event:?}"),
            Self::Subscriber(_) => "word of a subscriber".to_owned(),
        }
    }

    /// Bytes that it takes on a link, as far as it has any.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Envelope(envelope) => envelope.bytes.len(),
            _ => 0,
        }
    }
}

/// Deliveries by time, and among those of the same time in the order in which they were added.
pub(super) struct DeliveryQueue {
    deliveries: BTreeMap<(Instant, u64), (usize, Delivery)>,
    added: u64,
    /// Deliveries beyond are dropped.
    pub(super) capacity: usize,
}

impl Default for DeliveryQueue {
    fn default() -> Self {
        Self { deliveries: BTreeMap::new(), added: 0, capacity: MAX_IN_FLIGHT }
    }
}

impl DeliveryQueue {
    pub(super) fn push(&mut self, at: Instant, to: usize, delivery: Delivery) {
        if self.deliveries.len() < self.capacity {
            self.added += 1;
            self.deliveries.insert((at, self.added), (to, delivery));
        }
    }

    /// When the next one is due.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.deliveries.first_key_value().map(|((at, _), _)| *at)
    }

    pub(super) fn pop(&mut self) -> Option<(usize, Delivery)> {
        self.deliveries.pop_first().map(|(_, next)| next)
    }

    pub(super) fn first(&self) -> Option<(usize, Delivery)> {
        self.deliveries.first_key_value().map(|(_, next)| next.clone())
    }

    pub(super) fn first_mut(&mut self) -> Option<&mut Delivery> {
        self.deliveries.first_entry().map(|next| &mut next.into_mut().1)
    }

    /// Puts a delivery behind all others.
    pub(super) fn push_last(&mut self, now: Instant, to: usize, delivery: Delivery) {
        let last = self.deliveries.last_key_value().map_or(now, |((at, _), _)| *at);
        self.push(last, to, delivery);
    }

    pub(super) fn len(&self) -> usize {
        self.deliveries.len()
    }
}
