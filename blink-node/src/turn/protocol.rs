//! Sans-IO TURN server. Inputs:
//!
//! - [`handle_client`](TurnServer::handle_client): a datagram or message of a client.
//! - [`handle_peer`](TurnServer::handle_peer): a datagram at a relayed address.
//! - [`close_client`](TurnServer::close_client): the connection of a client has ended.
//! - [`expire`](TurnServer::expire): time has passed.
//!
//! Each leaves its outputs to [`poll`](TurnServer::poll). Opening a relayed address is a call of
//! [`OpenRelay`], since it does not wait.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use turn_types::attribute::{Data, XorPeerAddress};
use turn_types::channel::ChannelData;
use turn_types::message::{ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, REFRESH, SEND};
use turn_types::stun::attribute::{ErrorCode, XorMappedAddress};
use turn_types::stun::message::{BINDING, Message, MessageClass};

use super::TurnLimits;
use super::allocation::Allocation;
pub(super) use super::allocation::{AllocationId, Client, ClientTransport};
use super::authentication::{Authenticator, Denial};
use super::credentials::TurnSecret;
use super::messages;
use super::peer_policy::PeerPolicy;
use super::quota::Quotas;
use crate::metrics::{Counter, Gauge, Metrics};

/// Current time: of the monotonic clock, and in Unix seconds for the expiry of credentials.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) unix: u64,
}

/// Opens relayed addresses.
pub(super) trait OpenRelay {
    /// Opens an address of a family; returns it as peers see it, or why not.
    fn open(&mut self, allocation: AllocationId, is_ipv6: bool) -> Result<SocketAddr, OpenError>;
}

/// Reason for which no relayed address is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OpenError {
    /// The server has no address of this family.
    Family,
    /// No port is free.
    Ports,
}

/// Output of the server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Output {
    ToClient(Client, Vec<u8>),
    ToPeer(AllocationId, SocketAddr, Vec<u8>),
    /// The relayed address is no longer used.
    Close(AllocationId),
}

/// A TURN server.
#[derive(Debug)]
pub(super) struct TurnServer {
    pub(super) authenticator: Authenticator,
    pub(super) policy: PeerPolicy,
    pub(super) quotas: Quotas,
    pub(super) metrics: Arc<Metrics>,
    pub(super) next_id: u64,
    pub(super) allocations: HashMap<AllocationId, Allocation>,
    pub(super) clients: HashMap<Client, AllocationId>,
    pub(super) relayed: HashMap<SocketAddr, AllocationId>,
    outputs: VecDeque<Output>,
}

impl TurnServer {
    pub(super) fn new(
        secret: TurnSecret,
        limits: TurnLimits,
        policy: PeerPolicy,
        metrics: Arc<Metrics>,
        now: Instant,
    ) -> Self {
        Self {
            authenticator: Authenticator::new(secret),
            policy,
            quotas: Quotas::new(limits, now),
            metrics,
            next_id: 0,
            allocations: HashMap::new(),
            clients: HashMap::new(),
            relayed: HashMap::new(),
            outputs: VecDeque::new(),
        }
    }

    pub(super) fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns whether a client has an allocation.
    pub(super) fn has_allocation(&self, client: Client) -> bool {
        self.clients.contains_key(&client)
    }

    pub(super) fn handle_client(&mut self, client: Client, data: &[u8], now: Now, relays: &mut impl OpenRelay) {
        // The first two bits tell ChannelData (01) from STUN (00).
        if data.first().is_some_and(|first| first >> 6 == 1) {
            return self.handle_channel_data(client, data, now.instant);
        }
        let Ok(message) = Message::from_bytes(data) else { return };
        match (message.class(), message.method()) {
            (MessageClass::Indication, SEND) => self.handle_send(client, &message, now.instant),
            (MessageClass::Request, BINDING) => {
                let mapped = XorMappedAddress::new(client.address, message.transaction_id());
                self.answer(client, messages::success(&message, &[&mapped], None));
            }
            (MessageClass::Request, ALLOCATE | REFRESH | CREATE_PERMISSION | CHANNEL_BIND) => {
                let response = match self.authenticator.authenticate(&message, client.address, now.unix) {
                    Ok(user) => self.handle_request(client, &message, &user, now, relays),
                    Err(denial) => self.deny(client, &message, denial, now),
                };
                self.answer(client, response);
            }
            _ => {}
        }
    }

