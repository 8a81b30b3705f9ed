//! Task that owns the swarm.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use blink_signaling_kit::admission::EvictionPriority;
use blink_signaling_libp2p::addresses;
use blink_signaling_libp2p::listen::EventOf;
use futures::StreamExt;
use libp2p::core::ConnectedPoint;
use libp2p::kad::{self, InboundRequest};
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{ConnectionId, Swarm, SwarmEvent};
use libp2p::{Multiaddr, PeerId, identify, relay};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};

use super::behaviour::{Behaviour, BehaviourEvent};
use crate::external::{self, external_addresses};
use crate::metrics::{Counter, Gauge, Metrics};
use crate::{AddressPolicy, DHT_PROTOCOL, Host};

/// Interval of expiry, and of dials to bootstrap nodes that are not connected.
const TICK: Duration = Duration::from_secs(15);

/// Addresses of another server that are kept.
const MAX_ADDRESSES: usize = 8;

/// Request to the task.
#[derive(Debug)]
pub(crate) enum Command {
    /// Reports the addresses under which others reach the node.
    Addresses(oneshot::Sender<Vec<Multiaddr>>),
}

/// Owner of the swarm.
pub(crate) struct Task {
    swarm: Swarm<Behaviour>,
    commands: mpsc::Receiver<Command>,
    hosts: Vec<Host>,
    policy: AddressPolicy,
    bootstrap: Vec<Multiaddr>,
    /// Remote addresses of the connections.
    remotes: HashMap<PeerId, HashMap<ConnectionId, IpAddr>>,
    /// Nodes with a reservation at the relay.
    reserved: HashSet<PeerId>,
    circuits: u64,
    metrics: Arc<Metrics>,
}

impl Task {
    pub(crate) fn new(
        swarm: Swarm<Behaviour>,
        commands: mpsc::Receiver<Command>,
        hosts: Vec<Host>,
        policy: AddressPolicy,
        bootstrap: Vec<Multiaddr>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (remotes, reserved) = (HashMap::new(), HashSet::new());
        Self { swarm, commands, hosts, policy, bootstrap, remotes, reserved, circuits: 0, metrics }
    }

