//! Signaling backend behind the [`Link`] of a participant.

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
use super::link::Link;
use super::message_network::{Held, MessageAction, Published};
use crate::forwarding::ForwardingSignaling;

/// Capacity of a subscription's queue.
const QUEUE: usize = 1_024;
/// First id of injected deliveries, which the backend does not know.
pub(crate) const FIRST_INJECTED_ID: u64 = 1 << 62;

pub(crate) struct LinkSignaling {
    inner: Arc<dyn Signaling>,
    link: Arc<Link>,
    core: Arc<Core>,
}

impl LinkSignaling {
    pub(crate) fn new(inner: Arc<dyn Signaling>, link: Arc<Link>, core: Arc<Core>) -> Self {
        tokio::spawn(announce(inner.events(), link.clone(), core.fault));
        Self { inner, link, core }
    }
}

#[async_trait]
impl ForwardingSignaling for LinkSignaling {
    fn behind(&self) -> &dyn Signaling {
        &*self.inner
    }

    async fn subscribe(&self, topic: &Topic) -> Result<Subscription> {
        let inner = self.inner.subscribe(topic).await?;
        let (closing, closed) = tokio::sync::oneshot::channel::<()>();
        let (queue, outer) = subscription(QUEUE, move || drop(closing));
        self.link.add_queue(*topic, queue.clone());
        self.link.subscriptions_open.fetch_add(1, Ordering::Relaxed);
        let message_network =
            SubscriptionForwarder { topic: *topic, link: self.link.clone(), core: self.core.clone(), queue };
        let (link, keeps) = (self.link.clone(), matches!(self.core.fault, Some(Fault::NeverUnsubscribes)));
        tokio::spawn(async move {
            let is_dropped = async {
                // The sender is dropped with the subscription, which ends this with an error.
                closed.await.ok();
                if keeps {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = message_network.run(inner) => {}
                // The engine dropped its subscription: drop the backend's too.
                () = is_dropped => {}
            }
            link.subscriptions_open.fetch_sub(1, Ordering::Relaxed);
        });
        Ok(outer)
    }

    async fn publish(&self, topic: &Topic, message: Bytes) -> Result<()> {
        let (at, from) = (self.core.clock.elapsed(), self.link.number);
        if !self.link.is_killed() {
            self.core.message_network.record(Published { at, from, topic: *topic, message: message.clone() });
        }
        if !self.link.has_signaling() {
            return Ok(());
        }
        self.inner.publish(topic, message).await
    }

    fn report(&self, delivery: DeliveryId, verdict: Verdict) {
        if delivery.0 < FIRST_INJECTED_ID {
            self.inner.report(delivery, verdict);
        }
    }

    fn events(&self) -> broadcast::Receiver<SignalingEvent> {
        self.link.network_events.subscribe()
    }
}

crate::forwards!(Signaling for LinkSignaling);

/// Forwards network events of the backend.
async fn announce(mut events: broadcast::Receiver<SignalingEvent>, link: Arc<Link>, fault: Option<Fault>) {
    loop {
        match events.recv().await {
            Ok(SignalingEvent::SubscriberJoined(_)) if matches!(fault, Some(Fault::NeverAnnouncesSubscribers)) => {}
            Ok(event) if link.has_signaling() => {
                // The engine may have stopped, and have no receiver.
                link.network_events.send(event).ok();
            }
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// Delivers the messages of one subscription.
struct SubscriptionForwarder {
    topic: Topic,
    link: Arc<Link>,
    core: Arc<Core>,
    queue: DeliveryQueue,
}

impl SubscriptionForwarder {
    async fn run(&self, mut inner: Subscription) {
        while let Some(event) = inner.next().await {
            match event {
                SubscriptionEvent::Delivery(delivery) if self.link.has_signaling() => self.deliver(delivery),
                SubscriptionEvent::Delivery(_) => {}
                SubscriptionEvent::Lagged(lost) => tracing::warn!(lost, "the lab missed signaling messages"),
            }
        }
    }

    fn deliver(&self, delivery: Delivery) {
        let handling = self.core.message_network.decide(&self.link, &self.topic, &delivery.message);
        match handling {
            MessageAction::Deliver => {
                for delay in self.core.message_network.delays(&delivery.message) {
                    self.deliver_after(delay, delivery.clone());
                }
            }
            MessageAction::Drop => {}
            MessageAction::Hold => self.core.message_network.hold(Held { queue: self.queue.clone(), delivery }),
            MessageAction::Duplicate(times) => (0..times).for_each(|_| self.push(delivery.clone())),
            MessageAction::Delay(delay) => self.deliver_after(delay, delivery),
        }
    }

    fn deliver_after(&self, delay: Duration, delivery: Delivery) {
        if delay.is_zero() {
            return self.push(delivery);
        }
        let (queue, link) = (self.queue.clone(), self.link.clone());
        let (core, topic) = (self.core.clone(), self.topic);
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            if link.has_signaling() {
                link.record_delivery(core.clock.elapsed(), topic);
                // A reader that is gone wants no messages.
                queue.push(delivery).ok();
            }
        });
    }

    fn push(&self, delivery: Delivery) {
        self.link.record_delivery(self.core.clock.elapsed(), self.topic);
        // The subscription may have been dropped meanwhile.
        self.queue.push(delivery).ok();
    }
}
