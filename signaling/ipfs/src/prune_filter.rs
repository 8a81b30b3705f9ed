//! Filter that removes PRUNEs for unsubscribed topics before gossipsub sees them.
//!
//! libp2p-gossipsub 0.49 stores a backoff of up to an hour for each of them (GHSA-vrx6-jcp8-vm7m),
//! so that 4 MB of forged topics cost 256 MB of memory. Version 0.50 ignores them itself.

use std::collections::HashSet;
use std::ops::{Deref, DerefMut};
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::gossipsub::{Event, TopicHash};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

use crate::gossip::Gossipsub;

type Handler = <Gossipsub as NetworkBehaviour>::ConnectionHandler;
type HandlerEvent = <Handler as ConnectionHandler>::ToBehaviour;
#[allow(deprecated, reason = "it has no other name outside gossipsub 0.49")]
type Rpc = libp2p::gossipsub::Rpc;

/// Gossipsub behaviour with the filter in front.
pub(crate) struct PruneFilter(Gossipsub);

impl PruneFilter {
    pub(crate) fn new(gossipsub: Gossipsub) -> Self {
        Self(gossipsub)
    }
}

impl Deref for PruneFilter {
    type Target = Gossipsub;

    fn deref(&self) -> &Gossipsub {
        &self.0
    }
}

impl DerefMut for PruneFilter {
    fn deref_mut(&mut self) -> &mut Gossipsub {
        &mut self.0
    }
}

impl NetworkBehaviour for PruneFilter {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.0.handle_pending_inbound_connection(connection, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.0.handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.0.handle_pending_outbound_connection(connection, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.0.handle_established_outbound_connection(connection, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.0.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        mut event: THandlerOutEvent<Self>,
    ) {
        if let HandlerEvent::Message { rpc, .. } = &mut event {
            let dropped = drop_foreign_prunes(rpc, &self.0.topics().map(TopicHash::as_str).collect());
            if dropped > 0 {
                tracing::debug!(%peer, dropped, "PRUNEs for unsubscribed topics are ignored");
            }
        }
        self.0.on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Event, THandlerInEvent<Self>>> {
        self.0.poll(cx)
    }
}

/// Removes PRUNEs for all but these topics; returns their number.
fn drop_foreign_prunes(rpc: &mut Rpc, topics: &HashSet<&str>) -> usize {
    let before = rpc.control_msgs.len();
    let mut single = Rpc { messages: Vec::new(), subscriptions: Vec::new(), control_msgs: Vec::new() };
    rpc.control_msgs.retain(|action| {
        // The fields of a control message are private, so it is inspected in its protobuf encoding.
        single.control_msgs.clear();
        single.control_msgs.push(action.clone());
        let encoded = single.clone().into_protobuf();
        let mut prunes = encoded.control.into_iter().flat_map(|control| control.prune);
        prunes.all(|prune| prune.topic_id.is_some_and(|topic| topics.contains(topic.as_str())))
    });
    before - rpc.control_msgs.len()
}
