//! Transport of the Blink call engine inside one process: all transports made from one registry
//! meet in one [`Hub`].
//!
//! Sessions behave like those of a WebRTC stack: they negotiate codecs, tracks and channels through
//! SDP and connect only when descriptions and candidates have gone both ways. What is sent arrives
//! at once and in order, without timers and tasks, so that it works under a paused clock. For tests
//! there are hooks on the [`Hub`] to cut paths silently and to lose packets.

#![deny(missing_docs)]

mod hub;
mod negotiation;
mod outbox;
mod peer;
mod sdp;
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

/// The name this transport is chosen by and named with in errors.
const NAME: &str = "memory";

const CAPABILITIES: TransportCapabilities = TransportCapabilities {
    audio: true,
    video: true,
    data_channels: true,
    ice_restart: true,
    stun: false,
    relay: false,
    hidden_hosts: false,
    bandwidth_estimate: false,
    renegotiation: true,
    network: false,
};

/// A device's place in a [`Hub`].
pub struct MemoryTransport {
    hub: Hub,
    id: TransportId,
}

impl MemoryTransport {
    /// A new transport, whose sessions reach those of all others of the hub.
    pub fn new(hub: &Hub) -> Self {
        Self { hub: hub.clone(), id: hub.join() }
    }

    /// What [`Hub::cut`] and its like know it by.
    pub fn id(&self) -> TransportId {
        self.id
    }
}

#[async_trait]
impl Transport for MemoryTransport {
    fn capabilities(&self) -> TransportCapabilities {
        CAPABILITIES
    }

    /// Servers and interfaces mean nothing here and are ignored; candidates of other kinds than
    /// relayed ones cannot be kept secret, so that `ice.relay_only` is refused.
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

/// `[transports.memory]`: nothing to set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryConfig {}

struct Memory;

#[async_trait]
impl Plugin<dyn Transport> for Memory {
    type Config = MemoryConfig;
    const NAME: &'static str = NAME;
    const SUMMARY: &'static str = "connects sessions of one process, without a network";
    const CAPABILITIES: TransportCapabilities = CAPABILITIES;

    async fn create(_: MemoryConfig, context: &Context) -> Result<Arc<dyn Transport>> {
        Ok(Arc::new(MemoryTransport::new(&context.shared.of::<Hub>())))
    }
}
