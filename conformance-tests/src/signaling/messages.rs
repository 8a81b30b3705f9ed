//! Publishing and receiving.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use blink_api::{Error, ErrorKind, Signaling, Subscription, SubscriptionEvent, Verdict};
use bytes::Bytes;
use tokio::time::{sleep, timeout};

use super::{Network, Node, next_delivery, next_message, pair, topic, until_subscribed, within};
use crate::explain;

/// Clause about publishing to a topic without a subscriber.
const REFUSED: &str = "Signaling::publish: NoSubscribers where no subscriber is known; own subscriptions do not count";
/// Whether an error is retryable, as text.
const RETRYABLE: (&str, &str) = ("an error that is retryable", "an error that is not retryable");

/// Messages are delivered unchanged in both directions, with an origin if the capabilities declare
/// it.
pub async fn delivers_both_ways(network: &dyn Network) {
    let (a, b) = pair(network).await;
    let topic = topic(1);
    let mut at_a = a.subscribes(&topic).await;
    let mut at_b = b.subscribes(&topic).await;
    until_subscribed(&a, &topic, 1).await;
    until_subscribed(&b, &topic, 1).await;
    let mut origins = HashSet::new();
    for round in 0..10u8 {
        a.publishes(&topic, vec![b'a', round]).await;
        let delivery = next_delivery(&b, &mut at_b, &[b'a', round]).await;
        is_unchanged(&b, &delivery.message, &[b'a', round]);
        origins.insert(delivery.origin);
        b.publishes(&topic, vec![b'b', round]).await;
        let delivery = next_delivery(&a, &mut at_a, &[b'b', round]).await;
        is_unchanged(&a, &delivery.message, &[b'b', round]);
        origins.insert(delivery.origin);
    }
    let expected = if a.capabilities().origins { "one origin for each node" } else { "no origin" };
    let holds = match a.capabilities().origins {
        true => origins.len() == 2 && !origins.contains(&None),
        false => origins == HashSet::from([None]),
    };
    let clause = "Delivery::origin: the node a message came from, as SignalingCapabilities::origins declares";
    a.must(
        holds,
        "compares the origins of messages of both nodes",
        expected.to_owned(),
        format!("{origins:?}"),
        clause,
    );
}

fn is_unchanged(node: &Node, got: &[u8], expected: &[u8]) {
    // The cases number their messages in the last byte.
    let before = expected.split_last().and_then(|(last, head)| Some([head, &[last.checked_sub(1)?]].concat()));
    let is_again = before.as_deref() == Some(got);
    let (expected, mut got, same) = (explain::bytes(expected), explain::bytes(got), expected == got);
    if is_again {
        got.push_str(", the message before once more: look at `each_message_is_delivered_once`");
    }
    node.must(same, "reads the next message", expected, got, "Delivery::message: the bytes as published");
}

/// Each message is delivered once, also where nodes are connected more than once.
pub async fn each_message_is_delivered_once(network: &dyn Network) {
    const COUNT: u8 = 20;
    let (a, b) = pair(network).await;
    // A second connection, in the other direction.
    super::node::connect(&a, &b).await;
    let topic = topic(14);
    let mut at_b = b.subscribes(&topic).await;
    until_subscribed(&a, &topic, 1).await;
    a.has_subscribers(&topic, 1, "counts subscribers of a node that is connected twice").await;
    let mut seen = HashSet::new();
    for number in 0..COUNT {
        a.publishes(&topic, vec![number]).await;
        let got = next_delivery(&b, &mut at_b, &[number]).await.message;
        let is_new = seen.insert(got.clone());
        let clause = "trait Signaling: messages are delivered at most once";
        b.must(
            is_new,
            "reads messages",
            "each message once".to_owned(),
            format!("{} again", explain::bytes(&got)),
            clause,
        );
    }
    if let Ok(Some(SubscriptionEvent::Delivery(delivery))) = timeout(Duration::from_millis(300), at_b.next()).await {
        let got = explain::bytes(&delivery.message);
        b.fails("reads on after all messages", "nothing".to_owned(), got, "trait Signaling: delivered at most once");
    }
}

