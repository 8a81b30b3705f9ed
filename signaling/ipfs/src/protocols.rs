//! The protocols that signaling brings into the node: gossipsub, pings, admission, identify, and
//! mDNS where wanted.

use blink_signaling_kit::liveness::PING_INTERVAL;
use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{identify, mdns, ping};

use crate::admission::Admission;
use crate::gossip::gossipsub;
use crate::prunes::PruneFilter;

#[derive(NetworkBehaviour)]
pub(crate) struct Parts {
    pub(crate) admission: Admission,
    pub(crate) gossipsub: PruneFilter,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    mdns: Toggle<mdns::tokio::Behaviour>,
}

impl Parts {
    /// # Errors
    /// What gossipsub has against its settings.
    pub(crate) fn new(key: &Keypair, mdns: bool, max_connections: usize) -> Result<Self, String> {
        Ok(Self {
            admission: Admission::new(max_connections),
            gossipsub: PruneFilter::new(gossipsub(key)?),
            // Nobody needs to hear from this node where else it listens: mDNS and addresses given
            // by people do that.
            identify: identify::Behaviour::new(
                identify::Config::new("/blink/1".to_owned(), key.public())
                    .with_agent_version(concat!("blink/", env!("CARGO_PKG_VERSION")).to_owned())
                    .with_hide_listen_addrs(true),
            ),
            ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_INTERVAL).with_timeout(PING_INTERVAL)),
            mdns: mdns.then(|| discovery(key)).flatten().into(),
        })
    }
}

/// A machine without multicast can still be reached by address.
fn discovery(key: &Keypair) -> Option<mdns::tokio::Behaviour> {
    mdns::tokio::Behaviour::new(mdns::Config::default(), key.public().to_peer_id())
        .inspect_err(|error| tracing::warn!(%error, "nodes on the local network are not looked for"))
        .ok()
}
