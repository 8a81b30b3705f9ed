//! Configuration of a node.

use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;

use blink_api::{ErrorKind, Result};
use blink_signaling_kit::admission::check_connections;
use blink_signaling_libp2p::addresses;
use libp2p::Multiaddr;

use crate::{AddressPolicy, Host, TurnConfig, error};

/// Multiaddresses that a node listens on by default, on IPv4 and on IPv6.
const IPV4: [&str; 3] = ["/ip4/0.0.0.0/tcp/4001", "/ip4/0.0.0.0/udp/4001/quic-v1", "/ip4/0.0.0.0/tcp/4002/ws"];
const IPV6: [&str; 3] = ["/ip6/::/tcp/4001", "/ip6/::/udp/4001/quic-v1", "/ip6/::/tcp/4002/ws"];

/// Configuration of a node.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Directory of the node's key; created if missing, readable by its owner only.
    pub state: PathBuf,
    /// Multiaddresses to listen on: TCP, QUIC and WebSocket. Port 0 takes any free one.
    pub listen: Vec<String>,
    /// Addresses or names under which others reach the machine. Empty: the public addresses of its
    /// interfaces.
    pub external: Vec<Host>,
    /// Multiaddresses of other nodes of the same DHT.
    pub bootstrap: Vec<String>,
    /// Serves private networks: relays to, dials and advertises their addresses.
    pub allow_private: bool,
    /// STUN and TURN server; `None` for none.
    pub turn: Option<TurnConfig>,
    /// Address of the HTTP endpoint with metrics; `None` for none.
    pub metrics: Option<SocketAddr>,
    /// Limit of connections in both directions, 16 to 65,536.
    pub max_connections: usize,
}

impl NodeConfig {
    /// Creates the configuration with default values: ports 4001, 4002 and 3478 of all addresses,
    /// also of IPv6 where the machine has it.
    pub fn new(state: PathBuf) -> Self {
        Self {
            state,
            listen: IPV4.into_iter().chain(IPV6.into_iter().filter(|_| has_ipv6())).map(str::to_owned).collect(),
            external: Vec::new(),
            bootstrap: Vec::new(),
            allow_private: false,
            turn: Some(TurnConfig::default()),
            metrics: None,
            max_connections: 4096,
        }
    }

    pub(crate) fn policy(&self) -> AddressPolicy {
        AddressPolicy { allow_private: self.allow_private }
    }

    pub(crate) fn listen_addresses(&self) -> Result<Vec<Multiaddr>> {
        self.listen.iter().map(|address| addresses::parse_listen(address)).collect()
    }

    pub(crate) fn bootstrap_addresses(&self) -> Result<Vec<Multiaddr>> {
        self.bootstrap.iter().map(|address| addresses::parse_dial(address)).collect()
    }

    /// Checks all values without opening anything.
    ///
    /// # Errors
    /// [`Invalid`](blink_api::ErrorKind::Invalid), with the value and the accepted ones.
    pub fn check(&self) -> Result<()> {
        self.listen_addresses()?;
        self.bootstrap_addresses()?;
        if self.turn.as_ref().is_some_and(|turn| turn.ports.is_empty() || *turn.ports.start() == 0) {
            let message = "expected a range of ports from 1 to 65535, the lower one first";
            return Err(error(ErrorKind::Invalid, "check", message));
        }
        check_connections(self.max_connections)
    }
}

/// Returns whether the machine has IPv6; containers often lack it.
pub(crate) fn has_ipv6() -> bool {
    UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok()
}