/// A node does not receive its own messages on a topic that it is subscribed to.
pub async fn own_messages_do_not_come_back(network: &dyn Network) {
    let (a, b) = pair(network).await;
    let topic = topic(2);
    let mut at_a = a.subscribes(&topic).await;
    let mut at_b = b.subscribes(&topic).await;
    until_subscribed(&a, &topic, 1).await;
    until_subscribed(&b, &topic, 1).await;
    a.publishes(&topic, &b"a's"[..]).await;
    next_message(&b, &mut at_b, b"a's").await;
    for _ in 0..5 {
        b.publishes(&topic, &b"b's"[..]).await;
        next_message(&a, &mut at_a, b"b's").await;
    }
}

/// Two subscriptions of one topic at one node both receive all messages.
pub async fn every_subscription_gets_every_message(network: &dyn Network) {
    let (a, b) = pair(network).await;
    let topic = topic(3);
    let mut first = b.subscribes(&topic).await;
    let mut second = b.subscribes(&topic).await;
    until_subscribed(&a, &topic, 1).await;
    a.has_subscribers(&topic, 1, "counts subscribers, where one node has two subscriptions").await;
    for round in 0..5u8 {
        a.publishes(&topic, vec![round]).await;
        next_message(&b, &mut first, &[round]).await;
        next_message(&b, &mut second, &[round]).await;
    }
}

/// A message is delivered on its own topic only.
pub async fn topics_are_separate(network: &dyn Network) {
    let (a, b) = pair(network).await;
    let (first, second) = (topic(4), topic(5));
    let mut at_first = b.subscribes(&first).await;
    let mut at_second = b.subscribes(&second).await;
    until_subscribed(&a, &first, 1).await;
    until_subscribed(&a, &second, 1).await;
    for _ in 0..5 {
        a.publishes(&first, &b"first"[..]).await;
        a.publishes(&second, &b"second"[..]).await;
        next_message(&b, &mut at_first, b"first").await;
        next_message(&b, &mut at_second, b"second").await;
    }
}

