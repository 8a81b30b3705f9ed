//! Node with a public address: serves the DHT and relays circuits.
#![allow(dead_code, reason = "each test file uses a part")]

use std::time::Duration;

use blink_signaling_kit::discovery::{IDENTIFY_PROTOCOL, KAD_PROTOCOL};
use futures::StreamExt;
use libp2p::identity::Keypair;
use libp2p::kad::store::MemoryStore;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, StreamProtocol, SwarmBuilder, identify, kad, noise, ping, relay, tcp, yamux};
use tokio::task::AbortHandle;

#[derive(NetworkBehaviour)]
struct Behaviour {
    kad: kad::Behaviour<MemoryStore>,
    relay: relay::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

/// Limits of a [`DhtNode`].
pub(crate) struct DhtNodeConfig {
    /// Seed of its key: the same after a restart.
    pub(crate) seed: u8,
    /// Port; 0 for any.
    pub(crate) port: u16,
    pub(crate) circuit_duration: Duration,
    pub(crate) circuit_bytes: u64,
}

impl Default for DhtNodeConfig {
    fn default() -> Self {
        Self { seed: 7, port: 0, circuit_duration: Duration::from_secs(600), circuit_bytes: 1 << 20 }
    }
}

/// A running node; stopped when dropped.
pub(crate) struct DhtNode {
    pub(crate) address: String,
    pub(crate) port: u16,
    task: AbortHandle,
}

impl Drop for DhtNode {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl DhtNode {
    pub(crate) async fn start(config: DhtNodeConfig) -> Self {
        let key = Keypair::ed25519_from_bytes([config.seed; 32]).unwrap();
        let mut swarm = SwarmBuilder::with_existing_identity(key)
            .with_tokio()
            .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(|key| {
                let local = key.public().to_peer_id();
                let kad_config = kad::Config::new(StreamProtocol::new(KAD_PROTOCOL));
                let mut kad = kad::Behaviour::with_config(local, MemoryStore::new(local), kad_config);
                kad.set_mode(Some(kad::Mode::Server));
                let limits = relay::Config {
                    max_circuit_duration: config.circuit_duration,
                    max_circuit_bytes: config.circuit_bytes,
                    ..relay::Config::default()
                };
                Behaviour {
                    kad,
                    relay: relay::Behaviour::new(local, limits),
                    identify: identify::Behaviour::new(identify::Config::new(
                        IDENTIFY_PROTOCOL.to_owned(),
                        key.public(),
                    )),
                    ping: ping::Behaviour::default(),
                }
            })
            .unwrap()
            .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(3600)))
            .build();
        let listen: Multiaddr = format!("/ip4/127.0.0.1/tcp/{}", config.port).parse().unwrap();
        swarm.listen_on(listen).unwrap();
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address;
            }
        };
        // A relay announces its external addresses only.
        swarm.add_external_address(address.clone());
        let port = address.to_string().rsplit('/').next().unwrap().parse().unwrap();
        let address = format!("{address}/p2p/{}", swarm.local_peer_id());
        let task = tokio::spawn(async move { while swarm.next().await.is_some() {} }).abort_handle();
        Self { address, port, task }
    }
}
