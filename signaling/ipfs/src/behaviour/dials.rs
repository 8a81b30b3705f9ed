//! Connections: dials, pings, discovery, eviction and bans.

use std::collections::HashSet;
use std::error::Error;
use std::sync::PoisonError;

use blink_api::{ErrorKind, SignalingEvent};
use blink_signaling_kit::cause::innermost_causes;
use blink_signaling_kit::dial_queue::ConnectReply;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{CloseConnection, ConnectionId, DialError, FromSwarm, ToSwarm};
use libp2p::{Multiaddr, PeerId, mdns};
use tokio::time::Instant;

use super::circuits::Dial;
use super::{Resolved, SignalingBehaviour};
use crate::addresses::relay;
use crate::{addresses, error, gossip, resolve};

/// Dial in its first step.
enum DialStep {
    Dial(Box<Dial>),
    /// The name has to be resolved first.
    Resolve {
        connection: ConnectionId,
        expected: Option<PeerId>,
        address: Multiaddr,
    },
}

impl SignalingBehaviour {
    /// Handles an event that the swarm sends to every behaviour.
    pub(super) fn handle_swarm(&mut self, event: FromSwarm<'_>) {
        let now = Instant::now();
        match event {
            FromSwarm::ConnectionEstablished(made) => {
                tracing::debug!(peer = %made.peer_id, address = %made.endpoint.get_remote_address(), "connected");
                self.liveness.record_activity(made.connection_id, made.peer_id, now);
                self.dial_queue.connected(made.connection_id, made.peer_id, now);
                self.record_path(made.connection_id, made.peer_id, made.endpoint, now);
                self.record_configured(made.peer_id, made.endpoint, now);
                let waited = self.circuits.connected(made.peer_id);
                self.actions.extend(waited.into_iter().map(|opts| ToSwarm::Dial { opts }));
                if self.connected.insert(made.peer_id) {
                    self.emit(SignalingEvent::Connected { nodes: self.connected.len() });
                    self.start_due_reservations(now);
                }
                self.evict_surplus(now);
            }
            FromSwarm::ConnectionClosed(closed) => {
                let (peer, left) = (closed.peer_id, closed.remaining_established);
                tracing::debug!(%peer, cause = ?closed.cause, left, "connection closed");
                self.liveness.remove(closed.connection_id);
                if let Some((peer, address)) = self.paths.closed(closed.connection_id) {
                    self.dial_circuit(peer, address);
                }
                if left == 0 && self.connected.remove(&peer) {
                    self.discovery.disconnected(&peer);
                    self.remote_subscriptions.disconnected(peer);
                    self.dial_queue.disconnected(peer, now);
                    self.emit(SignalingEvent::Disconnected { nodes: self.connected.len() });
                    self.start_due_dials();
                }
            }
            FromSwarm::DialFailure(failure) => {
                self.handle_dial_error(failure.connection_id, failure.error, now);
                let waited = self.circuits.failed(failure.connection_id);
                self.actions.extend(waited.into_iter().map(|opts| ToSwarm::Dial { opts }));
            }
            FromSwarm::NewListenAddr(listening) => {
                if self.serves_relay && !addresses::is_relayed(listening.addr) {
                    // A relay tells its clients its external addresses.
                    self.actions.push_back(ToSwarm::ExternalAddrConfirmed(listening.addr.clone()));
                }
                self.emit(SignalingEvent::AddressesChanged);
            }
            FromSwarm::ExternalAddrConfirmed(_) | FromSwarm::ExternalAddrExpired(_) => {
                self.handle_external_addresses_changed();
            }
            FromSwarm::ExpiredListenAddr(_) => self.emit(SignalingEvent::AddressesChanged),
            FromSwarm::ListenerClosed(closed) => {
                if self.reservations.closed(closed.listener_id, now) {
                    tracing::debug!(reason = ?closed.reason, "a relay reservation was refused or lost");
                } else {
                    tracing::warn!(reason = ?closed.reason, "a listener closed");
                }
            }
            FromSwarm::ListenerError(failed) => tracing::warn!(error = %failed.err, "listener error"),
            _ => {}
        }
    }

    pub(super) fn stay_connected(&mut self, address: Multiaddr, reply: Option<ConnectReply>) {
        let expected = addresses::peer(&address);
        self.dial_queue.add(address, expected, reply, Instant::now());
    }

    pub(super) fn start_due_dials(&mut self) {
        loop {
            let (connected, configured) = (&self.connected, &self.configured);
            let begin = |expected: Option<PeerId>, addresses: &[Multiaddr]| begin(expected, addresses, configured);
            let due = self.dial_queue.next_dial(Instant::now(), |peer| connected.contains(peer), begin);
            let Some(step) = due else { return };
            match step {
                DialStep::Dial(dial) => self.begin_dial(*dial),
                DialStep::Resolve { connection, expected, address } => {
                    self.resolving.spawn(async move {
                        let result = resolve::resolve(&address).await;
                        Resolved { address, connection, expected, result }
                    });
                }
            }
        }
    }