    /// Runs until the sender of commands is dropped, then closes all connections.
    pub(crate) async fn run(mut self, early_events: Vec<EventOf<Behaviour>>) {
        self.advertise();
        early_events.into_iter().for_each(|event| self.handle_event(event));
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.handle_event(event),
                command = self.commands.recv() => match command {
                    Some(command) => self.handle_command(command),
                    None => return,
                },
                _ = tick.tick() => self.handle_tick(),
            }
            self.measure();
        }
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Addresses(reply) => {
                // The caller may have given up.
                reply.send(self.swarm.external_addresses().cloned().collect()).ok();
            }
        }
    }

    fn handle_tick(&mut self) {
        self.swarm.behaviour_mut().kad.store_mut().expire(Instant::now().into_std());
        for address in &self.bootstrap {
            let connected = addresses::peer(address).is_some_and(|peer| self.swarm.is_connected(&peer));
            if connected {
                continue;
            }
            if let Err(error) = self.swarm.dial(DialOpts::from(address.clone())) {
                tracing::debug!(%error, "a bootstrap node cannot be dialled");
            }
        }
    }

    fn handle_event(&mut self, event: EventOf<Behaviour>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Kad(event)) => self.handle_dht(event),
            SwarmEvent::Behaviour(BehaviourEvent::Relay(event)) => self.handle_relay(&event),
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. })) => {
                self.handle_identified(peer_id, info);
            }
            SwarmEvent::NewListenAddr { .. } | SwarmEvent::ExpiredListenAddr { .. } => self.advertise(),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                let (ConnectedPoint::Listener { send_back_addr: remote, .. }
                | ConnectedPoint::Dialer { address: remote, .. }) = endpoint;
                if let Some(ip) = external::ip(&remote) {
                    self.remotes.entry(peer_id).or_default().insert(connection_id, ip);
                }
                self.evict_surplus();
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, .. } => {
                if let Some(connections) = self.remotes.get_mut(&peer_id) {
                    connections.remove(&connection_id);
                    if connections.is_empty() {
                        self.remotes.remove(&peer_id);
                        self.reserved.remove(&peer_id);
                    }
                }
            }
            SwarmEvent::ListenerClosed { reason: Err(error), addresses, .. } => {
                tracing::error!(%error, ?addresses, "a listener failed");
            }
            _ => {}
        }
    }

    fn handle_dht(&mut self, event: kad::Event) {
        let kad::Event::InboundRequest { request: InboundRequest::AddProvider { record: Some(record) } } = event else {
            return;
        };
        let provider = record.provider;
        let address = self.remotes.get(&provider).and_then(|remotes| remotes.values().next().copied());
        let store = self.swarm.behaviour_mut().kad.store_mut();
        match store.insert(record, address, Instant::now().into_std()) {
            Ok(()) => {
                tracing::debug!(%provider, keys = store.keys(), records = store.records(), "provider record stored");
            }
            Err(refusal) => {
                tracing::debug!(%provider, ?refusal, "provider record refused");
                self.metrics.add(Counter::RecordsRefused, 1);
            }
        }
    }

    /// Adds another server of the DHT to the routing table, with the addresses that it advertises.
    fn handle_identified(&mut self, peer: PeerId, info: identify::Info) {
        if !info.protocols.iter().any(|protocol| protocol.as_ref() == DHT_PROTOCOL) {
            return;
        }
        let policy = self.policy;
        let permitted = |address: &Multiaddr| external::ip(address).is_some_and(|ip| policy.permits(ip));
        for address in info.listen_addrs.into_iter().filter(permitted).take(MAX_ADDRESSES) {
            self.swarm.behaviour_mut().kad.add_address(&peer, address);
        }
    }

    /// Updates the external addresses from the listen addresses.
    fn advertise(&mut self) {
        let listeners: Vec<_> = self.swarm.listeners().cloned().collect();
        let wanted = external_addresses(&listeners, &self.hosts, self.policy);
        let outdated: Vec<_> =
            self.swarm.external_addresses().filter(|address| !wanted.contains(address)).cloned().collect();
        outdated.iter().for_each(|address| self.swarm.remove_external_address(address));
        wanted.into_iter().for_each(|address| self.swarm.add_external_address(address));
    }

    /// Evicts connections beyond the limits per address, per prefix and in total.
    fn evict_surplus(&mut self) {
        let priority = |_: &PeerId| EvictionPriority::OtherTopics;
        while let Some((connection, _)) = self.swarm.behaviour_mut().admission.next_eviction(Instant::now(), priority) {
            if !self.swarm.close_connection(connection) {
                tracing::debug!(%connection, "the connection was closed already");
            }
        }
    }

    fn handle_relay(&mut self, event: &relay::Event) {
        match event {
            relay::Event::ReservationReqAccepted { src_peer_id, .. } => {
                tracing::debug!(peer = %src_peer_id, "reservation granted");
                self.reserved.insert(*src_peer_id);
            }
            relay::Event::ReservationReqDenied { src_peer_id, status } => {
                tracing::debug!(peer = %src_peer_id, ?status, "reservation denied");
                self.metrics.add(Counter::ReservationsDenied, 1);
            }
            relay::Event::ReservationTimedOut { src_peer_id } => {
                self.reserved.remove(src_peer_id);
            }
            relay::Event::CircuitReqAccepted { src_peer_id, dst_peer_id } => {
                tracing::debug!(from = %src_peer_id, to = %dst_peer_id, "circuit opened");
                self.circuits += 1;
                self.metrics.add(Counter::CircuitsOpened, 1);
            }
            relay::Event::CircuitReqDenied { src_peer_id, status, .. } => {
                tracing::debug!(peer = %src_peer_id, ?status, "circuit denied");
                self.metrics.add(Counter::CircuitsDenied, 1);
            }
            relay::Event::CircuitClosed { .. } => self.circuits = self.circuits.saturating_sub(1),
            _ => {}
        }
    }

    fn measure(&mut self) {
        let connections = self.swarm.network_info().connection_counters().num_established();
        let store = self.swarm.behaviour_mut().kad.store_mut();
        self.metrics.set(Gauge::DhtKeys, store.keys() as u64);
        self.metrics.set(Gauge::DhtRecords, store.records() as u64);
        self.metrics.set(Gauge::Connections, u64::from(connections));
        self.metrics.set(Gauge::Reservations, self.reserved.len() as u64);
        self.metrics.set(Gauge::Circuits, self.circuits);
    }
}
