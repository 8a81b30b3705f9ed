//! Finding subscribers without an address.

use std::time::Duration;

use blink_api::{ErrorKind, SignalingEvent};

use super::node::{Node, start_findable};
use super::{Network, next_message, topic, until_event, within};

/// Pause between searches, as the engine makes them.
const SEARCH_PAUSE: Duration = Duration::from_millis(200);
const UNDECLARED: &str = "SignalingCapabilities::rendezvous: without it, announce and find are Unsupported";
const CLOSED: &str = "Signaling::announce, Signaling::find: Closed after `shutdown`";

/// A node that announced a topic is found by another one that knows the topic only, also if the
/// search began before. Without the capability both methods fail with `Unsupported`.
pub async fn announced_subscribers_are_found(network: &dyn Network) {
    let (a, b) = (start_findable(network, "a").await, start_findable(network, "b").await);
    let topic = topic(9);
    for node in [&a, &b] {
        if !node.capabilities().rendezvous {
            return are_refused(node, ErrorKind::Unsupported, UNDECLARED).await;
        }
    }
    let mut events = b.events();
    b.finds(&topic).await;
    a.announces(&topic).await;
    // A second announcement has no effect.
    a.announces(&topic).await;
    let mut at_a = a.subscribes(&topic).await;
    within(b.name(), "finds the subscriber of a topic (Signaling::find)", async {
        while b.counts(&topic).await == 0 {
            b.finds(&topic).await;
            tokio::time::sleep(SEARCH_PAUSE).await;
        }
    })
    .await;
    let joined = |event: &SignalingEvent| *event == SignalingEvent::SubscriberJoined(topic);
    until_event(&b, "SubscriberJoined", &mut events, joined).await;
    b.publishes(&topic, &b"found"[..]).await;
    next_message(&a, &mut at_a, b"found").await;
    for node in [a, b] {
        within(node.name(), "shuts down", node.shutdown()).await;
        are_refused(&node, ErrorKind::Closed, CLOSED).await;
    }
}

async fn are_refused(node: &Node, kind: ErrorKind, clause: &str) {
    let topic = topic(9);
    node.is_refused("announces a topic", node.announce(&topic).await, kind, clause);
    node.is_refused("searches for a topic", node.find(&topic).await, kind, clause);
}
