//! Conformance tests for signaling backends.
//!
//! The author of a backend implements [`Network`] and adds one line to a test file, which creates
//! one test per case:
//!
//! ```ignore
//! blink_conformance::signaling_tests!(my_backend, MyNetwork::default());
//! ```
//!
//! Each case starts its own nodes. A wait ends with its event, or fails after [`PATIENCE`].

mod lifecycle;
mod messages;
mod rendezvous;

use std::sync::Arc;
use std::time::Duration;

use blink_api::macros::async_trait;
use blink_api::{Delivery, Signaling, SignalingEvent, Subscription, SubscriptionEvent, Topic};
use bytes::Bytes;
use tokio::sync::broadcast;
use tokio::time::timeout;

pub use lifecycle::{
    invalid_and_unreachable_addresses_fail, reconnects_after_the_other_node_restarts, shutdown_ends_everything,
    shutdown_sends_what_was_published, subscribers_are_announced,
};
pub use messages::{
    a_slow_reader_is_informed_of_missed_messages, carries_all_sizes, delivers_both_ways, dropping_unsubscribes,
    every_subscription_gets_every_message, own_messages_do_not_come_back, publishing_without_subscribers_fails,
    publishing_without_subscribing_works, topics_are_separate,
};
pub use rendezvous::announced_subscribers_are_found;

/// Timeout of an event, also on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Factory of nodes on a network of their own.
#[async_trait]
pub trait Network: Send + Sync {
    /// Starts a node that is reachable at its first address. A name that was used before, by a node
    /// that has been shut down, must start a node at the same address.
    async fn start(&self, name: &str) -> Arc<dyn Signaling>;

    /// Starts a node that finds others of this network without their addresses, where its backend
    /// declares [`rendezvous`](blink_api::SignalingCapabilities::rendezvous). The default serves
    /// backends that need no configuration for that.
    async fn start_findable(&self, name: &str) -> Arc<dyn Signaling> {
        self.start(name).await
    }
}

/// Creates one test per case, in a module with the given name. The expression creates a
/// [`Network`](crate::signaling::Network).
#[macro_export]
macro_rules! signaling_tests {
    ($backend:ident, $network:expr) => {
        mod $backend {
            use super::*;

            $crate::signaling_tests! { @cases $network,
                delivers_both_ways
                own_messages_do_not_come_back
                every_subscription_gets_every_message
                topics_are_separate
                dropping_unsubscribes
                publishing_without_subscribers_fails
                publishing_without_subscribing_works
                carries_all_sizes
                a_slow_reader_is_informed_of_missed_messages
                subscribers_are_announced
                invalid_and_unreachable_addresses_fail
                shutdown_sends_what_was_published
                shutdown_ends_everything
                reconnects_after_the_other_node_restarts
                announced_subscribers_are_found
            }
        }
    };
    (@cases $network:expr, $($case:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::signaling::$case(&$network).await;
            }
        )*
    };
}

/// Starts two nodes, the second connected to the first.
pub async fn pair(network: &dyn Network) -> (Arc<dyn Signaling>, Arc<dyn Signaling>) {
    let (a, b) = (network.start("a").await, network.start("b").await);
    let address = first_address(&*a).await;
    within("connecting", b.connect(&address)).await.expect("the other node answers");
    (a, b)
}

/// Returns the most widely reachable address.
pub async fn first_address(node: &dyn Signaling) -> String {
    let addresses = within("addresses", node.addresses()).await.expect("the node is running");
    addresses.into_iter().next().expect("a node can be reached")
}

/// Waits until a node knows this many remote subscribers of a topic.
pub async fn until_subscribed(node: &dyn Signaling, topic: &Topic, count: usize) {
    let mut events = node.events();
    within("subscriptions of others", async {
        while node.subscribers(topic).await.expect("the node is running") < count {
            next_event(&mut events).await;
        }
    })
    .await;
}

/// Waits for the next message and accepts it; panics if messages were lost.
pub async fn next_message(node: &dyn Signaling, subscription: &mut Subscription) -> Bytes {
    next_delivery(node, subscription).await.message
}

/// As [`next_message`], but returns the whole delivery.
pub async fn next_delivery(node: &dyn Signaling, subscription: &mut Subscription) -> Delivery {
    match within("a message", subscription.next()).await {
        Some(SubscriptionEvent::Delivery(delivery)) => {
            node.report(delivery.id, blink_api::Verdict::Accept);
            delivery
        }
        other => panic!("expected a message, got {other:?}"),
    }
}

/// Waits for an event. Returns `None` if the reader lagged, since any event may have been missed.
pub async fn next_event(events: &mut broadcast::Receiver<SignalingEvent>) -> Option<SignalingEvent> {
    match events.recv().await {
        Ok(event) => Some(event),
        Err(broadcast::error::RecvError::Lagged(_)) => None,
        Err(broadcast::error::RecvError::Closed) => panic!("the node's events ended"),
    }
}

/// Waits for an event that matches.
pub async fn until_event(
    what: &str,
    events: &mut broadcast::Receiver<SignalingEvent>,
    matches: impl Fn(&SignalingEvent) -> bool,
) {
    within(what, async { while !next_event(events).await.is_some_and(|event| matches(&event)) {} }).await;
}

/// Fails the test if a future does not complete in time.
pub async fn within<F: Future>(what: &str, future: F) -> F::Output {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

fn topic(number: u8) -> Topic {
    Topic::from_bytes([number; 32])
}
