//! Signaling backend over libp2p gossipsub: TCP, QUIC and WebSocket, by address, by mDNS or through
//! a distributed hash table, directly, through routers (UPnP, hole punching) or through relays.
//!
//! One task owns the swarm; [`Libp2pSignaling`] is the handle that sends it commands. Every message
//! is signed by its node and validated before it is forwarded: the verdicts that the engine passes
//! to [`Signaling::report`] decide whether a message is forwarded and adjust the score of the node
//! that sent it. The node's key is independent of the identities in calls.
//!
//! libp2p uses tokio's timers, and so does this crate.

#![deny(missing_docs)]

pub mod addresses;
mod admission;
mod behaviour;
mod config;
pub mod key;
pub mod listen;
mod node;
mod reachability;
mod task;
mod transport;

use std::sync::Arc;

use blink_api::macros::{async_trait, submit};
use blink_api::{Context, Entry, Error, ErrorKind, Plugin, Result, Signaling, SignalingCapabilities};

pub use config::{Discovery, Libp2pConfig};
pub use node::Libp2pSignaling;

submit! { Entry::<dyn Signaling>::of::<Libp2p>() }

const NAME: &str = "libp2p";
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

/// Registers [`Libp2pSignaling`] under the name `libp2p`.
#[derive(Debug)]
pub struct Libp2p;

#[async_trait]
impl Plugin<dyn Signaling> for Libp2p {
    type Config = Libp2pConfig;
    const NAME: &'static str = NAME;
    const SUMMARY: &'static str =
        "libp2p gossipsub over TCP, QUIC, WebSocket and relays, with discovery by mDNS and in a DHT";
    const CAPABILITIES: SignalingCapabilities = CAPABILITIES;

    fn check(config: &Libp2pConfig) -> Result<()> {
        config.check()
    }

    async fn create(config: Libp2pConfig, _: &Context) -> Result<Arc<dyn Signaling>> {
        Ok(Arc::new(Libp2pSignaling::start(config).await?))
    }
}

fn error(kind: ErrorKind, operation: &'static str, message: &'static str) -> Error {
    Error::new(kind, message).backend(NAME).operation(operation)
}
