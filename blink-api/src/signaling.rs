//! Signaling: opaque messages on opaque topics, before a media path exists.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{broadcast, mpsc};

use crate::{Error, ErrorKind, Result, SignalingCapabilities};

/// A publish-subscribe network.
///
/// Messages are delivered at most once, in any order; the engine retransmits them. A signaling
/// backend knows nothing of calls, and its messages are encrypted.
///
/// # Topology
/// Two nodes reach each other where one has [connected](Signaling::connect) to the other. With
/// [`forwarding`](SignalingCapabilities::forwarding) they also do through nodes between them that
/// are subscribed to the topic and report [`Verdict::Accept`]; without it, programs must connect
/// every two nodes. In the lab of the conformance suite, each node connects to the first address of
/// every node that runs when it starts.
///
/// # Timing
/// [`publish`](Signaling::publish), [`subscribe`](Signaling::subscribe),
/// [`subscribers`](Signaling::subscribers) and [`addresses`](Signaling::addresses) return within
/// 1 s, also while other nodes do not answer: a backend queues or refuses, and never waits for the
/// network. [`report`](Signaling::report) and [`events`](Signaling::events) never block.
/// [`connect`](Signaling::connect) returns within 30 s, [`shutdown`](Signaling::shutdown) within
/// 5 s.
///
/// # Drop
/// A node that is dropped without a shutdown leaves the network as after one, within 5 s; what it
/// published may be lost. Subscriptions do not keep it alive, and end with it.
#[async_trait]
pub trait Signaling: Send + Sync {
    /// Capabilities of this backend, as in its registry entry.
    fn capabilities(&self) -> SignalingCapabilities;

    /// Subscribes to a topic; dropping the [`Subscription`] unsubscribes. Each of several
    /// subscriptions of one topic receives every message. Own messages are not delivered.
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed) after `shutdown`.
    ///
    /// # Cancellation
    /// Where the future is dropped, the topic is not subscribed to.
    async fn subscribe(&self, topic: &Topic) -> Result<Subscription>;

    /// Publishes to a topic, which need not be subscribed to. `Ok` means that the message was
    /// handed to the network, not that it was delivered.
    ///
    /// # Errors
    /// [`NoSubscribers`](crate::ErrorKind::NoSubscribers) where no subscriber is known (nothing is
    /// queued), [`TooLarge`](crate::ErrorKind::TooLarge), [`Full`](crate::ErrorKind::Full),
    /// [`Closed`](crate::ErrorKind::Closed).
    ///
    /// # Cancellation
    /// Where the future is dropped, the message is published as a whole or not at all.
    async fn publish(&self, topic: &Topic, message: Bytes) -> Result<()>;

    /// Number of other nodes known to be subscribed to the topic.
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed).
    ///
    /// # Cancellation
    /// Has no side effects.
    async fn subscribers(&self, topic: &Topic) -> Result<usize>;

    /// Reports the verdict on a delivery, by which the network forwards the message and scores its
    /// sender. Each delivery is reported once; a second report and one that comes too late are
    /// ignored.
    fn report(&self, delivery: DeliveryId, verdict: Verdict);

    /// Connects to a node, and reconnects whenever the connection is lost, until `shutdown`.
    /// Returns after the first attempt. If that failed for another reason than an invalid address,
    /// the backend goes on trying, with growing pauses of up to 30 s: a node that starts later is
    /// found.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for an address that this backend cannot parse,
    /// [`Io`](crate::ErrorKind::Io) or [`Timeout`](crate::ErrorKind::Timeout) where the node does
    /// not answer.
    ///
    /// # Cancellation
    /// Where the future is dropped, the backend goes on connecting.
    async fn connect(&self, address: &str) -> Result<()>;

    /// Announces this node as a subscriber of the topic, so that others [`find`](Self::find) it
    /// without an address, until `shutdown`. Requires the capability
    /// [`rendezvous`](SignalingCapabilities::rendezvous).
    ///
    /// - `Ok` means that the announcement was scheduled: it is published, and repeated, whenever a
    ///   directory and an address of this node are known.
    /// - Announcing a topic again has no effect.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) without the capability, or where the
    /// configuration turns it off; [`Closed`](crate::ErrorKind::Closed).
    ///
    /// # Cancellation
    /// Where the future is dropped, the topic is announced anyway or not at all.
    async fn announce(&self, _topic: &Topic) -> Result<()> {
        Err(unsupported("announce"))
    }

    /// Searches the nodes that announced the topic, and connects to those it finds. Requires the
    /// capability [`rendezvous`](SignalingCapabilities::rendezvous).
    ///
    /// - `Ok` means that a search was started or is running already. Its success is told by
    ///   [`SubscriberJoined`](SignalingEvent::SubscriberJoined); a search that finds no node ends
    ///   without an event, and may be repeated.
    /// - Has no effect while a connected node is subscribed to the topic.
    /// - Announcements are not authenticated: a node that is found may be any node.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) without the capability, or where the
    /// configuration turns it off; [`Closed`](crate::ErrorKind::Closed).
    ///
    /// # Cancellation
    /// Where the future is dropped, the search goes on.
    async fn find(&self, _topic: &Topic) -> Result<()> {
        Err(unsupported("find"))
    }

    /// The addresses by which other nodes can `connect`, in this backend's own form, those of the
    /// widest reach first.
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed).
    ///
    /// # Cancellation
    /// Has no side effects.
    async fn addresses(&self) -> Result<Vec<String>>;

    /// Events from now on. A slow reader sees `Lagged` from the channel and continues with the
    /// newest 256. After `shutdown` there are no further events; the channel closes when the
    /// backend is dropped, or before.
    fn events(&self) -> broadcast::Receiver<SignalingEvent>;

    /// Leaves the network: messages published before are sent (within 1 s), then connections and
    /// listeners are closed. Returns within 5 s, also where a node does not read what was sent to
    /// it. Idempotent.
    ///
    /// # Cancellation
    /// Where the future is dropped, the shutdown goes on; a second call waits for its end.
    async fn shutdown(&self);
}

