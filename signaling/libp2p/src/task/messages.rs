//! Messages: publishing, deliveries, subscriptions of others, verdicts.

use blink_api::{Delivery, DeliveryId, ErrorKind, Result, SignalingEvent, Topic, Verdict};
use blink_signaling_kit::origin;
use bytes::Bytes;
use libp2p::gossipsub::{self, MessageAcceptance, PublishError};
use tokio::time::Instant;

use super::{PendingDelivery, Task};
use crate::behaviour::ident;
use crate::error;

impl Task {
    pub(super) fn publish(&mut self, topic: &Topic, message: Bytes) -> Result<()> {
        let published = self.swarm.behaviour_mut().gossipsub.publish(ident(topic), message);
        let (kind, text) = match published {
            Ok(_) => return Ok(()),
            Err(PublishError::NoPeersSubscribedToTopic) => {
                (ErrorKind::NoSubscribers, "no connected node is subscribed to the topic")
            }
            Err(PublishError::MessageTooLarge) => (ErrorKind::TooLarge, "the message exceeds gossipsub's size limit"),
            Err(PublishError::AllQueuesFull(_)) => (ErrorKind::Full, "the queues of all subscribers are full"),
            Err(source) => {
                return Err(error(ErrorKind::Unexpected, "publish", "gossipsub cannot publish").source(source));
            }
        };
        Err(error(kind, "publish", text))
    }

    pub(super) fn handle_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                let (id, evicted) = self.deliveries.insert(message_id, propagation_source, Instant::now());
                if let Some(pending) = evicted {
                    self.apply_verdict(&pending, Verdict::Ignore);
                }
                let delivery = Delivery {
                    id,
                    origin: message.source.map(|author| origin(&author.to_bytes())),
                    message: message.data.into(),
                };
                let topic = Topic::from_hex(message.topic.as_str());
                if !topic.is_some_and(|topic| self.subscribers.deliver(&topic, &delivery)) {
                    self.handle_verdict(id, Verdict::Ignore);
                }
            }
            gossipsub::Event::Subscribed { peer_id, topic, .. } => {
                if let Some(topic) = Topic::from_hex(topic.as_str())
                    && self.remote_subscriptions.joined(peer_id, topic)
                {
                    self.emit(SignalingEvent::SubscriberJoined(topic));
                }
            }
            gossipsub::Event::Unsubscribed { peer_id, topic } => {
                if let Some(topic) = Topic::from_hex(topic.as_str()) {
                    self.remote_subscriptions.left(peer_id, &topic);
                }
            }
            gossipsub::Event::SlowPeer { peer_id, .. } => {
                tracing::debug!(peer = %peer_id, "messages to a slow node dropped");
            }
            gossipsub::Event::GossipsubNotSupported { peer_id } => {
                tracing::debug!(peer = %peer_id, "the node does not support gossipsub");
            }
        }
    }

    pub(super) fn handle_verdict(&mut self, delivery: DeliveryId, verdict: Verdict) {
        if let Some(pending) = self.deliveries.take(delivery) {
            self.apply_verdict(&pending, verdict);
        }
    }

    pub(super) fn apply_verdict(&mut self, pending: &PendingDelivery, verdict: Verdict) {
        let acceptance = match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Reject => MessageAcceptance::Reject,
            Verdict::Ignore => MessageAcceptance::Ignore,
        };
        let gossipsub = &mut self.swarm.behaviour_mut().gossipsub;
        if !gossipsub.report_message_validation_result(&pending.message, &pending.sender, acceptance) {
            tracing::debug!("verdict too late: gossipsub has dropped the message from its cache");
        }
        if verdict == Verdict::Reject && self.swarm.behaviour().is_graylisted(&pending.sender) {
            self.ban(pending.sender);
        }
    }

    pub(super) fn remove_dropped(&mut self) {
        for topic in self.subscribers.remove_dropped() {
            self.swarm.behaviour_mut().gossipsub.unsubscribe(&ident(&topic));
        }
    }
}
