//! A node of a case, with operations that fail with an explanation.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use blink_api::{
    Delivery, Error, ErrorKind, Result, Signaling, SignalingEvent, Subscription, SubscriptionEvent, Topic, Verdict,
};
use bytes::Bytes;
use tokio::sync::broadcast;
use tokio::time::timeout;

use super::{Network, PATIENCE};
use crate::explain::{self, Explained};

/// Case that all others build on.
const FIRST: &str = "delivers_both_ways";

/// A node with its name.
pub struct Node {
    name: &'static str,
    signaling: Arc<dyn Signaling>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Node").field(&self.name).finish()
    }
}

impl Deref for Node {
    type Target = dyn Signaling;

    fn deref(&self) -> &Self::Target {
        &*self.signaling
    }
}

impl Node {
    /// Another handle of the node.
    pub(crate) fn shared(&self) -> Arc<dyn Signaling> {
        self.signaling.clone()
    }

    pub(crate) async fn subscribes(&self, topic: &Topic) -> Subscription {
        let result = within(self.name, "subscribes to a topic", self.subscribe(topic)).await;
        self.succeeds("subscribes to a topic", result, "Signaling::subscribe: fails only after `shutdown`")
    }

    /// Publishes a message, which must succeed.
    pub(crate) async fn publishes(&self, topic: &Topic, message: impl Into<Bytes>) {
        let message = message.into();
        let step = format!("publishes {} to a topic with a subscriber", explain::bytes(&message));
        let result = within(self.name, &step, self.publish(topic, message)).await;
        let clause =
            "Signaling::publish: Ok where a subscriber is known and the message has at most `max_message` bytes";
        self.succeeds(&step, result, clause);
    }

    /// Announces a topic, which must succeed.
    pub(crate) async fn announces(&self, topic: &Topic) {
        let result = within(self.name, "announces a topic", self.announce(topic)).await;
        self.succeeds("announces a topic", result, "Signaling::announce: Ok, also when repeated");
    }

    /// Searches for the subscribers of a topic, which must succeed.
    pub(crate) async fn finds(&self, topic: &Topic) {
        let result = within(self.name, "searches for a topic", self.find(topic)).await;
        self.succeeds("searches for a topic", result, "Signaling::find: Ok, also without a result");
    }

    /// Number of other nodes that are subscribed.
    pub(crate) async fn counts(&self, topic: &Topic) -> usize {
        let result = within(self.name, "counts subscribers", self.subscribers(topic)).await;
        self.succeeds("counts subscribers", result, "Signaling::subscribers: fails only after `shutdown`")
    }

    pub(crate) async fn has_subscribers(&self, topic: &Topic, expected: usize, why: &str) {
        let count = self.counts(topic).await;
        self.must(
            count == expected,
            why,
            format!("{expected} subscribers"),
            format!("{count}"),
            "Signaling::subscribers: number of other nodes known to be subscribed, not of subscriptions",
        );
    }

    /// The most widely reachable address.
    pub(crate) async fn address(&self) -> String {
        let result = within(self.name, "lists its addresses", self.addresses()).await;
        let clause = "Signaling::addresses: addresses by which other nodes can connect, widest reach first";
        let addresses = self.succeeds("lists its addresses", result, clause);
        let first = addresses.into_iter().next();
        first.unwrap_or_else(|| {
            self.fails("lists its addresses", "at least one address".to_owned(), "none".to_owned(), clause)
        })
    }

    /// Verifies that an operation failed with this kind, and returns the error.
    pub(crate) fn is_refused<T>(&self, step: &str, result: Result<T>, kind: ErrorKind, clause: &str) -> Error {
        match result {
            Err(error) if error.kind() == kind => error,
            other => self.fails(step, format!("an error of kind {kind:?}"), explain::outcome(&other), clause),
        }
    }

    pub(crate) fn must(&self, holds: bool, step: &str, expected: String, got: String, clause: &str) {
        if !holds {
            self.fails(step, expected, got, clause);
        }
    }

    pub(crate) fn fails(&self, step: &str, expected: String, got: String, clause: &str) -> ! {
        let who = format!("node {}", self.name);
        Explained { who: &who, step, expected, got, clause, first: Some(FIRST) }.fail()
    }

    fn succeeds<T>(&self, step: &str, result: Result<T>, clause: &str) -> T {
        result.unwrap_or_else(|error| self.fails(step, "Ok".to_owned(), explain::error(&error), clause))
    }
}

