//! Commands, messages and verdicts.

use std::time::SystemTime;

use blink_api::{Delivery, DeliveryId, ErrorKind, Result, SignalingEvent, Topic, Verdict};
use blink_signaling_kit::clock;
use blink_signaling_kit::deliveries;
use blink_signaling_kit::handle::Command;
use blink_signaling_kit::origin;
use bytes::Bytes;
use libp2p::gossipsub::{self, MessageAcceptance, MessageId, PublishError};
use libp2p::{Multiaddr, PeerId, ping};
use tokio::time::Instant;

use super::SignalingBehaviour;
use crate::protocols::ProtocolsEvent;
use crate::{addresses, error, gossip};

type PendingDelivery = deliveries::PendingDelivery<MessageId, PeerId>;

impl SignalingBehaviour {
    pub(super) fn handle_command(&mut self, command: Command<Multiaddr>) {
        // The caller may have stopped waiting for the reply; the command is carried out anyway.
        match command {
            Command::Subscribe { topic, subscriber, reply } => {
                let result = gossip::subscribe(&mut self.protocols().gossipsub, &topic).map_err(|reason| {
                    error(ErrorKind::Unexpected, "subscribe", "gossipsub rejects the topic").with("reason", reason)
                });
                if result.is_ok() {
                    self.subscribers.add(topic, subscriber);
                }
                let _ = reply.send(result);
            }
            Command::Publish { topic, message, reply } => {
                let _ = reply.send(self.publish(&topic, message));
            }
            Command::Subscribers { topic, reply } => {
                let _ = reply.send(self.remote_subscriptions.count(&topic));
            }
            Command::Connect { address, reply } => {
                self.stay_connected(address, Some(reply));
                self.start_due_dials();
            }
            Command::Addresses { reply } => {
                let allows_quic = clock::allows_quic(SystemTime::now());
                let _ = reply.send(addresses::own(
                    self.listening.iter().chain(self.external.iter()),
                    self.local,
                    allows_quic,
                ));
            }
            Command::Announce { topic, reply } => {
                let _ = reply.send(self.announce(topic));
            }
            Command::Find { topic, reply } => {
                let _ = reply.send(self.find(topic));
            }
            Command::Shutdown => unreachable!("handled by `leave`"),
        }
    }

    fn publish(&mut self, topic: &Topic, message: Bytes) -> Result<()> {
        let published = self.protocols().gossipsub.publish(gossip::ident(topic), message);
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

    pub(super) fn handle_event(&mut self, event: ProtocolsEvent) {
        match event {
            ProtocolsEvent::Gossipsub(event) => self.handle_gossip(event),
            ProtocolsEvent::Ping(ping::Event { peer, connection, result }) => match result {
                Ok(_) => self.liveness.record_activity(connection, peer, Instant::now()),
                Err(ping::Failure::Unsupported) => self.liveness.remove(connection),
                Err(failure) => tracing::debug!(%peer, %failure, "ping missed"),
            },
            ProtocolsEvent::Mdns(event) => self.handle_discovery(event),
            ProtocolsEvent::Identify(event) => self.handle_identify(event),
            ProtocolsEvent::Kad(event) => self.handle_kad(event),
        }
    }

    fn handle_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                let (id, evicted) = self.deliveries.insert(message_id, propagation_source, Instant::now());
                if let Some(pending) = evicted {
                    self.apply_verdict(&pending, Verdict::Ignore);
                }
                let author = message.source.map(|author| origin(&author.to_bytes()));
                let delivery = Delivery { id, origin: author, message: message.data.into() };
                let topic = Topic::from_hex(message.topic.as_str());
                if !topic.is_some_and(|topic| self.subscribers.deliver(&topic, &delivery)) {
                    self.handle_verdict(id, Verdict::Ignore);
                }
            }
            gossipsub::Event::Subscribed { peer_id, topic } => {
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

    pub(super) fn expire_deliveries(&mut self, now: Instant) {
        while let Some(pending) = self.deliveries.take_expired(now) {
            self.apply_verdict(&pending, Verdict::Ignore);
        }
    }

    fn apply_verdict(&mut self, pending: &PendingDelivery, verdict: Verdict) {
        let acceptance = match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Reject => MessageAcceptance::Reject,
            Verdict::Ignore => MessageAcceptance::Ignore,
        };
        let gossipsub = &mut self.protocols().gossipsub;
        if !gossipsub.report_message_validation_result(&pending.message, &pending.sender, acceptance) {
            tracing::debug!("verdict too late: gossipsub has dropped the message from its cache");
        }
        if verdict == Verdict::Reject && gossip::is_graylisted(&self.protocols().gossipsub, &pending.sender) {
            self.ban(pending.sender);
        }
    }

    pub(super) fn remove_dropped(&mut self) {
        for topic in self.subscribers.remove_dropped() {
            self.protocols().gossipsub.unsubscribe(&gossip::ident(&topic));
        }
    }

    pub(super) fn leave_topics(&mut self) {
        for topic in self.subscribers.clear() {
            self.protocols().gossipsub.unsubscribe(&gossip::ident(&topic));
        }
    }
}
