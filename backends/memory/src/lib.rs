//! Transport between sessions of one process: all transports created from one registry share a
//! [`Hub`].
//!
//! Sessions behave like those of a WebRTC stack: they negotiate codecs, tracks and channels with
//! SDP, and connect only after descriptions and candidates were exchanged. Packets arrive at once
//! and in order, without timers and tasks, so it works under a paused clock. The [`Hub`] has hooks
//! for tests that cut paths silently and drop packets.

#![deny(missing_docs)]

mod hub;
mod outbox;
mod peer;
mod session;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use blink_api::macros::{async_trait, submit};
use blink_api::{
    Context, Entry, Error, HostCandidates, Plugin, Result, Session, SessionConfig, SessionEvents, Transport,
    TransportCapabilities,
};
use serde::{Deserialize, Serialize};

pub use hub::{Hub, TransportId};
use session::MemorySession;

submit! { Entry::<dyn Transport>::of::<Memory>() }

/// Name of the transport in configurations and errors.
const NAME: &str = "memory";

const CAPABILITIES: TransportCapabilities = TransportCapabilities {
    audio: true,
    video: true,
    data_channels: true,
    ice_restart: true,
    renegotiation: true,
    ..TransportCapabilities::NONE
};

/// Transport of a [`Hub`].
#[derive(Debug)]
pub struct MemoryTransport {
    hub: Hub,
    id: TransportId,
}

impl MemoryTransport {
    /// Creates a transport, whose sessions can connect to those of all others of the hub.
    pub fn new(hub: &Hub) -> Self {
        Self { hub: hub.clone(), id: hub.join() }
    }

    /// Id of the transport for [`Hub::cut`] and the other hooks.
    pub fn id(&self) -> TransportId {
        self.id
    }
}

#[async_trait]
impl Transport for MemoryTransport {
    fn capabilities(&self) -> TransportCapabilities {
        CAPABILITIES
    }

    /// Opens a session. Servers and interfaces are ignored. `ice.relay_only` and hidden host
    /// candidates are refused, because addresses cannot be hidden here.
    async fn open(&self, config: SessionConfig) -> Result<(Box<dyn Session>, SessionEvents)> {
        if config.ice.relay_only {
            return Err(Error::unsupported(NAME, "open").with("key", "ice.relay_only"));
        }
        if config.ice.host_candidates != HostCandidates::Address {
            return Err(Error::unsupported(NAME, "open").with("key", "ice.host_candidates"));
        }
        let (number, events) = self.hub.open(self.id, config);
        Ok((Box::new(MemorySession::new(self.hub.clone(), number)), events))
    }
}

/// Configuration `[transports.memory]`, which has no keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryConfig {}

struct Memory;

#[async_trait]
impl Plugin<dyn Transport> for Memory {
    type Config = MemoryConfig;
    const NAME: &'static str = NAME;
    const SUMMARY: &'static str = "sessions of one process, without a network";
    const CAPABILITIES: TransportCapabilities = CAPABILITIES;

    async fn create(_: MemoryConfig, context: &Context) -> Result<Arc<dyn Transport>> {
        Ok(Arc::new(MemoryTransport::new(&context.shared.of::<Hub>())))
    }
}
