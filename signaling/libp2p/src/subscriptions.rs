//! This node's subscriptions and those of others.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use blink_api::{Delivery, DeliveryQueue, Topic};
use libp2p::PeerId;

/// The reader's ends that were dropped are told by a flag, so that no queue can be too full for it.
pub(crate) struct Reader {
    pub(crate) queue: DeliveryQueue,
    pub(crate) dropped: Arc<AtomicBool>,
}

/// Who reads what at this node.
#[derive(Default)]
pub(crate) struct Readers(HashMap<Topic, Vec<Reader>>);

impl Readers {
    pub(crate) fn add(&mut self, topic: Topic, reader: Reader) {
        self.0.entry(topic).or_default().push(reader);
    }

    /// Hands a message to every reader of its topic; says whether one of them took it.
    pub(crate) fn deliver(&self, topic: &Topic, delivery: &Delivery) -> bool {
        let mut taken = false;
        for reader in self.0.get(topic).into_iter().flatten() {
            // The queue has counted the loss for its reader.
            taken |= reader.queue.push(delivery.clone()).is_ok();
        }
        taken
    }

    /// Forgets the readers that are gone and returns the topics nobody reads any more.
    pub(crate) fn sweep(&mut self) -> Vec<Topic> {
        for readers in self.0.values_mut() {
            readers.retain(|reader| !reader.dropped.load(Ordering::Acquire));
        }
        self.0.extract_if(|_, readers| readers.is_empty()).map(|(topic, _)| topic).collect()
    }

    /// Ends every subscription and returns the topics.
    pub(crate) fn clear(&mut self) -> Vec<Topic> {
        self.0.drain().map(|(topic, _)| topic).collect()
    }
}

/// Who else is subscribed to what. Gossipsub bounds the topics of a node and the swarm the nodes.
#[derive(Default)]
pub(crate) struct Others(HashMap<PeerId, HashSet<Topic>>);

impl Others {
    /// Says whether this was news: a node may announce its subscriptions again and again.
    pub(crate) fn joined(&mut self, peer: PeerId, topic: Topic) -> bool {
        self.0.entry(peer).or_default().insert(topic)
    }

    pub(crate) fn left(&mut self, peer: PeerId, topic: &Topic) {
        if let Some(topics) = self.0.get_mut(&peer) {
            topics.remove(topic);
        }
    }

    pub(crate) fn disconnected(&mut self, peer: PeerId) {
        self.0.remove(&peer);
    }

    pub(crate) fn count(&self, topic: &Topic) -> usize {
        self.0.values().filter(|topics| topics.contains(topic)).count()
    }
}
