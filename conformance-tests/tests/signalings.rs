//! Conformance tests of every signaling backend.

#[path = "../../signaling/kit/tests/network/dht_node.rs"]
mod dht_node;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use blink_api::Signaling;
use blink_api::macros::async_trait;
use blink_conformance::signaling::Network;
use blink_conformance::signaling_tests;
use blink_signaling_ipfs::{IpfsConfig, IpfsSignaling};
use blink_signaling_libp2p::{Libp2pConfig, Libp2pSignaling};
use blink_signaling_memory::{Hub, MemorySignaling};
use dht_node::{DhtNode, DhtNodeConfig};
use tokio::sync::OnceCell;

signaling_tests!(memory, MemoryNetwork::default());
signaling_tests!(libp2p_tcp, NodeNetwork::new([Kind::Libp2p; 2], TCP));
signaling_tests!(libp2p_quic, NodeNetwork::new([Kind::Libp2p; 2], QUIC));
signaling_tests!(libp2p_websocket, NodeNetwork::new([Kind::Libp2p; 2], WEBSOCKET));
signaling_tests!(ipfs_tcp, NodeNetwork::new([Kind::Ipfs; 2], TCP));
signaling_tests!(ipfs_quic, NodeNetwork::new([Kind::Ipfs; 2], QUIC));
signaling_tests!(ipfs_websocket, NodeNetwork::new([Kind::Ipfs; 2], WEBSOCKET));
signaling_tests!(libp2p_with_ipfs_tcp, NodeNetwork::new([Kind::Libp2p, Kind::Ipfs], TCP));
signaling_tests!(ipfs_with_libp2p_tcp, NodeNetwork::new([Kind::Ipfs, Kind::Libp2p], TCP));
signaling_tests!(libp2p_with_ipfs_quic, NodeNetwork::new([Kind::Libp2p, Kind::Ipfs], QUIC));
signaling_tests!(ipfs_with_libp2p_quic, NodeNetwork::new([Kind::Ipfs, Kind::Libp2p], QUIC));
signaling_tests!(libp2p_with_ipfs_websocket, NodeNetwork::new([Kind::Libp2p, Kind::Ipfs], WEBSOCKET));
signaling_tests!(ipfs_with_libp2p_websocket, NodeNetwork::new([Kind::Ipfs, Kind::Libp2p], WEBSOCKET));

/// Parts of a listen address before and after the port.
type Carrier = [&'static str; 2];
const TCP: Carrier = ["/ip4/127.0.0.1/tcp/", ""];
const QUIC: Carrier = ["/ip4/127.0.0.1/udp/", "/quic-v1"];
const WEBSOCKET: Carrier = ["/ip4/127.0.0.1/tcp/", "/ws"];

#[derive(Default)]
struct MemoryNetwork(Hub);

#[async_trait]
impl Network for MemoryNetwork {
    async fn start(&self, _: &str) -> blink_api::Result<Arc<dyn Signaling>> {
        Ok(Arc::new(MemorySignaling::new(&self.0)))
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Libp2p,
    Ipfs,
}

/// Nodes on the loopback interface with a key file each, so that a node can restart with its
/// identity. Node `a` is of the first kind, the others are of the second.
struct NodeNetwork {
    kinds: [Kind; 2],
    carrier: Carrier,
    keys: tempfile::TempDir,
    audio_checks: Mutex<HashMap<String, String>>,
    /// Started for the first node that is to be found.
    dht: OnceCell<DhtNode>,
}

impl NodeNetwork {
    fn new(kinds: [Kind; 2], carrier: Carrier) -> Self {
        let keys = tempfile::tempdir().expect("there is room for a key");
        Self { kinds, carrier, keys, audio_checks: Mutex::default(), dht: OnceCell::new() }
    }
}

#[async_trait]
impl Network for NodeNetwork {
    async fn start(&self, name: &str) -> blink_api::Result<Arc<dyn Signaling>> {
        self.open(name, Vec::new()).await
    }

    async fn start_findable(&self, name: &str) -> blink_api::Result<Arc<dyn Signaling>> {
        let dht = self.dht.get_or_init(|| DhtNode::start(DhtNodeConfig::default())).await;
        self.open(name, vec![dht.address.clone()]).await
    }
}

impl NodeNetwork {
    async fn open(&self, name: &str, bootstrap: Vec<String>) -> blink_api::Result<Arc<dyn Signaling>> {
        let known = self.audio_checks.lock().unwrap().get(name).cloned();
        let [before, after] = self.carrier;
        let listen = vec![known.unwrap_or_else(|| format!("{before}0{after}"))];
        let node_key = Some(self.keys.path().join(name));
        let node: Arc<dyn Signaling> = match self.kinds[usize::from(name != "a")] {
            Kind::Libp2p => {
                let config = Libp2pConfig { listen, bootstrap, mdns: false, node_key, ..Libp2pConfig::default() };
                Arc::new(Libp2pSignaling::start(config).await?)
            }
            Kind::Ipfs => {
                let config = IpfsConfig { listen, bootstrap, mdns: false, node_key, ..IpfsConfig::default() };
                Arc::new(IpfsSignaling::start(config).await?)
            }
        };
        let addresses = node.addresses().await?;
        let address = addresses.iter().find(|it| !it.contains("p2p-circuit")).expect("the node listens");
        let (audio_checks, _) = address.split_once("/p2p/").expect("an address names its node");
        self.audio_checks.lock().unwrap().insert(name.to_owned(), audio_checks.to_owned());
        Ok(node)
    }
}
