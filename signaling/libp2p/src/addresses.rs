//! Supported multiaddresses, and the order of the node's own ones.

use std::io;
use std::net::{IpAddr, SocketAddr};

use blink_api::{Error, ErrorKind, Result};
use blink_signaling_kit::port_probe;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use crate::NAME;

const FORMS: &str = "expected a multiaddress like /ip4/192.0.2.1/tcp/4001, /ip4/192.0.2.1/udp/4001/quic-v1 or \
                     /ip4/192.0.2.1/tcp/4001/ws";

/// Parses an address to dial: an IP address or DNS name and a transport, optionally with
/// `/p2p/NODE`.
///
/// # Errors
/// [`Invalid`](ErrorKind::Invalid) with the accepted forms.
pub fn parse_dial(text: &str) -> Result<Multiaddr> {
    let address = parse(text)?;
    match transport(&address) {
        Some(_) => Ok(address),
        None => Err(invalid(text)),
    }
}

/// Parses an address to listen on: an IP address and a transport without TLS.
///
/// # Errors
/// [`Invalid`](ErrorKind::Invalid) with the accepted forms.
pub fn parse_listen(text: &str) -> Result<Multiaddr> {
    let address = parse(text)?;
    let is_dns = socket(&address).is_none();
    match transport(&address) {
        Some(transport) if !is_dns && transport != TransportKind::SecureWebSocket && peer(&address).is_none() => {
            Ok(address)
        }
        _ => Err(invalid(text)),
    }
}

/// Peer id at the end of an address.
pub fn peer(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

/// Checks that this process may listen on an address, without listening.
///
/// # Errors
/// The operating system's error.
pub(crate) fn probe(address: &Multiaddr) -> io::Result<()> {
    match (socket(address), address.iter().nth(1)) {
        (Some(socket), Some(Protocol::Tcp(_))) => port_probe::probe(port_probe::PortProtocol::Tcp, socket),
        (Some(socket), Some(Protocol::Udp(_))) => port_probe::probe(port_probe::PortProtocol::Udp, socket),
        _ => Ok(()),
    }
}

/// Returns whether an address uses QUIC.
pub(crate) fn is_quic(address: &Multiaddr) -> bool {
    address.iter().any(|protocol| protocol == Protocol::QuicV1)
}

/// The node's own addresses with its peer id, globally reachable ones first. QUIC addresses are
/// omitted while the system clock rules QUIC out.
pub(crate) fn own<'a>(listeners: impl Iterator<Item = &'a Multiaddr>, node: PeerId, allows_quic: bool) -> Vec<String> {
    let mut addresses: Vec<_> = listeners.filter(|address| allows_quic || !is_quic(address)).collect();
    addresses.sort_by_key(|address| reachability_rank(address));
    let full = |address: &Multiaddr| address.clone().with_p2p(node).unwrap_or_else(|other| other).to_string();
    addresses.into_iter().map(full).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TransportKind {
    Tcp,
    Quic,
    WebSocket,
    SecureWebSocket,
}

fn parse(text: &str) -> Result<Multiaddr> {
    text.parse().map_err(|error: libp2p::multiaddr::Error| invalid(text).source(error))
}

fn transport(address: &Multiaddr) -> Option<TransportKind> {
    let mut protocols: Vec<_> = address.iter().collect();
    if matches!(protocols.last(), Some(Protocol::P2p(_))) {
        protocols.pop();
    }
    let (host, transport) = protocols.split_first()?;
    if !matches!(host, Protocol::Ip4(_) | Protocol::Ip6(_) | Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)) {
        return None;
    }
    match transport {
        [Protocol::Tcp(_)] => Some(TransportKind::Tcp),
        [Protocol::Tcp(_), Protocol::Ws(_)] => Some(TransportKind::WebSocket),
        [Protocol::Tcp(_), Protocol::Wss(_)] | [Protocol::Tcp(_), Protocol::Tls, Protocol::Ws(_)] => {
            Some(TransportKind::SecureWebSocket)
        }
        [Protocol::Udp(_), Protocol::QuicV1] => Some(TransportKind::Quic),
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

/// Sort key by reachability: 0 for global addresses, 1 for private ones, 2 for loopback.
fn reachability_rank(address: &Multiaddr) -> u8 {
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
    fn every_transport_can_be_dialled() {
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
    fn unsupported_addresses_are_refused() {
        for address in ["", "example.org:4001", "/ip4/192.0.2.1", "/ip4/192.0.2.1/udp/4001", "/tcp/4001", "/memory/7"] {
            assert_eq!(parse_dial(address).unwrap_err().kind(), ErrorKind::Invalid, "{address}");
        }
    }

    #[test]
    fn listen_addresses_are_ip_addresses_without_tls_or_peer_id() {
        parse_listen("/ip4/0.0.0.0/tcp/0/ws").unwrap();
        for address in ["/dns4/example.org/tcp/1", "/ip4/0.0.0.0/tcp/443/wss"] {
            assert_eq!(parse_listen(address).unwrap_err().kind(), ErrorKind::Invalid, "{address}");
        }
        assert!(parse_listen(&format!("/ip4/0.0.0.0/tcp/0/p2p/{NODE}")).is_err());
    }

    #[test]
    fn own_addresses_are_sorted_by_reachability() {
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
