//! Signaling backends with one defect each, around the memory backend.

use std::sync::Arc;

use blink_api::macros::async_trait;
use blink_api::{
    Context, Entry, Plugin, Result, Signaling, SignalingCapabilities, SignalingEvent, Subscription, SubscriptionEvent,
    Topic, subscription,
};
use blink_conformance::forwarding::ForwardingSignaling;
use blink_signaling_memory::{Hub, MemorySignaling};
use tokio::sync::broadcast;

use super::broken_transport::NoConfig;

pub(crate) static ENTRIES: [&Entry<dyn Signaling>; 2] =
    [&Entry::of::<Registered<true>>(), &Entry::of::<Registered<false>>()];

/// Messages that each subscription delivers before it stops reading.
const READ: usize = 2;

struct Registered<const STOPS_READING: bool>;

#[async_trait]
impl<const STOPS_READING: bool> Plugin<dyn Signaling> for Registered<STOPS_READING> {
    type Config = NoConfig;
    const NAME: &'static str = if STOPS_READING { "stops-reading" } else { "tells-no-subscribers" };
    const SUMMARY: &'static str = "broken on purpose";
    const CAPABILITIES: SignalingCapabilities = SignalingCapabilities {
        max_message: 16_384,
        origins: true,
        verdicts: false,
        local_discovery: true,
        network: false,
        forwarding: true,
        rendezvous: true,
    };

    async fn create(_: NoConfig, context: &Context) -> Result<Arc<dyn Signaling>> {
        let inner = MemorySignaling::new(&context.shared.of::<Hub>());
        let events = broadcast::Sender::new(256);
        if !STOPS_READING {
            tokio::spawn(tell_nothing_of_subscribers(inner.events(), events.clone()));
        }
        Ok(Arc::new(Broken { stops_reading: STOPS_READING, inner, events }))
    }
}

struct Broken {
    stops_reading: bool,
    inner: MemorySignaling,
    events: broadcast::Sender<SignalingEvent>,
}

#[async_trait]
impl ForwardingSignaling for Broken {
    fn behind(&self) -> &dyn Signaling {
        &self.inner
    }

    async fn subscribe(&self, topic: &Topic) -> Result<Subscription> {
        let mut inner = self.inner.subscribe(topic).await?;
        if !self.stops_reading {
            return Ok(inner);
        }
        let (closing, mut closed) = tokio::sync::oneshot::channel::<()>();
        let (queue, outer) = subscription(64, move || drop(closing));
        tokio::spawn(async move {
            for _ in 0..READ {
                tokio::select! {
                    event = inner.next() => match event {
                        // The subscription may have been dropped meanwhile.
                        Some(SubscriptionEvent::Delivery(delivery)) => drop(queue.push(delivery)),
                        Some(SubscriptionEvent::Lagged(_)) => {}
                        None => return,
                    },
                    _ = &mut closed => return,
                }
            }
            // Stay subscribed without reading.
            closed.await.ok();
            drop((inner, queue));
        });
        Ok(outer)
    }

    fn events(&self) -> broadcast::Receiver<SignalingEvent> {
        if self.stops_reading { self.inner.events() } else { self.events.subscribe() }
    }
}

blink_conformance::forwards!(Signaling for Broken);

async fn tell_nothing_of_subscribers(
    mut events: broadcast::Receiver<SignalingEvent>,
    signaled: broadcast::Sender<SignalingEvent>,
) {
    while let Ok(event) = events.recv().await {
        if !matches!(event, SignalingEvent::SubscriberJoined(_)) {
            // The engine may have stopped, and have no receiver.
            signaled.send(event).ok();
        }
    }
}
