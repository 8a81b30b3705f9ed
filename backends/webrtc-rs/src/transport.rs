//! Transport that opens sessions.

use std::sync::Arc;

use blink_api::macros::async_trait;
use blink_api::{
    Context, Error, Plugin, Result, Session, SessionConfig, SessionEvents, Transport, TransportCapabilities,
};
use blink_transport_kit::addresses::AddressSelector;
use blink_transport_kit::check_budget::CheckBudgets;
use blink_transport_kit::{entropy, events};

use crate::NAME;
use crate::config::WebRtcConfig;
use crate::session::WebRtcSession;

const CAPABILITIES: TransportCapabilities = TransportCapabilities {
    audio: true,
    video: true,
    data_channels: true,
    ice_restart: true,
    stun: true,
    relay: true,
    hidden_hosts: true,
    bandwidth_estimate: false,
    renegotiation: true,
    network: true,
    encryption: true,
};

/// WebRTC transport on webrtc-rs.
#[derive(Debug, Clone, Default)]
pub struct WebRtcTransport {
    config: WebRtcConfig,
    budgets: CheckBudgets,
    addresses: AddressSelector,
}

impl WebRtcTransport {
    /// Creates a transport without a registry.
    ///
    /// # Errors
    /// [`Invalid`](blink_api::ErrorKind::Invalid) for values out of range, with the key.
    pub fn new(config: WebRtcConfig) -> Result<Self> {
        config.check()?;
        entropy::seed();
        Ok(Self { config, ..Self::default() })
    }
}

#[async_trait]
impl Plugin<dyn Transport> for WebRtcTransport {
    type Config = WebRtcConfig;
    const NAME: &'static str = NAME;
    const SUMMARY: &'static str = "WebRTC on webrtc-rs: a complete stack with its own tasks";
    const CAPABILITIES: TransportCapabilities = CAPABILITIES;

    fn check(config: &WebRtcConfig) -> Result<()> {
        config.check()
    }

    async fn create(config: WebRtcConfig, _: &Context) -> Result<Arc<dyn Transport>> {
        Ok(Arc::new(Self::new(config)?))
    }
}

#[async_trait]
impl Transport for WebRtcTransport {
    fn capabilities(&self) -> TransportCapabilities {
        CAPABILITIES
    }

    async fn open(&self, config: SessionConfig) -> Result<(Box<dyn Session>, SessionEvents)> {
        let named = |error: Error| error.backend(NAME).operation("open");
        let addresses = self.addresses.usable(&config.ice.interfaces).map_err(named)?;
        let (events, reader) = events::channel();
        let participant = config.participant.map(|did| did.to_string());
        let budget = self.budgets.session(participant.as_deref());
        let session = WebRtcSession::open(&self.config, config, &addresses, budget, events).await.map_err(named)?;
        Ok((Box::new(session), reader))
    }
}
