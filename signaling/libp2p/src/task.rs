//! The task that owns the swarm.
//!
//! Its inputs: commands and verdicts of the handle, dropped subscriptions, events of the swarm, and
//! a tick for what is due.

use std::time::{Duration, SystemTime};

use blink_api::{Delivery, DeliveryId, ErrorKind, Result, SignalingEvent, Topic, Verdict};
use blink_signaling_kit::clock;
use blink_signaling_kit::deliveries::{self, Deliveries};
use blink_signaling_kit::handle::{Command, Inputs};
use blink_signaling_kit::liveness::Liveness;
use blink_signaling_kit::origin;
use blink_signaling_kit::readers::{Others, Readers};
use blink_signaling_kit::targets::{Targets, Waiter};
use bytes::Bytes;
use futures::StreamExt;
use libp2p::gossipsub::{self, MessageAcceptance, MessageId, PublishError};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, Swarm, SwarmEvent};
use libp2p::{Multiaddr, PeerId, mdns, ping};
use tokio::time::{Instant, MissedTickBehavior, timeout};

use crate::behaviour::{Behaviour, BehaviourEvent, VERDICT_WINDOW, ident};
use crate::listen::Event;
use crate::transport::is_timeout;
use crate::{addresses, error};

/// How often is looked for what is due: redials, silent nodes, deliveries nobody judged.
const TICK: Duration = Duration::from_millis(250);
/// A verdict must come before gossipsub forgets the message.
const VERDICT_TTL: Duration = VERDICT_WINDOW.saturating_sub(Duration::from_secs(2));
/// At the end, the time for what was just published to get out.
const DRAIN: Duration = Duration::from_millis(100);
/// At the end, the time for connections to close.
const CLOSE: Duration = Duration::from_millis(550);
/// At the end, the time for the system to take its ports back.
const FREE: Duration = Duration::from_millis(300);
const PROBE_PAUSE: Duration = Duration::from_millis(10);

type Pending = deliveries::Pending<MessageId, PeerId>;

pub(crate) struct Task {
    swarm: Swarm<Behaviour>,
    inputs: Inputs<Multiaddr>,
    readers: Readers,
    others: Others<PeerId>,
    deliveries: Deliveries<MessageId, PeerId>,
    targets: Targets<Multiaddr, PeerId, ConnectionId>,
    liveness: Liveness<ConnectionId, PeerId>,
}

impl Task {
    pub(crate) fn new(swarm: Swarm<Behaviour>, inputs: Inputs<Multiaddr>) -> Self {
        Self {
            swarm,
            inputs,
            readers: Readers::default(),
            others: Others::default(),
            deliveries: Deliveries::new(VERDICT_TTL),
            targets: Targets::default(),
            liveness: Liveness::default(),
        }
    }

