//! Configuration `[signalings.ipfs]`.

use std::path::PathBuf;

use blink_api::{Error, ErrorKind, Result};
use blink_signaling_kit::admission::{DEFAULT_CONNECTIONS, check_connections};
use libp2p::Multiaddr;
use serde::{Deserialize, Serialize};

use crate::{NAME, addresses};

/// Configuration `[signalings.ipfs]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IpfsConfig {
    /// Multiaddresses to listen on, such as `/ip4/0.0.0.0/tcp/4001`,
    /// `/ip4/0.0.0.0/udp/4001/quic-v1` and `/ip4/0.0.0.0/tcp/4002/ws`; port 0 takes any free one.
    /// Empty: only dial out.
    pub listen: Vec<String>,
    /// Multiaddresses of nodes to stay connected to. Those that serve the DHT are asked for others,
    /// and those that are relays are used as such.
    pub bootstrap: Vec<String>,
    /// How nodes are found beyond the local network.
    pub discovery: Discovery,
    /// Discover nodes on the local network by mDNS, and be discovered.
    pub mdns: bool,
    /// Multiaddresses of further relays, each with its peer id, to stay connected to and to be
    /// reached through.
    pub relays: Vec<String>,
    /// Act as a relay for other nodes.
    pub serve_relay: bool,
    /// Directory of the IPFS repository, created if missing; in memory if absent.
    #[serde(deserialize_with = "blink_api::optional_path")]
    pub repository: Option<PathBuf>,
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

/// Parsed addresses of a configuration.
pub(crate) struct Addresses {
    pub(crate) listen: Vec<Multiaddr>,
    pub(crate) bootstrap: Vec<Multiaddr>,
    pub(crate) relays: Vec<Multiaddr>,
}

impl Default for IpfsConfig {
    fn default() -> Self {
        let listen = ["/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/udp/0/quic-v1", "/ip4/0.0.0.0/tcp/0/ws"];
        Self {
            listen: listen.map(str::to_owned).to_vec(),
            bootstrap: Vec::new(),
            discovery: Discovery::Dht,
            mdns: true,
            relays: Vec::new(),
            serve_relay: false,
            repository: None,
            max_connections: DEFAULT_CONNECTIONS,
            node_key: None,
        }
    }
}

impl IpfsConfig {
    pub(crate) fn check(&self) -> Result<()> {
        self.addresses()?;
        let no_path = |key| Error::new(ErrorKind::Invalid, "the path is empty").backend(NAME).with("key", key);
        let is_empty = |path: &Option<PathBuf>| path.as_ref().is_some_and(|path| path.as_os_str().is_empty());
        if is_empty(&self.repository) {
            return Err(no_path("signalings.ipfs.repository"));
        }
        if is_empty(&self.node_key) {
            return Err(no_path("signalings.ipfs.node_key"));
        }
        if self.serve_relay && self.listen.is_empty() {
            let error = Error::new(ErrorKind::Invalid, "a relay needs an address to listen on").backend(NAME);
            return Err(error.with("key", "signalings.ipfs.serve_relay"));
        }
        check_connections(self.max_connections)
            .map_err(|error| error.backend(NAME).with("key", "signalings.ipfs.max_connections"))
    }

    pub(crate) fn addresses(&self) -> Result<Addresses> {
        Ok(Addresses {
            listen: all(&self.listen, "signalings.ipfs.listen", addresses::parse_listen)?,
            bootstrap: all(&self.bootstrap, "signalings.ipfs.bootstrap", addresses::parse_dial)?,
            relays: all(&self.relays, "signalings.ipfs.relays", addresses::parse_relay)?,
        })
    }
}

fn all(texts: &[String], key: &'static str, parse: fn(&str) -> Result<Multiaddr>) -> Result<Vec<Multiaddr>> {
    texts.iter().map(|text| parse(text).map_err(|error| error.with("key", key))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

    fn refusal(config: &IpfsConfig) -> String {
        let error = config.check().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        error.to_string()
    }

    #[test]
    fn the_defaults_pass_the_check() {
        IpfsConfig::default().check().unwrap();
        let relays = vec![format!("/dns4/example.org/tcp/4001/p2p/{NODE}")];
        IpfsConfig { relays, serve_relay: true, ..IpfsConfig::default() }.check().unwrap();
    }

    #[test]
    fn an_invalid_value_is_refused_with_its_key() {
        let of = |text: &str| vec![text.to_owned()];
        let default = IpfsConfig::default;
        let refused = refusal(&IpfsConfig { listen: of("0.0.0.0:4001"), ..default() });
        assert!(refused.contains("key=signalings.ipfs.listen"), "{refused}");
        assert!(refused.contains("address=0.0.0.0:4001"), "{refused}");
        for (config, key) in [
            (IpfsConfig { bootstrap: of("/ip4/1.2.3.4"), ..default() }, "bootstrap"),
            (IpfsConfig { relays: of("/ip4/1.2.3.4/tcp/1"), ..default() }, "relays"),
            (IpfsConfig { serve_relay: true, listen: Vec::new(), ..default() }, "serve_relay"),
            (IpfsConfig { repository: Some(PathBuf::new()), ..default() }, "repository"),
            (IpfsConfig { max_connections: 15, ..default() }, "max_connections"),
            (IpfsConfig { node_key: Some(PathBuf::new()), ..default() }, "node_key"),
        ] {
            let refused = refusal(&config);
            assert!(refused.contains(&format!("key=signalings.ipfs.{key}")), "{refused}");
        }
    }
}
