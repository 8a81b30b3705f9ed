//! Which multiaddresses this backend can use, and in which order it shows its own.

use std::io;
use std::net::{IpAddr, SocketAddr};

use blink_api::{Error, ErrorKind, Result};
use blink_signaling_kit::listening;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use crate::NAME;

const FORMS: &str = "expected a multiaddress like /ip4/192.0.2.1/tcp/4001, /ip4/192.0.2.1/udp/4001/quic-v1 or \
                     /ip4/192.0.2.1/tcp/4001/ws";

/// Reads an address to dial: an IP address or name, a carrier, and perhaps `/p2p/NODE`.
pub(crate) fn parse_dial(text: &str) -> Result<Multiaddr> {
    let address = parse(text)?;
    match carrier(&address) {
        Some(_) => Ok(address),
        None => Err(invalid(text)),
    }
}

/// Reads an address to listen on: an IP address and a carrier without a certificate.
pub(crate) fn parse_listen(text: &str) -> Result<Multiaddr> {
    let address = parse(text)?;
    let named = socket(&address).is_none();
    match carrier(&address) {
        Some(carrier) if !named && carrier != Carrier::SecureWebSocket && peer(&address).is_none() => Ok(address),
        _ => Err(invalid(text)),
    }
}

/// The node an address names.
pub(crate) fn peer(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

/// Finds out whether this machine lets one listen on an address, without listening.
///
/// # Errors
/// What the system says against it.
pub(crate) fn probe(address: &Multiaddr) -> io::Result<()> {
    match (socket(address), address.iter().nth(1)) {
        (Some(socket), Some(Protocol::Tcp(_))) => listening::probe(listening::Carrier::Tcp, socket),
        (Some(socket), Some(Protocol::Udp(_))) => listening::probe(listening::Carrier::Udp, socket),
        _ => Ok(()),
    }
}

/// Whether an address is one of QUIC.
pub(crate) fn is_quic(address: &Multiaddr) -> bool {
    address.iter().any(|protocol| protocol == Protocol::QuicV1)
}

/// A node's own addresses with its name added, those that reach further first. Those of QUIC only
/// where they can be reached: not while the clock is too wrong for it.
pub(crate) fn own<'a>(listeners: impl Iterator<Item = &'a Multiaddr>, node: PeerId, allows_quic: bool) -> Vec<String> {
    let mut addresses: Vec<_> = listeners.filter(|address| allows_quic || !is_quic(address)).collect();
    addresses.sort_by_key(|address| redundancy_span(address));
    let full = |address: &Multiaddr| address.clone().with_p2p(node).unwrap_or_else(|other| other).to_string();
    addresses.into_iter().map(full).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carrier {
    Tcp,
    Quic,
    WebSocket,
    SecureWebSocket,
}

fn parse(text: &str) -> Result<Multiaddr> {
    text.parse().map_err(|error: libp2p::multiaddr::Error| invalid(text).source(error))
}

fn carrier(address: &Multiaddr) -> Option<Carrier> {
    let mut protocols: Vec<_> = address.iter().collect();
    if matches!(protocols.last(), Some(Protocol::P2p(_))) {
        protocols.pop();
    }
    let (host, carrier) = protocols.split_first()?;
    if !matches!(host, Protocol::Ip4(_) | Protocol::Ip6(_) | Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)) {
        return None;
    }
    match carrier {
        [Protocol::Tcp(_)] => Some(Carrier::Tcp),
        [Protocol::Tcp(_), Protocol::Ws(_)] => Some(Carrier::WebSocket),
        [Protocol::Tcp(_), Protocol::Wss(_)] | [Protocol::Tcp(_), Protocol::Tls, Protocol::Ws(_)] => {
            Some(Carrier::SecureWebSocket)
        }
        [Protocol::Udp(_), Protocol::QuicV1] => Some(Carrier::Quic),
        _ => None,
    }
}

fn socket(address: &Multiaddr) -> Option<SocketAddr> {
    let mut protocols = address.iter();
    let ip = match protocols.next()? {
        Protocol::Ip4(ip) => IpAddr::V4(ip),
        Protocol::Ip6(ip) => IpAddr::V6(ip),
        _ => return None,
    };
    match protocols.next()? {
        Protocol::Tcp(port) | Protocol::Udp(port) => Some(SocketAddr::new(ip, port)),
        _ => None,
    }
}

/// 0 for addresses that reach out of the machine's own network, 2 for those that stay in the
/// machine.
fn redundancy_span(address: &Multiaddr) -> u8 {
    match socket(address).map(|socket| socket.ip()) {
        Some(ip) if ip.is_loopback() => 2,
        Some(IpAddr::V4(ip)) if ip.is_private() || ip.is_link_local() => 1,
        Some(IpAddr::V6(ip)) if ip.is_unique_local() || ip.is_unicast_link_local() => 1,
        _ => 0,
    }
}

fn invalid(text: &str) -> Error {
    Error::new(ErrorKind::Invalid, FORMS).backend(NAME).with("address", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

    #[test]
    fn addresses_of_every_carrier_can_be_dialled() {
        for address in [
            "/ip4/192.0.2.1/tcp/4001",
            "/ip6/2001:db8::1/udp/4001/quic-v1",
            "/dns4/example.org/tcp/443/wss",
            "/dns/example.org/tcp/443/tls/ws",
            "/ip4/192.0.2.1/tcp/80/ws",
        ] {
            parse_dial(address).unwrap();
            parse_dial(&format!("{address}/p2p/{NODE}")).unwrap();
        }
    }

    #[test]
    fn addresses_without_a_known_carrier_or_host_are_refused() {
        for address in ["", "example.org:4001", "/ip4/192.0.2.1", "/ip4/192.0.2.1/udp/4001", "/tcp/4001", "/memory/7"] {
            assert_eq!(parse_dial(address).unwrap_err().kind(), ErrorKind::Invalid, "{address}");
        }
    }

    #[test]
    fn one_listens_on_ip_addresses_without_certificate_or_node_only() {
        parse_listen("/ip4/0.0.0.0/tcp/0/ws").unwrap();
        for address in ["/dns4/example.org/tcp/1", "/ip4/0.0.0.0/tcp/443/wss"] {
            assert_eq!(parse_listen(address).unwrap_err().kind(), ErrorKind::Invalid, "{address}");
        }
        assert!(parse_listen(&format!("/ip4/0.0.0.0/tcp/0/p2p/{NODE}")).is_err());
    }

    #[test]
    fn own_addresses_begin_with_those_that_reach_furthest() {
        let listeners: Vec<Multiaddr> = ["/ip4/127.0.0.1/tcp/1", "/ip4/192.168.1.5/tcp/1", "/ip4/203.0.113.9/tcp/1"]
            .map(|a| a.parse().unwrap())
            .to_vec();
        let node = NODE.parse().unwrap();
        assert_eq!(
            own(listeners.iter(), node, true),
            ["/ip4/203.0.113.9/tcp/1", "/ip4/192.168.1.5/tcp/1", "/ip4/127.0.0.1/tcp/1"]
                .map(|address| format!("{address}/p2p/{NODE}"))
        );
    }
}