fn unsupported(operation: &'static str) -> Error {
    Error::new(ErrorKind::Unsupported, "this signaling backend finds no nodes without an address").operation(operation)
}

/// An event of the signaling network.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignalingEvent {
    /// A node connected.
    Connected {
        /// Number of connected nodes now.
        nodes: usize,
    },
    /// A node's last connection closed.
    Disconnected {
        /// Number of connected nodes now.
        nodes: usize,
    },
    /// Another node subscribed to a topic. It has missed the messages published before.
    SubscriberJoined(Topic),
    /// The addresses of this node changed: an interface was added or removed, or a relay was gained
    /// or lost.
    AddressesChanged,
}

/// A topic: 32 bytes, written in lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic([u8; 32]);

impl Topic {
    /// A topic from its bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Parses the form that `Display` writes; `None` for any other text.
    pub fn from_hex(text: &str) -> Option<Self> {
        if text.len() != 64 || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A received message.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its id for [`Signaling::report`].
    pub id: DeliveryId,
    /// The node that the message came from; `None` where the network cannot tell. Not
    /// authenticated, and therefore for rate limits only.
    pub origin: Option<Origin>,
    /// The bytes as published.
    pub message: Bytes,
}

/// Identifier of a delivery, unique in its backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeliveryId(pub u64);

/// A node of the network, hashed to a fixed size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin(pub [u8; 16]);

/// Verdict on a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Well-formed: the message is forwarded.
    Accept,
    /// Malformed: the message is not forwarded, and the score of its sender is lowered.
    Reject,
    /// Not judged, such as beyond a rate limit: the message is not forwarded, and no score changes.
    Ignore,
}

/// A subscription's receiving end. Dropping it unsubscribes.
pub struct Subscription {
    receiver: mpsc::Receiver<Delivery>,
    lagged: Arc<AtomicU64>,
    _guard: DropGuard,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}

/// An item of a [`Subscription`].
#[derive(Debug, Clone)]
pub enum SubscriptionEvent {
    /// A message.
    Delivery(Delivery),
    /// Number of messages dropped because this reader was slow; comes before the next delivery.
    Lagged(u64),
}

