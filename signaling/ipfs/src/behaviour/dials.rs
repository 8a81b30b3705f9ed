//! Connections: made, kept, found and lost.

use std::sync::PoisonError;

use blink_api::{ErrorKind, SignalingEvent};
use blink_signaling_kit::targets::Waiter;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{CloseConnection, ConnectionId, DialError, FromSwarm, ToSwarm};
use libp2p::{Multiaddr, PeerId, mdns};
use tokio::time::Instant;

use super::circuits::Dial;
use super::{Calls, Resolved};
use crate::addresses::relay;
use crate::{addresses, error, gossip, resolve};

/// A dial that has begun.
enum Begun {
    Dial(Box<Dial>),
    /// A name has to be resolved first.
    Resolve {
        connection: ConnectionId,
        named: Option<PeerId>,
        address: Multiaddr,
    },
}

impl Calls {
    /// What the swarm tells every behaviour.
    pub(super) fn handle_swarm(&mut self, event: FromSwarm<'_>) {
        let now = Instant::now();
        match event {
            FromSwarm::ConnectionEstablished(made) => {
                tracing::debug!(peer = %made.peer_id, address = %made.endpoint.get_remote_address(), "connected");
                self.liveness.heard(made.connection_id, made.peer_id, now);
                self.targets.connected(made.connection_id, made.peer_id, now);
                let waited = self.circuits.connected(made.peer_id);
                self.actions.extend(waited.into_iter().map(|opts| ToSwarm::Dial { opts }));
                if self.connected.insert(made.peer_id) {
                    self.tell(SignalingEvent::Connected { nodes: self.connected.len() });
                    self.listen_due(now);
                }
                self.make_room(now);
            }
            FromSwarm::ConnectionClosed(closed) => {
                let (peer, left) = (closed.peer_id, closed.remaining_established);
                tracing::debug!(%peer, cause = ?closed.cause, left, "connection closed");
                self.liveness.forget(closed.connection_id);
                if left == 0 && self.connected.remove(&peer) {
                    self.others.disconnected(peer);
                    self.targets.lost(peer, now);
                    self.tell(SignalingEvent::Disconnected { nodes: self.connected.len() });
                    self.dial_due();
                }
            }
            FromSwarm::DialFailure(failure) => {
                self.handle_dial_error(failure.connection_id, failure.error, now);
                let waited = self.circuits.failed(failure.connection_id);
                self.actions.extend(waited.into_iter().map(|opts| ToSwarm::Dial { opts }));
            }
            FromSwarm::NewListenAddr(listening) => {
                if self.serves_relay && !addresses::is_relayed(listening.addr) {
                    // A relay tells those it serves where they are reached.
                    self.actions.push_back(ToSwarm::ExternalAddrConfirmed(listening.addr.clone()));
                }
                self.tell(SignalingEvent::AddressesChanged);
            }
            FromSwarm::ExpiredListenAddr(_) => self.tell(SignalingEvent::AddressesChanged),
            FromSwarm::ListenerClosed(closed) => {
                if self.relays.closed(closed.listener_id, now) {
                    tracing::debug!(reason = ?closed.reason, "a relay does not listen for this node");
                } else {
                    tracing::warn!(reason = ?closed.reason, "a listener closed");
                }
            }
            FromSwarm::ListenerError(failed) => tracing::warn!(error = %failed.err, "a listener failed"),
            _ => {}
        }
    }

    pub(super) fn stay_connected(&mut self, address: Multiaddr, waiter: Option<Waiter>) {
        let named = addresses::peer(&address);
        self.targets.add(address, named, waiter, Instant::now());
    }

    pub(super) fn dial_due(&mut self) {
        while let Some(begun) = self.targets.next_dial(Instant::now(), |peer| self.connected.contains(peer), begin) {
            match begun {
                Begun::Dial(dial) => self.begin_dial(*dial),
                Begun::Resolve { connection, named, address } => {
                    self.resolving
                        .spawn(async move { Resolved { connection, named, result: resolve::resolve(&address).await } });
                }
            }
        }
    }

    pub(super) fn handle_resolved(&mut self, resolved: Resolved) {
        let Resolved { connection, named, result } = resolved;
        match result {
            Ok(addresses) => {
                let dial = dial(named, &addresses);
                self.targets.renamed(connection, dial.opts.connection_id());
                self.begin_dial(dial);
            }
            Err(source) => {
                let error = error(ErrorKind::Io, "connect", "the name cannot be resolved").source(source);
                self.targets.failed(connection, &error, false, Instant::now());
            }
        }
    }

