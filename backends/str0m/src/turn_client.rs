//! Client of one STUN or TURN server from one local address: binding (RFC 8489), allocation (RFC
//! 8656), and traffic through the relay.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use blink_transport_kit::servers::{Credentials, ErrorResponse, Method, ServerFailure, bound_channel};
use bytes::{Bytes, BytesMut};
use rtc_shared::error::Error;
use rtc_shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use rtc_turn::client::{Client, ClientConfig, Event};
use sansio::Protocol as _;

/// Maximum interval between refreshes of an allocation. A refresh with a stale nonce only yields a
/// new nonce, so several must fit into the allocation's lifetime of 10 minutes (RFC 8656 §7.2).
const REFRESH_INTERVAL: Duration = Duration::from_secs(60);
/// Limit of packets queued for a peer's permission: its first checks.
const MAX_QUEUED: usize = 32;
/// Limit of attempts to create a permission if the nonce is stale.
const MAX_ATTEMPTS: u8 = 3;
/// Time before a rejected permission is requested again.
const REJECTION_HOLD: Duration = Duration::from_secs(10);

/// Client of a STUN or TURN server.
pub(crate) struct TurnClient {
    pub(crate) local: SocketAddr,
    pub(crate) server: SocketAddr,
    /// Time of the last datagram from the server.
    pub(crate) heard: Instant,
    /// Index of the server in the configuration.
    pub(crate) index: usize,
    client: Client,
    binding: Binding,
    relay: Relay,
    peers: HashMap<SocketAddr, Permission>,
    /// Peers by channel number. The client forgets a number when a renewal fails, while the server
    /// continues to use it.
    channels: HashMap<u16, SocketAddr>,
    /// Highest channel number requested.
    highest_channel: u16,
    /// The server rejected a channel because of a stale nonce. It would reject another number for
    /// the same peer for as long as the first one lives, so no new ones are requested.
    avoids_channels: bool,
    outputs: VecDeque<Output>,
}

