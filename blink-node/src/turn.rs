//! STUN and TURN server (RFC 8489, RFC 8656) over UDP and TCP, with time-limited credentials.
//!
//! [`protocol`] is sans-IO: datagrams and time in, datagrams out. [`driver`] owns the sockets.

mod allocation;
mod authentication;
mod credentials;
mod driver;
mod messages;
mod peer_policy;
mod protocol;
mod quota;
mod relay_ports;
mod requests;
mod stream;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use crate::config::has_ipv6;

pub use credentials::{TurnCredentials, TurnSecret};
pub(crate) use driver::TurnHandle;

/// Default port of STUN and TURN (RFC 8489 §8.6.1).
const PORT: u16 = 3478;

/// Configuration of the STUN and TURN server.
#[derive(Debug, Clone)]
pub struct TurnConfig {
    /// Addresses to listen on, each over UDP and TCP; port 0 takes any free one.
    pub listen: Vec<SocketAddr>,
    /// Ports of relayed addresses.
    pub ports: RangeInclusive<u16>,
    /// Limits of allocations and bandwidth.
    pub limits: TurnLimits,
}

/// Limits of a TURN server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TurnLimits {
    /// Allocations in total.
    pub allocations: usize,
    /// Allocations of a user: the part of the username after the expiry.
    pub allocations_per_user: usize,
    /// Relayed bytes per second in total, in both directions.
    pub bandwidth: u64,
    /// Relayed bytes per second of a user, in both directions.
    pub bandwidth_per_user: u64,
}

impl Default for TurnLimits {
    /// 1,000 allocations, 200 of a user; 100 MB/s, 20 MB/s of a user.
    fn default() -> Self {
        Self { allocations: 1000, allocations_per_user: 200, bandwidth: 100_000_000, bandwidth_per_user: 20_000_000 }
    }
}

impl Default for TurnConfig {
    /// Port 3478 of all addresses, also of IPv6 where the machine has it, and the dynamic ports
    /// (RFC 6335) for relayed addresses.
    fn default() -> Self {
        let any = [Some(Ipv4Addr::UNSPECIFIED.into()), has_ipv6().then_some(Ipv6Addr::UNSPECIFIED.into())];
        let any = any.into_iter().flatten();
        Self {
            listen: any.map(|ip| SocketAddr::new(ip, PORT)).collect(),
            ports: 49_152..=65_535,
            limits: TurnLimits::default(),
        }
    }
}

/// IP address of relayed addresses, of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RelayAddress {
    /// Local address to bind.
    pub(crate) bind: IpAddr,
    /// Address under which others reach it.
    pub(crate) external: IpAddr,
}
