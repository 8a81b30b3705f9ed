//! Subscribers slower than the network.

#[path = "../../kit/tests/network/nodes.rs"]
mod nodes;
mod own;

use blink_api::{ErrorKind, Signaling, Subscription, SubscriptionEvent, Verdict};
use blink_signaling_ipfs::IpfsSignaling;
use bytes::Bytes;
use nodes::{TCP, TOPIC, address, node, until_subscribed, within};

const BURST: u64 = 1_000;

/// Counts delivered and lagged messages of a subscription until its node is shut down.
async fn read_to_the_end(mut subscription: Subscription) -> (u64, u64) {
    let (mut given, mut missed) = (0, 0);
    while let Some(event) = within("the subscription's end", subscription.next()).await {
        match event {
            SubscriptionEvent::Delivery(_) => given += 1,
            SubscriptionEvent::Lagged(lost) => missed += lost,
        }
    }
    (given, missed)
}

/// Two subscribers of one topic, one of which never reads: its delivered and lagged messages add up
/// to as many as the other's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_received_message_is_delivered_or_counted_as_lagged() {
    let (a, b) = (node(TCP).await, std::sync::Arc::new(node(TCP).await));
    within("connecting", b.connect(&address(&a).await)).await.unwrap();
    let slow = b.subscribe(&TOPIC).await.unwrap();
    let mut fast = b.subscribe(&TOPIC).await.unwrap();
    until_subscribed(&a, &TOPIC, 1).await;
    let judge: std::sync::Arc<IpfsSignaling> = b.clone();
    let reading = tokio::spawn(async move {
        let (mut given, mut missed) = (0, 0);
        while let Some(event) = fast.next().await {
            match event {
                SubscriptionEvent::Delivery(delivery) => {
                    judge.report(delivery.id, Verdict::Accept);
                    given += 1;
                }
                SubscriptionEvent::Lagged(lost) => missed += lost,
            }
        }
        (given, missed)
    });
    let mut sent = 0;
    while sent < BURST {
        match a.publish(&TOPIC, Bytes::from(sent.to_be_bytes().to_vec())).await {
            Ok(()) => sent += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Full),
        }
    }
    // Shutdown flushes what was published.
    within("shutdown", a.shutdown()).await;
    within("shutdown", b.shutdown()).await;
    let (given, missed) = reading.await.unwrap();
    let (slow_given, slow_missed) = read_to_the_end(slow).await;
    assert_eq!(slow_given + slow_missed, given + missed);
    assert!(slow_missed > 0, "{slow_given} given of {given} and {missed}");
}
