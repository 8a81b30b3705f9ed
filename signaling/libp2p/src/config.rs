//! Configuration `[signalings.libp2p]`.

use std::path::PathBuf;

use blink_api::Result;
use blink_signaling_kit::admission::{DEFAULT_CONNECTIONS, check_connections};
use libp2p::Multiaddr;
use serde::{Deserialize, Serialize};

use crate::{NAME, addresses};

/// Configuration `[signalings.libp2p]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Libp2pConfig {
    /// Multiaddresses to listen on, such as `/ip4/0.0.0.0/tcp/4001`,
    /// `/ip4/0.0.0.0/udp/4001/quic-v1` and `/ip4/0.0.0.0/tcp/4002/ws`; port 0 takes any free one.
    /// Empty: only dial out.
    pub listen: Vec<String>,
    /// Multiaddresses of nodes to stay connected to. Those that serve the DHT are asked for others,
    /// and those that are relays are used as such.
    pub bootstrap: Vec<String>,
    /// How nodes are found beyond the local network.
    pub discovery: Discovery,
    /// Multiaddresses of further relays, each with its peer id, to stay connected to and to be
    /// reached through.
    pub relays: Vec<String>,
    /// Ask the local router to forward ports (UPnP).
    pub upnp: bool,
    /// Discover nodes on the local network by mDNS, and be discovered.
    pub mdns: bool,
    /// Limit of connections in both directions, 16 to 65,536; up to three quarters are inbound.
    pub max_connections: usize,
    /// File with the node's key, created on first start; if absent, a new key per start.
    #[serde(deserialize_with = "blink_api::optional_path")]
    pub node_key: Option<PathBuf>,
}

/// How nodes are found beyond the local network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Discovery {
    /// In the distributed hash table of the `bootstrap` nodes.
    Dht,
    /// Not at all: by addresses only.
    None,
}

impl Default for Libp2pConfig {
    fn default() -> Self {
        let listen = ["/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/udp/0/quic-v1", "/ip4/0.0.0.0/tcp/0/ws"];
        Self {
            listen: listen.map(str::to_owned).to_vec(),
            bootstrap: Vec::new(),
            discovery: Discovery::Dht,
            relays: Vec::new(),
            upnp: true,
            mdns: true,
            max_connections: DEFAULT_CONNECTIONS,
            node_key: None,
        }
    }
}

impl Libp2pConfig {
    pub(crate) fn check(&self) -> Result<()> {
        self.listen_addresses()?;
        self.bootstrap_addresses()?;
        self.relay_addresses()?;
        check_connections(self.max_connections)
            .map_err(|error| error.backend(NAME).with("key", "signalings.libp2p.max_connections"))
    }

    pub(crate) fn listen_addresses(&self) -> Result<Vec<Multiaddr>> {
        let parse = |address: &String| {
            addresses::parse_listen(address).map_err(|error| error.with("key", "signalings.libp2p.listen"))
        };
        self.listen.iter().map(parse).collect()
    }

    pub(crate) fn bootstrap_addresses(&self) -> Result<Vec<Multiaddr>> {
        let parse = |address: &String| {
            addresses::parse_dial(address).map_err(|error| error.with("key", "signalings.libp2p.bootstrap"))
        };
        self.bootstrap.iter().map(parse).collect()
    }

    pub(crate) fn relay_addresses(&self) -> Result<Vec<Multiaddr>> {
        let parse = |address: &String| {
            addresses::parse_relay(address).map_err(|error| error.with("key", "signalings.libp2p.relays"))
        };
        self.relays.iter().map(parse).collect()
    }
}

#[cfg(test)]
mod tests {
    use blink_api::ErrorKind;

    use super::*;

    #[test]
    fn the_defaults_pass_the_check() {
        Libp2pConfig::default().check().unwrap();
    }

    #[test]
    fn a_connection_limit_out_of_range_is_refused_with_the_key() {
        for max_connections in [0, 15, 65_537] {
            let refused = Libp2pConfig { max_connections, ..Libp2pConfig::default() }.check().unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Invalid);
            assert!(refused.to_string().contains("key=signalings.libp2p.max_connections"), "{refused}");
        }
    }

    #[test]
    fn an_invalid_address_is_refused_with_the_key_and_the_address() {
        let config = Libp2pConfig { listen: vec!["0.0.0.0:4001".to_owned()], ..Libp2pConfig::default() };
        let error = config.check().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("key=signalings.libp2p.listen"), "{error}");
        assert!(error.to_string().contains("address=0.0.0.0:4001"), "{error}");

        let config = Libp2pConfig { bootstrap: vec!["/ip4/1.2.3.4".to_owned()], ..Libp2pConfig::default() };
        assert!(config.check().unwrap_err().to_string().contains("key=signalings.libp2p.bootstrap"));
    }
}
