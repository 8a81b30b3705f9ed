//! Signaling inside one process: all nodes created from one registry share one [`Hub`].
//!
//! Delivery is immediate and in order, without timers and tasks, so it works under a paused clock.
//! The [`Hub`] has hooks for tests that disconnect nodes, drop messages, and record and replay what
//! is published.

#![deny(missing_docs)]

mod hub;

use std::sync::Arc;

use blink_api::macros::{async_trait, submit};
use blink_api::{
    Context, DeliveryId, Entry, Error, ErrorKind, Origin, Plugin, Result, Signaling, SignalingCapabilities,
    SignalingEvent, Subscription, Topic, Verdict,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

pub use hub::{Hub, Tap, Traffic};

submit! { Entry::<dyn Signaling>::of::<Memory>() }

const NAME: &str = "memory";
const MAX_MESSAGE: usize = 16 * 1024;
const CAPABILITIES: SignalingCapabilities = SignalingCapabilities {
    max_message: MAX_MESSAGE,
    origins: true,
    local_discovery: true,
    forwarding: true,
    rendezvous: true,
    ..SignalingCapabilities::NONE
};

/// Node of a [`Hub`]. It leaves the hub and ends its subscriptions at `shutdown` or when dropped.
#[derive(Debug)]
pub struct MemorySignaling {
    hub: Hub,
    origin: Origin,
    events: broadcast::Sender<SignalingEvent>,
}

impl MemorySignaling {
    /// Creates a node, connected to all others of the hub.
    pub fn new(hub: &Hub) -> Self {
        let (origin, events) = hub.join();
        Self { hub: hub.clone(), origin, events }
    }

    /// Origin of this node's messages; identifies the node in [`Hub::cut`] and [`Hub::heal`].
    pub fn origin(&self) -> Origin {
        self.origin
    }
}

#[async_trait]
impl Signaling for MemorySignaling {
    fn capabilities(&self) -> SignalingCapabilities {
        CAPABILITIES
    }

    async fn subscribe(&self, topic: &Topic) -> Result<Subscription> {
        self.hub.subscribe(self.origin, *topic).ok_or_else(|| closed("subscribe"))
    }

    async fn publish(&self, topic: &Topic, message: Bytes) -> Result<()> {
        if message.len() > MAX_MESSAGE {
            return Err(Error::new(ErrorKind::TooLarge, "the message exceeds the backend's size limit")
                .backend(NAME)
                .operation("publish")
                .with("bytes", message.len())
                .with("most", MAX_MESSAGE));
        }
        match self.hub.publish(self.origin, *topic, message).ok_or_else(|| closed("publish"))? {
            0 => Err(Error::new(ErrorKind::NoSubscribers, "no other node is subscribed to the topic")
                .backend(NAME)
                .operation("publish")),
            _ => Ok(()),
        }
    }

    async fn subscribers(&self, topic: &Topic) -> Result<usize> {
        self.hub.subscribers(self.origin, *topic).ok_or_else(|| closed("subscribers"))
    }

    fn report(&self, delivery: DeliveryId, verdict: Verdict) {
        self.hub.report(self.origin, delivery, verdict);
    }

    /// Accepts every address that begins with `memory:`, since all nodes of a hub are connected
    /// from the start.
    async fn connect(&self, address: &str) -> Result<()> {
        if !self.hub.has(self.origin) {
            return Err(closed("connect"));
        }
        if !address.starts_with("memory:") {
            return Err(Error::new(ErrorKind::Invalid, "addresses of this backend begin with `memory:`")
                .backend(NAME)
                .operation("connect")
                .with("address", address));
        }
        if self.addresses().await?.iter().any(|own| own == address) {
            let why = "this is the node's own address: the nodes of one `Registry` are connected from the start, and \
                       reach no others";
            return Err(Error::new(ErrorKind::Invalid, why)
                .backend(NAME)
                .operation("connect")
                .with("address", address));
        }
        Ok(())
    }

    /// Has no effect, since all nodes of a hub are connected from the start.
    async fn announce(&self, _: &Topic) -> Result<()> {
        if self.hub.has(self.origin) { Ok(()) } else { Err(closed("announce")) }
    }

    /// Has no effect, as [`announce`](Self::announce).
    async fn find(&self, _: &Topic) -> Result<()> {
        if self.hub.has(self.origin) { Ok(()) } else { Err(closed("find")) }
    }

    async fn addresses(&self) -> Result<Vec<String>> {
        if !self.hub.has(self.origin) {
            return Err(closed("addresses"));
        }
        let digits: String = self.origin.0.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(vec![format!("memory:{digits}")])
    }

    fn events(&self) -> broadcast::Receiver<SignalingEvent> {
        self.events.subscribe()
    }

    async fn shutdown(&self) {
        self.hub.leave(self.origin);
    }
}

impl Drop for MemorySignaling {
    fn drop(&mut self) {
        self.hub.leave(self.origin);
    }
}

fn closed(operation: &'static str) -> Error {
    Error::new(ErrorKind::Closed, "signaling was shut down").backend(NAME).operation(operation)
}

/// Configuration `[signalings.memory]`, which has no keys.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct MemoryConfig {}

struct Memory;

#[async_trait]
impl Plugin<dyn Signaling> for Memory {
    type Config = MemoryConfig;
    const NAME: &'static str = NAME;
    const SUMMARY: &'static str = "inside this process, for demonstrations and tests";
    const CAPABILITIES: SignalingCapabilities = CAPABILITIES;

    async fn create(_: MemoryConfig, context: &Context) -> Result<Arc<dyn Signaling>> {
        Ok(Arc::new(MemorySignaling::new(&context.shared.of::<Hub>())))
    }
}
