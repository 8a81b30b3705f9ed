//! One server asked from one local address: for what it sees (RFC 8489) and for a relay (RFC 8656),
//! and what then goes through the relay.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use blink_transport_kit::servers::{Account, Failure, Method, Refusal, bound_channel};
use bytes::{Bytes, BytesMut};
use rtc_shared::error::Error;
use rtc_shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use rtc_turn::client::{Client, ClientConfig, Event};
use sansio::Protocol as _;

/// How often a relay is refreshed at least. A refresh with a nonce that has become stale only
/// brings a new one, so several must fit into the relay's life, which is 10 minutes (RFC 8656
/// §7.2).
const REFRESH_INTERVAL: Duration = Duration::from_secs(60);
/// Packets that wait for the permission to reach a peer: its first checks.
const MOST_WAITING: usize = 32;
/// How often a permission is asked for where the nonce has become stale meanwhile.
const MOST_ATTEMPTS: u8 = 3;
/// When a peer that the server keeps from us is asked for again.
const REFUSAL_HOLDS: Duration = Duration::from_secs(10);

/// Questions to a server that are open, and what it gave.
pub(crate) struct Inquiry {
    pub(crate) local: SocketAddr,
    pub(crate) server: SocketAddr,
    /// Which of the configured servers it is.
    pub(crate) index: usize,
    client: Client,
    binding: Binding,
    relay: Relay,
    peers: HashMap<SocketAddr, Permission>,
    /// Whose packets come with which channel number. The client forgets a number when it may not
    /// renew it, while the server goes on using it.
    channels: HashMap<u16, SocketAddr>,
    /// The highest channel number that was asked for.
    highest_channel: u16,
    /// The server has refused a channel, because the nonce was stale. It would refuse another
    /// number for the same peer for as long as the first one lives, so no new ones are asked for.
    avoids_channels: bool,
    outputs: VecDeque<Output>,
}

