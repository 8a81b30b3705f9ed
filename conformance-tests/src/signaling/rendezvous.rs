//! Finding subscribers without an address.

use std::time::Duration;

use blink_api::{ErrorKind, SignalingEvent};
use bytes::Bytes;

use super::{Network, next_message, topic, until_event, within};

/// Pause between searches, as the engine makes them.
const SEARCH_PAUSE: Duration = Duration::from_millis(200);

/// A node that announced a topic is found by another one that knows the topic only, also if the
/// search began before. Without the capability both methods fail with `Unsupported`.
pub async fn announced_subscribers_are_found(network: &dyn Network) {
    let (a, b) = (network.start_findable("a").await, network.start_findable("b").await);
    let topic = topic(9);
    for node in [&a, &b] {
        if !node.capabilities().rendezvous {
            assert_eq!(node.announce(&topic).await.unwrap_err().kind(), ErrorKind::Unsupported);
            assert_eq!(node.find(&topic).await.unwrap_err().kind(), ErrorKind::Unsupported);
            return;
        }
    }
    let mut events = b.events();
    b.find(&topic).await.expect("a search without a result is no failure");
    a.announce(&topic).await.expect("the node is running");
    a.announce(&topic).await.expect("a second announcement has no effect");
    let mut at_a = a.subscribe(&topic).await.expect("the node is running");
    within("finding the subscriber", async {
        while b.subscribers(&topic).await.expect("the node is running") == 0 {
            b.find(&topic).await.expect("the node is running");
            tokio::time::sleep(SEARCH_PAUSE).await;
        }
    })
    .await;
    until_event("the subscriber", &mut events, |event| *event == SignalingEvent::SubscriberJoined(topic)).await;
    b.publish(&topic, Bytes::from_static(b"found")).await.expect("a subscriber is known");
    assert_eq!(next_message(&*a, &mut at_a).await, "found");
    for node in [a, b] {
        within("shutdown", node.shutdown()).await;
        assert_eq!(node.announce(&topic).await.unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(node.find(&topic).await.unwrap_err().kind(), ErrorKind::Closed);
    }
}
