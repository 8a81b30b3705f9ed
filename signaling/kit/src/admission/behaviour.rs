//! Admission control as a swarm behaviour, for any version of libp2p.

/// Defines `Admission`, a `NetworkBehaviour` around [`Admission`](crate::admission::Admission),
/// with the `libp2p` of the calling crate.
///
/// The backends use two versions of libp2p, whose types differ while their names agree. A macro
/// needs no dependency on either. The calling crate also needs `tokio` and `tracing`.
#[macro_export]
macro_rules! admission_behaviour {
    () => {
        use std::convert::Infallible;
        use std::ops::{Deref, DerefMut};
        use std::task::{Context, Poll};

        use $crate::admission::{self, Denial, Source};
        use libp2p::core::transport::PortUse;
        use libp2p::core::{ConnectedPoint, Endpoint};
        use libp2p::multiaddr::Protocol;
        use libp2p::swarm::{
            ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
            ToSwarm, dummy,
        };
        use libp2p::{Multiaddr, PeerId};
        use tokio::time::Instant;

        /// Swarm behaviour that applies [`admission::Admission`] to every connection.
        pub(crate) struct Admission(admission::Admission<ConnectionId, PeerId>);

        impl Admission {
            pub(crate) fn new(max_connections: usize) -> Self {
                Self(admission::Admission::new(max_connections))
            }
        }

        impl Deref for Admission {
            type Target = admission::Admission<ConnectionId, PeerId>;

            fn deref(&self) -> &Self::Target {
                &self.0
            }
        }

        impl DerefMut for Admission {
            fn deref_mut(&mut self) -> &mut Self::Target {
                &mut self.0
            }
        }

        impl NetworkBehaviour for Admission {
            type ConnectionHandler = dummy::ConnectionHandler;
            type ToSwarm = Infallible;

            fn handle_pending_inbound_connection(
                &mut self,
                connection: ConnectionId,
                _: &Multiaddr,
                remote: &Multiaddr,
            ) -> Result<(), ConnectionDenied> {
                self.begin_inbound(connection, source(remote)).map_err(denied)
            }

            fn handle_established_inbound_connection(
                &mut self,
                connection: ConnectionId,
                peer: PeerId,
                _: &Multiaddr,
                remote: &Multiaddr,
            ) -> Result<THandler<Self>, ConnectionDenied> {
                self.authenticate(connection, peer, Some(source(remote)), Instant::now()).map_err(denied)?;
                Ok(dummy::ConnectionHandler)
            }

            fn handle_pending_outbound_connection(
                &mut self,
                connection: ConnectionId,
                _: Option<PeerId>,
                _: &[Multiaddr],
                _: Endpoint,
            ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
                self.begin_outbound(connection).map_err(denied)?;
                Ok(Vec::new())
            }

            fn handle_established_outbound_connection(
                &mut self,
                connection: ConnectionId,
                peer: PeerId,
                _: &Multiaddr,
                _: Endpoint,
                _: PortUse,
            ) -> Result<THandler<Self>, ConnectionDenied> {
                self.authenticate(connection, peer, None, Instant::now()).map_err(denied)?;
                Ok(dummy::ConnectionHandler)
            }

            fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
                match event {
                    FromSwarm::ConnectionEstablished(made) => {
                        let source = match made.endpoint {
                            ConnectedPoint::Listener { send_back_addr, .. } => Some(source(send_back_addr)),
                            ConnectedPoint::Dialer { .. } => None,
                        };
                        self.establish(made.connection_id, made.peer_id, source, Instant::now());
                    }
                    FromSwarm::ConnectionClosed(closed) => self.close(closed.connection_id),
                    FromSwarm::DialFailure(failure) => self.fail(failure.connection_id),
                    FromSwarm::ListenFailure(failure) => self.fail(failure.connection_id),
                    _ => {}
                }
            }

            fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
                match event {}
            }

            fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
                Poll::Pending
            }
        }

        /// Origin of an inbound connection. Relayed ones carry the relay's address, or none.
        fn source(remote: &Multiaddr) -> Source {
            let mut protocols = remote.iter();
            let host = protocols.next();
            if protocols.any(|protocol| protocol == Protocol::P2pCircuit) {
                return Source::Relayed;
            }
            match host {
                Some(Protocol::Ip4(ip)) => Source::from(std::net::IpAddr::V4(ip)),
                Some(Protocol::Ip6(ip)) => Source::from(std::net::IpAddr::V6(ip)),
                _ => Source::Relayed,
            }
        }

        fn denied(denial: Denial) -> ConnectionDenied {
            tracing::debug!(%denial, "connection denied");
            ConnectionDenied::new(denial)
        }
    };
}
