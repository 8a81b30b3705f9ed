//! Signaling backend over an IPFS node: TCP, QUIC and WebSocket, by address, by mDNS or through a
//! distributed hash table, directly or through a relay.
//!
//! rust-ipfs provides the swarm, transports, repository and relay client. Signaling is one
//! behaviour in that swarm, `behaviour::SignalingBehaviour`, which owns gossipsub, ping and
//! redialling and receives commands from [`IpfsSignaling`]. It interoperates with nodes of `libp2p`
//! signaling on the same topics.
//!
//! rust-ipfs's own gossipsub is not used: it forwards messages before they are validated, and its
//! subscriptions are queues of 50 that drop messages silently.

#![deny(missing_docs)]

// The libp2p version of rust-ipfs, under the crate name that `derive(NetworkBehaviour)` expects.
extern crate libp2p_of_ipfs as libp2p;

mod addresses;
mod admission;
mod behaviour;
mod config;
mod gossip;
mod ipfs;
mod key;
mod node;
mod protocols;
mod prune_filter;
mod resolve;

use std::sync::Arc;

use blink_api::macros::{async_trait, submit};
use blink_api::{Context, Entry, Error, ErrorKind, Plugin, Result, Signaling, SignalingCapabilities};

pub use config::{Discovery, IpfsConfig};
pub use node::IpfsSignaling;

submit! { Entry::<dyn Signaling>::of::<Ipfs>() }

const NAME: &str = "ipfs";
const MAX_MESSAGE: usize = 16 * 1024;
const CAPABILITIES: SignalingCapabilities = SignalingCapabilities {
    max_message: MAX_MESSAGE,
    origins: true,
    verdicts: true,
    local_discovery: true,
    network: true,
    forwarding: true,
    rendezvous: true,
};

/// Registers [`IpfsSignaling`] under the name `ipfs`.
#[derive(Debug)]
pub struct Ipfs;

#[async_trait]
impl Plugin<dyn Signaling> for Ipfs {
    type Config = IpfsConfig;
    const NAME: &'static str = NAME;
    const SUMMARY: &'static str =
        "gossipsub of an IPFS node over TCP, QUIC, WebSocket and relays, with discovery by mDNS and in a DHT";
    const CAPABILITIES: SignalingCapabilities = CAPABILITIES;

    fn check(config: &IpfsConfig) -> Result<()> {
        config.check()
    }

    async fn create(config: IpfsConfig, _: &Context) -> Result<Arc<dyn Signaling>> {
        Ok(Arc::new(IpfsSignaling::start(config).await?))
    }
}

fn error(kind: ErrorKind, operation: &'static str, message: &'static str) -> Error {
    Error::new(kind, message).backend(NAME).operation(operation)
}
