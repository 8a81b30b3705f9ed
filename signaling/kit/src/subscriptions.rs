//! Local subscribers, and the subscriptions of remote nodes.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use blink_api::{Delivery, DeliveryQueue, Topic};

use crate::admission::EvictionPriority;

/// One local subscription to a topic.
#[derive(Debug)]
pub struct Subscriber {
    /// Queue that receives its messages.
    pub queue: DeliveryQueue,
    /// Set when the subscription is dropped. A flag rather than a message, so that no full queue
    /// can lose it.
    pub dropped: Arc<AtomicBool>,
}

/// Local subscriptions by topic.
#[derive(Debug, Default)]
pub struct Subscribers(HashMap<Topic, Vec<Subscriber>>);

impl Subscribers {
    /// Adds a subscription to a topic.
    pub fn add(&mut self, topic: Topic, subscriber: Subscriber) {
        self.0.entry(topic).or_default().push(subscriber);
    }

    /// Delivers a message to all subscribers of its topic; returns whether at least one accepted
    /// it.
    pub fn deliver(&self, topic: &Topic, delivery: &Delivery) -> bool {
        let mut taken = false;
        for subscriber in self.0.get(topic).into_iter().flatten() {
            // A full queue counts the loss and reports it to its subscriber as `Lagged`.
            taken |= subscriber.queue.push(delivery.clone()).is_ok();
        }
        taken
    }

    /// Removes dropped subscriptions and returns the topics without a subscriber left.
    pub fn remove_dropped(&mut self) -> Vec<Topic> {
        for subscribers in self.0.values_mut() {
            subscribers.retain(|subscriber| !subscriber.dropped.load(Ordering::Acquire));
        }
        self.0.extract_if(|_, subscribers| subscribers.is_empty()).map(|(topic, _)| topic).collect()
    }

    /// Topics with at least one local subscriber.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.0.keys()
    }

    /// Removes all subscriptions and returns their topics.
    pub fn clear(&mut self) -> Vec<Topic> {
        self.0.drain().map(|(topic, _)| topic).collect()
    }
}

/// Topics that remote nodes `P` are subscribed to. Bounded by gossipsub's limit of topics per node
/// and the connection limit.
#[derive(Debug)]
pub struct RemoteSubscriptions<P>(HashMap<P, HashSet<Topic>>);

impl<P> Default for RemoteSubscriptions<P> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<P: Eq + Hash> RemoteSubscriptions<P> {
    /// Records a subscription; returns whether it is new, since nodes repeat their announcements.
    pub fn joined(&mut self, peer: P, topic: Topic) -> bool {
        self.0.entry(peer).or_default().insert(topic)
    }

    /// Records that a node unsubscribed.
    pub fn left(&mut self, peer: P, topic: &Topic) {
        if let Some(topics) = self.0.get_mut(&peer) {
            topics.remove(topic);
        }
    }

    /// Removes a disconnected node.
    pub fn disconnected(&mut self, peer: P) {
        self.0.remove(&peer);
    }

    /// Eviction priority of a node, given the local subscriptions.
    pub fn priority(&self, peer: &P, subscribers: &Subscribers) -> EvictionPriority {
        match self.0.get(peer) {
            None => EvictionPriority::Unsubscribed,
            Some(topics) if topics.is_empty() => EvictionPriority::Unsubscribed,
            Some(topics) if subscribers.topics().any(|topic| topics.contains(topic)) => EvictionPriority::SharedTopic,
            Some(_) => EvictionPriority::OtherTopics,
        }
    }

    /// Returns whether a node is subscribed to a topic.
    pub fn contains(&self, peer: &P, topic: &Topic) -> bool {
        self.0.get(peer).is_some_and(|topics| topics.contains(topic))
    }

    /// Number of remote nodes subscribed to a topic.
    pub fn count(&self, topic: &Topic) -> usize {
        self.0.values().filter(|topics| topics.contains(topic)).count()
    }
}

#[cfg(test)]
mod tests {
    use blink_api::subscription;

    use super::*;

    #[test]
    fn priority_depends_on_local_and_remote_subscriptions() {
        let (ours, other) = (Topic::from_bytes([1; 32]), Topic::from_bytes([2; 32]));
        let (queue, _subscription) = subscription(1, || {});
        let mut subscribers = Subscribers::default();
        subscribers.add(ours, Subscriber { queue, dropped: Arc::default() });
        let mut remote = RemoteSubscriptions::default();
        assert_eq!(remote.priority(&'p', &subscribers), EvictionPriority::Unsubscribed);
        remote.joined('p', other);
        assert_eq!(remote.priority(&'p', &subscribers), EvictionPriority::OtherTopics);
        remote.joined('p', ours);
        assert_eq!(remote.priority(&'p', &subscribers), EvictionPriority::SharedTopic);
        remote.left('p', &ours);
        remote.left('p', &other);
        assert_eq!(remote.priority(&'p', &subscribers), EvictionPriority::Unsubscribed);
    }
}
