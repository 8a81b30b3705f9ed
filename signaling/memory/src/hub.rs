//! In-process network that connects all nodes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use blink_api::{
    Delivery, DeliveryId, DeliveryQueue, ErrorKind, Origin, SignalingEvent, Subscription, Topic, Verdict, subscription,
};
use bytes::Bytes;
use tokio::sync::{broadcast, mpsc};

/// Messages queued per subscription. Further ones are dropped and counted as lagged.
const SUBSCRIPTION_CAPACITY: usize = 256;
/// Events queued per receiver before it lags.
const EVENT_CAPACITY: usize = 256;

/// In-process network. Clones refer to the same network.
#[derive(Clone, Default)]
pub struct Hub(Arc<Mutex<State>>);

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}

/// Event recorded by a [`Tap`].
#[derive(Debug, Clone)]
pub enum Traffic {
    /// A message was published, with or without subscribers, delivered or not.
    Published {
        /// Publishing node.
        from: Origin,
        /// Topic of the message.
        topic: Topic,
        /// Message as published.
        message: Bytes,
    },
    /// A node reported a verdict. Repeated reports are recorded too.
    Reported {
        /// Reporting node.
        by: Origin,
        /// Delivery in question.
        delivery: DeliveryId,
        /// Verdict on the delivery.
        verdict: Verdict,
    },
}

/// Recording of all traffic of a [`Hub`] since [`Hub::tap`]. For tests: the queue of unread items
/// is unbounded.
#[derive(Debug)]
pub struct Tap(mpsc::UnboundedReceiver<Traffic>);

impl Tap {
    /// Waits for the next item; `None` once the hub is dropped.
    pub async fn next(&mut self) -> Option<Traffic> {
        self.0.recv().await
    }

    /// Takes all unread items.
    pub fn take(&mut self) -> Vec<Traffic> {
        std::iter::from_fn(|| self.0.try_recv().ok()).collect()
    }

    /// Takes the published messages among all unread items.
    pub fn take_messages(&mut self) -> Vec<Bytes> {
        let message = |traffic| match traffic {
            Traffic::Published { message, .. } => Some(message),
            Traffic::Reported { .. } => None,
        };
        self.take().into_iter().filter_map(message).collect()
    }
}

/// Hooks for tests.
impl Hub {
    /// Records all traffic from now on. Every tap sees everything.
    pub fn tap(&self) -> Tap {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.state().taps.push(sender);
        Tap(receiver)
    }

    /// Delivers a message to every subscriber of a topic as if a node with this origin had
    /// published it, and returns the number of receiving nodes. Bypasses taps and the filter. Nodes
    /// that are cut off and the node with this origin do not receive it.
    pub fn inject(&self, origin: Origin, topic: Topic, message: Bytes) -> usize {
        let mut state = self.state();
        let receivers: Vec<_> =
            state.others(origin).filter(|(_, node)| !node.cut && node.has(&topic)).map(first).collect();
        state.deliver(origin, topic, &message, &receivers);
        receivers.len()
    }

    /// Disconnects a node from all others, visibly to both sides. Unknown nodes are ignored.
    pub fn cut(&self, node: Origin) {
        self.state().set_cut(node, true);
    }

    /// Reverts [`cut`](Hub::cut): both sides see the connection and each other's subscriptions.
    pub fn heal(&self, node: Origin) {
        self.state().set_cut(node, false);
    }

    /// Sets a filter that decides for each message and receiving node whether it is delivered,
    /// unnoticed by the publisher. The filter must not use the hub.
    pub fn filter(&self, arrives: impl FnMut(&Traffic, Origin) -> bool + Send + 'static) {
        self.state().filter = Some(Box::new(arrives));
    }

    /// Reverts [`filter`](Hub::filter): everything is delivered.
    pub fn unfilter(&self) {
        self.state().filter = None;
    }
}

/// Operations of a node. They return `None` after it left.
impl Hub {
    pub(crate) fn join(&self) -> (Origin, broadcast::Sender<SignalingEvent>) {
        let mut state = self.state();
        state.joined += 1;
        let mut origin = *b"memory  ........";
        origin[8..].copy_from_slice(&state.joined.to_be_bytes());
        let origin = Origin(origin);
        let events = broadcast::Sender::new(EVENT_CAPACITY);
        let node = Node { events: events.clone(), topics: BTreeMap::new(), cut: false };
        state.nodes.insert(origin.0, node);
        state.announce(origin, true);
        (origin, events)
    }

    pub(crate) fn leave(&self, origin: Origin) {
        let mut state = self.state();
        if state.nodes.get(&origin.0).is_some_and(|node| !node.cut) {
            state.announce(origin, false);
        }
        state.nodes.remove(&origin.0);
    }

    pub(crate) fn has(&self, origin: Origin) -> bool {
        self.state().nodes.contains_key(&origin.0)
    }

    pub(crate) fn subscribe(&self, origin: Origin, topic: Topic) -> Option<Subscription> {
        let mut state = self.state();
        state.subscribed += 1;
        let id = state.subscribed;
        let node = state.nodes.get_mut(&origin.0)?;
        let hub = self.clone();
        let (queue, subscription) =
            subscription(SUBSCRIPTION_CAPACITY, move || hub.state().unsubscribe(origin, topic, id));
        let queues = node.topics.entry(topic).or_default();
        queues.insert(id, queue);
        if queues.len() == 1 && !node.cut {
            let event = SignalingEvent::SubscriberJoined(topic);
            state.others(origin).filter(|(_, node)| !node.cut).for_each(|(_, node)| node.emit(event.clone()));
        }
        Some(subscription)
    }

