//! Supported multiaddresses, and the order of the node's own ones.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr};

use blink_api::{Error, ErrorKind, Result};
use blink_signaling_kit::port_probe;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use crate::NAME;

const DIAL: &str = "expected a multiaddress like /ip4/192.0.2.1/tcp/4001, /ip4/192.0.2.1/udp/4001/quic-v1, \
                    /ip4/192.0.2.1/tcp/4001/ws, or one of those with /p2p/RELAY/p2p-circuit/p2p/NODE";
const LISTEN: &str = "expected a multiaddress like /ip4/0.0.0.0/tcp/4001, /ip4/0.0.0.0/udp/4001/quic-v1 or \
                      /ip4/0.0.0.0/tcp/4001/ws";
const RELAY: &str = "expected the multiaddress of a relay with its peer id, like /ip4/192.0.2.1/tcp/4001/p2p/NODE";

/// Parses an address to dial: an IP address or DNS name and a transport, optionally with
/// `/p2p/NODE` or with a relay's `/p2p/RELAY/p2p-circuit/p2p/NODE`.
pub(crate) fn parse_dial(text: &str) -> Result<Multiaddr> {
    let address = parse(text, DIAL)?;
    match Components::of(&address) {
        Some(Components { relayed: true, node: None, .. }) | None => Err(invalid(text, DIAL)),
        Some(_) => Ok(address),
    }
}

/// Parses an address to listen on: an IP address and a transport.
pub(crate) fn parse_listen(text: &str) -> Result<Multiaddr> {
    let address = parse(text, LISTEN)?;
    match Components::of(&address) {
        Some(Components { relayed: false, node: None }) if socket(&address).is_some() => Ok(address),
        _ => Err(invalid(text, LISTEN)),
    }
}

/// Parses a relay's address, which must contain its peer id.
pub(crate) fn parse_relay(text: &str) -> Result<Multiaddr> {
    let address = parse(text, RELAY)?;
    match Components::of(&address) {
        Some(Components { relayed: false, node: Some(_) }) => Ok(address),
        _ => Err(invalid(text, RELAY)),
    }
}

/// Peer id at the end of an address.
pub(crate) fn peer(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

/// Peer id of the relay in a circuit address.
pub(crate) fn relay(address: &Multiaddr) -> Option<PeerId> {
    let mut before = None;
    for protocol in address {
        match protocol {
            Protocol::P2pCircuit => return before,
            Protocol::P2p(peer) => before = Some(peer),
            _ => {}
        }
    }
    None
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

/// Returns whether an address goes through a relay.
pub(crate) fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|protocol| protocol == Protocol::P2pCircuit)
}

/// Returns whether an address uses QUIC.
pub(crate) fn is_quic(address: &Multiaddr) -> bool {
    address.iter().any(|protocol| protocol == Protocol::QuicV1)
}

/// The node's own addresses with its peer id, by who can use them: globally reachable ones first,
/// among them direct ones before relayed ones; then those of a private network; then loopback. QUIC
/// addresses are omitted while the system clock rules QUIC out.
pub(crate) fn own<'a>(known: impl Iterator<Item = &'a Multiaddr>, node: PeerId, allows_quic: bool) -> Vec<String> {
    let full = |address: &Multiaddr| address.clone().with_p2p(node).unwrap_or_else(|other| other);
    let mut addresses: Vec<_> = known.filter(|address| allows_quic || !is_quic(address)).map(full).collect();
    addresses.sort_by_key(|address| (reachability_rank(address), is_relayed(address)));
    let mut seen = HashSet::new();
    addresses.into_iter().map(|address| address.to_string()).filter(|text| seen.insert(text.clone())).collect()
}

/// Address without the peer id at its end.
pub(crate) fn without_peer(address: &Multiaddr) -> Multiaddr {
    let mut address = address.clone();
    if peer(&address).is_some() {
        address.pop();
    }
    address
}

/// Components of an address besides host and transport.
struct Components {
    relayed: bool,
    node: Option<PeerId>,
}

