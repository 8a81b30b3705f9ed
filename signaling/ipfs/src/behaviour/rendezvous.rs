//! Finding nodes in the DHT, and being found: announcements, searches, reservations on relays.

use std::sync::PoisonError;

use blink_api::{ErrorKind, Result, SignalingEvent, Topic};
use blink_signaling_kit::discovery::{KAD_PROTOCOL, RELAY_PROTOCOL, record_key};
use blink_signaling_kit::paths::{CircuitLimit, Path};
use libp2p::core::ConnectedPoint;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{CloseConnection, ConnectionId, ListenOpts, ToSwarm};
use libp2p::{Multiaddr, PeerId, identify, kad};
use tokio::time::Instant;

use super::SignalingBehaviour;
use crate::{addresses, error};

impl SignalingBehaviour {
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

    fn check_dht(&mut self, operation: &'static str) -> Result<()> {
        if self.protocols().kad.is_enabled() {
            return Ok(());
        }
        let unsupported = error(ErrorKind::Unsupported, operation, "discovery is turned off by the configuration");
        Err(unsupported.with("key", "signalings.ipfs.discovery"))
    }

    /// Starts announcements, searches and reservations that are due.
    pub(super) fn advance_discovery(&mut self, now: Instant) {
        self.start_due_reservations(now);
        let is_reachable = self.external.iter().next().is_some();
        let announced = self.discovery.take_announcements(is_reachable, now);
        let protocols = self.protocols.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(kad) = protocols.kad.as_mut() else { return };
        for topic in announced {
            if let Err(error) = kad.start_providing(key(&topic)) {
                tracing::warn!(%error, "a topic cannot be announced");
            }
        }
        self.discovery.start_searches(now, |topic| kad.get_providers(key(topic)));
    }

    pub(super) fn start_due_reservations(&mut self, now: Instant) {
        let (connected, actions) = (&self.connected, &mut self.actions);
        let mut begin = |circuit: &Multiaddr| {
            let opts = ListenOpts::new(circuit.clone());
            let listener = opts.listener_id();
            actions.push_back(ToSwarm::ListenOn { opts });
            Some(listener)
        };
        while self.reservations.start_due(now, |relay| connected.contains(relay), &mut begin) {}
    }

    /// Disconnects nodes that announced a topic which they are not subscribed to.
    pub(super) fn disconnect_false_providers(&mut self, now: Instant) {
        let is_subscribed = |peer: &PeerId, topic: &Topic| self.remote_subscriptions.contains(peer, topic);
        for peer in self.discovery.take_false_providers(now, is_subscribed) {
            if self.connected.contains(&peer) {
                tracing::debug!(%peer, "a found node is not subscribed to its topic");
                self.disconnect(peer);
            }
        }
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
            let (local, connected) = (self.local, &self.connected);
            let is_known = |peer: &PeerId| *peer == local || connected.contains(peer);
            for peer in self.discovery.found(&id, providers, is_known, Instant::now()) {
                tracing::debug!(%peer, "found");
                // The DHT supplies the addresses while the query runs.
                let opts = DialOpts::peer_id(peer).condition(PeerCondition::DisconnectedAndNotDialing).build();
                self.actions.push_back(ToSwarm::Dial { opts });
            }
        }
        if step.last {
            self.discovery.finished(&id);
        }
    }

    pub(super) fn handle_external_addresses_changed(&mut self) {
        self.discovery.addresses_changed(Instant::now());
        self.emit(SignalingEvent::AddressesChanged);
    }

    /// Records how a new connection reaches its node.
    pub(super) fn record_path(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        endpoint: &ConnectedPoint,
        now: Instant,
    ) {
        let path = match endpoint {
            _ if !endpoint.is_relayed() => Path::Direct,
            // rust-ipfs keeps to itself what the relay said of its limits.
            ConnectedPoint::Dialer { address, .. } => Path::Dialled(address.clone(), CircuitLimit::USUAL),
            ConnectedPoint::Listener { .. } => Path::Accepted,
        };
        self.paths.established(connection, peer, path, now);
    }

    /// Renews circuits, and closes those that a better path replaced.
    pub(super) fn tend_paths(&mut self, now: Instant) {
        while let Some((peer, address)) = self.paths.next_renewal(now) {
            self.dial_circuit(peer, address);
        }
        for (connection, peer) in self.paths.take_superseded(now) {
            tracing::debug!(%connection, "relayed connection closed: a better one is open");
            let connection = CloseConnection::One(connection);
            self.actions.push_back(ToSwarm::CloseConnection { peer_id: peer, connection });
        }
    }

    /// Dials a node through a relay, beside other connections to it.
    pub(super) fn dial_circuit(&mut self, peer: PeerId, address: Multiaddr) {
        let opts = DialOpts::peer_id(peer).addresses(vec![address]).condition(PeerCondition::Always).build();
        self.actions.push_back(ToSwarm::Dial { opts });
    }
}

fn key(topic: &Topic) -> kad::RecordKey {
    kad::RecordKey::new(&record_key(topic))
}
