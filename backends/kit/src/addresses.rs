//! The local addresses to offer as host candidates.

use std::net::{IpAddr, Ipv4Addr};

use blink_api::{Error, ErrorKind, Result};
use if_addrs::Interface;

/// More addresses than this are left out: each costs a socket and doubles the pairs to check.
const MOST_ADDRESSES: usize = 8;

/// The addresses a session should use, in the system's order.
///
/// * `wanted` names interfaces or their addresses (`ice.interfaces`). Only these are used, loopback ones too.
/// * Without a wish: every interface that is up, but neither loopback nor link-local addresses. Where that leaves none (no network), the
///   IPv4 loopback address, so that two sessions on one machine connect.
///
/// # Errors
/// [`Invalid`](ErrorKind::Invalid) for a name or address that no interface has, [`Io`](ErrorKind::Io) where the system does not tell.
pub fn usable(wanted: &[String]) -> Result<Vec<IpAddr>> {
    select(&if_addrs::get_if_addrs()?, wanted)
}

fn select(interfaces: &[Interface], wanted: &[String]) -> Result<Vec<IpAddr>> {
    let mut addresses = Vec::new();
    if wanted.is_empty() {
        let usable = interfaces.iter().filter(|interface| interface.is_oper_up() && !interface.is_loopback());
        addresses.extend(usable.map(Interface::ip).filter(|address| !is_link_local(*address)));
        if addresses.is_empty() {
            addresses.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
    }
    for name in wanted {
        let before = addresses.len();
        let named = interfaces.iter().filter(|interface| match name.parse::<IpAddr>() {
            Ok(address) => interface.ip() == address,
            Err(_) => interface.name == *name && !is_link_local(interface.ip()),
        });
        addresses.extend(named.map(Interface::ip));
        if addresses.len() == before {
            return Err(Error::new(ErrorKind::Invalid, "there is no such interface or address")
                .with("key", "ice.interfaces")
                .with("value", name));
        }
    }
    let mut seen = Vec::new();
    addresses.retain(|address| {
        !seen.contains(address) && {
            seen.push(*address);
            true
        }
    });
    addresses.truncate(MOST_ADDRESSES);
    Ok(addresses)
}

/// Link-local addresses need a zone that candidates cannot carry (RFC 8839 §5.1).
fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use if_addrs::{IfAddr, IfOperStatus, Ifv4Addr, Ifv6Addr};

    use super::*;

    fn interface(name: &str, address: &str) -> Interface {
        let addr = match address.parse().expect("an address in a test") {
            IpAddr::V4(ip) => IfAddr::V4(Ifv4Addr { ip, netmask: Ipv4Addr::BROADCAST, prefixlen: 32, broadcast: None }),
            IpAddr::V6(ip) => {
                IfAddr::V6(Ifv6Addr { ip, netmask: Ipv6Addr::UNSPECIFIED, prefixlen: 128, broadcast: None })
            }
        };
        Interface { name: name.to_owned(), addr, index: None, oper_status: IfOperStatus::Up, is_p2p: false }
    }

    fn machine() -> Vec<Interface> {
        vec![
            interface("lo", "127.0.0.1"),
            interface("eth0", "192.0.2.7"),
            interface("eth0", "2001:db8::7"),
            interface("eth0", "fe80::7"),
            interface("wlan0", "198.51.100.7"),
        ]
    }

    fn texts(addresses: Result<Vec<IpAddr>>) -> Vec<String> {
        addresses.expect("addresses").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn all_but_loopback_and_link_local_are_used_without_a_wish() {
        assert_eq!(texts(select(&machine(), &[])), ["192.0.2.7", "2001:db8::7", "198.51.100.7"]);
    }

    #[test]
    fn loopback_is_used_when_there_is_nothing_else_or_it_is_named() {
        assert_eq!(texts(select(&[interface("lo", "127.0.0.1")], &[])), ["127.0.0.1"]);
        assert_eq!(texts(select(&machine(), &["lo".to_owned()])), ["127.0.0.1"]);
    }

    #[test]
    fn interfaces_are_named_by_name_or_address_and_unknown_ones_are_invalid() {
        let wanted = ["198.51.100.7".to_owned(), "eth0".to_owned(), "wlan0".to_owned()];
        assert_eq!(texts(select(&machine(), &wanted)), ["198.51.100.7", "192.0.2.7", "2001:db8::7"]);
        for unknown in ["eth7", "203.0.113.1", ""] {
            let error = select(&machine(), &[unknown.to_owned()]).expect_err("no such interface");
            assert_eq!(error.kind(), ErrorKind::Invalid);
        }
    }
}
