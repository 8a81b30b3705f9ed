//! A signaling backend whose deliveries are lost, delayed, reordered and duplicated.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use blink_api::macros::async_trait;
use blink_api::{
    Delivery, DeliveryQueue, Result, Signaling, SignalingEvent, Subscription, SubscriptionEvent, Topic, subscription,
};
use blink_sim::impairment::{Impairments, Link};
use bytes::Bytes;
use tokio::sync::{broadcast, oneshot, watch};
use tokio::time::Instant;

use super::Cut;
use crate::forwarding;

/// Messages that wait for a slow reader.
const QUEUE: usize = 1_024;
/// Events that wait for a slow listener.
const EVENTS: usize = 256;

/// Any signaling backend, on a bad network. It runs on tokio's time, which a test may pause.
pub struct ImpairedSignaling {
    inner: Arc<dyn Signaling>,
    impairments: Impairments,
    seed: u64,
    cut: watch::Sender<Cut>,
    events: broadcast::Sender<SignalingEvent>,
    subscriptions: AtomicU64,
    nodes: Arc<Mutex<usize>>,
}

impl fmt::Debug for ImpairedSignaling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImpairedSignaling").finish_non_exhaustive()
    }
}

impl ImpairedSignaling {
    /// Creates a backend that impairs the deliveries of each subscription. The subscriptions have
    /// losses and delays of their own, from one seed. It needs a tokio runtime.
    pub fn new(inner: Arc<dyn Signaling>, impairments: Impairments, seed: u64) -> Self {
        let (cut, events, nodes) = (watch::Sender::new(Cut::None), broadcast::Sender::new(EVENTS), Arc::default());
        tokio::spawn(announce(inner.events(), cut.subscribe(), events.clone(), Arc::clone(&nodes)));
        Self { inner, impairments, seed, cut, events, subscriptions: AtomicU64::new(0), nodes }
    }

    /// Cuts the node off; [`Cut::None`] heals it. Messages on their way are lost. A full cut and
    /// its end are reported as events.
    pub fn cut(&self, cut: Cut) {
        let before = self.cut.send_replace(cut);
        let nodes = *self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let event = match (before == Cut::Both, cut == Cut::Both) {
            (false, true) => SignalingEvent::Disconnected { nodes: 0 },
            (true, false) => SignalingEvent::Connected { nodes },
            _ => return,
        };
        // Events without a listener are dropped.
        self.events.send(event).ok();
    }
}

#[async_trait]
impl forwarding::ForwardingSignaling for ImpairedSignaling {
    fn behind(&self) -> &dyn Signaling {
        &*self.inner
    }

    async fn subscribe(&self, topic: &Topic) -> Result<Subscription> {
        let inner = self.inner.subscribe(topic).await?;
        let (closing, closed) = oneshot::channel::<()>();
        let (queue, outer) = subscription(QUEUE, move || drop(closing));
        let number = self.subscriptions.fetch_add(1, Ordering::Relaxed);
        let link = Link::new(self.impairments, self.seed.wrapping_add(number));
        let delivering = Delivering { link, queue };
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

    fn events(&self) -> broadcast::Receiver<SignalingEvent> {
        self.events.subscribe()
    }
}

crate::forwards!(Signaling for ImpairedSignaling);

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
                    // Events without a listener are dropped.
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
    link: Link<Delivery>,
    queue: DeliveryQueue,
}

impl Delivering {
    async fn run(mut self, mut inner: Subscription, mut cut: watch::Receiver<Cut>) {
        loop {
            let due = self.link.next_arrival().map(Instant::from_std);
            tokio::select! {
                event = inner.next() => match event {
                    Some(SubscriptionEvent::Delivery(delivery)) => {
                        if !cut.borrow().stops_incoming() {
                            self.link.send(Instant::now().into_std(), delivery.message.len(), delivery);
                        }
                    }
                    Some(SubscriptionEvent::Lagged(lost)) => tracing::warn!(lost, "an impaired backend is read slowly"),
                    None => break,
                },
                () = until(due) => self.deliver(),
                Ok(()) = cut.changed() => {
                    if cut.borrow_and_update().stops_incoming() {
                        self.link.clear();
                    }
                }
            }
        }
        while let Some(due) = self.link.next_arrival() {
            tokio::time::sleep_until(Instant::from_std(due)).await;
            self.deliver();
        }
    }

