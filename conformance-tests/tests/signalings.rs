//! The signaling suite, for every backend.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use blink_api::Signaling;
use blink_api::macros::async_trait;
use blink_conformance::signaling::Network;
use blink_conformance::signaling_tests;
use blink_signaling_libp2p::{Libp2pConfig, Libp2pSignaling};
use blink_signaling_memory::{Hub, MemorySignaling};

signaling_tests!(memory, MemoryNetwork::default());
signaling_tests!(libp2p_tcp, Libp2pNetwork::new("/ip4/127.0.0.1/tcp/", ""));
signaling_tests!(libp2p_quic, Libp2pNetwork::new("/ip4/127.0.0.1/udp/", "/quic-v1"));
signaling_tests!(libp2p_websocket, Libp2pNetwork::new("/ip4/127.0.0.1/tcp/", "/ws"));

#[derive(Default)]
struct MemoryNetwork(Hub);

#[async_trait]
impl Network for MemoryNetwork {
    async fn start(&self, _: &str) -> Arc<dyn Signaling> {
        Arc::new(MemorySignaling::new(&self.0))
    }
}

/// Nodes on the loopback interface with a key file each, so that a node can come back as itself.
struct Libp2pNetwork {
    before_port: &'static str,
    after_port: &'static str,
    keys: tempfile::TempDir,
    listening: Mutex<HashMap<String, String>>,
}

impl Libp2pNetwork {
    fn new(before_port: &'static str, after_port: &'static str) -> Self {
        let keys = tempfile::tempdir().expect("there is room for a key");
        Self { before_port, after_port, keys, listening: Mutex::default() }
    }
}

#[async_trait]
impl Network for Libp2pNetwork {
    async fn start(&self, name: &str) -> Arc<dyn Signaling> {
        let known = self.listening.lock().unwrap().get(name).cloned();
        let config = Libp2pConfig {
            listen: vec![known.unwrap_or_else(|| format!("{}0{}", self.before_port, self.after_port))],
            bootstrap: Vec::new(),
            mdns: false,
            node_key: Some(self.keys.path().join(name)),
        };
        let node = Libp2pSignaling::start(config).await.unwrap();
        let address = node.addresses().await.unwrap().swap_remove(0);
        let (listening, _) = address.split_once("/p2p/").expect("an address names its node");
        self.listening.lock().unwrap().insert(name.to_owned(), listening.to_owned());
        Arc::new(node)
    }
}
