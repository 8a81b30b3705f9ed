//! Task that owns the swarm.
//!
//! Inputs: commands and verdicts from the handle, dropped subscriptions, swarm events, and a
//! periodic tick.

use std::time::{Duration, SystemTime};

use blink_api::{Delivery, DeliveryId, ErrorKind, Result, SignalingEvent, Topic, Verdict};
use blink_signaling_kit::clock;
use blink_signaling_kit::deliveries::{self, PendingDeliveries};
use blink_signaling_kit::dial_queue::{ConnectReply, DialQueue};
use blink_signaling_kit::handle::{Command, Inputs};
use blink_signaling_kit::liveness::Liveness;
use blink_signaling_kit::origin;
use blink_signaling_kit::subscriptions::{RemoteSubscriptions, Subscribers};
use bytes::Bytes;
use futures::StreamExt;
use libp2p::gossipsub::{self, MessageAcceptance, MessageId, PublishError};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, Swarm, SwarmEvent};
use libp2p::{Multiaddr, PeerId, mdns, ping};
use tokio::time::{Instant, MissedTickBehavior, timeout};

use crate::behaviour::{Behaviour, BehaviourEvent, VERDICT_WINDOW, ident};
use crate::listen::EventOf;
use crate::transport::is_timeout;
use crate::{addresses, error};

/// Interval of periodic work: redials, ping timeouts, expired deliveries.
const TICK: Duration = Duration::from_millis(250);
/// Time for a verdict, shorter than gossipsub's message cache.
const VERDICT_TTL: Duration = VERDICT_WINDOW.saturating_sub(Duration::from_secs(2));
/// Time at shutdown for published messages to be sent.
const DRAIN_TIME: Duration = Duration::from_millis(100);
/// Time at shutdown for connections to close.
const CLOSE_TIME: Duration = Duration::from_millis(550);
/// Time at shutdown for the operating system to free the ports.
const PORT_RELEASE_TIMEOUT: Duration = Duration::from_millis(300);
const PROBE_INTERVAL: Duration = Duration::from_millis(10);

type PendingDelivery = deliveries::PendingDelivery<MessageId, PeerId>;

pub(crate) struct Task {
    swarm: Swarm<Behaviour>,
    inputs: Inputs<Multiaddr>,
    subscribers: Subscribers,
    remote_subscriptions: RemoteSubscriptions<PeerId>,
    deliveries: PendingDeliveries<MessageId, PeerId>,
    dial_queue: DialQueue<Multiaddr, PeerId, ConnectionId>,
    liveness: Liveness<ConnectionId, PeerId>,
}

impl Task {
    pub(crate) fn new(swarm: Swarm<Behaviour>, inputs: Inputs<Multiaddr>) -> Self {
        Self {
            swarm,
            inputs,
            subscribers: Subscribers::default(),
            remote_subscriptions: RemoteSubscriptions::default(),
            deliveries: PendingDeliveries::new(VERDICT_TTL),
            dial_queue: DialQueue::default(),
            liveness: Liveness::default(),
        }
    }

