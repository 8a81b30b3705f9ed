//! Test hooks of the hub: recording, replay, partitions and loss.

use blink_api::{
    DeliveryId, ErrorKind, Origin, Signaling, SignalingEvent, Subscription, SubscriptionEvent, Topic, Verdict,
};
use blink_signaling_memory::{Hub, MemorySignaling, Traffic};
use bytes::Bytes;

const TOPIC: Topic = Topic::from_bytes([7; 32]);
const HELLO: Bytes = Bytes::from_static(b"hello");

/// Takes the queued messages. Delivery is synchronous, so a timeout of zero ends the wait.
async fn waiting(subscription: &mut Subscription) -> Vec<(Option<Origin>, Bytes)> {
    let mut messages = Vec::new();
    while let Ok(event) = tokio::time::timeout(std::time::Duration::ZERO, subscription.next()).await {
        match event {
            Some(SubscriptionEvent::Delivery(delivery)) => messages.push((delivery.origin, delivery.message)),
            other => panic!("expected a delivery, got {other:?}"),
        }
    }
    messages
}

#[tokio::test(start_paused = true)]
async fn recorded_messages_can_be_injected_again() {
    let hub = Hub::default();
    let (a, b) = (MemorySignaling::new(&hub), MemorySignaling::new(&hub));
    let mut tap = hub.tap();
    let mut subscription = b.subscribe(&TOPIC).await.unwrap();
    a.publish(&TOPIC, HELLO).await.unwrap();
    assert_eq!(waiting(&mut subscription).await, [(Some(a.origin()), HELLO)]);

    let recorded = tap.take_messages();
    assert_eq!(recorded, [HELLO]);
    assert_eq!(hub.inject(a.origin(), TOPIC, recorded[0].clone()), 1);
    assert_eq!(waiting(&mut subscription).await, [(Some(a.origin()), HELLO)]);
    assert!(tap.take().is_empty(), "injected messages are not recorded");
    assert_eq!(hub.inject(b.origin(), TOPIC, HELLO), 0, "a node does not receive messages of its own origin");
}

#[tokio::test(start_paused = true)]
async fn a_tap_records_verdicts_and_messages_without_subscribers() {
    let hub = Hub::default();
    let a = MemorySignaling::new(&hub);
    let mut tap = hub.tap();
    assert_eq!(a.publish(&TOPIC, HELLO).await.unwrap_err().kind(), ErrorKind::NoSubscribers);
    a.report(DeliveryId(3), Verdict::Reject);
    assert!(matches!(tap.next().await, Some(Traffic::Published { from, .. }) if from == a.origin()));
    let reported = tap.next().await;
    assert!(
        matches!(reported, Some(Traffic::Reported { by, delivery: DeliveryId(3), verdict: Verdict::Reject }) if by == a.origin())
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_cut_off_sends_and_receives_nothing_until_healed() {
    let hub = Hub::default();
    let (a, b) = (MemorySignaling::new(&hub), MemorySignaling::new(&hub));
    let mut subscription = b.subscribe(&TOPIC).await.unwrap();
    let (mut events_a, mut events_b) = (a.events(), b.events());

    hub.cut(b.origin());
    hub.cut(b.origin());
    assert_eq!(a.subscribers(&TOPIC).await.unwrap(), 0);
    assert_eq!(a.publish(&TOPIC, HELLO).await.unwrap_err().kind(), ErrorKind::NoSubscribers);
    assert_eq!(hub.inject(a.origin(), TOPIC, HELLO), 0);
    assert_eq!(waiting(&mut subscription).await, []);

    hub.heal(b.origin());
    a.publish(&TOPIC, HELLO).await.unwrap();
    assert_eq!(waiting(&mut subscription).await, [(Some(a.origin()), HELLO)]);
    assert_eq!(events_a.try_recv(), Ok(SignalingEvent::Disconnected { nodes: 0 }));
    assert_eq!(events_a.try_recv(), Ok(SignalingEvent::Connected { nodes: 1 }));
    assert_eq!(events_a.try_recv(), Ok(SignalingEvent::SubscriberJoined(TOPIC)));
    assert!(events_a.try_recv().is_err());
    assert_eq!(events_b.try_recv(), Ok(SignalingEvent::Disconnected { nodes: 0 }));
    assert_eq!(events_b.try_recv(), Ok(SignalingEvent::Connected { nodes: 1 }));
    assert!(events_b.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn the_filter_drops_messages_unnoticed_by_the_publisher() {
    let hub = Hub::default();
    let (a, b, c) = (MemorySignaling::new(&hub), MemorySignaling::new(&hub), MemorySignaling::new(&hub));
    let mut at_b = b.subscribe(&TOPIC).await.unwrap();
    let mut at_c = c.subscribe(&TOPIC).await.unwrap();
    let lost_at = b.origin();
    hub.filter(move |_, to| to != lost_at);
    a.publish(&TOPIC, HELLO).await.unwrap();
    assert_eq!((waiting(&mut at_b).await.len(), waiting(&mut at_c).await.len()), (0, 1));
    hub.unfilter();
    a.publish(&TOPIC, HELLO).await.unwrap();
    assert_eq!((waiting(&mut at_b).await.len(), waiting(&mut at_c).await.len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_node_leaves_the_hub() {
    let hub = Hub::default();
    let (a, b) = (MemorySignaling::new(&hub), MemorySignaling::new(&hub));
    let mut events = a.events();
    let mut subscription = b.subscribe(&TOPIC).await.unwrap();
    drop(b);
    assert!(subscription.next().await.is_none());
    assert_eq!(events.try_recv(), Ok(SignalingEvent::SubscriberJoined(TOPIC)));
    assert_eq!(events.try_recv(), Ok(SignalingEvent::Disconnected { nodes: 0 }));
    assert_eq!(a.subscribers(&TOPIC).await.unwrap(), 0);
}
