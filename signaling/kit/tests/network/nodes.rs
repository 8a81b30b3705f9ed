//! Test nodes and waiting for events.
#![allow(dead_code, reason = "each test file uses a part")]

use std::time::Duration;

use crate::own::{Config, Node};
use blink_api::{Delivery, Signaling, SignalingEvent, Subscription, SubscriptionEvent, Topic, Verdict};
use tokio::sync::broadcast;

pub(crate) const TCP: &str = "/ip4/127.0.0.1/tcp/0";
pub(crate) const TOPIC: Topic = Topic::from_bytes([42; 32]);

/// Starts a node without mDNS that listens on one address.
pub(crate) async fn node(listen: &str) -> Node {
    Node::start(config(listen)).await.unwrap()
}

pub(crate) fn config(listen: &str) -> Config {
    Config { listen: vec![listen.to_owned()], mdns: false, ..Config::default() }
}

pub(crate) async fn address(node: &Node) -> String {
    node.addresses().await.unwrap().swap_remove(0)
}

/// Port of an address `/ip4/127.0.0.1/tcp/PORT/p2p/PEER`.
pub(crate) fn port(address: &str) -> u16 {
    address.split('/').nth(4).and_then(|port| port.parse().ok()).expect("the address has a port")
}

pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    let patience = Duration::from_secs(30);
    tokio::time::timeout(patience, future).await.unwrap_or_else(|_| panic!("{what}: not within {patience:?}"))
}

pub(crate) async fn until_event(
    what: &str,
    events: &mut broadcast::Receiver<SignalingEvent>,
    matches: impl Fn(&SignalingEvent) -> bool,
) {
    within(what, async { while !matches(&events.recv().await.unwrap()) {} }).await;
}

pub(crate) async fn until_subscribed(node: &Node, topic: &Topic, count: usize) {
    let mut events = node.events();
    within("subscribers", async {
        while node.subscribers(topic).await.unwrap() < count {
            events.recv().await.unwrap();
        }
    })
    .await;
}

/// Receives the next message and reports a verdict on it.
pub(crate) async fn next(node: &Node, subscription: &mut Subscription, verdict: Verdict) -> Delivery {
    match within("a message", subscription.next()).await {
        Some(SubscriptionEvent::Delivery(delivery)) => {
            node.report(delivery.id, verdict);
            delivery
        }
        other => panic!("expected a message, got {other:?}"),
    }
}
