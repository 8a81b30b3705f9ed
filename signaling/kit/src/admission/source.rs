//! The place that a connection comes from.

use std::net::{IpAddr, Ipv4Addr};

/// The place that an inbound connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// An address; one of IPv4 is never written as one of IPv6.
    Address(IpAddr),
    /// Through a relay, which hides the address. All of these share one limit.
    Relayed,
}

/// The leading bits of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Prefix {
    V4(u32),
    V6(u128),
    Relayed,
    /// All addresses.
    Any,
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        Self::Address(address.to_canonical())
    }
}

impl Source {
    /// The addresses that one host has: one of IPv4, a /64 of IPv6.
    pub(super) fn host(self) -> Prefix {
        self.prefix(32, 64)
    }

    /// The addresses that one customer may have: a /24 of IPv4, a /48 of IPv6.
    pub(super) fn network(self) -> Prefix {
        self.prefix(24, 48)
    }

    /// Whether the address is of the node's own machine or network, or one that providers share
    /// among customers. Many can stand behind it: a proxy, containers, a provider's NAT.
    pub(super) fn is_local(self) -> bool {
        match self {
            Self::Relayed => true,
            Self::Address(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_link_local() || is_shared(ip),
            Self::Address(IpAddr::V6(ip)) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
        }
    }

    fn prefix(self, v4: u32, v6: u32) -> Prefix {
        match self {
            Self::Relayed => Prefix::Relayed,
            Self::Address(IpAddr::V4(ip)) => Prefix::V4(ip.to_bits() >> (32 - v4)),
            Self::Address(IpAddr::V6(ip)) => Prefix::V6(ip.to_bits() >> (128 - v6)),
        }
    }
}

/// 100.64.0.0/10, the addresses of a provider's NAT (RFC 6598).
fn is_shared(ip: Ipv4Addr) -> bool {
    ip.octets()[0] == 100 && ip.octets()[1] & 0xC0 == 64
}