/// What comes out of an inquiry.
pub(crate) enum Output {
    /// The server sees the local address as this one.
    Reflexive(SocketAddr),
    /// The server relays for this address.
    Relayed(SocketAddr),
    /// A peer's packet came through the relay.
    Data { relay: SocketAddr, peer: SocketAddr, data: BytesMut },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Binding {
    Unwanted,
    Open,
    Done,
    Failed(Failure),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Relay {
    Unwanted,
    Open,
    Up(SocketAddr),
    /// The server has it no more.
    Lost(SocketAddr),
    Failed(Failure),
}

enum Permission {
    Asked { transaction: [u8; 12], attempts: u8, waiting: VecDeque<Bytes> },
    Given,
    Refused { until: Instant },
}

impl Inquiry {
    /// Asks: for the address seen where that is wanted, for a relay where there is an account.
    pub(crate) fn begin(
        now: Instant,
        (local, server, index): (SocketAddr, SocketAddr, usize),
        wants_reflexive: bool,
        account: Option<&Account>,
    ) -> Result<Self, Error> {
        let config = ClientConfig {
            turn_serv_addr: server.to_string(),
            local_addr: local,
            transport_protocol: TransportProtocol::UDP,
            username: account.map(|account| account.username.clone()).unwrap_or_default(),
            password: account.map(|account| account.credential.clone()).unwrap_or_default(),
            allocation_refresh_interval_cap: Some(REFRESH_INTERVAL),
            ..ClientConfig::default()
        };
        let crypto = rtc_turn::crypto::default_provider().map_err(|error| Error::Other(error.to_string()))?;
        let mut client = Client::new(config, crypto)?;
        let mut binding = Binding::Unwanted;
        if wants_reflexive {
            client.send_binding_request_to(now, server)?;
            binding = Binding::Open;
        }
        let mut relay = Relay::Unwanted;
        if account.is_some() {
            client.allocate(now)?;
            relay = Relay::Open;
        }
        Ok(Self {
            local,
            server,
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

    /// Whether the server still owes an answer.
    pub(crate) fn is_open(&self) -> bool {
        self.binding == Binding::Open || self.relay == Relay::Open
    }

    /// Waits no longer for answers.
    pub(crate) fn give_up(&mut self) {
        if self.binding == Binding::Open {
            self.binding = Binding::Failed(Failure::Silent);
        }
        if self.relay == Relay::Open {
            self.relay = Relay::Failed(Failure::Silent);
        }
    }

    /// Why there is nothing of what the server is there for: a relay, or where none is wanted the
    /// address that it sees.
    pub(crate) fn failure(&self) -> Option<Failure> {
        match (self.relay, self.binding) {
            (Relay::Failed(failure), _) | (Relay::Unwanted, Binding::Failed(failure)) => Some(failure),
            _ => None,
        }
    }

    /// The address that the server relays for.
    pub(crate) fn relayed(&self) -> Option<SocketAddr> {
        match self.relay {
            Relay::Up(address) => Some(address),
            _ => None,
        }
    }

    pub(crate) fn handle_datagram(&mut self, now: Instant, data: &[u8]) {
        let refusal = Refusal::parse(data);
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
                // A stale nonce is no error here.
                (Some(Refusal { method: Method::Refresh, .. }), Relay::Up(address)) => {
                    tracing::warn!(%error, "a TURN server has given up a relay");
                    self.relay = Relay::Lost(address);
                }
                _ if self.take_from_forgotten_channel(data) => {}
                _ => tracing::debug!(%error, "a server's answer cannot be used"),
            }
        }
        self.take_events(now, refusal);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if let Err(error) = self.client.handle_timeout(now) {
            tracing::debug!(%error, "a server's timer");
        }
        self.take_events(now, None);
    }

    pub(crate) fn poll_timeout(&mut self) -> Option<Instant> {
        self.client.poll_timeout()
    }

    /// A datagram for the server.
    pub(crate) fn poll_request(&mut self) -> Option<BytesMut> {
        loop {
            let datagram = self.client.poll_write()?.message;
            match bound_channel(&datagram) {
                // As if it had got lost: the client goes on without a channel.
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

    /// Sends through the relay; what comes before the server permits the peer waits for that.
    pub(crate) fn send(&mut self, now: Instant, peer: SocketAddr, packet: &[u8]) {
        let Some(address) = self.relayed() else { return };
        match self.peers.get_mut(&peer) {
            Some(Permission::Given) => self.send_permitted(now, address, peer, packet),
            Some(Permission::Asked { waiting, .. }) => {
                if waiting.len() < MOST_WAITING {
                    waiting.push_back(Bytes::copy_from_slice(packet));
                }
            }
            Some(Permission::Refused { until }) if now < *until => {}
            Some(Permission::Refused { .. }) | None => {
                self.ask_permission(now, address, peer, 1, VecDeque::from([Bytes::copy_from_slice(packet)]));
            }
        }
    }

    /// Gives the relay back.
    pub(crate) fn close(&mut self, now: Instant) {
        if let Relay::Up(address) | Relay::Lost(address) = self.relay
            && let Ok(mut relay) = self.client.relay(address)
            && let Err(error) = relay.close(now)
        {
            tracing::debug!(%error, "a relay cannot be given back; it ends by itself");
        }
    }

    fn send_permitted(&mut self, now: Instant, address: SocketAddr, peer: SocketAddr, packet: &[u8]) {
        let sent = self.client.relay(address).and_then(|mut relay| relay.send_to(now, packet, peer));
        if let Err(error) = sent {
            tracing::trace!(%error, "send through a relay");
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
            Ok(Some(id)) => drop(self.peers.insert(peer, Permission::Asked { transaction: id.0, attempts, waiting })),
            Ok(None) => {
                self.peers.insert(peer, Permission::Given);
                waiting.iter().for_each(|packet| self.send_permitted(now, address, peer, packet));
            }
            Err(error) => tracing::debug!(%error, "a relay's server cannot be asked for a permission"),
        }
    }

    fn take_events(&mut self, now: Instant, refusal: Option<Refusal>) {
        while let Some(event) = self.client.poll_event() {
            match event {
                Event::BindingResponse(_, seen) if self.binding == Binding::Open => {
                    self.binding = Binding::Done;
                    self.outputs.push_back(Output::Reflexive(seen));
                }
                Event::BindingError(..) => self.binding = Binding::Failed(Failure::Unreadable),
                Event::AllocateResponse(_, address) if self.relay == Relay::Open => {
                    self.relay = Relay::Up(address);
                    self.outputs.push_back(Output::Relayed(address));
                }
                // It was not waited for any more.
                Event::AllocateResponse(_, address) => {
                    self.relay = Relay::Lost(address);
                    self.close(now);
                }
                Event::AllocateError(..) => {
                    let code = refusal.map(|refusal| refusal.code);
                    self.relay = Relay::Failed(code.map_or(Failure::Unreadable, Failure::Refused));
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
                // Everything else is asked again by itself, or was given up before.
                Event::TransactionTimeout(id) => self.forget_permission(id.0),
                _ => {}
            }
        }
    }

    fn release_waiting(&mut self, now: Instant, peer: SocketAddr) {
        let before = self.peers.insert(peer, Permission::Given);
        if let (Some(Permission::Asked { waiting, .. }), Some(address)) = (before, self.relayed()) {
            waiting.iter().for_each(|packet| self.send_permitted(now, address, peer, packet));
        }
    }

    /// Asks again at once where only the nonce was stale; the client has the fresh one by now.
    fn handle_refused_permission(&mut self, now: Instant, transaction: [u8; 12], was_stale: bool) {
        let Some(peer) = self.asked_in(transaction) else { return };
        let before = self.peers.insert(peer, Permission::Refused { until: now + REFUSAL_HOLDS });
        if let (true, Some(Permission::Asked { attempts, waiting, .. }), Some(address)) =
            (was_stale, before, self.relayed())
            && attempts < MOST_ATTEMPTS
        {
            self.ask_permission(now, address, peer, attempts + 1, waiting);
        }
    }

    /// The next packet for the peer asks anew.
    fn forget_permission(&mut self, transaction: [u8; 12]) {
        if let Some(peer) = self.asked_in(transaction) {
            self.peers.remove(&peer);
        }
    }

    fn asked_in(&self, wanted: [u8; 12]) -> Option<SocketAddr> {
        let is_it = |permission: &Permission| matches!(permission, Permission::Asked { transaction, .. } if *transaction == wanted);
        self.peers.iter().find(|(_, permission)| is_it(permission)).map(|(peer, _)| *peer)
    }

    /// Takes ChannelData (RFC 8656 §12.4) with a number that the client has forgotten.
    fn take_from_forgotten_channel(&mut self, data: &[u8]) -> bool {
        let [n0, n1, l0, l1, rest @ ..] = data else { return false };
        let (number, length) = (u16::from_be_bytes([*n0, *n1]), usize::from(u16::from_be_bytes([*l0, *l1])));
        let Some((peer, payload)) = self.channels.get(&number).copied().zip(rest.get(..length)) else { return false };
        self.take_data(peer, BytesMut::from(payload));
        true
    }

    fn take_data(&mut self, peer: SocketAddr, data: BytesMut) {
        if let Relay::Up(relay) | Relay::Lost(relay) = self.relay {
            self.outputs.push_back(Output::Data { relay, peer, data });
        }
    }
}

#[cfg(test)]
mod tests;