    fn deliver(&mut self) {
        let now = Instant::now().into_std();
        while let Some((_, delivery)) = self.link.receive(now) {
            // The queue reports drops to a slow reader; a closed one needs no messages.
            self.queue.push(delivery).ok();
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use blink_signaling_memory::{Hub, MemorySignaling};

    use super::*;

    const TOPIC: Topic = Topic::from_bytes([7; 32]);
    const PACE: Duration = Duration::from_millis(20);
    /// Resolution of timers, by which they may be late.
    const GRAIN: Duration = Duration::from_millis(1);

    /// A node that publishes, and one on a bad network that reads.
    fn nodes(impairments: Impairments, seed: u64) -> (MemorySignaling, ImpairedSignaling) {
        let hub = Hub::default();
        let impaired = ImpairedSignaling::new(Arc::new(MemorySignaling::new(&hub)), impairments, seed);
        (MemorySignaling::new(&hub), impaired)
    }

    async fn publish(node: &dyn Signaling, number: u32) {
        node.publish(&TOPIC, Bytes::copy_from_slice(&number.to_be_bytes())).await.expect("a subscriber");
    }

    /// The next number; `None` when nothing comes for a while.
    async fn next(subscription: &mut Subscription) -> Option<u32> {
        let event = tokio::time::timeout(Duration::from_secs(10), subscription.next()).await.ok()??;
        let SubscriptionEvent::Delivery(delivery) = event else { panic!("a fast reader misses nothing: {event:?}") };
        Some(u32::from_be_bytes(delivery.message[..].try_into().expect("a number")))
    }

    /// Publishes so many numbers at a pace; says which arrived, in order, and how long each took.
    async fn through(impairments: Impairments, seed: u64, count: u32) -> Vec<(u32, Duration)> {
        let (publisher, reader) = nodes(impairments, seed);
        let mut subscription = reader.subscribe(&TOPIC).await.expect("a subscription");
        let began = Instant::now();
        let reading = tokio::spawn(async move {
            let mut arrived = Vec::new();
            while let Some(number) = next(&mut subscription).await {
                arrived.push((number, began.elapsed() - PACE * number));
            }
            arrived
        });
        for number in 0..count {
            tokio::time::sleep_until(began + PACE * number).await;
            publish(&publisher, number).await;
        }
        reading.await.expect("the reader")
    }

    fn numbers(arrived: &[(u32, Duration)]) -> Vec<u32> {
        arrived.iter().map(|(number, _)| *number).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_impairment_everything_arrives_at_once_and_in_order() {
        let arrived = through(Impairments::NONE, 0, 500).await;
        assert_eq!(numbers(&arrived), (0..500).collect::<Vec<_>>());
        assert!(arrived.iter().all(|(_, taken)| *taken <= GRAIN), "{arrived:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn delays_lie_in_the_range_that_is_asked_for_and_deliveries_overtake_each_other() {
        let (delay, jitter) = (Duration::from_millis(40), Duration::from_millis(100));
        let arrived = through(Impairments { delay, jitter, ..Impairments::NONE }, 3, 2_000).await;
        let range = delay..=delay + jitter + GRAIN;
        assert!(arrived.iter().all(|(_, taken)| range.contains(taken)), "{arrived:?}");
        let overtaken = arrived.windows(2).filter(|pair| pair[0].0 > pair[1].0).count();
        assert!(overtaken > 400, "{overtaken} of 2,000 were overtaken");
        let mut sorted = numbers(&arrived);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..2_000).collect::<Vec<_>>(), "all arrive, once each");
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_are_lost_and_repeated_as_is_asked_for() {
        let impairments = Impairments { loss: 0.2, duplicate: 0.1, ..Impairments::NONE };
        let mut times = BTreeMap::new();
        numbers(&through(impairments, 5, 5_000).await)
            .into_iter()
            .for_each(|number| *times.entry(number).or_insert(0) += 1);
        let (arrived, twice) = (times.len(), times.values().filter(|times| **times == 2).count());
        assert!((3_880..4_120).contains(&arrived), "{arrived} of 5,000 arrived");
        assert!((340..460).contains(&twice), "{twice} of {arrived} came twice");
        assert!(times.values().all(|times| *times <= 2));
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_seed_gives_the_same_network_and_another_one_another() {
        let (jitter, loss, duplicate) = (PACE * 3, 0.2, 0.1);
        let rough = Impairments { jitter, loss, duplicate, ..Impairments::delayed(PACE) };
        let first = through(rough, 1, 300).await;
        assert_eq!(first, through(rough, 1, 300).await);
        assert_ne!(numbers(&first), numbers(&through(rough, 2, 300).await));
    }

    /// Subscriptions of one node do not share their fate.
    #[tokio::test(start_paused = true)]
    async fn each_subscription_has_losses_of_its_own() {
        let (publisher, reader) = nodes(Impairments { loss: 0.5, ..Impairments::NONE }, 0);
        let mut subscriptions = Vec::new();
        for _ in 0..2 {
            subscriptions.push(reader.subscribe(&TOPIC).await.expect("a subscription"));
        }
        for number in 0..100 {
            publish(&publisher, number).await;
        }
        let mut arrived = Vec::new();
        for subscription in &mut subscriptions {
            let mut numbers = Vec::new();
            while let Some(number) = next(subscription).await {
                numbers.push(number);
            }
            arrived.push(numbers);
        }
        assert_ne!(arrived[0], arrived[1]);
        assert!(arrived.iter().all(|numbers| !numbers.is_empty()));
    }

    #[tokio::test(start_paused = true)]
    async fn cuts_stop_one_direction_or_both_until_they_are_healed() {
        for (cut, comes, goes) in [
            (Cut::Outgoing, true, false),
            (Cut::Incoming, false, true),
            (Cut::Both, false, false),
            (Cut::None, true, true),
        ] {
            let (other, impaired) = nodes(Impairments::NONE, 0);
            let mut here = impaired.subscribe(&TOPIC).await.expect("a subscription");
            let mut there = other.subscribe(&TOPIC).await.expect("a subscription");
            impaired.cut(cut);
            publish(&other, 1).await;
            publish(&impaired, 2).await;
            assert_eq!(
                (next(&mut here).await, next(&mut there).await),
                (comes.then_some(1), goes.then_some(2)),
                "{cut:?}"
            );
            impaired.cut(Cut::None);
            publish(&other, 3).await;
            publish(&impaired, 4).await;
            assert_eq!((next(&mut here).await, next(&mut there).await), (Some(3), Some(4)), "{cut:?}, healed");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn deliveries_on_their_way_over_a_link_that_is_cut_are_lost() {
        let (publisher, reader) = nodes(Impairments::delayed(PACE * 5), 0);
        let mut subscription = reader.subscribe(&TOPIC).await.expect("a subscription");
        publish(&publisher, 1).await;
        tokio::time::sleep(PACE).await;
        reader.cut(Cut::Incoming);
        tokio::time::sleep(PACE).await;
        reader.cut(Cut::None);
        publish(&publisher, 2).await;
        assert_eq!(next(&mut subscription).await, Some(2));
        assert_eq!(next(&mut subscription).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn subscribers_are_told_of_blackouts_and_receive_nothing_sent_in_them() {
        let hub = Hub::default();
        let reader = ImpairedSignaling::new(Arc::new(MemorySignaling::new(&hub)), Impairments::NONE, 0);
        let mut events = reader.events();
        // The task that passes events on takes what came before.
        tokio::time::sleep(PACE).await;
        while events.try_recv().is_ok() {}
        reader.cut(Cut::Both);
        assert_eq!(events.recv().await, Ok(SignalingEvent::Disconnected { nodes: 0 }));
        let other = MemorySignaling::new(&hub);
        let _subscription = other.subscribe(&TOPIC).await.expect("a subscription");
        tokio::time::sleep(PACE).await;
        assert!(events.try_recv().is_err(), "nothing comes from a network that is cut");
        reader.cut(Cut::None);
        assert_eq!(events.recv().await, Ok(SignalingEvent::Connected { nodes: 1 }));
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_a_subscription_unsubscribes() {
        let (publisher, reader) = nodes(Impairments::NONE, 0);
        let subscription = reader.subscribe(&TOPIC).await.expect("a subscription");
        assert_eq!(publisher.subscribers(&TOPIC).await.expect("the node is running"), 1);
        drop(subscription);
        tokio::time::sleep(PACE).await;
        assert_eq!(publisher.subscribers(&TOPIC).await.expect("the node is running"), 0);
    }
}