impl Subscription {
    /// The next item; `None` after the backend's shutdown.
    ///
    /// # Cancellation
    /// Where the future is dropped before it is ready, no message is lost.
    pub async fn next(&mut self) -> Option<SubscriptionEvent> {
        let lagged = self.lagged.swap(0, Ordering::Relaxed);
        if lagged > 0 {
            return Some(SubscriptionEvent::Lagged(lagged));
        }
        self.receiver.recv().await.map(SubscriptionEvent::Delivery)
    }
}

/// The backend's end of a subscription.
#[derive(Debug, Clone)]
pub struct DeliveryQueue {
    sender: mpsc::Sender<Delivery>,
    lagged: Arc<AtomicU64>,
}

impl DeliveryQueue {
    /// Adds a message. Where the queue is full, the message is dropped and counted, and the reader
    /// receives [`SubscriptionEvent::Lagged`].
    ///
    /// # Errors
    /// [`Full`](ErrorKind::Full) for a dropped message, [`Closed`](ErrorKind::Closed) after the
    /// reader unsubscribed.
    pub fn push(&self, delivery: Delivery) -> Result<()> {
        self.sender.try_send(delivery).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                self.lagged.fetch_add(1, Ordering::Relaxed);
                Error::new(ErrorKind::Full, "the subscription's reader is slow")
            }
            mpsc::error::TrySendError::Closed(_) => Error::new(ErrorKind::Closed, "the subscription is gone"),
        })
    }
}

/// Creates both ends of a subscription: a queue of `capacity` messages, and a callback for the time
/// when the reader drops its end.
pub fn subscription(capacity: usize, on_drop: impl FnOnce() + Send + 'static) -> (DeliveryQueue, Subscription) {
    let (sender, receiver) = mpsc::channel(capacity);
    let lagged = Arc::new(AtomicU64::new(0));
    let queue = DeliveryQueue { sender, lagged: lagged.clone() };
    (queue, Subscription { receiver, lagged, _guard: DropGuard(Some(Box::new(on_drop))) })
}

struct DropGuard(Option<Box<dyn FnOnce() + Send>>);

impl Drop for DropGuard {
    fn drop(&mut self) {
        if let Some(on_drop) = self.0.take() {
            on_drop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_64_lower_case_hex_digits() {
        let topic = Topic::from_bytes([0xab; 32]);
        assert_eq!(Topic::from_hex(&topic.to_string()), Some(topic));
        assert_eq!(Topic::from_hex(&"AB".repeat(32)), None);
        assert_eq!(Topic::from_hex("ab"), None);
    }

    #[test]
    fn a_slow_reader_learns_the_number_of_dropped_messages_and_drop_unsubscribes() {
        let dropped = Arc::new(AtomicU64::new(0));
        let (queue, mut subscription) = {
            let dropped = dropped.clone();
            subscription(2, move || {
                dropped.fetch_add(1, Ordering::Relaxed);
            })
        };
        let delivery = |id| Delivery { id: DeliveryId(id), origin: None, message: Bytes::new() };
        let results: Vec<_> = (0..5).map(|id| queue.push(delivery(id)).is_ok()).collect();
        assert_eq!(results, [true, true, false, false, false]);
        let mut next = || ready(subscription.next());
        assert!(matches!(next(), Some(SubscriptionEvent::Lagged(3))));
        assert!(matches!(next(), Some(SubscriptionEvent::Delivery(Delivery { id: DeliveryId(0), .. }))));
        assert!(matches!(next(), Some(SubscriptionEvent::Delivery(Delivery { id: DeliveryId(1), .. }))));
        drop(subscription);
        assert_eq!(dropped.load(Ordering::Relaxed), 1);
        assert_eq!(queue.push(delivery(9)).unwrap_err().kind(), ErrorKind::Closed);
    }

    /// Polls a future that is ready at once.
    fn ready<F: Future>(future: F) -> F::Output {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::pin!(future).poll(&mut context) {
            std::task::Poll::Ready(output) => output,
            std::task::Poll::Pending => panic!("the future waits"),
        }
    }
}