/// Starts a node.
pub(crate) async fn start(network: &dyn Network, name: &'static str) -> Node {
    started(name, "start", network.start(name).await)
}

/// Starts a node that finds others without their addresses.
pub(crate) async fn start_findable(network: &dyn Network, name: &'static str) -> Node {
    started(name, "start_findable", network.start_findable(name).await)
}

pub(super) fn started(name: &'static str, method: &str, result: Result<Arc<dyn Signaling>>) -> Node {
    match result {
        Ok(signaling) => Node { name, signaling },
        Err(error) => panic!("node {name}: Network::{method} failed: {}", explain::error(&error)),
    }
}

/// Starts two nodes, the second connected to the first.
pub(crate) async fn pair(network: &dyn Network) -> (Node, Node) {
    let (a, b) = (start(network, "a").await, start(network, "b").await);
    connect(&b, &a).await;
    (a, b)
}

/// Connects a node to the first address of another.
pub(crate) async fn connect(from: &Node, to: &Node) {
    let address = to.address().await;
    let step = format!("connects to node {} at its first address", to.name);
    let result = within(from.name, &step, from.connect(&address)).await;
    from.succeeds(&step, result, "Signaling::connect: Ok where the node answers");
}

/// Waits until a node knows this many remote subscribers of a topic.
pub(crate) async fn until_subscribed(node: &Node, topic: &Topic, count: usize) {
    let mut events = node.events();
    let step = format!("waits until {count} other nodes are subscribed to a topic (Signaling::subscribers)");
    within(node.name, &step, async {
        while node.counts(topic).await < count {
            next_event(node, &mut events).await;
        }
    })
    .await;
}

/// Waits for a message, accepts it, and verifies its bytes.
pub(crate) async fn next_message(node: &Node, subscription: &mut Subscription, expected: &[u8]) {
    let got = next_delivery(node, subscription, expected).await.message;
    node.must(
        got == expected,
        "reads the next message of a subscription",
        explain::bytes(expected),
        explain::bytes(&got),
        "Delivery::message: the bytes as published, whole; trait Signaling: at most once",
    );
}

/// As [`next_message`], but returns the delivery without a look at its bytes.
pub(crate) async fn next_delivery(node: &Node, subscription: &mut Subscription, expected: &[u8]) -> Delivery {
    let step = format!("waits for a message of {}", explain::bytes(expected));
    match within(node.name, &step, subscription.next()).await {
        Some(SubscriptionEvent::Delivery(delivery)) => {
            node.report(delivery.id, Verdict::Accept);
            delivery
        }
        Some(SubscriptionEvent::Lagged(count)) => node.fails(
            &step,
            "the message".to_owned(),
            format!("Lagged({count}), although the reader is not behind"),
            "SubscriptionEvent::Lagged: messages dropped because this reader was slow",
        ),
        None => node.fails(
            &step,
            "the message".to_owned(),
            "the end of the subscription".to_owned(),
            "Subscription::next: None only after the backend's shutdown",
        ),
    }
}

/// Waits for an event. Returns `None` if the reader lagged, since any event may have been missed.
async fn next_event(node: &Node, events: &mut broadcast::Receiver<SignalingEvent>) -> Option<SignalingEvent> {
    match events.recv().await {
        Ok(event) => Some(event),
        Err(broadcast::error::RecvError::Lagged(_)) => None,
        Err(broadcast::error::RecvError::Closed) => node.fails(
            "waits for an event",
            "an event".to_owned(),
            "the end of the events".to_owned(),
            "Signaling::events: the channel closes after `shutdown` or with the backend, not before",
        ),
    }
}

/// Waits for an event that matches.
pub(crate) async fn until_event(
    node: &Node,
    what: &str,
    events: &mut broadcast::Receiver<SignalingEvent>,
    matches: impl Fn(&SignalingEvent) -> bool,
) {
    let step = format!("waits for the event {what} (Signaling::events)");
    let find = async { while !next_event(node, events).await.is_some_and(|event| matches(&event)) {} };
    within(node.name, &step, find).await;
}

/// Fails the case if a future does not complete in time.
pub(crate) async fn within<F: Future>(who: &str, step: &str, future: F) -> F::Output {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| {
        let who = format!("node {who}");
        Explained {
            who: &who,
            step,
            expected: format!("an end within {PATIENCE:?}"),
            got: "nothing".to_owned(),
            clause: "trait Signaling, sections Topology and Timing",
            first: Some(FIRST),
        }
        .fail()
    })
}

impl Node {
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }
}
