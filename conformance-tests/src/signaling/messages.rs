//! Publishing and receiving.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use blink_api::{ErrorKind, Signaling, Subscription, SubscriptionEvent, Verdict};
use bytes::Bytes;
use tokio::time::{sleep, timeout};

use super::{Network, next_delivery, next_message, pair, topic, until_subscribed, within};

/// Messages are delivered unchanged in both directions, with an origin if the capabilities declare
/// it.
pub async fn delivers_both_ways(network: &dyn Network) {
    let (a, b) = pair(network).await;
    let topic = topic(1);
    let mut at_a = a.subscribe(&topic).await.unwrap();
    let mut at_b = b.subscribe(&topic).await.unwrap();
    until_subscribed(&*a, &topic, 1).await;
    until_subscribed(&*b, &topic, 1).await;
    let mut origins = HashSet::new();
    for round in 0..10u8 {
        a.publish(&topic, vec![b'a', round].into()).await.unwrap();
        let delivery = next_delivery(&*b, &mut at_b).await;
        assert_eq!(delivery.message, vec![b'a', round]);
        origins.insert(delivery.origin);
        b.publish(&topic, vec![b'b', round].into()).await.unwrap();
        let delivery = next_delivery(&*a, &mut at_a).await;
        assert_eq!(delivery.message, vec![b'b', round]);
        origins.insert(delivery.origin);
    }
    match a.capabilities().origins {
        true => assert!(origins.len() == 2 && !origins.contains(&None), "one origin for each node: {origins:?}"),
        false => assert_eq!(origins, HashSet::from([None])),
    }
}

/// A node does not receive its own messages on a topic that it is subscribed to.
pub async fn own_messages_do_not_come_back(network: &dyn Network) {
    let (a, b) = pair(network).await;
    let topic = topic(2);
    let mut at_a = a.subscribe(&topic).await.unwrap();
    let mut at_b = b.subscribe(&topic).await.unwrap();
    until_subscribed(&*a, &topic, 1).await;
    until_subscribed(&*b, &topic, 1).await;
    a.publish(&topic, Bytes::from_static(b"a's")).await.unwrap();
    assert_eq!(next_message(&*b, &mut at_b).await, "a's");
    for _ in 0..5 {
        b.publish(&topic, Bytes::from_static(b"b's")).await.unwrap();
        assert_eq!(next_message(&*a, &mut at_a).await, "b's");
    }
}

/// Two subscriptions of one topic at one node both receive all messages.
pub async fn every_subscription_gets_every_message(network: &dyn Network) {
    let (a, b) = pair(network).await;
    let topic = topic(3);
    let mut first = b.subscribe(&topic).await.unwrap();
    let mut second = b.subscribe(&topic).await.unwrap();
    until_subscribed(&*a, &topic, 1).await;
    assert_eq!(a.subscribers(&topic).await.unwrap(), 1, "subscribers counts nodes, not subscriptions");
    for round in 0..5u8 {
        a.publish(&topic, vec![round].into()).await.unwrap();
        assert_eq!(next_message(&*b, &mut first).await, vec![round]);
        assert_eq!(next_message(&*b, &mut second).await, vec![round]);
    }
}

/// A message is delivered on its own topic only.
pub async fn topics_are_separate(network: &dyn Network) {
    let (a, b) = pair(network).await;
    let (first, second) = (topic(4), topic(5));
    let mut at_first = b.subscribe(&first).await.unwrap();
    let mut at_second = b.subscribe(&second).await.unwrap();
    until_subscribed(&*a, &first, 1).await;
    until_subscribed(&*a, &second, 1).await;
    for _ in 0..5 {
        a.publish(&first, Bytes::from_static(b"first")).await.unwrap();
        a.publish(&second, Bytes::from_static(b"second")).await.unwrap();
        assert_eq!(next_message(&*b, &mut at_first).await, "first");
        assert_eq!(next_message(&*b, &mut at_second).await, "second");
    }
}

