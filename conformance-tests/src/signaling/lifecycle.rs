//! Connections, subscriber announcements, shutdown and reconnection.

use blink_api::{DeliveryId, ErrorKind, SignalingEvent, Verdict};
use bytes::Bytes;
use tokio::time::Instant;

use super::{Network, PATIENCE, first_address, next_message, pair, topic, until_event, until_subscribed, within};

/// A node is informed when a remote node subscribes, and knows the number of remote subscribers.
pub async fn subscribers_are_announced(network: &dyn Network) {
    let (a, b) = pair(network).await;
    let (first, second) = (topic(1), topic(2));
    let mut events = a.events();
    assert_eq!(a.subscribers(&first).await.unwrap(), 0);
    let _first = b.subscribe(&first).await.unwrap();
    until_event("the first subscriber", &mut events, |event| *event == SignalingEvent::SubscriberJoined(first)).await;
    assert_eq!(a.subscribers(&first).await.unwrap(), 1);
    let _second = b.subscribe(&second).await.unwrap();
    until_event("the second subscriber", &mut events, |event| *event == SignalingEvent::SubscriberJoined(second)).await;
    assert_eq!(b.subscribers(&first).await.unwrap(), 0, "a node does not count itself");
}

/// An invalid address fails with `Invalid`; a network reports an address that does not answer.
pub async fn invalid_and_unreachable_addresses_fail(network: &dyn Network) {
    let (a, b) = pair(network).await;
    for address in ["", "no address", "::", "\u{0}"] {
        assert_eq!(a.connect(address).await.unwrap_err().kind(), ErrorKind::Invalid, "{address:?}");
    }
    if a.capabilities().network {
        let address = first_address(&*b).await;
        let c = network.start("c").await;
        b.shutdown().await;
        let error = within("a refusal", c.connect(&address)).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Io | ErrorKind::Timeout), "{error}");
    }
}

/// Messages published just before shutdown still arrive.
pub async fn shutdown_sends_what_was_published(network: &dyn Network) {
    let (a, b) = pair(network).await;
    let topic = topic(3);
    let mut at_b = b.subscribe(&topic).await.unwrap();
    until_subscribed(&*a, &topic, 1).await;
    a.publish(&topic, Bytes::from_static(b"goodbye")).await.unwrap();
    within("shutdown", a.shutdown()).await;
    assert_eq!(next_message(&*b, &mut at_b).await, "goodbye");
}

/// After shutdown subscriptions end, remote nodes see one node less, every method fails with
/// `Closed`, and a second shutdown has no effect.
pub async fn shutdown_ends_everything(network: &dyn Network) {
    let (a, b) = pair(network).await;
    let topic = topic(4);
    let mut at_a = a.subscribe(&topic).await.unwrap();
    until_subscribed(&*b, &topic, 1).await;
    let address = first_address(&*b).await;
    let mut events = b.events();

    let begin = Instant::now();
    within("shutdown", a.shutdown()).await;
    assert!(begin.elapsed() < PATIENCE / 6, "it took {:?}", begin.elapsed());
    assert!(within("the subscription's end", at_a.next()).await.is_none());
    until_event("the disconnection", &mut events, |event| *event == SignalingEvent::Disconnected { nodes: 0 }).await;
    assert_eq!(b.subscribers(&topic).await.unwrap(), 0);

    assert_eq!(a.subscribe(&topic).await.err().map(|error| error.kind()), Some(ErrorKind::Closed));
    assert_eq!(a.publish(&topic, Bytes::new()).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(a.subscribers(&topic).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(a.connect(&address).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(a.addresses().await.unwrap_err().kind(), ErrorKind::Closed);
    a.report(DeliveryId(0), Verdict::Reject);
    within("a second shutdown", a.shutdown()).await;
}

/// A node that restarts at its address is reconnected, and messages flow in both directions as
/// before.
pub async fn reconnects_after_the_other_node_restarts(network: &dyn Network) {
    let (a, b) = pair(network).await;
    let topic = topic(5);
    let mut at_b = b.subscribe(&topic).await.unwrap();
    until_subscribed(&*a, &topic, 1).await;
    let mut events = b.events();

    within("shutdown", a.shutdown()).await;
    until_event("the disconnection", &mut events, |event| *event == SignalingEvent::Disconnected { nodes: 0 }).await;
    let a = network.start("a").await;
    until_event("the connection", &mut events, |event| *event == SignalingEvent::Connected { nodes: 1 }).await;

    let mut at_a = a.subscribe(&topic).await.unwrap();
    until_subscribed(&*a, &topic, 1).await;
    until_subscribed(&*b, &topic, 1).await;
    a.publish(&topic, Bytes::from_static(b"back")).await.unwrap();
    assert_eq!(next_message(&*b, &mut at_b).await, "back");
    b.publish(&topic, Bytes::from_static(b"good")).await.unwrap();
    assert_eq!(next_message(&*a, &mut at_a).await, "good");
}