    /// Publishes a message and returns the number of nodes it was sent to.
    pub(crate) fn publish(&self, origin: Origin, topic: Topic, message: Bytes) -> Option<usize> {
        let mut state = self.state();
        let mut receivers = state.reachable_subscribers(origin, topic)?;
        let traffic = Traffic::Published { from: origin, topic, message: message.clone() };
        let sent_to = receivers.len();
        if let Some(arrives) = &mut state.filter {
            receivers.retain(|receiver| arrives(&traffic, *receiver));
        }
        state.record(traffic);
        state.deliver(origin, topic, &message, &receivers);
        Some(sent_to)
    }

    pub(crate) fn subscribers(&self, origin: Origin, topic: Topic) -> Option<usize> {
        Some(self.state().reachable_subscribers(origin, topic)?.len())
    }

    pub(crate) fn report(&self, by: Origin, delivery: DeliveryId, verdict: Verdict) {
        self.state().record(Traffic::Reported { by, delivery, verdict });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Filter = Box<dyn FnMut(&Traffic, Origin) -> bool + Send>;

#[derive(Default)]
struct State {
    /// Nodes by origin, which is also the order of joining and so of delivery.
    nodes: BTreeMap<[u8; 16], Node>,
    taps: Vec<mpsc::UnboundedSender<Traffic>>,
    filter: Option<Filter>,
    joined: u64,
    subscribed: u64,
    delivered: u64,
}

struct Node {
    events: broadcast::Sender<SignalingEvent>,
    topics: BTreeMap<Topic, BTreeMap<u64, DeliveryQueue>>,
    cut: bool,
}

impl Node {
    fn has(&self, topic: &Topic) -> bool {
        self.topics.contains_key(topic)
    }

    fn emit(&self, event: SignalingEvent) {
        // No receiver is fine: events are optional.
        let _ = self.events.send(event);
    }
}

impl State {
    fn others(&self, origin: Origin) -> impl Iterator<Item = (Origin, &Node)> {
        self.nodes.iter().map(|(other, node)| (Origin(*other), node)).filter(move |(other, _)| *other != origin)
    }

    fn reachable_subscribers(&self, origin: Origin, topic: Topic) -> Option<Vec<Origin>> {
        if self.nodes.get(&origin.0)?.cut {
            return Some(Vec::new());
        }
        Some(self.others(origin).filter(|(_, node)| !node.cut && node.has(&topic)).map(first).collect())
    }

    fn deliver(&mut self, origin: Origin, topic: Topic, message: &Bytes, receivers: &[Origin]) {
        for receiver in receivers {
            let queues = self.nodes.get(&receiver.0).and_then(|node| node.topics.get(&topic));
            for queue in queues.into_iter().flat_map(BTreeMap::values) {
                self.delivered += 1;
                let delivery =
                    Delivery { id: DeliveryId(self.delivered), origin: Some(origin), message: message.clone() };
                // A full queue counts the loss for its subscriber; a closed one unsubscribes as
                // soon as it gets the hub's lock.
                if queue.push(delivery).is_err_and(|error| error.kind() == ErrorKind::Full) {
                    tracing::debug!(%topic, "message dropped: the subscription's queue is full");
                }
            }
        }
    }

    fn unsubscribe(&mut self, origin: Origin, topic: Topic, id: u64) {
        let Some(node) = self.nodes.get_mut(&origin.0) else { return };
        if let Some(queues) = node.topics.get_mut(&topic) {
            queues.remove(&id);
            if queues.is_empty() {
                node.topics.remove(&topic);
            }
        }
    }

    fn set_cut(&mut self, origin: Origin, cut: bool) {
        match self.nodes.get_mut(&origin.0) {
            Some(node) if node.cut != cut => {}
            _ => return,
        }
        if cut {
            self.announce(origin, false);
            self.set_flag(origin, true);
        } else {
            self.set_flag(origin, false);
            self.announce(origin, true);
        }
    }

    fn set_flag(&mut self, origin: Origin, cut: bool) {
        if let Some(node) = self.nodes.get_mut(&origin.0) {
            node.cut = cut;
        }
    }

    /// Emits connection events for a node and each node it can reach, and after a connection, also
    /// the subscriptions of both sides.
    fn announce(&self, origin: Origin, connected: bool) {
        let Some(node) = self.nodes.get(&origin.0) else { return };
        let reached: Vec<_> = self.others(origin).filter(|(_, other)| !other.cut).map(|(_, other)| other).collect();
        for (count, other) in reached.iter().enumerate() {
            if connected {
                other.emit(SignalingEvent::Connected { nodes: reached.len() });
                node.emit(SignalingEvent::Connected { nodes: count + 1 });
                node.topics.keys().for_each(|topic| other.emit(SignalingEvent::SubscriberJoined(*topic)));
                other.topics.keys().for_each(|topic| node.emit(SignalingEvent::SubscriberJoined(*topic)));
            } else {
                other.emit(SignalingEvent::Disconnected { nodes: reached.len() - 1 });
                node.emit(SignalingEvent::Disconnected { nodes: reached.len() - 1 - count });
            }
        }
    }

    fn record(&mut self, traffic: Traffic) {
        self.taps.retain(|tap| tap.send(traffic.clone()).is_ok());
    }
}

fn first<T>((origin, _): (Origin, T)) -> Origin {
    origin
}
