//! Authenticated requests: Allocate, Refresh, CreatePermission and ChannelBind.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use turn_types::AddressFamily;
use turn_types::attribute::{
    ChannelNumber, Data, Lifetime, RequestedAddressFamily, RequestedTransport, XorPeerAddress, XorRelayedAddress,
};
use turn_types::message::{ALLOCATE, CREATE_PERMISSION, REFRESH};
use turn_types::stun::attribute::{
    Attribute as _, AttributeFromRaw as _, AttributeStaticType as _, AttributeType, ErrorCode, MessageIntegrity, Nonce,
    Realm, Username, XorMappedAddress,
};
use turn_types::stun::message::Message;

use super::allocation::{Allocation, AllocationId, BindError, Client};
use super::authentication::Authenticated;
use super::messages;
use super::protocol::{Now, OpenError, OpenRelay, TurnServer};
use super::quota::Exceeded;
use crate::metrics::Counter;

/// Lifetimes of allocations (RFC 8656 §3.2).
const DEFAULT_LIFETIME: Duration = Duration::from_secs(600);
const LONGEST_LIFETIME: Duration = Duration::from_secs(3600);
/// Most unknown attributes named in an error response.
const MAX_UNKNOWN: usize = 8;
/// Channel numbers (RFC 8656 §12).
const CHANNELS: std::ops::RangeInclusive<u16> = 0x4000..=0x4FFF;

/// Signed response of a request.
type Response = Vec<u8>;

impl TurnServer {
    pub(super) fn handle_request(
        &mut self,
        client: Client,
        message: &Message<'_>,
        user: &Authenticated,
        now: Now,
        relays: &mut impl OpenRelay,
    ) -> Response {
        let failure = |code| messages::failure(message, code, Some(&user.key));
        let unknown = unknown_attributes(message);
        if !unknown.is_empty() {
            return messages::unknown_attributes(message, &unknown, Some(&user.key));
        }
        let owned = self.clients.get(&client).copied();
        if let Some(allocation) = owned.and_then(|id| self.allocations.get(&id))
            && allocation.user != user.user
        {
            return failure(ErrorCode::WRONG_CREDENTIALS);
        }
        let handled = match (message.method(), owned) {
            (ALLOCATE, owned) => self.allocate(client, owned, message, user, now, relays),
            (_, None) => Err(ErrorCode::ALLOCATION_MISMATCH),
            (REFRESH, Some(id)) => self.refresh(id, message, user, now),
            (CREATE_PERMISSION, Some(id)) => self.create_permission(id, message, user, now.instant),
            (_, Some(id)) => self.bind_channel(id, message, user, now.instant),
        };
        handled.unwrap_or_else(failure)
    }

    fn allocate(
        &mut self,
        client: Client,
        owned: Option<AllocationId>,
        message: &Message<'_>,
        user: &Authenticated,
        now: Now,
        relays: &mut impl OpenRelay,
    ) -> Result<Response, u16> {
        if let Some(allocation) = owned.and_then(|id| self.allocations.get(&id)) {
            // A retransmitted request gets the same response.
            return if allocation.transaction == message.transaction_id() {
                Ok(allocated(message, allocation, user))
            } else {
                Err(ErrorCode::ALLOCATION_MISMATCH)
            };
        }
        let transport = message.attribute::<RequestedTransport>().map_err(|_| ErrorCode::BAD_REQUEST)?;
        if transport.protocol() != RequestedTransport::UDP {
            return Err(ErrorCode::UNSUPPORTED_TRANSPORT_PROTOCOL);
        }
        let is_ipv6 = match message.attribute::<RequestedAddressFamily>() {
            Ok(requested) => requested.family() == AddressFamily::IPV6,
            Err(_) => false,
        };
        self.quotas.allocate(&user.user, now.instant).map_err(|exceeded| {
            self.metrics.add(Counter::AllocationsRefused, 1);
            match exceeded {
                Exceeded::User => ErrorCode::ALLOCATION_QUOTA_REACHED,
                Exceeded::Total => ErrorCode::INSUFFICIENT_CAPACITY,
            }
        })?;
        let id = AllocationId(self.next_id);
        self.next_id += 1;
        let relayed = relays.open(id, is_ipv6).map_err(|error| {
            self.quotas.release(&user.user);
            match error {
                OpenError::Family => ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED,
                OpenError::Ports => ErrorCode::INSUFFICIENT_CAPACITY,
            }
        })?;
        let lifetime = lifetime(message, user, now).unwrap_or(DEFAULT_LIFETIME);
        let transaction = message.transaction_id();
        let allocation = Allocation::new(client, user.user.clone(), relayed, transaction, lifetime, now.instant);
        let response = allocated(message, &allocation, user);
        self.clients.insert(client, id);
        self.relayed.insert(relayed, id);
        self.allocations.insert(id, allocation);
        self.count_allocations();
        Ok(response)
    }

