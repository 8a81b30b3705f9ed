//! This node's subscriptions and those of others.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use blink_api::{Delivery, DeliveryQueue, Topic};

use crate::admission::Standing;

/// A subscription, as the node sees it.
pub struct Reader {
    /// Where its messages go.
    pub queue: DeliveryQueue,
    /// The reader dropped its end: told by a flag, so that no queue can be too full for it.
    pub dropped: Arc<AtomicBool>,
}

/// Who reads what at this node.
#[derive(Default)]
pub struct Readers(HashMap<Topic, Vec<Reader>>);

impl Readers {
    /// One more reader of a topic.
    pub fn add(&mut self, topic: Topic, reader: Reader) {
        self.0.entry(topic).or_default().push(reader);
    }

    /// Hands a message to every reader of its topic; says whether one of them took it.
    pub fn deliver(&self, topic: &Topic, delivery: &Delivery) -> bool {
        let mut taken = false;
        for reader in self.0.get(topic).into_iter().flatten() {
            // The queue has counted the loss for its reader.
            taken |= reader.queue.push(delivery.clone()).is_ok();
        }
        taken
    }

    /// Forgets the readers that are gone and returns the topics nobody reads any more.
    pub fn sweep(&mut self) -> Vec<Topic> {
        for readers in self.0.values_mut() {
            readers.retain(|reader| !reader.dropped.load(Ordering::Acquire));
        }
        self.0.extract_if(|_, readers| readers.is_empty()).map(|(topic, _)| topic).collect()
    }

    /// Topics that are read.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.0.keys()
    }

    /// Ends every subscription and returns the topics.
    pub fn clear(&mut self) -> Vec<Topic> {
        self.0.drain().map(|(topic, _)| topic).collect()
    }
}

/// Which other nodes, named by `P`, are subscribed to what. Gossipsub bounds the topics of a node
/// and the network the nodes.
pub struct Others<P>(HashMap<P, HashSet<Topic>>);

impl<P> Default for Others<P> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<P: Eq + Hash> Others<P> {
    /// Says whether this was news: a node may announce its subscriptions again and again.
    pub fn joined(&mut self, peer: P, topic: Topic) -> bool {
        self.0.entry(peer).or_default().insert(topic)
    }

    /// A node left a topic.
    pub fn left(&mut self, peer: P, topic: &Topic) {
        if let Some(topics) = self.0.get_mut(&peer) {
            topics.remove(topic);
        }
    }

    /// A node is gone.
    pub fn disconnected(&mut self, peer: P) {
        self.0.remove(&peer);
    }

    /// What a node's subscriptions make it worth to a node that reads these topics.
    pub fn standing(&self, peer: &P, readers: &Readers) -> Standing {
        match self.0.get(peer) {
            None => Standing::Silent,
            Some(topics) if topics.is_empty() => Standing::Silent,
            Some(topics) if readers.topics().any(|topic| topics.contains(topic)) => Standing::Shared,
            Some(_) => Standing::Subscribed,
        }
    }

    /// How many nodes are subscribed to a topic.
    pub fn count(&self, topic: &Topic) -> usize {
        self.0.values().filter(|topics| topics.contains(topic)).count()
    }
}

#[cfg(test)]
mod tests {
    use blink_api::subscription;

    use super::*;

    #[test]
    fn standing_follows_the_subscriptions_of_both() {
        let (ours, other) = (Topic::from_bytes([1; 32]), Topic::from_bytes([2; 32]));
        let (queue, _subscription) = subscription(1, || {});
        let mut readers = Readers::default();
        readers.add(ours, Reader { queue, dropped: Arc::default() });
        let mut others = Others::default();
        assert_eq!(others.standing(&'p', &readers), Standing::Silent);
        others.joined('p', other);
        assert_eq!(others.standing(&'p', &readers), Standing::Subscribed);
        others.joined('p', ours);
        assert_eq!(others.standing(&'p', &readers), Standing::Shared);
        others.left('p', &ours);
        others.left('p', &other);
        assert_eq!(others.standing(&'p', &readers), Standing::Silent);
    }
}
