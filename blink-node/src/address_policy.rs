//! Addresses that the node sends to on behalf of others.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Policy for the addresses that a stranger may make the node send to: peers of a TURN allocation,
/// and addresses to dial.
///
/// By default only global unicast addresses are allowed. Otherwise a stranger could reach services
/// behind the node's firewall through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AddressPolicy {
    /// Allows private, loopback and link-local addresses, for a node of a local network.
    pub allow_private: bool,
}

impl AddressPolicy {
    /// Returns whether packets may be sent to an address.
    ///
    /// IPv6 addresses that embed an IPv4 address are judged by both.
    pub fn permits(self, address: IpAddr) -> bool {
        let embedded = match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(ip) => embedded(ip),
        };
        self.permits_one(address) && embedded.is_none_or(|ip| self.permits_one(IpAddr::V4(ip)))
    }

    fn permits_one(self, address: IpAddr) -> bool {
        match scope(address) {
            Scope::Global => true,
            Scope::Private => self.allow_private,
            Scope::Never => false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Global,
    /// Used within a host, a link or an organisation.
    Private,
    /// No unicast address of a host.
    Never,
}

/// Scope of an address by the special-purpose registries of RFC 6890.
fn scope(address: IpAddr) -> Scope {
    match address {
        IpAddr::V4(ip) => scope_v4(ip),
        IpAddr::V6(ip) => scope_v6(ip),
    }
}

fn scope_v4(ip: Ipv4Addr) -> Scope {
    match ip.octets() {
        // "This network", multicast, reserved and broadcast.
        [0 | 224..=255, ..] => Scope::Never,
        // Private use, loopback, link-local, carrier-grade NAT.
        [10 | 127, ..] | [169, 254, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Scope::Private,
        // IETF protocol assignments, documentation, 6to4 relays, benchmarks.
        [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] | [192, 88, 99, _] | [198, 18..=19, ..] => {
            Scope::Private
        }
        _ => Scope::Global,
    }
}

fn scope_v6(ip: Ipv6Addr) -> Scope {
    if let Some(mapped) = ip.to_ipv4_mapped() {
        return scope_v4(mapped);
    }
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Scope::Never,
        // Loopback and IPv4-compatible addresses (deprecated).
        [0, 0, 0, 0, 0, 0, ..] => Scope::Private,
        // NAT64 (RFC 6052); judged by the embedded address.
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => Scope::Global,
        // Documentation, Teredo and other IETF assignments (RFC 2928).
        [0x2001, 0xdb8 | 0..=0x1ff, ..] | [0x3fff, 0..=0xfff, ..] => Scope::Private,
        // Global unicast (RFC 4291 §2.4).
        [0x2000..=0x3fff, ..] => Scope::Global,
        // Unique local, link-local, site-local (deprecated).
        [0xfc00..=0xfdff, ..] | [0xfe80..=0xfeff, ..] => Scope::Private,
        // Multicast, discard-only and unassigned prefixes.
        _ => Scope::Never,
    }
}

/// IPv4 address that an IPv6 address leads to: NAT64 (RFC 6052) and 6to4 (RFC 3056).
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let from = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match ip.segments() {
        [0x64, 0xff9b, .., high, low] => Some(from(high, low)),
        [0x2002, high, low, ..] => Some(from(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIVATE: &[&str] = &[
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "192.0.0.8",
        "198.18.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.1.2.3",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a00:1",
        "2002:7f00:1::1",
        "2002:a00:1::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "fc00::1",
        "fd12:3456::1",
        "2001::1",
        "2001:db8::1",
    ];
    const NEVER: &[&str] = &[
        "0.0.0.0",
        "0.1.2.3",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1:0:0:0",
        "::ffff:0.0.0.0",
        "::ffff:224.0.0.1",
        "::ffff:255.255.255.255",
        "64:ff9b::e000:1",
        "2002:e000:1::1",
        "100::1",
        "ff02::1",
        "ff0e::1",
        "4000::1",
    ];
    const GLOBAL: &[&str] = &[
        "1.1.1.1",
        "100.128.0.1",
        "172.32.0.1",
        "192.167.0.1",
        "223.255.255.254",
        "2606:4700::1111",
        "2a00:1450::1",
        "::ffff:1.1.1.1",
        "64:ff9b::101:101",
        "2002:101:101::1",
    ];

    fn permits(text: &str, allow_private: bool) -> bool {
        AddressPolicy { allow_private }.permits(text.parse().unwrap())
    }

    #[test]
    fn only_global_unicast_addresses_are_permitted() {
        for address in PRIVATE.iter().chain(NEVER) {
            assert!(!permits(address, false), "{address}");
        }
        for address in GLOBAL {
            assert!(permits(address, false), "{address}");
        }
    }

    #[test]
    fn private_addresses_can_be_allowed_and_others_never() {
        for address in ["10.0.0.1", "127.0.0.1", "::1", "fe80::1", "fd00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"] {
            assert!(permits(address, true), "{address}");
        }
        for address in NEVER {
            assert!(!permits(address, true), "{address}");
        }
    }
}