/// A node leaves a topic with its last subscription and not before, and can subscribe again.
pub async fn dropping_unsubscribes(network: &dyn Network) {
    let (a, b) = pair(network).await;
    let topic = topic(6);
    let first = b.subscribes(&topic).await;
    let mut second = b.subscribes(&topic).await;
    until_subscribed(&a, &topic, 1).await;
    drop(first);
    a.publishes(&topic, &b"still here"[..]).await;
    next_message(&b, &mut second, b"still here").await;

    drop(second);
    // Leaving causes no event, so that the subscriber count is polled.
    within(a.name(), "waits until the other node's last subscription is dropped (Signaling::subscribers)", async {
        while a.counts(&topic).await > 0 {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let result = a.publish(&topic, Bytes::new()).await;
    a.is_refused("publishes after the last subscriber left", result, ErrorKind::NoSubscribers, REFUSED);

    let mut again = b.subscribes(&topic).await;
    until_subscribed(&a, &topic, 1).await;
    a.publishes(&topic, &b"welcome back"[..]).await;
    next_message(&b, &mut again, b"welcome back").await;
}

/// Publishing fails if no remote node is subscribed; own subscriptions do not count.
pub async fn publishing_without_subscribers_fails(network: &dyn Network) {
    let (a, _b) = pair(network).await;
    let topic = topic(7);
    for _ in 0..2 {
        let result = a.publish(&topic, Bytes::from_static(b"hello?")).await;
        let error = a.is_refused("publishes without subscribers", result, ErrorKind::NoSubscribers, REFUSED);
        a.must(error.is_retryable(), "publishes without subscribers", RETRYABLE.0.into(), RETRYABLE.1.into(), REFUSED);
    }
    let _own = a.subscribes(&topic).await;
    a.has_subscribers(&topic, 0, "counts subscribers of a topic that only it is subscribed to").await;
    let result = a.publish(&topic, Bytes::new()).await;
    a.is_refused("publishes to a topic that only it is subscribed to", result, ErrorKind::NoSubscribers, REFUSED);
}

/// A node can publish to a topic without being subscribed.
pub async fn publishing_without_subscribing_works(network: &dyn Network) {
    let (a, b) = pair(network).await;
    let topic = topic(8);
    let mut at_b = b.subscribes(&topic).await;
    until_subscribed(&a, &topic, 1).await;
    a.publishes(&topic, &b"from outside"[..]).await;
    next_message(&b, &mut at_b, b"from outside").await;
}

/// Every size from 0 to the declared maximum is delivered unchanged; one byte more is refused.
pub async fn carries_all_sizes(network: &dyn Network) {
    let (a, b) = pair(network).await;
    let topic = topic(9);
    let max = a.capabilities().max_message;
    let clause = "SignalingCapabilities::max_message: at least 16,384";
    a.must(max >= 16_384, "declares its longest message", "at least 16,384".to_owned(), max.to_string(), clause);
    let mut at_b = b.subscribes(&topic).await;
    until_subscribed(&a, &topic, 1).await;
    let around = |power: u32| [(1 << power) - 1, 1 << power, (1 << power) + 1];
    let sizes = (0..=14).flat_map(around).chain([max - 1, max]).filter(|size| *size <= max);
    for size in sizes {
        let message: Vec<u8> = (0..size).map(|index| (index * 31 + size) as u8).collect();
        a.publishes(&topic, message.clone()).await;
        next_message(&b, &mut at_b, &message).await;
    }
    let step = "publishes one byte more than `max_message`";
    let result = a.publish(&topic, vec![0; max + 1].into()).await;
    let error = a.is_refused(step, result, ErrorKind::TooLarge, "Signaling::publish, section Errors");
    a.must(!error.is_retryable(), step, RETRYABLE.1.into(), RETRYABLE.0.into(), "ErrorKind::TooLarge is not retryable");
}

/// A reader too slow for a burst is informed how many messages it missed: in process, delivered and
/// missed messages add up to those sent; on a network, where more can be lost, they are at most as
/// many. No message is delivered twice.
pub async fn a_slow_reader_is_informed_of_missed_messages(network: &dyn Network) {
    const BURST: u32 = 1000;
    const LAST: u32 = u32::MAX;
    let (a, b) = pair(network).await;
    let topic = topic(10);
    let slow = b.subscribes(&topic).await;
    let fast = b.subscribes(&topic).await;
    until_subscribed(&a, &topic, 1).await;

    let mut reading = tokio::spawn(read_until(b.shared(), fast, LAST));
    let mut sent = 0;
    for number in 0..BURST {
        match a.publish(&topic, number.to_be_bytes().to_vec().into()).await {
            Ok(()) => sent += 1,
            Err(error) => is_full(&a, &error),
        }
    }
    // Repeat the last message, which can be lost like any other.
    within(b.name(), "waits for the last message of a burst, which is repeated", async {
        loop {
            match a.publish(&topic, LAST.to_be_bytes().to_vec().into()).await {
                Ok(()) => sent += 1,
                Err(error) => is_full(&a, &error),
            }
            if timeout(Duration::from_millis(100), &mut reading).await.is_ok() {
                break;
            }
        }
    })
    .await;

    b.shutdown().await;
    let slow = read_to_the_end(&b, slow).await;
    let clause = "SubscriptionEvent::Lagged: number of messages dropped because this reader was slow";
    let got = format!("{slow:?}");
    let step = format!("reads {sent} messages after all were sent, with a queue that is too short for them");
    b.must(slow.repeated == 0, &step, "no delivery twice".to_owned(), got.clone(), "DeliveryId: unique in its backend");
    match b.capabilities().network {
        true => {
            let holds = slow.delivered > 0 && slow.delivered + slow.lagged <= sent;
            b.must(holds, &step, "delivered + lagged of at most as many".to_owned(), got, clause);
        }
        false => {
            let holds = slow.delivered + slow.lagged == sent;
            b.must(holds, &step, "delivered + lagged of exactly as many".to_owned(), got, clause);
        }
    }
}

fn is_full(node: &Node, error: &Error) {
    let expected = "Ok, or an error of kind Full".to_owned();
    let holds = error.kind() == ErrorKind::Full;
    node.must(holds, "publishes a burst", expected, explain::error(error), "Signaling::publish, section Errors");
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

async fn read_to_the_end(node: &Node, mut subscription: Subscription) -> Tally {
    let mut tally = Tally::default();
    let mut ids = HashSet::new();
    while let Some(event) =
        within(node.name(), "reads until its subscription ends, after its shutdown", subscription.next()).await
    {
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