    pub(super) fn handle_resolved(&mut self, resolved: Resolved) {
        let Resolved { address, connection, expected, result } = resolved;
        match result {
            Ok(addresses) => {
                if self.configured.contains(&addresses::without_peer(&address)) {
                    self.configured.extend(addresses.iter().map(addresses::without_peer));
                }
                let dial = dial(expected, &addresses, &self.configured);
                self.dial_queue.replace_connection(connection, dial.opts.connection_id());
                self.begin_dial(dial);
            }
            Err(source) => {
                let error = error(ErrorKind::Io, "connect", "the name cannot be resolved").source(source);
                self.dial_queue.dial_failed(connection, &error, false, Instant::now());
            }
        }
    }

    fn begin_dial(&mut self, dial: Dial) {
        if let Some(opts) = self.circuits.begin(dial, |peer| self.connected.contains(peer)) {
            self.actions.push_back(ToSwarm::Dial { opts });
        }
    }

    /// Disconnects nodes that missed their pings.
    pub(super) fn disconnect_unresponsive(&mut self, now: Instant) {
        for peer in self.liveness.take_unresponsive(now) {
            tracing::debug!(%peer, "two pings missed: disconnecting");
            self.disconnect(peer);
        }
    }

    /// Bans connected nodes whose messages gossipsub ignores.
    pub(super) fn ban_graylisted(&mut self) {
        let gossipsub = &self.protocols.get_mut().unwrap_or_else(PoisonError::into_inner).gossipsub;
        let is_graylisted = |peer: &&PeerId| gossip::is_graylisted(gossipsub, peer);
        for peer in self.connected.iter().filter(is_graylisted).copied().collect::<Vec<_>>() {
            self.ban(peer);
        }
    }

    /// Bans a node and closes its connections; its messages would be verified and then dropped.
    pub(super) fn ban(&mut self, peer: PeerId) {
        tracing::debug!(%peer, "node banned for misbehaviour");
        self.protocols().admission.ban(peer, Instant::now());
        self.disconnect(peer);
    }

    /// Evicts connections beyond the limits per address, per prefix and in total.
    fn evict_surplus(&mut self, now: Instant) {
        let priority = |peer: &PeerId| self.remote_subscriptions.priority(peer, &self.subscribers);
        let admission = &mut self.protocols.get_mut().unwrap_or_else(PoisonError::into_inner).admission;
        while let Some((connection, peer)) = admission.next_eviction(now, priority) {
            tracing::debug!(%connection, "connection evicted");
            let connection = CloseConnection::One(connection);
            self.actions.push_back(ToSwarm::CloseConnection { peer_id: peer, connection });
        }
    }

    /// Closes all connections of a node. All at once, because each side announces its subscriptions
    /// only on the first connection.
    pub(super) fn disconnect(&mut self, peer: PeerId) {
        self.paths.closing(&peer);
        self.actions.push_back(ToSwarm::CloseConnection { peer_id: peer, connection: CloseConnection::All });
    }

    pub(super) fn handle_discovery(&mut self, event: mdns::Event) {
        match event {
            mdns::Event::Discovered(nodes) => {
                let now = Instant::now();
                for (peer, address) in nodes {
                    self.dial_queue.discovered(self.local, peer, address, self.connected.contains(&peer), now);
                }
                self.start_due_dials();
            }
            mdns::Event::Expired(nodes) => {
                nodes.iter().for_each(|(peer, address)| self.dial_queue.expired(*peer, address));
            }
        }
    }

    fn handle_dial_error(&mut self, connection: ConnectionId, failed: &DialError, now: Instant) {
        let (message, permanent) = match failed {
            DialError::LocalPeerId { .. } => ("this is the node's own address", true),
            DialError::WrongPeerId { .. } => ("another node answers at this address", false),
            _ => ("the node cannot be reached", false),
        };
        tracing::debug!(error = %failed, "dial failed");
        let kind = if permanent { ErrorKind::Invalid } else { ErrorKind::Io };
        let error = error(kind, "connect", message).retryable(!permanent).source(reason(failed));
        self.dial_queue.dial_failed(connection, &error, permanent, now);
    }
}

fn begin(
    expected: Option<PeerId>,
    addresses: &[Multiaddr],
    configured: &HashSet<Multiaddr>,
) -> (ConnectionId, DialStep) {
    let dial = dial(expected, addresses, configured);
    let connection = dial.opts.connection_id();
    let step = match addresses {
        [address] if resolve::has_dns_name(address) => {
            DialStep::Resolve { connection, expected, address: address.clone() }
        }
        _ => DialStep::Dial(Box::new(dial)),
    };
    (connection, step)
}

/// Builds a dial. It uses a new port, since the listening port may still have a closing connection
/// to the same address. A configured node is dialled from the listening port instead: it observes
/// the address that routers map to that port, which hole punching needs. Without an expected peer
/// id only the first address is dialled.
fn dial(expected: Option<PeerId>, addresses: &[Multiaddr], configured: &HashSet<Multiaddr>) -> Dial {
    let reuses_port = addresses.iter().any(|address| configured.contains(&addresses::without_peer(address)));
    let opts = match expected {
        Some(peer) => {
            let dial = DialOpts::peer_id(peer).addresses(addresses.to_vec()).condition(PeerCondition::Always);
            if reuses_port { dial.build() } else { dial.allocate_new_port().build() }
        }
        None => {
            let dial = DialOpts::unknown_peer_id().address(addresses[0].clone());
            if reuses_port { dial.build() } else { dial.allocate_new_port().build() }
        }
    };
    Dial { opts, relay: addresses.first().and_then(relay) }
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
