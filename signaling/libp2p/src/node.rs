//! Handle to the task that owns the swarm.

use std::time::SystemTime;

use blink_api::macros::async_trait;
use blink_api::{DeliveryId, Result, Signaling, SignalingCapabilities, SignalingEvent, Subscription, Topic, Verdict};
use blink_signaling_kit::clock;
use blink_signaling_kit::handle::Handle;
use bytes::Bytes;
use libp2p::{Multiaddr, relay};
use tokio::sync::broadcast;

use crate::behaviour::Behaviour;
use crate::config::Libp2pConfig;
use crate::task::Task;
use crate::{CAPABILITIES, MAX_MESSAGE, NAME, addresses, key, listen};

/// libp2p node with gossipsub. Dropping it shuts the node down in the background.
#[derive(Debug)]
pub struct Libp2pSignaling(Handle<Multiaddr>);

impl Libp2pSignaling {
    /// Opens the listeners and starts dialling the bootstrap nodes and relays. Needs a tokio
    /// runtime with time and IO enabled.
    ///
    /// # Errors
    /// [`Invalid`](blink_api::ErrorKind::Invalid) for an invalid value,
    /// [`Busy`](blink_api::ErrorKind::Busy) for an occupied port, [`Io`](blink_api::ErrorKind::Io).
    pub async fn start(config: Libp2pConfig) -> Result<Self> {
        config.check()?;
        clock::check(NAME, SystemTime::now())?;
        let configured = config.bootstrap_addresses()?.into_iter().chain(config.relay_addresses()?).collect();
        let key = key::load(config.node_key.as_deref())?;
        let (circuits, relay) = relay::client::new(key.public().to_peer_id());
        let behaviour = Behaviour::new(&key, &config, relay)?;
        let (swarm, early_events) =
            listen::open_with(&key, &config.listen_addresses()?, Some(circuits), behaviour).await?;
        let (handle, inputs) = Handle::new(NAME, MAX_MESSAGE);
        tokio::spawn(Task::new(swarm, inputs).run(configured, early_events));
        Ok(Self(handle))
    }
}

#[async_trait]
impl Signaling for Libp2pSignaling {
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
        self.0.connect(address).await.map_err(|error| clock::explain_dial_error(error, is_quic, SystemTime::now()))
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
