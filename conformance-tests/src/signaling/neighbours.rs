//! Nodes that are connected through others, start later, or are dropped.

use std::time::Duration;

use blink_api::{ErrorKind, SignalingEvent};
use bytes::Bytes;
use tokio::time::timeout;

use super::node::{Node, connect, started};
use super::{Network, next_message, pair, start, topic, until_event, until_subscribed, within};

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(200);

/// A message reaches a node that is connected only through another one, if the capabilities declare
/// forwarding. The node between them is subscribed and accepts what it receives.
pub async fn forwarding_is_as_declared(network: &dyn Network) {
    let (a, b) = pair(network).await;
    if !a.capabilities().forwarding {
        return;
    }
    let c = start(network, "c").await;
    connect(&c, &b).await;
    let topic = topic(12);
    let (_at_a, mut at_b) = (a.subscribes(&topic).await, b.subscribes(&topic).await);
    let mut at_c = c.subscribes(&topic).await;
    until_subscribed(&a, &topic, 1).await;
    until_subscribed(&c, &topic, 1).await;
    let mut arrived = within(c.name(), "waits for a message through node b (capability `forwarding`)", async {
        // A mesh may form only after the nodes have connected: messages before that are lost.
        for number in 0u8.. {
            a.publishes(&topic, vec![number]).await;
            next_message(&b, &mut at_b, &[number]).await;
            if let Ok(event) = timeout(PAUSE, at_c.next()).await {
                return event;
            }
        }
        None
    })
    .await;
    c.must(
        matches!(arrived.take(), Some(blink_api::SubscriptionEvent::Delivery(_))),
        "waits for a message through node b",
        "a delivery".to_owned(),
        "another event".to_owned(),
        "SignalingCapabilities::forwarding",
    );
}

/// A failed connection is retried: a node that starts later is found.
pub async fn connects_to_a_node_that_starts_later(network: &dyn Network) {
    let a = start(network, "a").await;
    if !a.capabilities().network {
        return;
    }
    let address = a.address().await;
    within(a.name(), "shuts down", a.shutdown()).await;
    let b = start(network, "b").await;
    let mut events = b.events();
    let result = within(b.name(), "connects to a node that does not run", b.connect(&address)).await;
    b.must(
        result.as_ref().is_err_and(|error| matches!(error.kind(), ErrorKind::Io | ErrorKind::Timeout)),
        "connects to a node that does not run",
        "an error of kind Io or Timeout".to_owned(),
        crate::explain::outcome(&result),
        "Signaling::connect, section Errors",
    );
    let _a = start(network, "a").await;
    let what = "Connected, because `connect` goes on trying after a failure";
    until_event(&b, what, &mut events, |event| matches!(event, SignalingEvent::Connected { .. })).await;
}

/// A node that is dropped without a shutdown leaves the network, its subscriptions and events end,
/// and its address is free.
pub async fn a_dropped_node_leaves_the_network(network: &dyn Network) {
    let (a, b) = pair(network).await;
    let topic = topic(13);
    let mut at_a = a.subscribes(&topic).await;
    until_subscribed(&b, &topic, 1).await;
    let (mut events, mut own) = (b.events(), a.events());
    drop(a);
    until_event(&b, "Disconnected, because node a was dropped (trait Signaling, section Drop)", &mut events, |event| {
        *event == SignalingEvent::Disconnected { nodes: 0 }
    })
    .await;
    b.has_subscribers(&topic, 0, "counts subscribers after the only other node was dropped").await;
    let result = b.publish(&topic, Bytes::from_static(b"anyone?")).await;
    b.is_refused(
        "publishes after the only subscriber was dropped",
        result,
        ErrorKind::NoSubscribers,
        "Signaling::publish",
    );
    let end = "waits for the end of a subscription after the node was dropped (section Drop)";
    within("a", end, async { while at_a.next().await.is_some() {} }).await;
    let end = "waits for the end of its events after it was dropped (Signaling::events)";
    within("a", end, async {
        while !matches!(own.recv().await, Err(tokio::sync::broadcast::error::RecvError::Closed)) {}
    })
    .await;
    let again = restart(network, "a").await;
    connect(&b, &again).await;
}

/// Starts a node at the address of one that was dropped, whose ports may be free a moment later.
async fn restart(network: &dyn Network, name: &'static str) -> Node {
    within(name, "starts again at the address of the dropped node", async {
        loop {
            match network.start(name).await {
                Err(error) if error.kind() == ErrorKind::Busy => tokio::time::sleep(PAUSE).await,
                result => return started(name, "start", result),
            }
        }
    })
    .await
}