/// A node leaves a topic with its last subscription and not before, and can subscribe again.
pub async fn dropping_unsubscribes(network: &dyn Network) {
    let (a, b) = pair(network).await;
    let topic = topic(6);
    let first = b.subscribe(&topic).await.unwrap();
    let mut second = b.subscribe(&topic).await.unwrap();
    until_subscribed(&*a, &topic, 1).await;
    drop(first);
    a.publish(&topic, Bytes::from_static(b"still here")).await.unwrap();
    assert_eq!(next_message(&*b, &mut second).await, "still here");

    drop(second);
    // Leaving causes no event, so that the subscriber count is polled.
    within("unsubscribing", async {
        while a.subscribers(&topic).await.unwrap() > 0 {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(a.publish(&topic, Bytes::new()).await.unwrap_err().kind(), ErrorKind::NoSubscribers);

    let mut again = b.subscribe(&topic).await.unwrap();
    until_subscribed(&*a, &topic, 1).await;
    a.publish(&topic, Bytes::from_static(b"welcome back")).await.unwrap();
    assert_eq!(next_message(&*b, &mut again).await, "welcome back");
}

/// Publishing fails if no remote node is subscribed; own subscriptions do not count.
pub async fn publishing_without_subscribers_fails(network: &dyn Network) {
    let (a, _b) = pair(network).await;
    let topic = topic(7);
    for _ in 0..2 {
        let error = a.publish(&topic, Bytes::from_static(b"hello?")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoSubscribers);
        assert!(error.is_retryable());
    }
    let _own = a.subscribe(&topic).await.unwrap();
    assert_eq!(a.subscribers(&topic).await.unwrap(), 0);
    assert_eq!(a.publish(&topic, Bytes::new()).await.unwrap_err().kind(), ErrorKind::NoSubscribers);
}

/// A node can publish to a topic without being subscribed.
pub async fn publishing_without_subscribing_works(network: &dyn Network) {
    let (a, b) = pair(network).await;
    let topic = topic(8);
    let mut at_b = b.subscribe(&topic).await.unwrap();
    until_subscribed(&*a, &topic, 1).await;
    a.publish(&topic, Bytes::from_static(b"from outside")).await.unwrap();
    assert_eq!(next_message(&*b, &mut at_b).await, "from outside");
}

/// Every size from 0 to the declared maximum is delivered unchanged; one byte more is refused.
pub async fn carries_all_sizes(network: &dyn Network) {
    let (a, b) = pair(network).await;
    let topic = topic(9);
    let max = a.capabilities().max_message;
    assert!(max >= 16_384, "the contract asks for 16,384 bytes: {max}");
    let mut at_b = b.subscribe(&topic).await.unwrap();
    until_subscribed(&*a, &topic, 1).await;
    let around = |power: u32| [(1 << power) - 1, 1 << power, (1 << power) + 1];
    let sizes = (0..=14).flat_map(around).chain([max - 1, max]).filter(|size| *size <= max);
    for size in sizes {
        let message: Vec<u8> = (0..size).map(|index| (index * 31 + size) as u8).collect();
        a.publish(&topic, message.clone().into()).await.unwrap();
        assert_eq!(next_message(&*b, &mut at_b).await, message, "{size} bytes");
    }
    let error = a.publish(&topic, vec![0; max + 1].into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(!error.is_retryable());
}

/// A reader too slow for a burst is informed how many messages it missed: in process, delivered and
/// missed messages add up to those sent; on a network, where more can be lost, they are at most as
/// many. No message is delivered twice.
pub async fn a_slow_reader_is_informed_of_missed_messages(network: &dyn Network) {
    const BURST: u32 = 1000;
    const LAST: u32 = u32::MAX;
    let (a, b) = pair(network).await;
    let topic = topic(10);
    let slow = b.subscribe(&topic).await.unwrap();
    let fast = b.subscribe(&topic).await.unwrap();
    until_subscribed(&*a, &topic, 1).await;

    let mut reading = tokio::spawn(read_until(b.clone(), fast, LAST));
    let mut sent = 0;
    for number in 0..BURST {
        match a.publish(&topic, number.to_be_bytes().to_vec().into()).await {
            Ok(()) => sent += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Full),
        }
    }
    // Repeat the last message, which can be lost like any other.
    within("the last message", async {
        loop {
            match a.publish(&topic, LAST.to_be_bytes().to_vec().into()).await {
                Ok(()) => sent += 1,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Full),
            }
            if timeout(Duration::from_millis(100), &mut reading).await.is_ok() {
                break;
            }
        }
    })
    .await;

    b.shutdown().await;
    let slow = read_to_the_end(slow).await;
    assert_eq!(slow.repeated, 0);
    if b.capabilities().network {
        assert!(slow.delivered > 0 && slow.delivered + slow.lagged <= sent, "{slow:?} of {sent}");
    } else {
        assert_eq!(slow.delivered + slow.lagged, sent, "{slow:?}");
    }
}

async fn read_until(node: Arc<dyn Signaling>, mut subscription: Subscription, last: u32) {
    while let Some(event) = subscription.next().await {
        if let SubscriptionEvent::Delivery(delivery) = event {
            node.report(delivery.id, Verdict::Accept);
            if delivery.message == last.to_be_bytes().as_slice() {
                return;
            }
        }
    }
}

#[derive(Debug, Default)]
struct Tally {
    delivered: u64,
    lagged: u64,
    repeated: u64,
}

async fn read_to_the_end(mut subscription: Subscription) -> Tally {
    let mut tally = Tally::default();
    let mut ids = HashSet::new();
    while let Some(event) = within("the subscription's end", subscription.next()).await {
        match event {
            SubscriptionEvent::Delivery(delivery) => {
                tally.delivered += 1;
                tally.repeated += u64::from(!ids.insert(delivery.id));
            }
            SubscriptionEvent::Lagged(count) => tally.lagged += count,
        }
    }
    tally
}
