//! Small messages between people who have no path yet: opaque bytes on opaque topics, nothing more.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::{broadcast, mpsc};

use crate::{Error, ErrorKind, Result};

/// A publish-subscribe network.
///
/// Delivery is at most once, in any order: the engine repeats what must arrive. A signaling backend
/// knows nothing of calls, and what it carries is sealed.
#[async_trait]
pub trait Signaling: Send + Sync {
    /// What this backend can do. The same value as in its registry entry.
    fn capabilities(&self) -> SignalingCapabilities;

    /// Subscribes to a topic; dropping the [`Subscription`] unsubscribes. Several subscriptions of
    /// one topic each get every message. One's own messages do not come back.
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed) after `shutdown`.
    ///
    /// # Cancellation
    /// Where the future is dropped, the topic is not subscribed to.
    async fn subscribe(&self, topic: &Topic) -> Result<Subscription>;

    /// Publishes to a topic, which need not be subscribed to. `Ok` means handed to the network,
    /// never delivered.
    ///
    /// # Errors
    /// [`NoSubscribers`](crate::ErrorKind::NoSubscribers) where nobody known is subscribed (nothing
    /// is queued), [`TooLarge`](crate::ErrorKind::TooLarge), [`Full`](crate::ErrorKind::Full),
    /// [`Closed`](crate::ErrorKind::Closed).
    ///
    /// # Cancellation
    /// Where the future is dropped, the message may or may not be published, whole.
    async fn publish(&self, topic: &Topic, message: Bytes) -> Result<()>;

    /// How many other nodes that this one knows are subscribed to the topic.
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed).
    ///
    /// # Cancellation
    /// Changes nothing, as with [`addresses`](Signaling::addresses).
    async fn subscribers(&self, topic: &Topic) -> Result<usize>;

    /// Tells the network what became of a delivery, so that it can refuse those who send garbage
    /// and pass on what is good. Every delivery is reported once; a second report and one that
    /// comes too late are ignored.
    fn report(&self, delivery: DeliveryId, verdict: Verdict);

    /// Connects to a node, and again whenever the connection is lost, until `shutdown`. Returns
    /// when connected or failed the first time.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for an address this backend cannot read,
    /// [`Io`](crate::ErrorKind::Io) or [`Timeout`](crate::ErrorKind::Timeout) where the node does
    /// not answer.
    ///
    /// # Cancellation
    /// Where the future is dropped, the backend goes on connecting.
    async fn connect(&self, address: &str) -> Result<()>;

    /// The addresses others can give to `connect`, in this backend's own form; those that reach
    /// further first.
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed).
    async fn addresses(&self) -> Result<Vec<String>>;

    /// What happens from now on. A slow reader sees `Lagged` from the channel and goes on with the
    /// newest 256.
    fn events(&self) -> broadcast::Receiver<SignalingEvent>;

    /// Leaves the network: what was published before is sent out (within 1 s), connections are
    /// closed, listeners freed. Idempotent.
    ///
    /// # Cancellation
    /// Where the future is dropped, the shutdown goes on; a second call waits for its end.
    async fn shutdown(&self);
}

/// What a signaling backend can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct SignalingCapabilities {
    /// The largest message in bytes; at least 16,384.
    pub max_message: usize,
    /// Deliveries name where they come from.
    pub origins: bool,
    /// Verdicts change what the network does.
    pub verdicts: bool,
    /// Nodes on the local network find each other without an address.
    pub local_discovery: bool,
    /// Messages cross process and machine borders.
    pub network: bool,
}

impl SignalingCapabilities {
    /// No capability, and messages of 16 KiB: the base for entries, which stay valid when a field
    /// is added.
    pub const NONE: Self =
        Self { max_message: 16_384, origins: false, verdicts: false, local_discovery: false, network: false };
}

/// An event of the signaling network.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignalingEvent {
    /// A node connected; this many are connected now.
    Connected {
        /// Connected nodes.
        nodes: usize,
    },
    /// A node's last connection closed; this many are left.
    Disconnected {
        /// Connected nodes.
        nodes: usize,
    },
    /// Another node subscribed to a topic: what was published to it before may be worth saying
    /// again.
    SubscriberJoined(Topic),
    /// This node is reached at other addresses than before: an interface came or went, or a relay
    /// agreed or is gone.
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

    /// Reads the form that `Display` writes; `None` for anything else.
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

/// One message that came.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// For [`Signaling::report`].
    pub id: DeliveryId,
    /// What the network can say about who sent it; `None` where it cannot. For rate limits only: it
    /// proves nothing.
    pub origin: Option<Origin>,
    /// The bytes as published.
    pub message: Bytes,
}

/// A delivery, as the backend that made it knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeliveryId(pub u64);

/// A node of the network, hashed to a fixed size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin(pub [u8; 16]);

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Well-formed: pass it on.
    Accept,
    /// Garbage: do not pass it on, and think less of whoever did.
    Reject,
    /// Not to be judged here, such as beyond a rate limit: do not pass it on, blame nobody.
    Ignore,
}

/// A subscription's receiving end. Dropping it unsubscribes.
pub struct Subscription {
    receiver: mpsc::Receiver<Delivery>,
    lagged: Arc<AtomicU64>,
    _guard: DropGuard,
}

/// What a subscription yields.
#[derive(Debug, Clone)]
pub enum SubscriptionEvent {
    /// A message came.
    Delivery(Delivery),
    /// This many messages were lost because this reader was slow; reported before the next
    /// delivery.
    Lagged(u64),
}

impl Subscription {
    /// Waits for the next message; `None` after the backend's shutdown.
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
    /// Hands a message to the reader. Where its queue is full the message is dropped and counted,
    /// and the reader is told.
    ///
    /// # Errors
    /// [`Full`](ErrorKind::Full) where it was dropped, [`Closed`](ErrorKind::Closed) where the
    /// reader is gone.
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

/// Makes the two ends of a subscription for a backend: a queue of `capacity` messages, and what to
/// do when the reader drops its end.
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
    fn a_slow_reader_is_told_how_much_it_missed_and_drop_unsubscribes() {
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
