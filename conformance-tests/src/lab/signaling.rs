//! Signaling backend behind the [`Line`] of a participant.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use blink_api::macros::async_trait;
use blink_api::{
    Delivery, DeliveryId, DeliveryQueue, Result, Signaling, SignalingEvent, Subscription, SubscriptionEvent, Topic,
    Verdict, subscription,
};
use bytes::Bytes;
use tokio::sync::broadcast;

use super::core::Core;
use super::fault::Fault;
use super::line::Line;
use super::post::{Handling, Held, Published};
use crate::forwarding::ForwardingSignaling;

/// Capacity of a subscription's queue.
const QUEUE: usize = 1_024;
/// First id of injected deliveries, which the backend does not know.
pub(crate) const MADE_UP: u64 = 1 << 62;

pub(crate) struct LineSignaling {
    inner: Arc<dyn Signaling>,
    line: Arc<Line>,
    core: Arc<Core>,
}

impl LineSignaling {
    pub(crate) fn new(inner: Arc<dyn Signaling>, line: Arc<Line>, core: Arc<Core>) -> Self {
        tokio::spawn(announce(inner.events(), line.clone(), core.fault));
        Self { inner, line, core }
    }
}

#[async_trait]
impl ForwardingSignaling for LineSignaling {
    fn behind(&self) -> &dyn Signaling {
        &*self.inner
    }

    async fn subscribe(&self, topic: &Topic) -> Result<Subscription> {
        let inner = self.inner.subscribe(topic).await?;
        let (closing, closed) = tokio::sync::oneshot::channel::<()>();
        let (queue, outer) = subscription(QUEUE, move || drop(closing));
        self.line.add_box(*topic, queue.clone());
        self.line.subscriptions_open.fetch_add(1, Ordering::Relaxed);
        let post = Delivering { topic: *topic, line: self.line.clone(), core: self.core.clone(), queue };
        let (line, keeps) = (self.line.clone(), matches!(self.core.fault, Some(Fault::NeverUnsubscribes)));
        tokio::spawn(async move {
            let is_dropped = async {
                // The sender is dropped with the subscription, which ends this with an error.
                closed.await.ok();
                if keeps {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = post.run(inner) => {}
                // The engine dropped its subscription: drop the backend's too.
                () = is_dropped => {}
            }
            line.subscriptions_open.fetch_sub(1, Ordering::Relaxed);
        });
        Ok(outer)
    }

    async fn publish(&self, topic: &Topic, message: Bytes) -> Result<()> {
        let (at, from) = (self.core.clock.elapsed(), self.line.number);
        if !self.line.is_killed() {
            self.core.post.record(Published { at, from, topic: *topic, message: message.clone() });
        }
        if !self.line.has_signaling() {
            return Ok(());
        }
        self.inner.publish(topic, message).await
    }

    fn report(&self, delivery: DeliveryId, verdict: Verdict) {
        if delivery.0 < MADE_UP {
            self.inner.report(delivery, verdict);
        }
    }

    fn events(&self) -> broadcast::Receiver<SignalingEvent> {
        self.line.network_events.subscribe()
    }
}

crate::forwards!(Signaling for LineSignaling);

/// Forwards network events of the backend.
async fn announce(mut events: broadcast::Receiver<SignalingEvent>, line: Arc<Line>, fault: Option<Fault>) {
    loop {
        match events.recv().await {
            Ok(SignalingEvent::SubscriberJoined(_)) if matches!(fault, Some(Fault::NeverAnnouncesSubscribers)) => {}
            Ok(event) if line.has_signaling() => {
                // The engine may have stopped, and have no receiver.
                line.network_events.send(event).ok();
            }
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// Delivers the messages of one subscription.
struct Delivering {
    topic: Topic,
    line: Arc<Line>,
    core: Arc<Core>,
    queue: DeliveryQueue,
}

impl Delivering {
    async fn run(&self, mut inner: Subscription) {
        while let Some(event) = inner.next().await {
            match event {
                SubscriptionEvent::Delivery(delivery) if self.line.has_signaling() => self.deliver(delivery),
                SubscriptionEvent::Delivery(_) => {}
                SubscriptionEvent::Lagged(lost) => tracing::warn!(lost, "the lab missed signaling messages"),
            }
        }
    }

    fn deliver(&self, delivery: Delivery) {
        let handling = self.core.post.judge(&self.line, &self.topic, &delivery.message);
        match handling {
            Handling::Deliver => self.push(delivery),
            Handling::Lose => {}
            Handling::Hold => self.core.post.hold(Held { queue: self.queue.clone(), delivery }),
            Handling::Repeat(times) => (0..times).for_each(|_| self.push(delivery.clone())),
            Handling::Delay(delay) => {
                let (queue, line) = (self.queue.clone(), self.line.clone());
                let (core, topic) = (self.core.clone(), self.topic);
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    if line.has_signaling() {
                        line.record_delivery(core.clock.elapsed(), topic);
                        // The subscription may have been dropped meanwhile.
                        queue.push(delivery).ok();
                    }
                });
            }
        }
    }

    fn push(&self, delivery: Delivery) {
        self.line.record_delivery(self.core.clock.elapsed(), self.topic);
        // The subscription may have been dropped meanwhile.
        self.queue.push(delivery).ok();
    }
}
