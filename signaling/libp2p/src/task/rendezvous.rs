//! Finding nodes in the DHT, and being found: announcements, searches, reservations on relays.

use blink_api::{ErrorKind, Result, SignalingEvent, Topic};
use blink_signaling_kit::discovery::{KAD_PROTOCOL, RELAY_PROTOCOL, record_key};
use blink_signaling_kit::paths::CircuitLimit;
use libp2p::core::ConnectedPoint;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId, autonat, dcutr, identify, kad, relay, upnp};
use tokio::time::Instant;

use super::Task;
use crate::{addresses, error};

impl Task {
    pub(super) fn announce(&mut self, topic: Topic) -> Result<()> {
        self.check_dht("announce")?;
        self.discovery.announce(topic, Instant::now());
        Ok(())
    }

    pub(super) fn find(&mut self, topic: Topic) -> Result<()> {
        self.check_dht("find")?;
        if self.remote_subscriptions.count(&topic) == 0 {
            self.discovery.search(topic, Instant::now());
            self.advance_discovery(Instant::now());
        }
        Ok(())
    }

    fn check_dht(&self, operation: &'static str) -> Result<()> {
        if self.swarm.behaviour().kad.is_enabled() {
            return Ok(());
        }
        let unsupported = error(ErrorKind::Unsupported, operation, "discovery is turned off by the configuration");
        Err(unsupported.with("key", "signalings.libp2p.discovery"))
    }

    /// Starts announcements, searches and reservations that are due.
    pub(super) fn advance_discovery(&mut self, now: Instant) {
        self.start_due_reservations(now);
        let is_reachable = self.swarm.external_addresses().next().is_some();
        let announced = self.discovery.take_announcements(is_reachable, now);
        let Some(kad) = self.swarm.behaviour_mut().kad.as_mut() else { return };
        for topic in announced {
            if let Err(error) = kad.start_providing(key(&topic)) {
                tracing::warn!(%error, "a topic cannot be announced");
            }
        }
        self.discovery.start_searches(now, |topic| kad.get_providers(key(topic)));
    }

    /// Disconnects nodes that announced a topic which they are not subscribed to.
    pub(super) fn disconnect_false_providers(&mut self, now: Instant) {
        let is_subscribed = |peer: &PeerId, topic: &Topic| self.remote_subscriptions.contains(peer, topic);
        for peer in self.discovery.take_false_providers(now, is_subscribed) {
            if self.swarm.is_connected(&peer) {
                tracing::debug!(%peer, "a found node is not subscribed to its topic");
                self.disconnect(peer);
            }
        }
    }

    fn start_due_reservations(&mut self, now: Instant) {
        let swarm = &mut self.swarm;
        let connected: Vec<_> = swarm.connected_peers().copied().collect();
        let mut begin = |circuit: &Multiaddr| {
            swarm.listen_on(circuit.clone()).inspect_err(|error| tracing::warn!(%error, "a relay cannot be used")).ok()
        };
        while self.reservations.start_due(now, |relay| connected.contains(relay), &mut begin) {}
    }

    /// Remembers a connected node of the configuration, which may serve as a relay.
    pub(super) fn record_configured(&mut self, peer: PeerId, endpoint: &ConnectedPoint, now: Instant) {
        if let ConnectedPoint::Dialer { address, .. } = endpoint {
            let address = addresses::without_peer(address);
            if self.configured.contains(&address) {
                self.relay_addresses.insert(peer, address);
            }
        }
        self.reservations.connected(peer, now);
    }

    pub(super) fn handle_identify(&mut self, event: identify::Event) {
        let identify::Event::Received { peer_id, info, .. } = event else { return };
        let now = Instant::now();
        let speaks = |name: &str| info.protocols.iter().any(|protocol| protocol.as_ref() == name);
        if speaks(KAD_PROTOCOL) {
            self.discovery.server_connected(peer_id, now);
        }
        if speaks(RELAY_PROTOCOL)
            && let Some(address) = self.relay_addresses.get(&peer_id)
        {
            let circuit = address.clone().with(Protocol::P2p(peer_id)).with(Protocol::P2pCircuit);
            self.reservations.add(peer_id, circuit, now);
        }
        self.advance_discovery(now);
    }

    pub(super) fn handle_kad(&mut self, event: kad::Event) {
        let kad::Event::OutboundQueryProgressed { id, result, step, .. } = event else { return };
        if let kad::QueryResult::GetProviders(Ok(kad::GetProvidersOk::FoundProviders { providers, .. })) = result {
            let local = *self.swarm.local_peer_id();
            let is_known = |peer: &PeerId| *peer == local || self.swarm.is_connected(peer);
            for peer in self.discovery.found(&id, providers, is_known, Instant::now()) {
                tracing::debug!(%peer, "found");
                // The DHT supplies the addresses while the query runs.
                let dial = DialOpts::peer_id(peer).condition(PeerCondition::DisconnectedAndNotDialing).build();
                if let Err(error) = self.swarm.dial(dial) {
                    tracing::debug!(%peer, %error, "a found node cannot be dialled");
                }
            }
        }
        if step.last {
            self.discovery.finished(&id);
        }
    }

    pub(super) fn handle_relay(&mut self, event: relay::client::Event) {
        match event {
            relay::client::Event::OutboundCircuitEstablished { relay_peer_id, limit } => {
                // Comes before the connection itself. All circuits of a relay have the same limits.
                let limit = limit.map_or_else(CircuitLimit::default, |limit| CircuitLimit {
                    duration: limit.duration(),
                    bytes: limit.data_in_bytes(),
                });
                self.circuit_limits.insert(relay_peer_id, limit);
            }
            relay::client::Event::ReservationReqAccepted { relay_peer_id, renewal, .. } => {
                tracing::debug!(relay = %relay_peer_id, renewal, "reservation accepted");
            }
            relay::client::Event::InboundCircuitEstablished { .. } => {}
        }
    }

    pub(super) fn handle_upnp(&self, event: &upnp::Event) {
        match event {
            upnp::Event::NewExternalAddr { .. } => tracing::info!("the router forwards a port"),
            upnp::Event::ExpiredExternalAddr { .. } => tracing::info!("the router forwards a port no longer"),
            upnp::Event::GatewayNotFound => tracing::debug!("no router with UPnP"),
            upnp::Event::NonRoutableGateway => tracing::debug!("the router has no public address"),
        }
    }

    pub(super) fn handle_addresses_changed(&mut self) {
        self.discovery.addresses_changed(Instant::now());
        self.emit(SignalingEvent::AddressesChanged);
    }
}

/// Logs whether an address could be dialled back. Circuits never can, which is no failure.
pub(super) fn log_reachability(event: &autonat::v2::client::Event) {
    tracing::debug!(address = %event.tested_addr, reachable = event.result.is_ok(), "reachability tested");
}

pub(super) fn log_hole_punch(event: &dcutr::Event) {
    match &event.result {
        Ok(_) => tracing::info!("a direct connection through the routers was made"),
        Err(error) => tracing::info!(%error, "no direct connection through the routers: the relay stays in use"),
    }
}

fn key(topic: &Topic) -> kad::RecordKey {
    kad::RecordKey::new(&record_key(topic))
}
