//! The memory backend with a defect.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use blink_api::macros::async_trait;
use blink_api::{
    Delivery, DeliveryId, DeliveryQueue, Error, ErrorKind, Result, Signaling, SignalingEvent, Subscription,
    SubscriptionEvent, Topic, subscription,
};
use blink_conformance::forwarding::ForwardingSignaling;
use blink_conformance::signaling::Network;
use blink_signaling_memory::{Hub, MemorySignaling};
use bytes::Bytes;
use tokio::sync::broadcast;

/// Defect of a signaling backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    None,
    Truncates,
    DeliversTwice,
    Echoes,
    MixesTopics,
    NeverUnsubscribes,
    AcceptsEverything,
    SleepsInPublish,
    BlocksForEver,
    NeverShutsDown,
    LeaksOnDrop,
    NeverForwards,
    TellsNoSubscribers,
    TellsAfterShutdown,
}

/// A network of nodes with a defect.
pub(crate) struct Sabotaged {
    hub: Hub,
    sabotage: Sabotage,
    kept: Mutex<Vec<Arc<MemorySignaling>>>,
}

impl Sabotaged {
    pub(crate) fn new(sabotage: Sabotage) -> Self {
        Self { hub: Hub::default(), sabotage, kept: Mutex::default() }
    }
}

#[async_trait]
impl Network for Sabotaged {
    async fn start(&self, name: &str) -> Result<Arc<dyn Signaling>> {
        let inner = Arc::new(MemorySignaling::new(&self.hub));
        if self.sabotage == Sabotage::LeaksOnDrop {
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(inner.clone());
        }
        let events = broadcast::Sender::new(256);
        if self.sabotage == Sabotage::TellsNoSubscribers {
            tokio::spawn(pass_on(inner.events(), events.clone()));
        }
        let name = name.to_owned();
        Ok(Arc::new(Node { name, sabotage: self.sabotage, inner, events, queues: Mutex::default() }))
    }
}

struct Node {
    name: String,
    sabotage: Sabotage,
    inner: Arc<MemorySignaling>,
    events: broadcast::Sender<SignalingEvent>,
    /// All subscriptions, whatever their topics.
    queues: Mutex<Vec<DeliveryQueue>>,
}

#[async_trait]
impl ForwardingSignaling for Node {
    fn behind(&self) -> &dyn Signaling {
        &*self.inner
    }

    async fn subscribe(&self, topic: &Topic) -> Result<Subscription> {
        use Sabotage::{DeliversTwice, Echoes, MixesTopics, NeverForwards, NeverUnsubscribes, Truncates};
        let mut inner = self.inner.subscribe(topic).await?;
        let sabotage = self.sabotage;
        if !matches!(sabotage, DeliversTwice | Echoes | MixesTopics | NeverForwards | NeverUnsubscribes | Truncates) {
            return Ok(inner);
        }
        let (closing, closed) = tokio::sync::oneshot::channel::<()>();
        let (queue, outer) = subscription(1_024, move || drop(closing));
        let others = {
            let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
            queues.push(queue.clone());
            queues.clone()
        };
        let is_cut = sabotage == NeverForwards && self.name == "c";
        tokio::spawn(async move {
            let reading = async {
                while let Some(event) = inner.next().await {
                    let SubscriptionEvent::Delivery(mut delivery) = event else { continue };
                    if sabotage == Truncates && delivery.message.len() > 100 {
                        delivery.message = delivery.message.slice(..delivery.message.len() - 1);
                    }
                    let readers = if sabotage == MixesTopics { &others[..] } else { std::slice::from_ref(&queue) };
                    for _ in 0..if sabotage == DeliversTwice { 2 } else { 1 } {
                        // The reader may have left.
                        readers.iter().filter(|_| !is_cut).for_each(|queue| drop(queue.push(delivery.clone())));
                    }
                }
            };
            tokio::select! {
                () = reading => {}
                _ = closed => {}
            }
            if sabotage == NeverUnsubscribes {
                std::future::pending::<()>().await;
            }
            drop(inner);
        });
        Ok(outer)
    }

    async fn publish(&self, topic: &Topic, message: Bytes) -> Result<()> {
        match self.sabotage {
            Sabotage::SleepsInPublish => tokio::time::sleep(Duration::from_secs(3)).await,
            Sabotage::BlocksForEver => loop {
                std::thread::park();
            },
            Sabotage::Echoes => {
                let delivery = Delivery { id: DeliveryId(1 << 40), origin: None, message: message.clone() };
                let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
                queues.iter().for_each(|queue| drop(queue.push(delivery.clone())));
            }
            _ => {}
        }
        match self.inner.publish(topic, message).await {
            Err(error) if error.kind() == ErrorKind::NoSubscribers && self.sabotage == Sabotage::AcceptsEverything => {
                Ok(())
            }
            other => other,
        }
    }

    fn events(&self) -> broadcast::Receiver<SignalingEvent> {
        match self.sabotage {
            Sabotage::TellsNoSubscribers | Sabotage::TellsAfterShutdown => self.events.subscribe(),
            _ => self.inner.events(),
        }
    }

    async fn shutdown(&self) {
        if self.sabotage == Sabotage::NeverShutsDown {
            return std::future::pending().await;
        }
        self.inner.shutdown().await;
        if self.sabotage == Sabotage::TellsAfterShutdown {
            let events = self.events.clone();
            tokio::spawn(async move {
                loop {
                    // Events without a listener are dropped.
                    events.send(SignalingEvent::AddressesChanged).ok();
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            });
        }
    }
}

blink_conformance::forwards!(Signaling for Node);

/// Passes on all events but those of subscribers.
async fn pass_on(mut events: broadcast::Receiver<SignalingEvent>, to: broadcast::Sender<SignalingEvent>) {
    while let Ok(event) = events.recv().await {
        if !matches!(event, SignalingEvent::SubscriberJoined(_)) {
            // Events without a listener are dropped.
            to.send(event).ok();
        }
    }
}

/// An error for a backend that does not do what it declares.
pub(crate) fn refused(operation: &'static str) -> Error {
    Error::unsupported("sabotaged", operation)
}
