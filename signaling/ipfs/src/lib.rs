//! Signaling of the Blink call engine over an IPFS node: TCP, QUIC and WebSocket, found by address,
//! through a relay or by mDNS.
//!
//! The node is rust-ipfs's: its swarm, transports, repository and relay client. What signaling does
//! is one behaviour in that swarm, `behaviour::Calls`, which owns gossipsub, pings and redialling,
//! and to which [`IpfsSignaling`] sends commands. It speaks with nodes of `libp2p` signaling on the
//! same topics.
//!
//! Gossipsub is not the one that rust-ipfs makes itself: that one passes messages on before anybody
//! judged them, and its listeners are queues of 50 from which messages vanish without a trace.

#![deny(missing_docs)]

// The version that rust-ipfs is built on, under the name that derived behaviours expect.
extern crate libp2p_of_ipfs as libp2p;

mod addresses;
mod admission;
mod behaviour;
mod config;
mod gossip;
mod ipfs;
mod key;
mod node;
mod parts;
mod prunes;
mod relays;
mod resolve;

use std::sync::Arc;

use blink_api::macros::{async_trait, submit};
use blink_api::{Context, Entry, Error, ErrorKind, Plugin, Result, Signaling, SignalingCapabilities};

pub use config::IpfsConfig;
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
};

/// Registers [`IpfsSignaling`] under the name `ipfs`.
pub struct Ipfs;

#[async_trait]
impl Plugin<dyn Signaling> for Ipfs {
    type Config = IpfsConfig;
    const NAME: &'static str = NAME;
    const SUMMARY: &'static str =
        "an IPFS node's gossipsub over TCP, QUIC, WebSocket and relays; finds nodes on the local network";
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
