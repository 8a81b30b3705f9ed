//! Queue of the deliveries in flight between the nodes of a simulation, ordered by arrival.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

use blink_api::{Origin, Topic};
use blink_proto::call::{SessionId, SessionInput, Signal};
use bytes::Bytes;

/// Default capacity of a simulation's queue. A simulation reaches it only if messages multiply.
const DEFAULT_CAPACITY: usize = 100_000;

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

/// Item in flight to a node.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// Message of a simulation that does not seal messages.
    Signal(Rc<Signal>),
    /// Sealed message.
    Envelope(Rc<Envelope>),
    /// Event of a transport session.
    Session(SessionId, Box<SessionInput>),
    /// New subscriber of a topic.
    Subscriber(Topic),
}

impl Delivery {
    /// Returns a description for the trace.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Signal(signal) => format!("{:?} of {}", signal.body.kind(), signal.from.device),
            Self::Envelope(envelope) => format!("an envelope of {} bytes", envelope.bytes.len()),
            Self::Session(_, event) => format!("{event:?}"),
            Self::Subscriber(_) => "notice of a subscriber".to_owned(),
        }
    }

    /// Size in bytes on a link; only envelopes have one.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Envelope(envelope) => envelope.bytes.len(),
            _ => 0,
        }
    }
}

/// Deliveries in order of arrival, then of insertion.
pub(super) struct DeliveryQueue {
    deliveries: BTreeMap<(Instant, u64), (usize, Delivery)>,
    added: u64,
    /// Maximum number of deliveries in flight; further ones are dropped without a report.
    pub(super) capacity: usize,
}

impl Default for DeliveryQueue {
    fn default() -> Self {
        Self { deliveries: BTreeMap::new(), added: 0, capacity: DEFAULT_CAPACITY }
    }
}

impl DeliveryQueue {
    /// Adds a delivery. A full queue drops it, as a congested network does.
    pub(super) fn push(&mut self, at: Instant, to: usize, delivery: Delivery) {
        if self.deliveries.len() < self.capacity {
            self.added += 1;
            self.deliveries.insert((at, self.added), (to, delivery));
        }
    }

    /// Time of the next delivery.
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

    /// Adds a delivery that arrives after all others.
    pub(super) fn push_last(&mut self, now: Instant, to: usize, delivery: Delivery) {
        let last = self.deliveries.last_key_value().map_or(now, |((at, _), _)| *at);
        self.push(last, to, delivery);
    }

    pub(super) fn len(&self) -> usize {
        self.deliveries.len()
    }
}
