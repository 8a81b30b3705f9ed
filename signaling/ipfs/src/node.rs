//! The handle to the behaviour in the node's swarm.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use blink_api::macros::async_trait;
use blink_api::{
    DeliveryId, ErrorKind, Result, Signaling, SignalingCapabilities, SignalingEvent, Subscription, Topic, Verdict,
};
use blink_signaling_kit::clock;
use blink_signaling_kit::handle::Handle;
use bytes::Bytes;
use libp2p::Multiaddr;
use rust_ipfs::Ipfs;
use tokio::sync::{broadcast, oneshot, watch};
use tokio::time::timeout;

use crate::behaviour::Setting;
use crate::config::IpfsConfig;
use crate::ipfs::{self, Recipe};
use crate::{CAPABILITIES, MAX_MESSAGE, NAME, addresses, error, key};

/// How long an attempt to connect may take until its failure is told; rust-ipfs's own limit is
/// twice that.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// At the end, the time for the system to take its ports back.
const FREE: Duration = Duration::from_millis(300);
/// At the end, the time for the node's last tasks to let go of the repository.
const LET_GO: Duration = Duration::from_secs(2);
const PROBE_PAUSE: Duration = Duration::from_millis(10);

/// An IPFS node. Dropping it shuts it down in the background.
pub struct IpfsSignaling(Handle<Multiaddr>);

impl IpfsSignaling {
    /// Opens the repository and the listeners and begins to connect to the bootstrap nodes and
    /// relays. Needs a tokio runtime with time and network.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for an unusable value, [`Busy`](ErrorKind::Busy) for an
    /// occupied port, [`Io`](ErrorKind::Io).
    pub async fn start(config: IpfsConfig) -> Result<Self> {
        config.check()?;
        clock::check(NAME, SystemTime::now())?;
        let addresses = config.addresses()?;
        ipfs::probe(&addresses.listen)?;
        let key = key::load(config.node_key.as_deref())?;
        let (handle, inputs) = Handle::new(NAME, MAX_MESSAGE);
        let (left, leaving) = oneshot::channel();
        let setting = Setting {
            inputs,
            left,
            bootstrap: addresses.bootstrap,
            relays: addresses.relays,
            serves_relay: config.serve_relay,
        };
        let repository = config.repository.clone();
        let recipe = Recipe {
            key,
            mdns: config.mdns,
            max_connections: config.max_connections,
            repository: config.repository,
            setting,
        };
        let node = ipfs::start(recipe).await?;
        if let Err(error) = ipfs::listen(&node, &addresses.listen).await {
            exit(node, repository).await;
            return Err(error);
        }
        tokio::spawn(end(node, repository, leaving));
        Ok(Self(handle))
    }
}

/// Ends the node once its behaviour has left the network, and lets the handle know: a behaviour
/// cannot end the node that it is in.
async fn end(node: Ipfs, repository: Option<PathBuf>, leaving: oneshot::Receiver<watch::Sender<()>>) {
    let ended = leaving.await;
    // Where the swarm is gone already, so are its listeners.
    let listened = node.listening_addresses().await.unwrap_or_default();
    exit(node, repository).await;
    // QUIC keeps its socket for a while after the last connection closed.
    let freed = async {
        while listened.iter().any(|address| addresses::probe(address).is_err()) {
            tokio::time::sleep(PROBE_PAUSE).await;
        }
    };
    if timeout(FREE, freed).await.is_err() {
        tracing::debug!("a listener's port is still in use");
    }
    drop(ended);
}

/// Ends the node's tasks, and waits until the last of them let go of the repository.
async fn exit(node: Ipfs, repository: Option<PathBuf>) {
    node.exit_daemon().await;
    let Some(repository) = repository else { return };
    let free = async {
        while ipfs::is_in_use(&repository) {
            tokio::time::sleep(PROBE_PAUSE).await;
        }
    };
    if timeout(LET_GO, free).await.is_err() {
        tracing::warn!("the repository is still in use");
    }
}

#[async_trait]
impl Signaling for IpfsSignaling {
    fn capabilities(&self) -> SignalingCapabilities {
        CAPABILITIES
    }

    async fn subscribe(&self, topic: &Topic) -> Result<Subscription> {
        self.0.subscribe(topic).await
    }

    async fn publish(&self, topic: &Topic, message: Bytes) -> Result<()> {
        self.0.publish(topic, message).await
    }

    async fn subscribers(&self, topic: &Topic) -> Result<usize> {
        self.0.subscribers(topic).await
    }

    fn report(&self, delivery: DeliveryId, verdict: Verdict) {
        self.0.report(delivery, verdict);
    }

    /// Goes on dialling after a failure, except where the address can never work. The waits grow
    /// from half a second to eight.
    async fn connect(&self, address: &str) -> Result<()> {
        let address = addresses::parse_dial(address).map_err(|error| error.operation("connect"))?;
        let is_quic = addresses::is_quic(&address);
        let connected = timeout(CONNECT_TIMEOUT, self.0.connect(address)).await;
        let connected = connected.unwrap_or_else(|_| Err(error(ErrorKind::Timeout, "connect", "nobody answers")));
        connected.map_err(|error| clock::explain(error, is_quic, SystemTime::now()))
    }

    async fn addresses(&self) -> Result<Vec<String>> {
        self.0.addresses().await
    }

    fn events(&self) -> broadcast::Receiver<SignalingEvent> {
        self.0.events()
    }

    async fn shutdown(&self) {
        self.0.shutdown().await;
    }
}
