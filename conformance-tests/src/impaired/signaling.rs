//! A signaling backend whose deliveries come late, out of order, twice or never.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use blink_api::macros::async_trait;
use blink_api::{
    Delivery, DeliveryId, DeliveryQueue, Result, Signaling, SignalingCapabilities, SignalingEvent, Subscription,
    SubscriptionEvent, Topic, Verdict, subscription,
};
use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::{broadcast, oneshot, watch};
use tokio::time::Instant;

use super::Cut;

/// Messages that wait for a slow reader.
const QUEUE: usize = 1_024;
/// Deliveries of a subscription that are under way; more are lost.
const MOST_UNDER_WAY: usize = 4_096;
/// Events that wait for a slow listener.
const EVENTS: usize = 256;

/// What happens to deliveries, of each subscription apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SignalingImpairment {
    /// How long every delivery takes beside what the backend takes.
    pub delay: Duration,
    /// Up to so much longer, at random: deliveries overtake each other.
    pub jitter: Duration,
    /// The fraction that never arrives, from 0 to 1.
    pub lost: f64,
    /// The fraction that arrives twice, from 0 to 1, the second time after a delay of its own.
    pub duplicated: f64,
    /// Where chance comes from: the same seed and the same deliveries give the same losses and delays.
    pub seed: u64,
}

impl SignalingImpairment {
    /// Everything arrives at once.
    pub const NONE: Self = Self { delay: Duration::ZERO, jitter: Duration::ZERO, lost: 0.0, duplicated: 0.0, seed: 0 };
}

/// Any signaling backend, on a bad network. It runs on tokio's time, which a test may pause.
pub struct ImpairedSignaling {
    inner: Arc<dyn Signaling>,
    impairment: SignalingImpairment,
    cut: watch::Sender<Cut>,
    events: broadcast::Sender<SignalingEvent>,
    subscriptions: AtomicU64,
    nodes: Arc<Mutex<usize>>,
}

impl ImpairedSignaling {
    /// A backend with an impairment. It needs a tokio runtime.
    pub fn new(inner: Arc<dyn Signaling>, impairment: SignalingImpairment) -> Self {
        let (cut, events, nodes) = (watch::Sender::new(Cut::None), broadcast::Sender::new(EVENTS), Arc::default());
        tokio::spawn(announce(inner.events(), cut.subscribe(), events.clone(), Arc::clone(&nodes)));
        Self { inner, impairment, cut, events, subscriptions: AtomicU64::new(0), nodes }
    }

    /// Cuts the node off; [`Cut::None`] heals it. What is under way is lost. Whoever listens to events is told where nothing passes any
    /// more, and when something does again.
    pub fn cut(&self, cut: Cut) {
        let before = self.cut.send_replace(cut);
        let nodes = *self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let event = match (before == Cut::Both, cut == Cut::Both) {
            (false, true) => SignalingEvent::Disconnected { nodes: 0 },
            (true, false) => SignalingEvent::Connected { nodes },
            _ => return,
        };
        // Nobody has to listen.
        self.events.send(event).ok();
    }
}

#[async_trait]
impl Signaling for ImpairedSignaling {
    fn capabilities(&self) -> SignalingCapabilities {
        self.inner.capabilities()
    }

