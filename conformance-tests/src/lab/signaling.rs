//! A signaling backend as an engine of the lab sees it: the real one, behind its [`Line`].

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

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

/// Messages that wait for a slow reader.
const QUEUE: usize = 1_024;
/// Ids of deliveries that the lab made up begin here; the backend does not know them.
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
                // An error is what tells: the sender was dropped.
                closed.await.ok();
                if keeps {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = post.run(inner) => {}
                // Dropped by its reader: so is the backend's own.
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

/// Passes on what the network tells.
async fn announce(mut events: broadcast::Receiver<SignalingEvent>, line: Arc<Line>, fault: Option<Fault>) {
    loop {
        match events.recv().await {
            Ok(SignalingEvent::SubscriberJoined(_)) if matches!(fault, Some(Fault::NeverAnnouncesSubscribers)) => {}
            Ok(event) if line.has_signaling() => {
                // Nobody has to listen.
                line.network_events.send(event).ok();
            }
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// One subscription's messages on the last stretch of their way.
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
                SubscriptionEvent::Lagged(lost) => tracing::warn!(lost, "the lab reads slowly"),
            }
        }
    }

    fn deliver(&self, delivery: Delivery) {
        let handling = self.core.post.judge(&self.line, &self.topic, &delivery.message);
        match handling {
            Handling::Deliver => {
                for delay in self.core.post.delays(&delivery.message) {
                    self.deliver_after(delay, delivery.clone());
                }
            }
            Handling::Lose => {}
            Handling::Hold => self.core.post.hold(Held { queue: self.queue.clone(), delivery }),
            Handling::Repeat(times) => (0..times).for_each(|_| self.push(delivery.clone())),
            Handling::Delay(delay) => self.deliver_after(delay, delivery),
        }
    }

    fn deliver_after(&self, delay: Duration, delivery: Delivery) {
        if delay.is_zero() {
            return self.push(delivery);
        }
        let (queue, line) = (self.queue.clone(), self.line.clone());
        let (core, topic) = (self.core.clone(), self.topic);
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            if line.has_signaling() {
                line.record_delivery(core.clock.elapsed(), topic);
                // A reader that is gone wants no messages.
                queue.push(delivery).ok();
            }
        });
    }

    fn push(&self, delivery: Delivery) {
        self.line.record_delivery(self.core.clock.elapsed(), self.topic);
        // As above.
        self.queue.push(delivery).ok();
    }
}
