//! Transport that opens sessions.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::SystemTime;

use blink_api::macros::async_trait;
use blink_api::{
    Context, Error, ErrorKind, Plugin, Result, Session, SessionConfig, SessionEvents, Transport, TransportCapabilities,
};
use blink_transport_kit::addresses::AddressSelector;
use blink_transport_kit::check_budget::CheckBudgets;
use blink_transport_kit::{entropy, events};

use crate::config::Str0mConfig;
use crate::driver::{Driver, Network};
use crate::gather::Servers;
use crate::peer::Peer;
use crate::session::Str0mSession;
use crate::shared::Shared;
use crate::sockets::Sockets;
use crate::stack_time::StackTime;
use crate::{NAME, codecs};

const CAPABILITIES: TransportCapabilities = TransportCapabilities {
    audio: true,
    video: true,
    data_channels: true,
    ice_restart: true,
    stun: true,
    relay: true,
    hidden_hosts: true,
    bandwidth_estimate: true,
    renegotiation: true,
    network: true,
    encryption: true,
};

/// WebRTC transport on str0m.
#[derive(Debug, Clone, Default)]
pub struct Str0mTransport {
    config: Str0mConfig,
    checks: CheckBudgets,
    addresses: AddressSelector,
    stack_time: StackTime,
}

impl Str0mTransport {
    /// Creates a transport without a registry.
    ///
    /// # Errors
    /// [`Invalid`](blink_api::ErrorKind::Invalid) for values out of range, with the key.
    pub fn new(config: Str0mConfig) -> Result<Self> {
        config.check()?;
        entropy::seed();
        Ok(Self { config, stack_time: StackTime::at(SystemTime::now()), ..Self::default() })
    }
}

#[async_trait]
impl Plugin<dyn Transport> for Str0mTransport {
    type Config = Str0mConfig;
    const NAME: &'static str = NAME;
    const SUMMARY: &'static str = "WebRTC on str0m: sans-IO stack, lowest cost per packet";
    const CAPABILITIES: TransportCapabilities = CAPABILITIES;

    fn check(config: &Str0mConfig) -> Result<()> {
        config.check()
    }

    async fn create(config: Str0mConfig, _: &Context) -> Result<Arc<dyn Transport>> {
        Ok(Arc::new(Self::new(config)?))
    }
}

#[async_trait]
impl Transport for Str0mTransport {
    fn capabilities(&self) -> TransportCapabilities {
        CAPABILITIES
    }

    async fn open(&self, config: SessionConfig) -> Result<(Box<dyn Session>, SessionEvents)> {
        let named = |error: Error| error.backend(NAME).operation("open");
        let codecs = codecs::Codecs::new(&config).map_err(named)?;
        let servers = Servers::new(&config.ice).map_err(named)?;
        let addresses = self.addresses.usable(&config.ice.interfaces).map_err(named)?;
        let sockets = Sockets::bind(&addresses).map_err(named)?;
        let (events, reader) = events::channel();
        let shared = Arc::new(Shared::default());
        let make = || Peer::new(&self.config, &config, codecs, events, Arc::clone(&shared), self.stack_time);
        // A panic of the stack ends this session, but not the task that opens it.
        let peer = catch_unwind(AssertUnwindSafe(make))
            .map_err(|_| named(Error::new(ErrorKind::Unexpected, "str0m panicked")))?;
        let checks = self.checks.session(config.participant.map(|did| did.to_string()).as_deref());
        let network = Network { sockets, servers, addresses: self.addresses.clone(), checks };
        let driver = |found| Driver::new(peer, network, config.ice, found);
        let session = Str0mSession::start(driver, shared);
        Ok((Box::new(session), reader))
    }
}
