//! A transport over UDP with a handshake and an encryption of its own.
//!
//! | concern | here |
//! |---|---|
//! | offers, answers, tracks, codecs | `blink_transport_kit::negotiation` |
//! | addresses of this device, and those a peer may name | `blink_transport_kit::{addresses, remote_candidate_filter}` |
//! | identity | an X25519 key per session; its SHA-256 hash is the fingerprint in descriptions |
//! | path | `Hello` datagrams between the candidates, each with the public key |
//! | encryption | AES-256-GCM under a key that both derive from their key agreement |
//! | messages | numbered, acknowledged and repeated |
//!
//! Both sides must use this transport; WebRTC stacks do not understand it.

mod datagram;
mod path;
mod reliable;
mod session;
mod state;

use std::sync::Arc;

use blink_api::macros::{async_trait, submit};
use blink_api::{
    Context, Entry, Error, HostCandidates, Plugin, Result, Session, SessionConfig, SessionEvents, Transport,
    TransportCapabilities,
};
use blink_transport_kit::addresses::AddressSelector;
use serde::{Deserialize, Serialize};

use session::UdpSession;

submit! { Entry::<dyn Transport>::of::<SealedUdp>() }

const NAME: &str = "sealed-udp";
const CAPABILITIES: TransportCapabilities = TransportCapabilities {
    audio: true,
    video: true,
    data_channels: true,
    ice_restart: true,
    renegotiation: true,
    network: true,
    encryption: true,
    ..TransportCapabilities::NONE
};

/// The transport.
#[derive(Debug, Default)]
pub struct UdpTransport {
    addresses: AddressSelector,
}

#[async_trait]
impl Transport for UdpTransport {
    fn capabilities(&self) -> TransportCapabilities {
        CAPABILITIES
    }

    async fn open(&self, config: SessionConfig) -> Result<(Box<dyn Session>, SessionEvents)> {
        if config.ice.relay_only {
            return Err(Error::unsupported(NAME, "open").with("key", "ice.relay_only"));
        }
        if config.ice.host_candidates != HostCandidates::Address {
            return Err(Error::unsupported(NAME, "open").with("key", "ice.host_candidates"));
        }
        let addresses = self.addresses.usable(&config.ice.interfaces).map_err(|error| error.backend(NAME))?;
        let (session, events) = UdpSession::open(config, &addresses).await.map_err(|error| error.backend(NAME))?;
        Ok((Box::new(session), events))
    }
}

/// Configuration `[transports.sealed-udp]`, which has no keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UdpConfig {}

struct SealedUdp;

#[async_trait]
impl Plugin<dyn Transport> for SealedUdp {
    type Config = UdpConfig;
    const NAME: &'static str = NAME;
    const SUMMARY: &'static str = "encrypted datagrams between two sockets, for its own kind only";
    const CAPABILITIES: TransportCapabilities = CAPABILITIES;

    async fn create(_: UdpConfig, _: &Context) -> Result<Arc<dyn Transport>> {
        Ok(Arc::new(UdpTransport::default()))
    }
}
