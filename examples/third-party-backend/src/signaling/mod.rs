//! Signaling over TCP. Every node listens, and dials the addresses that it is told.
//!
//! Two connected nodes tell each other the topics that they are subscribed to, and send messages on
//! those. Nothing is forwarded: nodes reach each other only if they are connected.

mod connection;
mod node;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use blink_api::macros::{async_trait, submit};
use blink_api::{Context, Entry, Error, ErrorKind, Plugin, Result, Signaling, SignalingCapabilities};
use serde::{Deserialize, Serialize};

pub use node::TcpSignaling;

submit! { Entry::<dyn Signaling>::of::<Tcp>() }

const NAME: &str = "tcp";
const CAPABILITIES: SignalingCapabilities =
    SignalingCapabilities { origins: true, network: true, ..SignalingCapabilities::NONE };

/// Configuration `[signalings.tcp]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TcpConfig {
    /// Address to listen at; with port 0 the system chooses one.
    pub listen: SocketAddr,
}

impl Default for TcpConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 0)) }
    }
}

struct Tcp;

#[async_trait]
impl Plugin<dyn Signaling> for Tcp {
    type Config = TcpConfig;
    const NAME: &'static str = NAME;
    const SUMMARY: &'static str = "TCP connections between nodes that know each other's address";
    const CAPABILITIES: SignalingCapabilities = CAPABILITIES;

    async fn create(config: TcpConfig, _: &Context) -> Result<Arc<dyn Signaling>> {
        Ok(Arc::new(TcpSignaling::start(config).await?))
    }
}

fn failed(operation: &'static str, kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(kind, message).backend(NAME).operation(operation)
}
