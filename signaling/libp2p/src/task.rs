//! Task that owns the swarm.
//!
//! Inputs: commands and verdicts from the handle, dropped subscriptions, swarm events, and a
//! periodic tick.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use blink_api::{SignalingEvent, Verdict};
use blink_signaling_kit::clock;
use blink_signaling_kit::deliveries::{self, PendingDeliveries};
use blink_signaling_kit::dial_queue::DialQueue;
use blink_signaling_kit::discovery::Discovery;
use blink_signaling_kit::handle::{Command, Inputs};
use blink_signaling_kit::liveness::Liveness;
use blink_signaling_kit::paths::{CircuitLimit, Paths};
use blink_signaling_kit::reservations::Reservations;
use blink_signaling_kit::subscriptions::{RemoteSubscriptions, Subscribers};
use futures::StreamExt;
use libp2p::core::transport::ListenerId;
use libp2p::gossipsub::MessageId;
use libp2p::kad::QueryId;
use libp2p::swarm::{ConnectionId, Swarm, SwarmEvent};
use libp2p::{Multiaddr, PeerId, ping};
use tokio::time::{Instant, MissedTickBehavior, timeout};

use crate::addresses;
use crate::behaviour::{Behaviour, BehaviourEvent, VERDICT_WINDOW, ident};
use crate::listen::EventOf;

mod connections;
mod messages;
mod rendezvous;

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
    /// Addresses of the bootstrap nodes and relays of the configuration, without peer ids.
    configured: Vec<Multiaddr>,
    /// Addresses at which configured nodes answered.
    relay_addresses: HashMap<PeerId, Multiaddr>,
    reservations: Reservations<Multiaddr, PeerId, ListenerId>,
    discovery: Discovery<PeerId, QueryId>,
    paths: Paths<Multiaddr, PeerId, ConnectionId>,
    circuit_limits: HashMap<PeerId, CircuitLimit>,
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
            configured: Vec::new(),
            relay_addresses: HashMap::new(),
            reservations: Reservations::default(),
            discovery: Discovery::default(),
            paths: Paths::default(),
            circuit_limits: HashMap::new(),
        }
    }

    /// Runs until `shutdown` is called or the handle is dropped. Stays connected to the configured
    /// bootstrap nodes and relays.
    pub(crate) async fn run(mut self, configured: Vec<Multiaddr>, early_events: Vec<EventOf<Behaviour>>) {
        self.configured = configured.iter().map(addresses::without_peer).collect();
        for address in configured {
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
                let known = self.swarm.listeners().chain(self.swarm.external_addresses());
                let _ = reply.send(addresses::own(known, *self.swarm.local_peer_id(), allows_quic));
            }
            Command::Announce { topic, reply } => {
                let _ = reply.send(self.announce(topic));
            }
            Command::Find { topic, reply } => {
                let _ = reply.send(self.find(topic));
            }
            Command::Shutdown => unreachable!("handled by `run`"),
        }
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
            SwarmEvent::Behaviour(BehaviourEvent::Identify(event)) => self.handle_identify(event),
            SwarmEvent::Behaviour(BehaviourEvent::Kad(event)) => self.handle_kad(event),
            SwarmEvent::Behaviour(BehaviourEvent::Relay(event)) => self.handle_relay(event),
            SwarmEvent::Behaviour(BehaviourEvent::Upnp(event)) => self.handle_upnp(&event),
            SwarmEvent::Behaviour(BehaviourEvent::Dcutr(event)) => rendezvous::log_hole_punch(&event),
            SwarmEvent::Behaviour(BehaviourEvent::Autonat(event)) => rendezvous::log_reachability(&event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, num_established, .. } => {
                tracing::debug!(peer = %peer_id, address = %endpoint.get_remote_address(), "connected");
                self.liveness.record_activity(connection_id, peer_id, now);
                self.dial_queue.connected(connection_id, peer_id, now);
                self.record_path(connection_id, peer_id, &endpoint, now);
                self.record_configured(peer_id, &endpoint, now);
                if num_established.get() == 1 {
                    self.emit(SignalingEvent::Connected { nodes: self.nodes() });
                }
                self.evict_surplus(now);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, num_established, cause, .. } => {
                tracing::debug!(peer = %peer_id, ?cause, left = num_established, "connection closed");
                self.liveness.remove(connection_id);
                if let Some((peer, address)) = self.paths.closed(connection_id) {
                    self.dial_circuit(peer, address);
                }
                if num_established == 0 {
                    self.discovery.disconnected(&peer_id);
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
            SwarmEvent::ExternalAddrConfirmed { .. } | SwarmEvent::ExternalAddrExpired { .. } => {
                self.handle_addresses_changed();
            }
            SwarmEvent::ListenerClosed { listener_id, reason, .. } if self.reservations.closed(listener_id, now) => {
                tracing::debug!(?reason, "a relay reservation was refused or lost");
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                tracing::warn!(?reason, "a listener closed");
                tracing::debug!(?addresses, "addresses of the closed listener");
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "listener error"),
            _ => {}
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
        self.tend_paths(now);
        self.disconnect_false_providers(now);
        self.advance_discovery(now);
    }

    async fn shut_down(mut self) {
        // Closing the commands fails the pending requests with `Closed`.
        self.inputs.commands.close();
        while self.inputs.commands.try_recv().is_ok() {}
        self.dial_queue = DialQueue::default();
        self.paths = Paths::default();
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