    /// Runs until `shutdown` is called or the handle is dropped.
    pub(crate) async fn run(mut self, bootstrap: Vec<Multiaddr>, early_events: Vec<EventOf<Behaviour>>) {
        for address in bootstrap {
            self.stay_connected(address, None);
        }
        for event in early_events {
            self.handle_event(event);
        }
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                command = self.inputs.commands.recv() => match command {
                    Some(Command::Shutdown) | None => break,
                    Some(command) => self.handle_command(command),
                },
                Some((delivery, verdict)) = self.inputs.reports.recv() => self.handle_verdict(delivery, verdict),
                event = self.swarm.select_next_some() => self.handle_event(event),
                Some(()) = self.inputs.dropped.recv() => self.remove_dropped(),
                _ = tick.tick() => self.handle_tick(),
            }
        }
        self.shut_down().await;
    }

    fn handle_command(&mut self, command: Command<Multiaddr>) {
        // The caller may have stopped waiting for the reply; the command is carried out anyway.
        match command {
            Command::Subscribe { topic, subscriber, reply } => {
                let result = self.swarm.behaviour_mut().subscribe(&topic);
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
                let _ = reply.send(addresses::own(self.swarm.listeners(), *self.swarm.local_peer_id(), allows_quic));
            }
            Command::Shutdown => unreachable!("handled by `run`"),
        }
    }

    fn publish(&mut self, topic: &Topic, message: Bytes) -> Result<()> {
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

    fn handle_event(&mut self, event: EventOf<Behaviour>) {
        let now = Instant::now();
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Gossipsub(event)) => self.handle_gossip(event),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event { peer, connection, result })) => match result {
                Ok(_) => self.liveness.record_activity(connection, peer, now),
                Err(ping::Failure::Unsupported) => self.liveness.remove(connection),
                Err(failure) => tracing::debug!(%peer, %failure, "ping missed"),
            },
            SwarmEvent::Behaviour(BehaviourEvent::Mdns(event)) => self.handle_discovery(event, now),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, num_established, .. } => {
                tracing::debug!(peer = %peer_id, address = %endpoint.get_remote_address(), "connected");
                self.liveness.record_activity(connection_id, peer_id, now);
                self.dial_queue.connected(connection_id, peer_id, now);
                if num_established.get() == 1 {
                    self.emit(SignalingEvent::Connected { nodes: self.nodes() });
                }
                self.evict_surplus(now);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, num_established, cause, .. } => {
                tracing::debug!(peer = %peer_id, ?cause, left = num_established, "connection closed");
                self.liveness.remove(connection_id);
                if num_established == 0 {
                    self.remote_subscriptions.disconnected(peer_id);
                    self.dial_queue.disconnected(peer_id, now);
                    self.emit(SignalingEvent::Disconnected { nodes: self.nodes() });
                    self.start_due_dials();
                }
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                self.handle_dial_error(connection_id, error, now);
            }
            SwarmEvent::NewListenAddr { .. } | SwarmEvent::ExpiredListenAddr { .. } => {
                self.emit(SignalingEvent::AddressesChanged);
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                tracing::warn!(?reason, "a listener closed");
                tracing::debug!(?addresses, "addresses of the closed listener");
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "listener error"),
            _ => {}
        }
    }

    fn handle_gossip(&mut self, event: gossipsub::Event) {
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

    fn handle_discovery(&mut self, event: mdns::Event, now: Instant) {
        match event {
            mdns::Event::Discovered(nodes) => {
                let local = *self.swarm.local_peer_id();
                for (peer, address) in nodes {
                    self.dial_queue.discovered(local, peer, address, self.swarm.is_connected(&peer), now);
                }
                self.start_due_dials();
            }
            mdns::Event::Expired(nodes) => {
                nodes.iter().for_each(|(peer, address)| self.dial_queue.expired(*peer, address));
            }
        }
    }

    fn handle_dial_error(&mut self, connection: ConnectionId, source: DialError, now: Instant) {
        let (kind, message, permanent) = match &source {
            DialError::LocalPeerId { .. } => (ErrorKind::Invalid, "this is the node's own address", true),
            DialError::Transport(errors) if errors.iter().any(|(_, error)| is_timeout(error)) => {
                (ErrorKind::Timeout, "the node does not answer", false)
            }
            DialError::WrongPeerId { .. } => (ErrorKind::Io, "another node answers at this address", false),
            _ => (ErrorKind::Io, "the node cannot be reached", false),
        };
        tracing::debug!(error = %source, "dial failed");
        let error = error(kind, "connect", message).retryable(!permanent).source(source);
        self.dial_queue.dial_failed(connection, &error, permanent, now);
    }

    fn handle_verdict(&mut self, delivery: DeliveryId, verdict: Verdict) {
        if let Some(pending) = self.deliveries.take(delivery) {
            self.apply_verdict(&pending, verdict);
        }
    }

    fn apply_verdict(&mut self, pending: &PendingDelivery, verdict: Verdict) {
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

    /// Bans a node and closes its connections; its messages would be verified and then dropped.
    fn ban(&mut self, peer: PeerId) {
        tracing::debug!(%peer, "node banned for misbehaviour");
        self.swarm.behaviour_mut().admission.ban(peer, Instant::now());
        self.disconnect(peer);
    }

    /// Evicts connections beyond the limits per address, per prefix and in total.
    fn evict_surplus(&mut self, now: Instant) {
        let priority = |peer: &PeerId| self.remote_subscriptions.priority(peer, &self.subscribers);
        while let Some((connection, _)) = self.swarm.behaviour_mut().admission.next_eviction(now, priority) {
            tracing::debug!(%connection, "connection evicted");
            if !self.swarm.close_connection(connection) {
                tracing::debug!(%connection, "the connection was closed already");
            }
        }
    }

    /// Closes all connections of a node. All at once, because each side announces its subscriptions
    /// only on the first connection.
    fn disconnect(&mut self, peer: PeerId) {
        if self.swarm.disconnect_peer_id(peer).is_err() {
            tracing::debug!(%peer, "the connection was closed already");
        }
    }

    fn handle_tick(&mut self) {
        let now = Instant::now();
        while let Some(pending) = self.deliveries.take_expired(now) {
            self.apply_verdict(&pending, Verdict::Ignore);
        }
        for peer in self.liveness.take_unresponsive(now) {
            tracing::debug!(%peer, "two pings missed: disconnecting");
            self.disconnect(peer);
        }
        let behaviour = self.swarm.behaviour();
        let graylisted = |peer: &&PeerId| behaviour.is_graylisted(peer);
        for peer in self.swarm.connected_peers().filter(graylisted).copied().collect::<Vec<_>>() {
            self.ban(peer);
        }
        self.start_due_dials();
    }

    fn stay_connected(&mut self, address: Multiaddr, reply: Option<ConnectReply>) {
        let expected = addresses::peer(&address);
        self.dial_queue.add(address, expected, reply, Instant::now());
    }

    fn start_due_dials(&mut self) {
        let now = Instant::now();
        while let Some(dial) = self.dial_queue.next_dial(now, |peer| self.swarm.is_connected(peer), dial) {
            let connection = dial.connection_id();
            if let Err(error) = self.swarm.dial(dial) {
                self.handle_dial_error(connection, error, now);
            }
        }
    }

    fn remove_dropped(&mut self) {
        for topic in self.subscribers.remove_dropped() {
            self.swarm.behaviour_mut().gossipsub.unsubscribe(&ident(&topic));
        }
    }

    async fn shut_down(mut self) {
        // Closing the commands fails the pending requests with `Closed`.
        self.inputs.commands.close();
        while self.inputs.commands.try_recv().is_ok() {}
        self.dial_queue = DialQueue::default();
        for topic in self.subscribers.clear() {
            self.swarm.behaviour_mut().gossipsub.unsubscribe(&ident(&topic));
        }
        // Flushes what was published; messages received meanwhile have no subscriber.
        self.drive_until(DRAIN_TIME, |_| false).await;
        for peer in self.swarm.connected_peers().copied().collect::<Vec<_>>() {
            self.disconnect(peer);
        }
        self.drive_until(CLOSE_TIME, |swarm| swarm.network_info().num_peers() == 0).await;
        let listened: Vec<Multiaddr> = self.swarm.listeners().cloned().collect();
        drop(self.swarm);
        // QUIC keeps its socket open for a while after the last connection closed.
        let freed = async {
            while listened.iter().any(|address| addresses::probe(address).is_err()) {
                tokio::time::sleep(PROBE_INTERVAL).await;
            }
        };
        if timeout(PORT_RELEASE_TIMEOUT, freed).await.is_err() {
            tracing::debug!("a listener's port is still in use");
        }
        drop(self.inputs.ended);
    }

    async fn drive_until(&mut self, limit: Duration, done: impl Fn(&Swarm<Behaviour>) -> bool) {
        let drive = async {
            while !done(&self.swarm) {
                self.swarm.select_next_some().await;
            }
        };
        // A timeout is the normal end of draining.
        let _ = timeout(limit, drive).await;
    }

    fn nodes(&self) -> usize {
        self.swarm.network_info().num_peers()
    }

    fn emit(&self, event: SignalingEvent) {
        // No receiver is fine: events are optional.
        let _ = self.inputs.events.send(event);
    }
}

/// Builds a dial from a new port, since the listening port may still have a closing connection to
/// the same address.
fn dial(expected: Option<PeerId>, addresses: &[Multiaddr]) -> (ConnectionId, DialOpts) {
    let dial = match expected {
        Some(peer) => DialOpts::peer_id(peer)
            .addresses(addresses.to_vec())
            .condition(PeerCondition::Always)
            .allocate_new_port()
            .build(),
        None => DialOpts::unknown_peer_id().address(addresses[0].clone()).allocate_new_port().build(),
    };
    (dial.connection_id(), dial)
}