    fn begin_dial(&mut self, dial: Dial) {
        if let Some(opts) = self.circuits.begin(dial, |peer| self.connected.contains(peer)) {
            self.actions.push_back(ToSwarm::Dial { opts });
        }
    }

    pub(super) fn listen_due(&mut self, now: Instant) {
        while let Some(opts) = self.relays.next_listener(now, |peer| self.connected.contains(peer)) {
            self.actions.push_back(ToSwarm::ListenOn { opts });
        }
    }

    /// Closes all connections to nodes that miss their pings.
    pub(super) fn close_silent(&mut self, now: Instant) {
        for peer in self.liveness.take_silent(now) {
            tracing::debug!(%peer, "two pings were missed");
            self.disconnect(peer);
        }
    }

    /// Keeps out the connected nodes of which nothing is processed any more.
    pub(super) fn close_graylisted(&mut self) {
        let gossipsub = &self.parts.get_mut().unwrap_or_else(PoisonError::into_inner).gossipsub;
        let is_graylisted = |peer: &&PeerId| gossip::is_graylisted(gossipsub, peer);
        for peer in self.connected.iter().filter(is_graylisted).copied().collect::<Vec<_>>() {
            self.keep_out(peer);
        }
    }

    /// Ends a node's connections: whatever it sends would be checked and then dropped.
    pub(super) fn keep_out(&mut self, peer: PeerId) {
        tracing::debug!(%peer, "a node that misbehaved is kept out for a while");
        self.parts().admission.keep_out(peer, Instant::now());
        self.disconnect(peer);
    }

    /// Evicts connections where an address, a prefix or the node as a whole has too many.
    fn make_room(&mut self, now: Instant) {
        let standing = |peer: &PeerId| self.others.standing(peer, &self.readers);
        let admission = &mut self.parts.get_mut().unwrap_or_else(PoisonError::into_inner).admission;
        while let Some((connection, peer)) = admission.take_surplus(now, standing) {
            tracing::debug!(%connection, "a connection makes room for others");
            let connection = CloseConnection::One(connection);
            self.actions.push_back(ToSwarm::CloseConnection { peer_id: peer, connection });
        }
    }

    /// All of a node's connections: each side tells its subscriptions only on the first of them.
    fn disconnect(&mut self, peer: PeerId) {
        self.actions.push_back(ToSwarm::CloseConnection { peer_id: peer, connection: CloseConnection::All });
    }

    pub(super) fn handle_discovery(&mut self, event: mdns::Event) {
        match event {
            mdns::Event::Discovered(nodes) => {
                let now = Instant::now();
                for (peer, address) in nodes {
                    self.targets.discovered(self.local, peer, address, self.connected.contains(&peer), now);
                }
                self.dial_due();
            }
            mdns::Event::Expired(nodes) => {
                nodes.iter().for_each(|(peer, address)| self.targets.expired(*peer, address));
            }
        }
    }

    fn handle_dial_error(&mut self, connection: ConnectionId, failed: &DialError, now: Instant) {
        let (message, hopeless) = match failed {
            DialError::LocalPeerId { .. } => ("this is the node's own address", true),
            DialError::WrongPeerId { .. } => ("another node answers at this address", false),
            _ => ("the node cannot be reached", false),
        };
        tracing::debug!(error = %failed, "dialling failed");
        let kind = if hopeless { ErrorKind::Invalid } else { ErrorKind::Io };
        let error = error(kind, "connect", message).retryable(!hopeless).with("reason", failed);
        self.targets.failed(connection, &error, hopeless, now);
    }
}

fn begin(named: Option<PeerId>, addresses: &[Multiaddr]) -> (ConnectionId, Begun) {
    let dial = dial(named, addresses);
    let connection = dial.opts.connection_id();
    let begun = match addresses {
        [address] if resolve::is_named(address) => Begun::Resolve { connection, named, address: address.clone() },
        _ => Begun::Dial(Box::new(dial)),
    };
    (connection, begun)
}

/// From a port of its own: the listening port may still have a closing connection to the same
/// place. Of whoever may answer only the first address is asked.
fn dial(named: Option<PeerId>, addresses: &[Multiaddr]) -> Dial {
    let opts = match named {
        Some(peer) => DialOpts::peer_id(peer)
            .addresses(addresses.to_vec())
            .condition(PeerCondition::Always)
            .allocate_new_port()
            .build(),
        None => DialOpts::unknown_peer_id().address(addresses[0].clone()).allocate_new_port().build(),
    };
    Dial { opts, relay: addresses.first().and_then(relay) }
}