    fn refresh(
        &mut self,
        id: AllocationId,
        message: &Message<'_>,
        user: &Authenticated,
        now: Now,
    ) -> Result<Response, u16> {
        let lifetime = lifetime(message, user, now);
        match (lifetime, self.allocations.get_mut(&id)) {
            (Some(lifetime), Some(allocation)) => {
                allocation.lifetime = lifetime;
                allocation.expires = now.instant + lifetime;
            }
            _ => self.release(id),
        }
        let seconds = lifetime.map_or(0, |lifetime| lifetime.as_secs() as u32);
        Ok(messages::success(message, &[&Lifetime::new(seconds)], Some(&user.key)))
    }

    fn create_permission(
        &mut self,
        id: AllocationId,
        message: &Message<'_>,
        user: &Authenticated,
        now: Instant,
    ) -> Result<Response, u16> {
        let mut peers = Vec::new();
        for (_, raw) in message.iter_attributes().filter(|(_, raw)| raw.get_type() == XorPeerAddress::TYPE) {
            let peer = XorPeerAddress::from_raw_ref(&raw).map_err(|_| ErrorCode::BAD_REQUEST)?;
            peers.push(self.check_peer(id, peer.addr(message.transaction_id()))?.ip());
        }
        if peers.is_empty() {
            return Err(ErrorCode::BAD_REQUEST);
        }
        let allocation = self.allocations.get_mut(&id).ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        if peers.into_iter().all(|peer| allocation.permit(peer, now)) {
            Ok(messages::success(message, &[], Some(&user.key)))
        } else {
            Err(ErrorCode::INSUFFICIENT_CAPACITY)
        }
    }

    fn bind_channel(
        &mut self,
        id: AllocationId,
        message: &Message<'_>,
        user: &Authenticated,
        now: Instant,
    ) -> Result<Response, u16> {
        let number = message.attribute::<ChannelNumber>().map_err(|_| ErrorCode::BAD_REQUEST)?.channel();
        let peer = message.attribute::<XorPeerAddress>().map_err(|_| ErrorCode::BAD_REQUEST)?;
        if !CHANNELS.contains(&number) {
            return Err(ErrorCode::BAD_REQUEST);
        }
        let peer = self.check_peer(id, peer.addr(message.transaction_id()))?;
        let allocation = self.allocations.get_mut(&id).ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        allocation.bind(number, peer, now).map_err(|error| match error {
            BindError::Conflict => ErrorCode::BAD_REQUEST,
            BindError::Full => ErrorCode::INSUFFICIENT_CAPACITY,
        })?;
        Ok(messages::success(message, &[], Some(&user.key)))
    }

    /// Checks the address of a peer in a request. The machine's own addresses pass, since other
    /// clients' relayed addresses are on them; each datagram is checked with its port.
    fn check_peer(&self, id: AllocationId, peer: SocketAddr) -> Result<SocketAddr, u16> {
        let allocation = self.allocations.get(&id).ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        let ip = peer.ip();
        if ip != allocation.relayed.ip() && !self.policy.addresses.permits(ip) {
            self.metrics.add(Counter::PeersForbidden, 1);
            return Err(ErrorCode::FORBIDDEN);
        }
        if ip.to_canonical().is_ipv4() != allocation.relayed.is_ipv4() || ip.to_canonical() != ip {
            return Err(ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH);
        }
        Ok(peer)
    }
}

fn allocated(message: &Message<'_>, allocation: &Allocation, user: &Authenticated) -> Response {
    let id = message.transaction_id();
    let relayed = XorRelayedAddress::new(allocation.relayed, id);
    let mapped = XorMappedAddress::new(allocation.client.address, id);
    let lifetime = Lifetime::new(allocation.lifetime.as_secs() as u32);
    messages::success(message, &[&relayed, &lifetime, &mapped], Some(&user.key))
}

/// Lifetime that a request asks for, within the limits; `None` for 0. An allocation ends with the
/// credentials at the latest.
fn lifetime(message: &Message<'_>, user: &Authenticated, now: Now) -> Option<Duration> {
    let requested = message
        .attribute::<Lifetime>()
        .map_or(DEFAULT_LIFETIME, |lifetime| Duration::from_secs(u64::from(lifetime.seconds())));
    if requested.is_zero() {
        return None;
    }
    let left = Duration::from_secs(user.expires.saturating_sub(now.unix).max(1));
    Some(requested.clamp(DEFAULT_LIFETIME, LONGEST_LIFETIME).min(left))
}

/// Attributes that must be understood and are not, such as EVEN-PORT and RESERVATION-TOKEN.
fn unknown_attributes(message: &Message<'_>) -> Vec<AttributeType> {
    const KNOWN: [AttributeType; 10] = [
        Username::TYPE,
        Realm::TYPE,
        Nonce::TYPE,
        MessageIntegrity::TYPE,
        RequestedTransport::TYPE,
        RequestedAddressFamily::TYPE,
        Lifetime::TYPE,
        XorPeerAddress::TYPE,
        ChannelNumber::TYPE,
        Data::TYPE,
    ];
    let types = message.iter_attributes().map(|(_, raw)| raw.get_type());
    types.filter(|kind| kind.comprehension_required() && !KNOWN.contains(kind)).take(MAX_UNKNOWN).collect()
}
