//! Behaviour that denies dials into networks that strangers must not reach through the node.

use std::convert::Infallible;
use std::fmt;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    dummy,
};
use libp2p::{Multiaddr, PeerId};

use crate::AddressPolicy;
use crate::external;

/// Denies dials to addresses outside a policy: AutoNAT and the DHT dial addresses that strangers
/// name. DNS names of strangers are denied as well, since they can resolve to any address.
#[derive(Debug)]
pub(crate) struct DialGuard {
    policy: AddressPolicy,
    /// Configured addresses, which may be dialled whatever they are.
    configured: Vec<Multiaddr>,
}

impl DialGuard {
    pub(crate) fn new(policy: AddressPolicy, configured: Vec<Multiaddr>) -> Self {
        Self { policy, configured }
    }

    fn permits(&self, address: &Multiaddr) -> bool {
        let permitted = external::ip(address).is_some_and(|ip| self.policy.permits(ip));
        permitted || self.configured.iter().any(|configured| is_same(configured, address))
    }
}

/// Returns whether two addresses differ in the peer id at most.
fn is_same(one: &Multiaddr, other: &Multiaddr) -> bool {
    let transport = |address: &Multiaddr| -> Multiaddr {
        let is_peer =
            |protocol: &libp2p::multiaddr::Protocol<'_>| matches!(protocol, libp2p::multiaddr::Protocol::P2p(_));
        address.iter().filter(|protocol| !is_peer(protocol)).collect()
    };
    transport(one) == transport(other)
}

/// Error of a denied dial.
#[derive(Debug)]
struct ForbiddenAddress(Multiaddr);

impl fmt::Display for ForbiddenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the address is not public: {}", self.0)
    }
}

impl std::error::Error for ForbiddenAddress {}

impl NetworkBehaviour for DialGuard {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: Option<PeerId>,
        addresses: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        match addresses.iter().find(|address| !self.permits(address)) {
            Some(address) => Err(ConnectionDenied::new(ForbiddenAddress(address.clone()))),
            None => Ok(Vec::new()),
        }
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        address: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        // Addresses that other behaviours add to a dial are seen here for the first time.
        if self.permits(address) {
            Ok(dummy::ConnectionHandler)
        } else {
            Err(ConnectionDenied::new(ForbiddenAddress(address.clone())))
        }
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_and_configured_addresses_are_dialled() {
        let configured: Multiaddr = "/dns4/other.example.org/tcp/4001".parse().unwrap();
        let guard = DialGuard::new(AddressPolicy::default(), vec![configured.clone()]);
        let permits = |text: &str| guard.permits(&text.parse().unwrap());
        assert!(permits("/ip4/1.1.1.1/tcp/4001"));
        assert!(permits("/dns4/other.example.org/tcp/4001"));
        let peer = PeerId::random();
        assert!(guard.permits(&configured.with_p2p(peer).unwrap()));
        for address in [
            "/ip4/127.0.0.1/tcp/22",
            "/ip4/10.0.0.1/tcp/4001",
            "/ip6/::ffff:10.0.0.1/tcp/4001",
            "/dns4/rebinding.example.org/tcp/4001",
            "/dns4/other.example.org/tcp/22",
        ] {
            assert!(!permits(address), "{address}");
        }
    }
}