    /// Relays a datagram that a peer sent to a relayed address.
    pub(super) fn handle_peer(&mut self, id: AllocationId, peer: SocketAddr, data: &[u8], now: Instant) {
        let Some(allocation) = self.allocations.get(&id) else { return };
        if !allocation.permits(peer.ip(), now) {
            return;
        }
        if self.quotas.relay(&allocation.user, data.len(), now).is_err() {
            return self.metrics.add(Counter::BandwidthExceeded, 1);
        }
        let is_stream = allocation.client.transport == ClientTransport::Tcp;
        let message = match allocation.channel(peer, now) {
            Some(channel) => messages::channel_data(channel, data, is_stream),
            None => messages::data_indication(peer, data),
        };
        if let Some(message) = message {
            self.metrics.add(Counter::BytesFromPeers, data.len() as u64);
            self.outputs.push_back(Output::ToClient(allocation.client, message));
        }
    }

    /// Releases the allocation of a client whose connection has ended.
    pub(super) fn close_client(&mut self, client: Client) {
        if let Some(id) = self.clients.get(&client).copied() {
            self.release(id);
        }
    }

    /// Releases allocations whose lifetime has ended.
    pub(super) fn expire(&mut self, now: Instant) {
        let expired = self.allocations.iter().filter(|(_, allocation)| allocation.expires <= now);
        let expired: Vec<_> = expired.map(|(id, _)| *id).collect();
        expired.into_iter().for_each(|id| self.release(id));
    }

    fn handle_send(&mut self, client: Client, message: &Message<'_>, now: Instant) {
        let Some(id) = self.clients.get(&client).copied() else { return };
        let (Ok(peer), Ok(data)) = (message.attribute::<XorPeerAddress>(), message.attribute::<Data<'_>>()) else {
            return;
        };
        self.relay(id, peer.addr(message.transaction_id()), data.data(), now);
    }

    fn handle_channel_data(&mut self, client: Client, data: &[u8], now: Instant) {
        let Some(id) = self.clients.get(&client).copied() else { return };
        let Ok(data) = ChannelData::parse(data) else { return };
        let peer = self.allocations.get(&id).and_then(|allocation| allocation.peer(data.id(), now));
        if let Some(peer) = peer {
            self.relay(id, peer, data.data(), now);
        }
    }

    /// Sends data of a client to a peer that it has a permission for.
    fn relay(&mut self, id: AllocationId, peer: SocketAddr, data: &[u8], now: Instant) {
        let Some(allocation) = self.allocations.get(&id) else { return };
        if !allocation.permits(peer.ip(), now) {
            return;
        }
        // Permissions are of addresses, regardless of the port: checked for each datagram.
        let other = self.relayed.get(&peer).copied();
        let is_forbidden = match other {
            Some(other) => other == id,
            None => !self.policy.permits(peer),
        };
        if is_forbidden {
            return self.metrics.add(Counter::PeersForbidden, 1);
        }
        if self.quotas.relay(&allocation.user, data.len(), now).is_err() {
            return self.metrics.add(Counter::BandwidthExceeded, 1);
        }
        self.metrics.add(Counter::BytesToPeers, data.len() as u64);
        match other {
            None => self.outputs.push_back(Output::ToPeer(id, peer, data.to_vec())),
            // Within the server: an address behind a NAT is often unreachable from its own host.
            Some(other) => {
                let relayed = allocation.relayed;
                self.handle_peer(other, relayed, data, now);
            }
        }
    }

    fn deny(&mut self, client: Client, message: &Message<'_>, denial: Denial, now: Now) -> Vec<u8> {
        let challenge = |code| messages::challenge(message, code, &self.authenticator.nonce(client.address, now.unix));
        match denial {
            Denial::Challenge => challenge(ErrorCode::UNAUTHORIZED),
            Denial::BadRequest => messages::failure(message, ErrorCode::BAD_REQUEST, None),
            Denial::StaleNonce => {
                self.metrics.add(Counter::NoncesRejected, 1);
                challenge(ErrorCode::STALE_NONCE)
            }
            Denial::Username | Denial::Expired | Denial::Password => {
                self.metrics.add(Counter::CredentialsRejected, 1);
                challenge(ErrorCode::UNAUTHORIZED)
            }
        }
    }

    pub(super) fn release(&mut self, id: AllocationId) {
        let Some(allocation) = self.allocations.remove(&id) else { return };
        self.clients.remove(&allocation.client);
        self.relayed.remove(&allocation.relayed);
        self.quotas.release(&allocation.user);
        self.outputs.push_back(Output::Close(id));
        self.count_allocations();
    }

    pub(super) fn count_allocations(&self) {
        self.metrics.set(Gauge::TurnAllocations, self.quotas.allocations() as u64);
    }

    fn answer(&mut self, client: Client, response: Vec<u8>) {
        self.outputs.push_back(Output::ToClient(client, response));
    }
}
