//! Handle to the behaviour in the node's swarm.

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

use crate::behaviour::BehaviourOptions;
use crate::config::{Discovery, IpfsConfig};
use crate::ipfs::{self, NodeOptions};
use crate::{CAPABILITIES, MAX_MESSAGE, NAME, addresses, error, key};

/// Time until a failed `connect` is reported. rust-ipfs's own timeout is twice that.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time at shutdown for the operating system to free the ports.
const PORT_RELEASE_TIMEOUT: Duration = Duration::from_millis(300);
/// Time at shutdown for the node's last tasks to release the repository.
const REPOSITORY_RELEASE_TIMEOUT: Duration = Duration::from_secs(2);
const PROBE_INTERVAL: Duration = Duration::from_millis(10);

/// IPFS node with gossipsub. Dropping it shuts the node down in the background.
#[derive(Debug)]
pub struct IpfsSignaling(Handle<Multiaddr>);

impl IpfsSignaling {
    /// Opens the repository and the listeners and starts dialling the bootstrap nodes and relays.
    /// Needs a tokio runtime with time and IO enabled.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for an invalid value, [`Busy`](ErrorKind::Busy) for an
    /// occupied port, [`Io`](ErrorKind::Io).
    pub async fn start(config: IpfsConfig) -> Result<Self> {
        config.check()?;
        clock::check(NAME, SystemTime::now())?;
        let addresses = config.addresses()?;
        ipfs::probe(&addresses.listen)?;
        let key = key::load(config.node_key.as_deref())?;
        let (handle, inputs) = Handle::new(NAME, MAX_MESSAGE);
        let (left, leaving) = oneshot::channel();
        let behaviour_options = BehaviourOptions {
            inputs,
            left,
            bootstrap: addresses.bootstrap,
            relays: addresses.relays,
            serves_relay: config.serve_relay,
        };
        let repository = config.repository.clone();
        let options = NodeOptions {
            key,
            mdns: config.mdns,
            dht: config.discovery == Discovery::Dht,
            max_connections: config.max_connections,
            repository: config.repository,
            behaviour_options,
        };
        let node = ipfs::start(options).await?;
        if let Err(error) = ipfs::listen(&node, &addresses.listen).await {
            exit(node, repository).await;
            return Err(error);
        }
        tokio::spawn(end(node, repository, leaving));
        Ok(Self(handle))
    }
}

/// Stops the node after its behaviour left the network, then completes `shutdown`. A task of its
/// own, because a behaviour cannot stop the node it belongs to.
async fn end(node: Ipfs, repository: Option<PathBuf>, leaving: oneshot::Receiver<watch::Sender<()>>) {
    let ended = leaving.await;
    // If the swarm is gone already, so are its listeners.
    let listened = node.listening_addresses().await.unwrap_or_default();
    exit(node, repository).await;
    // QUIC keeps its socket open for a while after the last connection closed.
    let freed = async {
        while listened.iter().any(|address| addresses::probe(address).is_err()) {
            tokio::time::sleep(PROBE_INTERVAL).await;
        }
    };
    if timeout(PORT_RELEASE_TIMEOUT, freed).await.is_err() {
        tracing::debug!("a listener's port is still in use");
    }
    drop(ended);
}

/// Stops the node's tasks and waits until the last of them released the repository.
async fn exit(node: Ipfs, repository: Option<PathBuf>) {
    node.exit_daemon().await;
    let Some(repository) = repository else { return };
    let free = async {
        while ipfs::is_in_use(&repository) {
            tokio::time::sleep(PROBE_INTERVAL).await;
        }
    };
    if timeout(REPOSITORY_RELEASE_TIMEOUT, free).await.is_err() {
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

    /// Redials after a failure, except for an address that can never work. The backoff grows from
    /// 0.5 s to 8 s.
    async fn connect(&self, address: &str) -> Result<()> {
        let address = addresses::parse_dial(address).map_err(|error| error.operation("connect"))?;
        let is_quic = addresses::is_quic(&address);
        let connected = timeout(CONNECT_TIMEOUT, self.0.connect(address)).await;
        let connected =
            connected.unwrap_or_else(|_| Err(error(ErrorKind::Timeout, "connect", "the node does not answer")));
        connected.map_err(|error| clock::explain_dial_error(error, is_quic, SystemTime::now()))
    }

    async fn announce(&self, topic: &Topic) -> Result<()> {
        self.0.announce(topic).await
    }

    async fn find(&self, topic: &Topic) -> Result<()> {
        self.0.find(topic).await
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
