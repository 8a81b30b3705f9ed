//! Connections, subscriber announcements, shutdown and reconnection.

use std::time::Duration;

use blink_api::{DeliveryId, ErrorKind, SignalingEvent, Verdict};
use bytes::Bytes;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;

use super::{Network, next_message, pair, start, topic, until_event, until_subscribed, within};
use crate::explain;

/// Time in which nothing may happen.
const QUIET: Duration = Duration::from_millis(300);

/// A node is informed when a remote node subscribes, and knows the number of remote subscribers.
pub async fn subscribers_are_announced(network: &dyn Network) {
    let (a, b) = pair(network).await;
    let (first, second) = (topic(1), topic(2));
    let mut events = a.events();
    a.has_subscribers(&first, 0, "counts subscribers of a new topic").await;
    let _first = b.subscribes(&first).await;
    let joined = |topic| move |event: &SignalingEvent| *event == SignalingEvent::SubscriberJoined(topic);
    until_event(&a, "SubscriberJoined of the first topic", &mut events, joined(first)).await;
    a.has_subscribers(&first, 1, "counts subscribers after node b has subscribed").await;
    let _second = b.subscribes(&second).await;
    until_event(&a, "SubscriberJoined of the second topic", &mut events, joined(second)).await;
    b.has_subscribers(&first, 0, "counts subscribers of a topic that only it is subscribed to").await;
}

/// An invalid address fails with `Invalid`; a network reports an address that does not answer.
pub async fn invalid_and_unreachable_addresses_fail(network: &dyn Network) {
    let (a, b) = pair(network).await;
    for address in ["", "no address", "::", "\u{0}"] {
        let step = format!("connects to {address:?}");
        let result = within(a.name(), &step, a.connect(address)).await;
        a.is_refused(&step, result, ErrorKind::Invalid, "Signaling::connect: Invalid for an address it cannot parse");
    }
    if a.capabilities().network {
        let address = b.address().await;
        let c = start(network, "c").await;
        within(b.name(), "shuts down", b.shutdown()).await;
        let step = "connects to a node that was shut down";
        let result = within(c.name(), step, c.connect(&address)).await;
        c.must(
            result.as_ref().is_err_and(|error| matches!(error.kind(), ErrorKind::Io | ErrorKind::Timeout)),
            step,
            "an error of kind Io or Timeout".to_owned(),
            explain::outcome(&result),
            "Signaling::connect: Io or Timeout where the node does not answer",
        );
    }
}

/// Messages published just before shutdown still arrive.
pub async fn shutdown_sends_what_was_published(network: &dyn Network) {
    let (a, b) = pair(network).await;
    let topic = topic(3);
    let mut at_b = b.subscribes(&topic).await;
    until_subscribed(&a, &topic, 1).await;
    a.publishes(&topic, &b"goodbye"[..]).await;
    within(a.name(), "shuts down", a.shutdown()).await;
    next_message(&b, &mut at_b, b"goodbye").await;
}

/// After shutdown subscriptions end, remote nodes see one node less, every method fails with
/// `Closed`, and a second shutdown has no effect. A shutdown ends within the contract's 5 s.
pub async fn shutdown_ends_everything(network: &dyn Network) {
    let (a, b) = pair(network).await;
    let topic = topic(4);
    let mut at_a = a.subscribes(&topic).await;
    until_subscribed(&b, &topic, 1).await;
    let address = b.address().await;
    let mut events = b.events();

    within(a.name(), "shuts down", a.shutdown()).await;
    let end = "waits for the end of a subscription after its shutdown (Subscription::next)";
    within(a.name(), end, async { while at_a.next().await.is_some() {} }).await;
    until_event(&b, "Disconnected, because node a was shut down", &mut events, |event| {
        *event == SignalingEvent::Disconnected { nodes: 0 }
    })
    .await;
    b.has_subscribers(&topic, 0, "counts subscribers after the only other node was shut down").await;

    let clause = "trait Signaling: every method fails with Closed after `shutdown`";
    let closed = ErrorKind::Closed;
    a.is_refused("subscribes after its shutdown", a.subscribe(&topic).await.map(drop), closed, clause);
    a.is_refused("publishes after its shutdown", a.publish(&topic, Bytes::new()).await, closed, clause);
    a.is_refused("counts subscribers after its shutdown", a.subscribers(&topic).await, closed, clause);
    a.is_refused("connects after its shutdown", a.connect(&address).await, closed, clause);
    a.is_refused("lists addresses after its shutdown", a.addresses().await, closed, clause);
    a.report(DeliveryId(0), Verdict::Reject);
    within(a.name(), "shuts down for the second time", a.shutdown()).await;
}

/// After shutdown there are no events: neither for earlier receivers nor for new ones.
pub async fn nothing_is_told_after_shutdown(network: &dyn Network) {
    let (a, b) = pair(network).await;
    let topic = topic(11);
    let mut earlier = a.events();
    within(a.name(), "shuts down", a.shutdown()).await;
    while earlier.try_recv().is_ok() {}
    let mut later = a.events();
    let _at_b = b.subscribes(&topic).await;
    let _c = start(network, "c").await;
    for events in [&mut earlier, &mut later] {
        let got = match timeout(QUIET, events.recv()).await {
            Err(_) | Ok(Err(RecvError::Closed)) => continue,
            Ok(Ok(event)) => format!("{event:?}"),
            Ok(Err(RecvError::Lagged(count))) => format!("{count} events"),
        };
        let clause = "Signaling::events: after `shutdown` there are no further events";
        a.fails("listens after its shutdown", "no event".to_owned(), got, clause);
    }
}

/// A node that restarts at its address is reconnected, and messages flow in both directions as
/// before.
pub async fn reconnects_after_the_other_node_restarts(network: &dyn Network) {
    let (a, b) = pair(network).await;
    let topic = topic(5);
    let mut at_b = b.subscribes(&topic).await;
    until_subscribed(&a, &topic, 1).await;
    let mut events = b.events();

    within(a.name(), "shuts down", a.shutdown()).await;
    let gone = |event: &SignalingEvent| *event == SignalingEvent::Disconnected { nodes: 0 };
    until_event(&b, "Disconnected, because node a was shut down", &mut events, gone).await;
    let a = start(network, "a").await;
    let back = |event: &SignalingEvent| *event == SignalingEvent::Connected { nodes: 1 };
    until_event(&b, "Connected, because node a is back at its address", &mut events, back).await;

    let mut at_a = a.subscribes(&topic).await;
    until_subscribed(&a, &topic, 1).await;
    until_subscribed(&b, &topic, 1).await;
    a.publishes(&topic, &b"back"[..]).await;
    next_message(&b, &mut at_b, b"back").await;
    b.publishes(&topic, &b"good"[..]).await;
    next_message(&a, &mut at_a, b"good").await;
}
