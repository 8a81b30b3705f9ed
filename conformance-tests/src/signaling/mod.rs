//! Conformance tests for signaling backends.
//!
//! The author of a backend implements [`Network`] and adds one line to a test file, which creates
//! one test per case, and one for the registration where a name is given:
//!
//! ```ignore
//! blink_conformance::signaling_tests!(my_backend, MyNetwork::default(), registered as "mine");
//! ```
//!
//! Each case starts its own nodes, `a` to `c`, of which each connects to the one before it. A wait
//! ends with its event, or fails after [`PATIENCE`]. A failure names the node, the step, what the
//! contract expects and where it says so. Each case runs under the
//! [`watchdog`](mod@crate::watchdog): a method that never returns, or exceeds the limits of the
//! contract, is named. Where many cases fail, look at `delivers_both_ways` first.

mod lifecycle;
mod messages;
mod neighbours;
mod node;
mod rendezvous;

use std::sync::Arc;
use std::time::Duration;

use blink_api::macros::async_trait;
use blink_api::{Signaling, Topic};
use futures_core::future::LocalBoxFuture;

use crate::watchdog::{self, Progress};
use crate::watched::WatchedSignaling;

pub use lifecycle::{
    invalid_and_unreachable_addresses_fail, nothing_is_told_after_shutdown, reconnects_after_the_other_node_restarts,
    shutdown_ends_everything, shutdown_sends_what_was_published, subscribers_are_announced,
};
pub use messages::{
    a_slow_reader_is_informed_of_missed_messages, carries_all_sizes, delivers_both_ways, dropping_unsubscribes,
    each_message_is_delivered_once, every_subscription_gets_every_message, own_messages_do_not_come_back,
    publishing_without_subscribers_fails, publishing_without_subscribing_works, topics_are_separate,
};
pub use neighbours::{
    a_dropped_node_leaves_the_network, connects_to_a_node_that_starts_later, forwarding_is_as_declared,
};
pub use node::Node;
pub(crate) use node::{next_delivery, next_message, pair, start, until_event, until_subscribed, within};
pub use rendezvous::announced_subscribers_are_found;

/// Timeout of an event, also on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Time limit of a case; several waits may be close to [`PATIENCE`].
const CASE_LIMIT: Duration = Duration::from_secs(120);

/// Factory of nodes on a network of their own.
#[async_trait]
pub trait Network: Send + Sync {
    /// Starts a node that is reachable at its first address. A name that was used before, by a node
    /// that has been shut down, must start a node at the same address. The network keeps no
    /// reference to the node: a case may drop it.
    ///
    /// # Errors
    /// Those of the backend. The case then fails with it.
    async fn start(&self, name: &str) -> blink_api::Result<Arc<dyn Signaling>>;

    /// Starts a node that finds others of this network without their addresses, where its backend
    /// declares [`rendezvous`](blink_api::SignalingCapabilities::rendezvous). The default serves
    /// backends that need no configuration for that.
    ///
    /// # Errors
    /// As [`start`](Network::start).
    async fn start_findable(&self, name: &str) -> blink_api::Result<Arc<dyn Signaling>> {
        self.start(name).await
    }
}

/// Case of the suite.
pub type Case = for<'a> fn(&'a dyn Network) -> LocalBoxFuture<'a, ()>;

/// Runs a case as a test, under the watchdog.
///
/// # Panics
/// The case fails.
pub fn run_case<N: Network + 'static>(name: &'static str, network: impl FnOnce() -> N + Send + 'static, case: Case) {
    run_case_within(CASE_LIMIT, name, network, case);
}

/// As [`run_case`], with another time limit.
///
/// # Panics
/// The case fails.
pub fn run_case_within<N: Network + 'static>(
    limit: Duration,
    name: &'static str,
    network: impl FnOnce() -> N + Send + 'static,
    case: Case,
) {
    let progress = Progress::default();
    let watching = progress.clone();
    watchdog::run_async_test(name, limit, &progress, move || async move {
        let network = WatchedNetwork { inner: network(), progress: watching };
        case(&network).await;
    });
}

struct WatchedNetwork<N> {
    inner: N,
    progress: Progress,
}

impl<N> WatchedNetwork<N> {
    fn watch(&self, name: &str, inner: Arc<dyn Signaling>) -> Arc<dyn Signaling> {
        Arc::new(WatchedSignaling { inner, node: name.to_owned(), progress: self.progress.clone() })
    }
}

#[async_trait]
impl<N: Network> Network for WatchedNetwork<N> {
    async fn start(&self, name: &str) -> blink_api::Result<Arc<dyn Signaling>> {
        let inner = self.inner.start(name).await?;
        Ok(self.watch(name, inner))
    }

    async fn start_findable(&self, name: &str) -> blink_api::Result<Arc<dyn Signaling>> {
        let inner = self.inner.start_findable(name).await?;
        Ok(self.watch(name, inner))
    }
}

/// Creates one test per case, in a module with the given name. The expression creates a
/// [`Network`](crate::signaling::Network), in the runtime of the case.
///
/// With `registered as "NAME"`, one more test verifies the registration: see
/// [`registration`](crate::registration).
#[macro_export]
macro_rules! signaling_tests {
    ($backend:ident, $network:expr, registered as $name:literal) => {
        mod $backend {
            use super::*;

            $crate::signaling_tests! { @all $network }

            #[test]
            fn registration() {
                $crate::registration::verify::<dyn ::blink_api::Signaling>($name);
            }
        }
    };
    ($backend:ident, $network:expr) => {
        mod $backend {
            use super::*;

            $crate::signaling_tests! { @all $network }
        }
    };
    (@all $network:expr) => {
        $crate::signaling_tests! { @cases $network,
            delivers_both_ways
            own_messages_do_not_come_back
            every_subscription_gets_every_message
            each_message_is_delivered_once
            topics_are_separate
            dropping_unsubscribes
            publishing_without_subscribers_fails
            publishing_without_subscribing_works
            carries_all_sizes
            a_slow_reader_is_informed_of_missed_messages
            subscribers_are_announced
            invalid_and_unreachable_addresses_fail
            connects_to_a_node_that_starts_later
            forwarding_is_as_declared
            a_dropped_node_leaves_the_network
            shutdown_sends_what_was_published
            shutdown_ends_everything
            nothing_is_told_after_shutdown
            reconnects_after_the_other_node_restarts
            announced_subscribers_are_found
        }
    };
    (@cases $network:expr, $($case:ident)*) => {
        $(
            #[test]
            fn $case() {
                $crate::signaling::run_case(stringify!($case), || $network, |network| {
                    Box::pin($crate::signaling::$case(network))
                });
            }
        )*
    };
}

fn topic(number: u8) -> Topic {
    Topic::from_bytes([number; 32])
}
