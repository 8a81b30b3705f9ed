//! Connections: dials, pings, circuits, eviction and bans.

use std::error::Error;

use blink_api::ErrorKind;
use blink_signaling_kit::cause::innermost_causes;
use blink_signaling_kit::dial_queue::ConnectReply;
use blink_signaling_kit::paths::Path;
use libp2p::core::ConnectedPoint;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError};
use libp2p::{Multiaddr, PeerId, mdns};
use tokio::time::Instant;

use super::Task;
use crate::transport::is_timeout;
use crate::{addresses, error};

impl Task {
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
            ConnectedPoint::Dialer { address, .. } => {
                let limit = addresses::relay(address).and_then(|relay| self.circuit_limits.get(&relay).copied());
                Path::Dialled(address.clone(), limit.unwrap_or_default())
            }
            ConnectedPoint::Listener { .. } => Path::Accepted,
        };
        self.paths.established(connection, peer, path, now);
    }

    /// Renews circuits, and closes those that a better path replaced.
    pub(super) fn tend_paths(&mut self, now: Instant) {
        while let Some((peer, address)) = self.paths.next_renewal(now) {
            self.dial_circuit(peer, address);
        }
        for (connection, _) in self.paths.take_superseded(now) {
            tracing::debug!(%connection, "relayed connection closed: a better one is open");
            // `false`: it has closed in the meantime.
            self.swarm.close_connection(connection);
        }
    }

    /// Dials a node through a relay, beside other connections to it.
    pub(super) fn dial_circuit(&mut self, peer: PeerId, address: Multiaddr) {
        let dial = DialOpts::peer_id(peer).addresses(vec![address]).condition(PeerCondition::Always).build();
        if let Err(error) = self.swarm.dial(dial) {
            tracing::debug!(%peer, %error, "a circuit cannot be dialled");
        }
    }

    pub(super) fn handle_discovery(&mut self, event: mdns::Event, now: Instant) {
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

    pub(super) fn handle_dial_error(&mut self, connection: ConnectionId, source: DialError, now: Instant) {
        let (kind, message, permanent) = match &source {
            DialError::LocalPeerId { .. } => (ErrorKind::Invalid, "this is the node's own address", true),
            DialError::Transport(errors) if errors.iter().any(|(_, error)| is_timeout(error)) => {
                (ErrorKind::Timeout, "the node does not answer", false)
            }
            DialError::WrongPeerId { .. } => (ErrorKind::Io, "another node answers at this address", false),
            _ => (ErrorKind::Io, "the node cannot be reached", false),
        };
        tracing::debug!(error = %source, "dial failed");
        let error = error(kind, "connect", message).retryable(!permanent).source(reason(&source));
        self.dial_queue.dial_failed(connection, &error, permanent, now);
    }

    /// Bans a node and closes its connections; its messages would be verified and then dropped.
    pub(super) fn ban(&mut self, peer: PeerId) {
        tracing::debug!(%peer, "node banned for misbehaviour");
        self.swarm.behaviour_mut().admission.ban(peer, Instant::now());
        self.disconnect(peer);
    }

    /// Evicts connections beyond the limits per address, per prefix and in total.
    pub(super) fn evict_surplus(&mut self, now: Instant) {
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
    pub(super) fn disconnect(&mut self, peer: PeerId) {
        if self.swarm.disconnect_peer_id(peer).is_err() {
            tracing::debug!(%peer, "the connection was closed already");
        }
    }

    pub(super) fn stay_connected(&mut self, address: Multiaddr, reply: Option<ConnectReply>) {
        let expected = addresses::peer(&address);
        self.dial_queue.add(address, expected, reply, Instant::now());
    }

    pub(super) fn start_due_dials(&mut self) {
        let now = Instant::now();
        loop {
            let (swarm, configured) = (&self.swarm, &self.configured);
            let begin = |expected: Option<PeerId>, addresses: &[Multiaddr]| {
                let is_configured = addresses.iter().any(|it| configured.contains(&addresses::without_peer(it)));
                dial(expected, addresses, is_configured)
            };
            let due = self.dial_queue.next_dial(now, |peer| swarm.is_connected(peer), begin);
            let Some(dial) = due else { return };
            let connection = dial.connection_id();
            if let Err(error) = self.swarm.dial(dial) {
                self.handle_dial_error(connection, error, now);
            }
        }
    }
}

/// Builds a dial. It uses a new port, since the listening port may still have a closing connection
/// to the same address. A configured node is dialled from the listening port instead: it observes
/// the address that routers map to that port, which hole punching needs.
fn dial(expected: Option<PeerId>, addresses: &[Multiaddr], is_configured: bool) -> (ConnectionId, DialOpts) {
    let dial = match expected {
        Some(peer) => {
            let dial = DialOpts::peer_id(peer).addresses(addresses.to_vec()).condition(PeerCondition::Always);
            if is_configured { dial.build() } else { dial.allocate_new_port().build() }
        }
        None => {
            let dial = DialOpts::unknown_peer_id().address(addresses[0].clone());
            if is_configured { dial.build() } else { dial.allocate_new_port().build() }
        }
    };
    (dial.connection_id(), dial)
}

/// Short reason of a failed dial; the log has all of it.
fn reason(error: &DialError) -> String {
    match error {
        DialError::Transport(errors) => {
            innermost_causes(errors.iter().map(|(_, error)| error as &(dyn Error + 'static)))
        }
        error => error.to_string(),
    }
}