impl Components {
    /// Splits an address; `None` if this backend does not support it.
    fn of(address: &Multiaddr) -> Option<Self> {
        let protocols: Vec<_> = address.iter().collect();
        let (host, rest) = protocols.split_first()?;
        if !matches!(
            host,
            Protocol::Ip4(_) | Protocol::Ip6(_) | Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)
        ) {
            return None;
        }
        let rest = match rest {
            [Protocol::Tcp(_), Protocol::Ws(path), rest @ ..] if path == "/" => rest,
            [Protocol::Udp(_), Protocol::QuicV1, rest @ ..] | [Protocol::Tcp(_), rest @ ..] => rest,
            _ => return None,
        };
        match rest {
            [] => Some(Self { relayed: false, node: None }),
            [Protocol::P2p(node)] => Some(Self { relayed: false, node: Some(*node) }),
            [Protocol::P2p(_), Protocol::P2pCircuit] => Some(Self { relayed: true, node: None }),
            [Protocol::P2p(_), Protocol::P2pCircuit, Protocol::P2p(node)] => {
                Some(Self { relayed: true, node: Some(*node) })
            }
            _ => None,
        }
    }
}

fn parse(text: &str, forms: &'static str) -> Result<Multiaddr> {
    text.parse().map_err(|error: libp2p::multiaddr::Error| invalid(text, forms).source(error))
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

fn invalid(text: &str, forms: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, forms).backend(NAME).with("address", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
    const TRANSPORTS: [&str; 4] = [
        "/ip4/192.0.2.1/tcp/4001",
        "/ip6/2001:db8::1/udp/4001/quic-v1",
        "/dns4/example.org/tcp/80/ws",
        "/ip4/192.0.2.1/tcp/80/ws",
    ];

    #[test]
    fn every_transport_can_be_dialled_directly_and_through_a_relay() {
        for address in TRANSPORTS {
            parse_dial(address).unwrap();
            parse_dial(&format!("{address}/p2p/{NODE}")).unwrap();
            parse_relay(&format!("{address}/p2p/{NODE}")).unwrap();
            let relayed = parse_dial(&format!("{address}/p2p/{NODE}/p2p-circuit/p2p/{NODE}")).unwrap();
            assert!(is_relayed(&relayed) && peer(&relayed) == NODE.parse().ok());
        }
    }

    #[test]
    fn unsupported_addresses_are_refused() {
        for address in [
            "",
            "example.org:4001",
            "/ip4/192.0.2.1",
            "/ip4/192.0.2.1/udp/4001",
            "/tcp/4001",
            "/memory/7",
            "/dns4/example.org/tcp/443/wss",
            "/ip4/192.0.2.1/tcp/4001/p2p-circuit",
        ] {
            assert_eq!(parse_dial(address).unwrap_err().kind(), ErrorKind::Invalid, "{address}");
        }
        parse_dial(&format!("/ip4/192.0.2.1/tcp/1/p2p/{NODE}/p2p-circuit")).unwrap_err();
        parse_relay("/ip4/192.0.2.1/tcp/1").unwrap_err();
    }

    #[test]
    fn listen_addresses_are_ip_addresses_without_a_peer_id() {
        parse_listen("/ip4/0.0.0.0/tcp/0/ws").unwrap();
        for address in ["/dns4/example.org/tcp/1", "/ip4/0.0.0.0/tcp/443/wss"] {
            assert_eq!(parse_listen(address).unwrap_err().kind(), ErrorKind::Invalid, "{address}");
        }
        parse_listen(&format!("/ip4/0.0.0.0/tcp/0/p2p/{NODE}")).unwrap_err();
        parse_listen(&format!("/ip4/192.0.2.1/tcp/1/p2p/{NODE}/p2p-circuit")).unwrap_err();
    }

    #[test]
    fn own_addresses_are_sorted_by_reachability_with_direct_ones_first() {
        let circuit = format!("/ip4/203.0.113.1/tcp/1/p2p/{NODE}/p2p-circuit");
        let listeners: Vec<Multiaddr> =
            ["/ip4/127.0.0.1/tcp/1", "/ip4/192.168.1.5/tcp/1", &circuit, "/ip4/203.0.113.9/tcp/1"]
                .map(|a| a.parse().unwrap())
                .to_vec();
        let node = NODE.parse().unwrap();
        assert_eq!(
            own(listeners.iter(), node, true),
            ["/ip4/203.0.113.9/tcp/1", &circuit, "/ip4/192.168.1.5/tcp/1", "/ip4/127.0.0.1/tcp/1"]
                .map(|address| format!("{address}/p2p/{NODE}"))
        );
    }
}
