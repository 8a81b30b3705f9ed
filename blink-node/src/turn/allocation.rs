//! An allocation: a relayed address of a client, with permissions and channels.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use turn_types::stun::message::TransactionId;

/// Lifetime of a permission (RFC 8656 §9).
const PERMISSION_LIFETIME: Duration = Duration::from_secs(300);
/// Lifetime of a channel (RFC 8656 §12).
const CHANNEL_LIFETIME: Duration = Duration::from_secs(600);
/// Limits of permissions and channels of an allocation. An ICE agent makes one for each candidate.
const MAX_PERMISSIONS: usize = 128;
const MAX_CHANNELS: usize = 128;

/// Client of the server: the remote end of a 5-tuple.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Client {
    /// Listener that received from it.
    pub(crate) listener: usize,
    pub(crate) transport: ClientTransport,
    pub(crate) address: SocketAddr,
}

/// Transport between client and server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ClientTransport {
    Udp,
    Tcp,
}

/// Name of an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct AllocationId(pub(super) u64);

/// Reason for which a channel is not bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BindError {
    /// The number or the peer is bound otherwise.
    Conflict,
    /// Too many permissions or channels.
    Full,
}

/// An allocation.
#[derive(Debug)]
pub(super) struct Allocation {
    pub(super) client: Client,
    pub(super) user: String,
    /// Relayed address as peers see it.
    pub(super) relayed: SocketAddr,
    /// Transaction of the request that made it, to recognise retransmissions.
    pub(super) transaction: TransactionId,
    pub(super) lifetime: Duration,
    pub(super) expires: Instant,
    permissions: HashMap<IpAddr, Instant>,
    channels: HashMap<u16, Channel>,
    numbers: HashMap<SocketAddr, u16>,
}

#[derive(Debug)]
struct Channel {
    peer: SocketAddr,
    expires: Instant,
}

impl Allocation {
    pub(super) fn new(
        client: Client,
        user: String,
        relayed: SocketAddr,
        transaction: TransactionId,
        lifetime: Duration,
        now: Instant,
    ) -> Self {
        Self {
            client,
            user,
            relayed,
            transaction,
            lifetime,
            expires: now + lifetime,
            permissions: HashMap::new(),
            channels: HashMap::new(),
            numbers: HashMap::new(),
        }
    }

    /// Installs or renews a permission; returns `false` if there are too many.
    pub(super) fn permit(&mut self, peer: IpAddr, now: Instant) -> bool {
        if self.permissions.len() >= MAX_PERMISSIONS && !self.permissions.contains_key(&peer) {
            self.permissions.retain(|_, expires| *expires > now);
            if self.permissions.len() >= MAX_PERMISSIONS {
                return false;
            }
        }
        self.permissions.insert(peer, now + PERMISSION_LIFETIME);
        true
    }

    /// Binds or renews a channel, and permits its peer.
    pub(super) fn bind(&mut self, number: u16, peer: SocketAddr, now: Instant) -> Result<(), BindError> {
        let is_bound = |channel: &Channel| channel.expires > now;
        self.channels.retain(|_, channel| is_bound(channel));
        self.numbers.retain(|_, number| self.channels.contains_key(number));
        let is_same_peer = self.channels.get(&number).is_none_or(|channel| channel.peer == peer);
        let is_same_number = self.numbers.get(&peer).is_none_or(|bound| *bound == number);
        if !is_same_peer || !is_same_number {
            return Err(BindError::Conflict);
        }
        let is_new = !self.channels.contains_key(&number);
        if (is_new && self.channels.len() >= MAX_CHANNELS) || !self.permit(peer.ip(), now) {
            return Err(BindError::Full);
        }
        self.channels.insert(number, Channel { peer, expires: now + CHANNEL_LIFETIME });
        self.numbers.insert(peer, number);
        Ok(())
    }

    /// Returns whether datagrams from and to a peer are relayed.
    pub(super) fn permits(&self, peer: IpAddr, now: Instant) -> bool {
        self.permissions.get(&peer).is_some_and(|expires| *expires > now)
    }

    /// Peer of a channel.
    pub(super) fn peer(&self, number: u16, now: Instant) -> Option<SocketAddr> {
        self.channels.get(&number).filter(|channel| channel.expires > now).map(|channel| channel.peer)
    }

    /// Channel of a peer.
    pub(super) fn channel(&self, peer: SocketAddr, now: Instant) -> Option<u16> {
        self.numbers.get(&peer).copied().filter(|number| self.peer(*number, now).is_some())
    }
}