/// Output of the client.
pub(crate) enum Output {
    /// Server-reflexive address.
    Reflexive(SocketAddr),
    /// Relayed address.
    Relayed(SocketAddr),
    /// Packet from a peer through the relay.
    Data { relay: SocketAddr, peer: SocketAddr, data: BytesMut },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Binding {
    Unwanted,
    Pending,
    Done,
    Failed(ServerFailure),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Relay {
    Unwanted,
    Pending,
    Active(SocketAddr),
    /// The server has dropped the allocation.
    Lost(SocketAddr),
    Failed(ServerFailure),
}

enum Permission {
    Pending { transaction: [u8; 12], attempts: u8, waiting: VecDeque<Bytes> },
    Granted,
    Rejected { until: Instant },
}

impl TurnClient {
    /// Sends a binding request if `wants_reflexive`, and an allocation request if there are
    /// credentials.
    pub(crate) fn begin(
        now: Instant,
        (local, server, index): (SocketAddr, SocketAddr, usize),
        wants_reflexive: bool,
        credentials: Option<&Credentials>,
    ) -> Result<Self, Error> {
        let config = ClientConfig {
            turn_serv_addr: server.to_string(),
            local_addr: local,
            transport_protocol: TransportProtocol::UDP,
            username: credentials.map(|credentials| credentials.username.clone()).unwrap_or_default(),
            password: credentials.map(|credentials| credentials.credential.clone()).unwrap_or_default(),
            allocation_refresh_interval_cap: Some(REFRESH_INTERVAL),
            ..ClientConfig::default()
        };
        let crypto = rtc_turn::crypto::default_provider().map_err(|error| Error::Other(error.to_string()))?;
        let mut client = Client::new(config, crypto)?;
        let mut binding = Binding::Unwanted;
        if wants_reflexive {
            client.send_binding_request_to(now, server)?;
            binding = Binding::Pending;
        }
        let mut relay = Relay::Unwanted;
        if credentials.is_some() {
            client.allocate(now)?;
            relay = Relay::Pending;
        }
        Ok(Self {
            local,
            server,
            heard: now,
            index,
            client,
            binding,
            relay,
            peers: HashMap::new(),
            channels: HashMap::new(),
            highest_channel: 0,
            avoids_channels: false,
            outputs: VecDeque::new(),
        })
    }

    /// Returns whether a response is pending.
    pub(crate) fn is_pending(&self) -> bool {
        self.binding == Binding::Pending || self.relay == Relay::Pending
    }

    /// Fails pending requests as timed out.
    pub(crate) fn give_up(&mut self) {
        if self.binding == Binding::Pending {
            self.binding = Binding::Failed(ServerFailure::NoResponse);
        }
        if self.relay == Relay::Pending {
            self.relay = Relay::Failed(ServerFailure::NoResponse);
        }
    }

    /// Reason why the server gave no candidate: no relay, or, without credentials, no reflexive
    /// address.
    pub(crate) fn failure(&self) -> Option<ServerFailure> {
        match (self.relay, self.binding) {
            (Relay::Failed(failure), _) | (Relay::Unwanted, Binding::Failed(failure)) => Some(failure),
            _ => None,
        }
    }

    /// Relayed address.
    pub(crate) fn relayed(&self) -> Option<SocketAddr> {
        match self.relay {
            Relay::Active(address) => Some(address),
            _ => None,
        }
    }

    pub(crate) fn handle_datagram(&mut self, now: Instant, data: &[u8]) {
        let refusal = ErrorResponse::parse(data);
        // Only a stale nonce is expected here: the client binds channels with valid parameters.
        if refusal.is_some_and(|refusal| refusal.method == Method::ChannelBind) {
            self.avoids_channels = true;
        }
        let transport = TransportContext {
            local_addr: self.local,
            peer_addr: self.server,
            transport_protocol: TransportProtocol::UDP,
            ecn: None,
        };
        let message = TaggedBytesMut { now, transport, message: BytesMut::from(data) };
        if let Err(error) = self.client.handle_read(message) {
            match (refusal, self.relay) {
                // A stale nonce is not reported as an error here.
                (Some(ErrorResponse { method: Method::Refresh, .. }), Relay::Active(address)) => {
                    tracing::warn!(%error, "the TURN server has dropped the allocation");
                    self.relay = Relay::Lost(address);
                }
                _ if self.take_from_forgotten_channel(data) => {}
                _ => tracing::debug!(%error, "invalid response from an ICE server"),
            }
        }
        self.take_events(now, refusal);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if let Err(error) = self.client.handle_timeout(now) {
            tracing::debug!(%error, "TURN client timer");
        }
        self.take_events(now, None);
    }

    pub(crate) fn poll_timeout(&mut self) -> Option<Instant> {
        self.client.poll_timeout()
    }

    /// Next datagram to send to the server.
    pub(crate) fn poll_request(&mut self) -> Option<BytesMut> {
        loop {
            let datagram = self.client.poll_write()?.message;
            match bound_channel(&datagram) {
                // Dropped as if lost: the client continues without a channel.
                Some(number) if self.avoids_channels && number > self.highest_channel => {}
                Some(number) => {
                    self.highest_channel = self.highest_channel.max(number);
                    return Some(datagram);
                }
                None => return Some(datagram),
            }
        }
    }

    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Sends through the relay; packets are queued until the server permits the peer.
    pub(crate) fn send(&mut self, now: Instant, peer: SocketAddr, packet: &[u8]) {
        let Some(address) = self.relayed() else { return };
        match self.peers.get_mut(&peer) {
            Some(Permission::Granted) => self.send_permitted(now, address, peer, packet),
            Some(Permission::Pending { waiting, .. }) => {
                if waiting.len() < MAX_QUEUED {
                    waiting.push_back(Bytes::copy_from_slice(packet));
                }
            }
            Some(Permission::Rejected { until }) if now < *until => {}
            Some(Permission::Rejected { .. }) | None => {
                self.ask_permission(now, address, peer, 1, VecDeque::from([Bytes::copy_from_slice(packet)]));
            }
        }
    }

    /// Releases the relay.
    pub(crate) fn close(&mut self, now: Instant) {
        if let Relay::Active(address) | Relay::Lost(address) = self.relay
            && let Ok(mut relay) = self.client.relay(address)
            && let Err(error) = relay.close(now)
        {
            tracing::debug!(%error, "the relay cannot be released and will expire");
        }
    }

    fn send_permitted(&mut self, now: Instant, address: SocketAddr, peer: SocketAddr, packet: &[u8]) {
        let sent = self.client.relay(address).and_then(|mut relay| relay.send_to(now, packet, peer));
        if let Err(error) = sent {
            tracing::trace!(%error, "sending through the relay failed");
        }
    }

    fn ask_permission(
        &mut self,
        now: Instant,
        address: SocketAddr,
        peer: SocketAddr,
        attempts: u8,
        waiting: VecDeque<Bytes>,
    ) {
        match self.client.relay(address).and_then(|mut relay| relay.create_permission(now, peer)) {
            Ok(Some(id)) => drop(self.peers.insert(peer, Permission::Pending { transaction: id.0, attempts, waiting })),
            Ok(None) => {
                self.peers.insert(peer, Permission::Granted);
                waiting.iter().for_each(|packet| self.send_permitted(now, address, peer, packet));
            }
            Err(error) => tracing::debug!(%error, "the permission cannot be requested"),
        }
    }

    fn take_events(&mut self, now: Instant, refusal: Option<ErrorResponse>) {
        while let Some(event) = self.client.poll_event() {
            match event {
                Event::BindingResponse(_, seen) if self.binding == Binding::Pending => {
                    self.binding = Binding::Done;
                    self.outputs.push_back(Output::Reflexive(seen));
                }
                Event::BindingError(..) => self.binding = Binding::Failed(ServerFailure::Malformed),
                Event::AllocateResponse(_, address) if self.relay == Relay::Pending => {
                    self.relay = Relay::Active(address);
                    self.outputs.push_back(Output::Relayed(address));
                }
                // The response is too late: the request was given up.
                Event::AllocateResponse(_, address) => {
                    self.relay = Relay::Lost(address);
                    self.close(now);
                }
                Event::AllocateError(..) => {
                    let code = refusal.map(|refusal| refusal.code);
                    self.relay = Relay::Failed(code.map_or(ServerFailure::Malformed, ServerFailure::Rejected));
                }
                Event::CreatePermissionResponse(_, peer) => self.release_waiting(now, peer),
                Event::CreatePermissionError(id, error) => {
                    self.handle_refused_permission(now, id.0, error == Error::ErrTryAgain);
                }
                Event::DataIndicationOrChannelData(number, peer, data) => {
                    if let Some(number) = number {
                        self.channels.insert(number.0, peer);
                    }
                    self.take_data(peer, data);
                }
                // Other requests are repeated by the client, or were given up before.
                Event::TransactionTimeout(id) => self.forget_permission(id.0),
                _ => {}
            }
        }
    }

    fn release_waiting(&mut self, now: Instant, peer: SocketAddr) {
        let before = self.peers.insert(peer, Permission::Granted);
        if let (Some(Permission::Pending { waiting, .. }), Some(address)) = (before, self.relayed()) {
            waiting.iter().for_each(|packet| self.send_permitted(now, address, peer, packet));
        }
    }

    /// Requests the permission again if only the nonce was stale; the client has the new one by
    /// now.
    fn handle_refused_permission(&mut self, now: Instant, transaction: [u8; 12], was_stale: bool) {
        let Some(peer) = self.asked_in(transaction) else { return };
        let before = self.peers.insert(peer, Permission::Rejected { until: now + REJECTION_HOLD });
        if let (true, Some(Permission::Pending { attempts, waiting, .. }), Some(address)) =
            (was_stale, before, self.relayed())
            && attempts < MAX_ATTEMPTS
        {
            self.ask_permission(now, address, peer, attempts + 1, waiting);
        }
    }

    /// Removes a pending permission, so that the next packet for the peer requests it again.
    fn forget_permission(&mut self, transaction: [u8; 12]) {
        if let Some(peer) = self.asked_in(transaction) {
            self.peers.remove(&peer);
        }
    }

    fn asked_in(&self, wanted: [u8; 12]) -> Option<SocketAddr> {
        let is_it = |permission: &Permission| matches!(permission, Permission::Pending { transaction, .. } if *transaction == wanted);
        self.peers.iter().find(|(_, permission)| is_it(permission)).map(|(peer, _)| *peer)
    }

    /// Handles ChannelData (RFC 8656 §12.4) with a number that the client has forgotten.
    fn take_from_forgotten_channel(&mut self, data: &[u8]) -> bool {
        let [n0, n1, l0, l1, rest @ ..] = data else { return false };
        let (number, length) = (u16::from_be_bytes([*n0, *n1]), usize::from(u16::from_be_bytes([*l0, *l1])));
        let Some((peer, payload)) = self.channels.get(&number).copied().zip(rest.get(..length)) else { return false };
        self.take_data(peer, BytesMut::from(payload));
        true
    }

    fn take_data(&mut self, peer: SocketAddr, data: BytesMut) {
        if let Relay::Active(relay) | Relay::Lost(relay) = self.relay {
            self.outputs.push_back(Output::Data { relay, peer, data });
        }
    }
}

#[cfg(test)]
mod tests;
