//! Addresses under which others reach the node.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use blink_api::{Error, ErrorKind, Result};
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

use crate::turn::RelayAddress;
use crate::{AddressPolicy, error};

/// Longest DNS name (RFC 1035 §2.3.4).
const LONGEST_NAME: usize = 253;

/// IP address or DNS name of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// IP address.
    Ip(IpAddr),
    /// DNS name.
    Name(String),
}

impl FromStr for Host {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        match bare.parse() {
            Ok(ip) => Ok(Self::Ip(ip)),
            Err(_) if is_dns_name(text) => Ok(Self::Name(text.to_ascii_lowercase())),
            Err(_) => {
                let message = "expected an IP address or a DNS name, without port";
                Err(error(ErrorKind::Invalid, "external", message).with("address", text))
            }
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// Listen addresses as others reach them: with the external hosts in place of the local address.
///
/// Without external hosts, listen addresses that the policy permits are external; loopback ones
/// only if there are no others.
pub(crate) fn external_addresses(listeners: &[Multiaddr], hosts: &[Host], policy: AddressPolicy) -> Vec<Multiaddr> {
    let mut addresses = Vec::new();
    for listener in listeners {
        let Some(local) = ip(listener) else { continue };
        if hosts.is_empty() && policy.permits(local) {
            push_new(&mut addresses, listener.clone());
        }
        let same_family = |host: &&Host| !matches!(host, Host::Ip(ip) if ip.is_ipv4() != local.is_ipv4());
        for host in hosts.iter().filter(same_family) {
            let first = match (host, local) {
                (Host::Ip(ip), _) => Protocol::from(*ip),
                (Host::Name(name), IpAddr::V4(_)) => Protocol::Dns4(name.into()),
                (Host::Name(name), IpAddr::V6(_)) => Protocol::Dns6(name.into()),
            };
            push_new(&mut addresses, std::iter::once(first).chain(listener.iter().skip(1)).collect());
        }
    }
    let is_loopback = |address: &Multiaddr| ip(address).is_some_and(|ip| ip.is_loopback());
    if !addresses.iter().all(is_loopback) {
        addresses.retain(|address| !is_loopback(address));
    }
    addresses
}

/// Addresses for relayed addresses of TURN, one for each family: of the external hosts, else of the
/// listeners, else of the interfaces.
///
/// # Errors
/// [`Io`](ErrorKind::Io) if a name is not resolved or the interfaces cannot be listed.
pub(crate) async fn relay_addresses(
    hosts: &[Host],
    listeners: impl Iterator<Item = IpAddr>,
    policy: AddressPolicy,
) -> Result<Vec<RelayAddress>> {
    let interfaces = if_addrs::get_if_addrs()
        .map_err(|source| error(ErrorKind::Io, "external", "the interfaces cannot be listed").source(source))?;
    let is_local = |ip: IpAddr| interfaces.iter().any(|interface| interface.ip() == ip);
    let mut candidates = Vec::new();
    for host in hosts {
        match host {
            Host::Ip(ip) => candidates.push(*ip),
            Host::Name(name) => candidates.extend(resolve(name).await?),
        }
    }
    if candidates.is_empty() {
        candidates.extend(listeners.filter(|ip| !ip.is_unspecified() && policy.permits(*ip)));
    }
    if candidates.is_empty() {
        let usable = interfaces.iter().filter(|interface| !interface.is_link_local()).map(if_addrs::Interface::ip);
        candidates.extend(usable.filter(|ip| policy.permits(*ip)));
        candidates.sort_by_key(|ip| (ip.is_loopback(), !AddressPolicy::default().permits(*ip)));
    }
    let of_family = |is_ipv6| candidates.iter().copied().find(|ip| ip.is_ipv6() == is_ipv6);
    // An external address that no interface has is translated by a router: bind all.
    let any = |ip: IpAddr| if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let relay = |external| RelayAddress { bind: if is_local(external) { external } else { any(external) }, external };
    Ok([of_family(false), of_family(true)].into_iter().flatten().map(relay).collect())
}

async fn resolve(name: &str) -> Result<Vec<IpAddr>> {
    let found = tokio::net::lookup_host((name, 0)).await.map_err(|source| {
        error(ErrorKind::Io, "external", "the name is not resolved").with("name", name).source(source)
    })?;
    Ok(found.map(|address| address.ip()).collect())
}

/// IP address at the start of a multiaddress.
pub(crate) fn ip(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip)),
        _ => None,
    }
}

fn push_new(addresses: &mut Vec<Multiaddr>, address: Multiaddr) {
    if !addresses.contains(&address) {
        addresses.push(address);
    }
}

fn is_dns_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // A name whose last label is a number would be a mistyped IPv4 address.
    let last_is_numeric = text.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    text.len() <= LONGEST_NAME && text.split('.').all(is_label) && !last_is_numeric
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn hosts_are_addresses_or_names() {
        assert_eq!("192.0.2.1".parse::<Host>().unwrap(), Host::Ip("192.0.2.1".parse().unwrap()));
        assert_eq!("[2001:db8::1]".parse::<Host>().unwrap().to_string(), "[2001:db8::1]");
        assert_eq!("Node.Example.org".parse::<Host>().unwrap(), Host::Name("node.example.org".to_owned()));
        for text in ["", "192.0.2", "192.0.2.1:4001", "node.example.org:1", "-a.org", "a..b", "/ip4/1.2.3.4", "a b"] {
            assert_eq!(text.parse::<Host>().unwrap_err().kind(), ErrorKind::Invalid, "{text}");
        }
    }

    #[test]
    fn external_hosts_replace_the_local_address_of_their_family() {
        let listeners = all(&["/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.1/tcp/1", "/ip6/::1/udp/2/quic-v1"]);
        let hosts = ["192.0.2.1", "node.example.org"].map(|host| host.parse().unwrap());
        assert_eq!(
            external_addresses(&listeners, &hosts, AddressPolicy::default()),
            all(&["/ip4/192.0.2.1/tcp/1", "/dns4/node.example.org/tcp/1", "/dns6/node.example.org/udp/2/quic-v1"])
        );
    }

    #[test]
    fn without_external_hosts_permitted_listeners_are_external() {
        let listeners = all(&["/ip4/127.0.0.1/tcp/1", "/ip4/1.1.1.1/tcp/1", "/ip4/10.0.0.1/tcp/1"]);
        let external = |allow_private| external_addresses(&listeners, &[], AddressPolicy { allow_private });
        assert_eq!(external(false), all(&["/ip4/1.1.1.1/tcp/1"]));
        assert_eq!(external(true), all(&["/ip4/1.1.1.1/tcp/1", "/ip4/10.0.0.1/tcp/1"]));
        assert_eq!(external_addresses(&listeners[..1], &[], AddressPolicy { allow_private: true }), listeners[..1]);
    }
}