    async fn subscribe(&self, topic: &Topic) -> Result<Subscription> {
        let inner = self.inner.subscribe(topic).await?;
        let (closing, closed) = oneshot::channel::<()>();
        let (queue, outer) = subscription(QUEUE, move || drop(closing));
        let number = self.subscriptions.fetch_add(1, Ordering::Relaxed);
        let delivering = Delivering {
            impairment: self.impairment,
            chance: SmallRng::seed_from_u64(self.impairment.seed.wrapping_add(number)),
            under_way: BTreeMap::new(),
            count: 0,
            queue,
        };
        let cut = self.cut.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                () = delivering.run(inner, cut) => {}
                // Dropped by its reader: so is the backend's own.
                _ = closed => {}
            }
        });
        Ok(outer)
    }

    async fn publish(&self, topic: &Topic, message: Bytes) -> Result<()> {
        if self.cut.borrow().stops_outgoing() { Ok(()) } else { self.inner.publish(topic, message).await }
    }

    async fn subscribers(&self, topic: &Topic) -> Result<usize> {
        self.inner.subscribers(topic).await
    }

    fn report(&self, delivery: DeliveryId, verdict: Verdict) {
        self.inner.report(delivery, verdict);
    }

    async fn connect(&self, address: &str) -> Result<()> {
        self.inner.connect(address).await
    }

    async fn addresses(&self) -> Result<Vec<String>> {
        self.inner.addresses().await
    }

    fn events(&self) -> broadcast::Receiver<SignalingEvent> {
        self.events.subscribe()
    }

    async fn shutdown(&self) {
        self.inner.shutdown().await;
    }
}

/// Passes on what the network tells, except where nothing comes from it.
async fn announce(
    mut inner: broadcast::Receiver<SignalingEvent>,
    cut: watch::Receiver<Cut>,
    events: broadcast::Sender<SignalingEvent>,
    nodes: Arc<Mutex<usize>>,
) {
    loop {
        match inner.recv().await {
            Ok(event) => {
                if let SignalingEvent::Connected { nodes: now } | SignalingEvent::Disconnected { nodes: now } = &event {
                    *nodes.lock().unwrap_or_else(PoisonError::into_inner) = *now;
                }
                if !cut.borrow().stops_incoming() {
                    // Nobody has to listen.
                    events.send(event).ok();
                }
            }
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// One subscription's deliveries.
struct Delivering {
    impairment: SignalingImpairment,
    chance: SmallRng,
    /// By when they are due, and in which order they came.
    under_way: BTreeMap<(Instant, u64), Delivery>,
    count: u64,
    queue: DeliveryQueue,
}

impl Delivering {
    async fn run(mut self, mut inner: Subscription, mut cut: watch::Receiver<Cut>) {
        loop {
            let due = self.under_way.first_key_value().map(|((due, _), _)| *due);
            tokio::select! {
                event = inner.next() => match event {
                    Some(SubscriptionEvent::Delivery(delivery)) => self.take(delivery, *cut.borrow()),
                    Some(SubscriptionEvent::Lagged(lost)) => tracing::warn!(lost, "an impaired backend is read slowly"),
                    None => break,
                },
                () = until(due) => self.deliver(),
                Ok(()) = cut.changed() => {
                    if cut.borrow_and_update().stops_incoming() {
                        self.under_way.clear();
                    }
                }
            }
        }
        while let Some(((due, _), _)) = self.under_way.first_key_value() {
            tokio::time::sleep_until(*due).await;
            self.deliver();
        }
    }

    fn take(&mut self, delivery: Delivery, cut: Cut) {
        // As many chances for each, so that what is lost does not depend on what was lost before.
        let [lost, duplicated] = [self.impairment.lost, self.impairment.duplicated]
            .map(|fraction| self.chance.random_bool(fraction.clamp(0.0, 1.0)));
        let delays = [(); 2].map(|()| self.impairment.delay + self.impairment.jitter.mul_f64(self.chance.random()));
        if lost || cut.stops_incoming() {
            return;
        }
        for delay in delays.into_iter().take(if duplicated { 2 } else { 1 }) {
            if self.under_way.len() < MOST_UNDER_WAY {
                self.count += 1;
                self.under_way.insert((Instant::now() + delay, self.count), delivery.clone());
            }
        }
    }

    fn deliver(&mut self) {
        let now = Instant::now();
        while let Some(next) = self.under_way.first_entry().filter(|next| next.key().0 <= now) {
            // A slow reader is told of what it misses, and one that is gone wants no messages.
            self.queue.push(next.remove()).ok();
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