    /// Runs until shutdown, or until the handle is dropped.
    pub(crate) async fn run(mut self, bootstrap: Vec<Multiaddr>, early_events: Vec<Event>) {
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
                Some(()) = self.inputs.dropped.recv() => self.sweep(),
                _ = tick.tick() => self.handle_tick(),
            }
        }
        self.shut_down().await;
    }

    fn handle_command(&mut self, command: Command<Multiaddr>) {
        // Whoever asked may have stopped waiting for the answer; what was asked is done all the
        // same.
        match command {
            Command::Subscribe { topic, reader, reply } => {
                let result = self.swarm.behaviour_mut().subscribe(&topic);
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
                let _ = reply.send(addresses::own(self.swarm.listeners(), *self.swarm.local_peer_id(), allows_quic));
            }
            Command::Shutdown => unreachable!("ends the loop"),
        }
    }

    fn publish(&mut self, topic: &Topic, message: Bytes) -> Result<()> {
        let published = self.swarm.behaviour_mut().gossipsub.publish(ident(topic), message);
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

    fn handle_event(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Gossipsub(event)) => self.handle_gossip(event),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event { peer, connection, result })) => match result {
                Ok(_) => self.liveness.heard(connection, peer, now),
                Err(ping::Failure::Unsupported) => self.liveness.forget(connection),
                Err(failure) => tracing::debug!(%peer, %failure, "a ping was missed"),
            },
            SwarmEvent::Behaviour(BehaviourEvent::Mdns(event)) => self.handle_discovery(event, now),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, num_established, .. } => {
                tracing::debug!(peer = %peer_id, address = %endpoint.get_remote_address(), "connected");
                self.liveness.heard(connection_id, peer_id, now);
                self.targets.connected(connection_id, peer_id, now);
                if num_established.get() == 1 {
                    self.tell(SignalingEvent::Connected { nodes: self.nodes() });
                }
                self.make_room(now);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, num_established, cause, .. } => {
                tracing::debug!(peer = %peer_id, ?cause, left = num_established, "connection closed");
                self.liveness.forget(connection_id);
                if num_established == 0 {
                    self.others.disconnected(peer_id);
                    self.targets.lost(peer_id, now);
                    self.tell(SignalingEvent::Disconnected { nodes: self.nodes() });
                    self.dial_due();
                }
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                self.handle_dial_error(connection_id, error, now);
            }
            SwarmEvent::NewListenAddr { .. } | SwarmEvent::ExpiredListenAddr { .. } => {
                self.tell(SignalingEvent::AddressesChanged);
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                tracing::warn!(?reason, "a listener closed");
                tracing::debug!(?addresses, "it listened on these addresses");
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "a listener failed"),
            _ => {}
        }
    }

    fn handle_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                let (id, evicted) = self.deliveries.enter(message_id, propagation_source, Instant::now());
                if let Some(pending) = evicted {
                    self.judge(&pending, Verdict::Ignore);
                }
                let delivery = Delivery {
                    id,
                    origin: message.source.map(|author| origin(&author.to_bytes())),
                    message: message.data.into(),
                };
                let topic = Topic::from_hex(message.topic.as_str());
                if !topic.is_some_and(|topic| self.readers.deliver(&topic, &delivery)) {
                    self.handle_verdict(id, Verdict::Ignore);
                }
            }
            gossipsub::Event::Subscribed { peer_id, topic, .. } => {
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

    fn handle_discovery(&mut self, event: mdns::Event, now: Instant) {
        match event {
            mdns::Event::Discovered(nodes) => {
                let local = *self.swarm.local_peer_id();
                for (peer, address) in nodes {
                    self.targets.discovered(local, peer, address, self.swarm.is_connected(&peer), now);
                }
                self.dial_due();
            }
            mdns::Event::Expired(nodes) => {
                nodes.iter().for_each(|(peer, address)| self.targets.expired(*peer, address));
            }
        }
    }

    fn handle_dial_error(&mut self, connection: ConnectionId, source: DialError, now: Instant) {
        let (kind, message, hopeless) = match &source {
            DialError::LocalPeerId { .. } => (ErrorKind::Invalid, "this is the node's own address", true),
            DialError::Transport(errors) if errors.iter().any(|(_, error)| is_timeout(error)) => {
                (ErrorKind::Timeout, "nobody answers", false)
            }
            DialError::WrongPeerId { .. } => (ErrorKind::Io, "another node answers at this address", false),
            _ => (ErrorKind::Io, "the node cannot be reached", false),
        };
        tracing::debug!(error = %source, "dialling failed");
        let error = error(kind, "connect", message).retryable(!hopeless).source(source);
        self.targets.failed(connection, &error, hopeless, now);
    }

    fn handle_verdict(&mut self, delivery: DeliveryId, verdict: Verdict) {
        if let Some(pending) = self.deliveries.take(delivery) {
            self.judge(&pending, verdict);
        }
    }

    fn judge(&mut self, pending: &Pending, verdict: Verdict) {
        let acceptance = match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Reject => MessageAcceptance::Reject,
            Verdict::Ignore => MessageAcceptance::Ignore,
        };
        let gossipsub = &mut self.swarm.behaviour_mut().gossipsub;
        if !gossipsub.report_message_validation_result(&pending.message, &pending.sender, acceptance) {
            tracing::debug!("a verdict came after the message was forgotten");
        }
        if verdict == Verdict::Reject && self.swarm.behaviour().is_graylisted(&pending.sender) {
            self.keep_out(pending.sender);
        }
    }

    /// Ends a node's connections: whatever it sends would be checked and then dropped.
    fn keep_out(&mut self, peer: PeerId) {
        tracing::debug!(%peer, "a node that misbehaved is kept out for a while");
        self.swarm.behaviour_mut().admission.keep_out(peer, Instant::now());
        self.disconnect(peer);
    }

    /// Evicts connections where an address, a prefix or the node as a whole has too many.
    fn make_room(&mut self, now: Instant) {
        let standing = |peer: &PeerId| self.others.standing(peer, &self.readers);
        while let Some((connection, _)) = self.swarm.behaviour_mut().admission.take_surplus(now, standing) {
            tracing::debug!(%connection, "a connection makes room for others");
            if !self.swarm.close_connection(connection) {
                tracing::debug!(%connection, "the connection was gone already");
            }
        }
    }

    /// All of a node's connections: each side tells its subscriptions only on the first of them.
    fn disconnect(&mut self, peer: PeerId) {
        if self.swarm.disconnect_peer_id(peer).is_err() {
            tracing::debug!(%peer, "the connection was gone already");
        }
    }

    fn handle_tick(&mut self) {
        let now = Instant::now();
        while let Some(pending) = self.deliveries.take_expired(now) {
            self.judge(&pending, Verdict::Ignore);
        }
        for peer in self.liveness.take_silent(now) {
            tracing::debug!(%peer, "two pings were missed");
            self.disconnect(peer);
        }
        let behaviour = self.swarm.behaviour();
        let graylisted = |peer: &&PeerId| behaviour.is_graylisted(peer);
        for peer in self.swarm.connected_peers().filter(graylisted).copied().collect::<Vec<_>>() {
            self.keep_out(peer);
        }
        self.dial_due();
    }

    fn stay_connected(&mut self, address: Multiaddr, waiter: Option<Waiter>) {
        let named = addresses::peer(&address);
        self.targets.add(address, named, waiter, Instant::now());
    }

    fn dial_due(&mut self) {
        let now = Instant::now();
        while let Some(dial) = self.targets.next_dial(now, |peer| self.swarm.is_connected(peer), dial) {
            let connection = dial.connection_id();
            if let Err(error) = self.swarm.dial(dial) {
                self.handle_dial_error(connection, error, now);
            }
        }
    }

    fn sweep(&mut self) {
        for topic in self.readers.sweep() {
            self.swarm.behaviour_mut().gossipsub.unsubscribe(&ident(&topic));
        }
    }

    async fn shut_down(mut self) {
        // Whoever still waits for an answer hears that signaling is closed.
        self.inputs.commands.close();
        while self.inputs.commands.try_recv().is_ok() {}
        self.targets = Targets::default();
        for topic in self.readers.clear() {
            self.swarm.behaviour_mut().gossipsub.unsubscribe(&ident(&topic));
        }
        // Time to send out what was published; what comes in meanwhile has no reader.
        self.drive_until(DRAIN, |_| false).await;
        for peer in self.swarm.connected_peers().copied().collect::<Vec<_>>() {
            self.disconnect(peer);
        }
        self.drive_until(CLOSE, |swarm| swarm.network_info().num_peers() == 0).await;
        let listened: Vec<Multiaddr> = self.swarm.listeners().cloned().collect();
        drop(self.swarm);
        // QUIC keeps its socket for a while after the last connection closed.
        let freed = async {
            while listened.iter().any(|address| addresses::probe(address).is_err()) {
                tokio::time::sleep(PROBE_PAUSE).await;
            }
        };
        if timeout(FREE, freed).await.is_err() {
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
        // Reaching the limit is how draining ends.
        let _ = timeout(limit, drive).await;
    }

    fn nodes(&self) -> usize {
        self.swarm.network_info().num_peers()
    }

    fn tell(&self, event: SignalingEvent) {
        // Nobody has to listen to events.
        let _ = self.inputs.events.send(event);
    }
}

/// From a port of its own: the listening port may still have a closing connection to the same
/// place.
fn dial(named: Option<PeerId>, addresses: &[Multiaddr]) -> (ConnectionId, DialOpts) {
    let dial = match named {
        Some(peer) => DialOpts::peer_id(peer)
            .addresses(addresses.to_vec())
            .condition(PeerCondition::Always)
            .allocate_new_port()
            .build(),
        None => DialOpts::unknown_peer_id().address(addresses[0].clone()).allocate_new_port().build(),
    };
    (dial.connection_id(), dial)
}
