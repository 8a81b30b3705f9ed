//! Origin of an inbound connection.

use std::net::{IpAddr, Ipv4Addr};

/// Origin of an inbound connection, for limits per address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// IP address; IPv4-mapped IPv6 addresses are stored as IPv4.
    Address(IpAddr),
    /// Connection through a relay, which hides the address. All of these share one limit.
    Relayed,
}

/// Leading bits of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Prefix {
    /// Leading bits of an IPv4 address.
    V4(u32),
    /// Leading bits of an IPv6 address.
    V6(u128),
    /// All relayed connections.
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
    /// Prefix that one host controls: an IPv4 address, or an IPv6 /64.
    pub fn host(self) -> Prefix {
        self.prefix(32, 64)
    }

    /// Prefix that one customer may control: an IPv4 /24, or an IPv6 /48.
    pub(super) fn network(self) -> Prefix {
        self.prefix(24, 48)
    }

    /// Returns whether many nodes may share the address: loopback, a private network, or a
    /// carrier-grade NAT, behind which are proxies, containers or customers.
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

/// Returns whether the address is in 100.64.0.0/10, used by carrier-grade NAT (RFC 6598).
fn is_shared(ip: Ipv4Addr) -> bool {
    ip.octets()[0] == 100 && ip.octets()[1] & 0xC0 == 64
}
