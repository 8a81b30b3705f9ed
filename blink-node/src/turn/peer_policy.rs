//! Peers that clients may reach through the server.

use std::net::{IpAddr, SocketAddr};

use crate::AddressPolicy;

/// Addresses that clients may reach through the server.
#[derive(Debug, Clone, Default)]
pub(super) struct PeerPolicy {
    pub(super) addresses: AddressPolicy,
    /// The machine's own addresses: only relayed addresses of other clients are reached on them,
    /// within the server.
    pub(super) own: Vec<IpAddr>,
    /// Listeners of the server itself.
    pub(super) listeners: Vec<SocketAddr>,
}

impl PeerPolicy {
    /// Returns whether a datagram may be sent to a peer.
    pub(super) fn permits(&self, peer: SocketAddr) -> bool {
        let is_own = self.own.contains(&peer.ip()) || peer.ip().is_loopback();
        let is_listener = is_own && self.listeners.iter().any(|listener| listener.port() == peer.port());
        let is_service = is_own && !self.addresses.allow_private;
        peer.port() != 0 && self.addresses.permits(peer.ip()) && !is_service && !is_listener
    }
}
