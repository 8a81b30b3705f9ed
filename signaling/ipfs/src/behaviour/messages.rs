//! Commands, messages, and what becomes of them.

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

use super::Calls;
use crate::parts::PartsEvent;
use crate::{addresses, error, gossip};

type Pending = deliveries::Pending<MessageId, PeerId>;

impl Calls {
    pub(super) fn handle_command(&mut self, command: Command<Multiaddr>) {
        // Whoever asked may have stopped waiting for the answer; what was asked is done all the
        // same.
        match command {
            Command::Subscribe { topic, reader, reply } => {
                let result = gossip::subscribe(&mut self.parts().gossipsub, &topic).map_err(|reason| {
                    error(ErrorKind::Unexpected, "subscribe", "gossipsub refuses the topic").with("reason", reason)
                });
                if result.is_ok() {
                    self.readers.add(topic, reader);
                }
                let _ = reply.send(result);
            }
            Command::Publish { topic, message, reply } => {
                let _ = reply.send(self.publish(&topic, message));
            }
            Command::Subscribers { topic, reply } => {
                let _ = reply.send(self.others.count(&topic));
            }
            Command::Connect { address, waiter } => {
                self.stay_connected(address, Some(waiter));
                self.dial_due();
            }
            Command::Addresses { reply } => {
                let allows_quic = clock::allows_quic(SystemTime::now());
                let _ = reply.send(addresses::own(self.listening.iter(), self.local, allows_quic));
            }
            Command::Shutdown => unreachable!("begins to leave"),
        }
    }

    fn publish(&mut self, topic: &Topic, message: Bytes) -> Result<()> {
        let published = self.parts().gossipsub.publish(gossip::ident(topic), message);
        let (kind, text) = match published {
            Ok(_) => return Ok(()),
            Err(PublishError::NoPeersSubscribedToTopic) => {
                (ErrorKind::NoSubscribers, "no connected node is subscribed to the topic")
            }
            Err(PublishError::MessageTooLarge) => (ErrorKind::TooLarge, "the message is larger than gossipsub carries"),
            Err(PublishError::AllQueuesFull(_)) => (ErrorKind::Full, "the queues of all subscribers are full"),
            Err(source) => {
                return Err(error(ErrorKind::Unexpected, "publish", "gossipsub does not publish").source(source));
            }
        };
        Err(error(kind, "publish", text))
    }

    pub(super) fn handle_event(&mut self, event: PartsEvent) {
        match event {
            PartsEvent::Gossipsub(event) => self.handle_gossip(event),
            PartsEvent::Ping(ping::Event { peer, connection, result }) => match result {
                Ok(_) => self.liveness.heard(connection, peer, Instant::now()),
                Err(ping::Failure::Unsupported) => self.liveness.forget(connection),
                Err(failure) => tracing::debug!(%peer, %failure, "a ping was missed"),
            },
            PartsEvent::Mdns(event) => self.handle_discovery(event),
            PartsEvent::Identify(_) => {}
        }
    }

    fn handle_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                let (id, evicted) = self.deliveries.enter(message_id, propagation_source, Instant::now());
                if let Some(pending) = evicted {
                    self.judge(&pending, Verdict::Ignore);
                }
                let author = message.source.map(|author| origin(&author.to_bytes()));
                let delivery = Delivery { id, origin: author, message: message.data.into() };
                let topic = Topic::from_hex(message.topic.as_str());
                if !topic.is_some_and(|topic| self.readers.deliver(&topic, &delivery)) {
                    self.handle_verdict(id, Verdict::Ignore);
                }
            }
            gossipsub::Event::Subscribed { peer_id, topic } => {
                if let Some(topic) = Topic::from_hex(topic.as_str())
                    && self.others.joined(peer_id, topic)
                {
                    self.tell(SignalingEvent::SubscriberJoined(topic));
                }
            }
            gossipsub::Event::Unsubscribed { peer_id, topic } => {
                if let Some(topic) = Topic::from_hex(topic.as_str()) {
                    self.others.left(peer_id, &topic);
                }
            }
            gossipsub::Event::SlowPeer { peer_id, .. } => {
                tracing::debug!(peer = %peer_id, "messages to a slow node were dropped");
            }
            gossipsub::Event::GossipsubNotSupported { peer_id } => {
                tracing::debug!(peer = %peer_id, "a node speaks no gossipsub");
            }
        }
    }

    pub(super) fn handle_verdict(&mut self, delivery: DeliveryId, verdict: Verdict) {
        if let Some(pending) = self.deliveries.take(delivery) {
            self.judge(&pending, verdict);
        }
    }

    pub(super) fn give_up_unjudged(&mut self, now: Instant) {
        while let Some(pending) = self.deliveries.take_expired(now) {
            self.judge(&pending, Verdict::Ignore);
        }
    }

    fn judge(&mut self, pending: &Pending, verdict: Verdict) {
        let acceptance = match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Reject => MessageAcceptance::Reject,
            Verdict::Ignore => MessageAcceptance::Ignore,
        };
        let gossipsub = &mut self.parts().gossipsub;
        if !gossipsub.report_message_validation_result(&pending.message, &pending.sender, acceptance) {
            tracing::debug!("a verdict came after the message was forgotten");
        }
        if verdict == Verdict::Reject && gossip::is_graylisted(&self.parts().gossipsub, &pending.sender) {
            self.keep_out(pending.sender);
        }
    }

    pub(super) fn sweep(&mut self) {
        for topic in self.readers.sweep() {
            self.parts().gossipsub.unsubscribe(&gossip::ident(&topic));
        }
    }

    pub(super) fn leave_topics(&mut self) {
        for topic in self.readers.clear() {
            self.parts().gossipsub.unsubscribe(&gossip::ident(&topic));
        }
    }
}
