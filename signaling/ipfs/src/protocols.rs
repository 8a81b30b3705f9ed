//! Protocols of the signaling behaviour: gossipsub, ping, admission, identify, and optionally mDNS.

use blink_signaling_kit::liveness::PING_INTERVAL;
use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{identify, mdns, ping};

use crate::admission::Admission;
use crate::gossip::gossipsub;
use crate::prune_filter::PruneFilter;

/// Protocols of the signaling behaviour.
#[derive(NetworkBehaviour)]
pub(crate) struct Protocols {
    pub(crate) admission: Admission,
    pub(crate) gossipsub: PruneFilter,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    mdns: Toggle<mdns::tokio::Behaviour>,
}

impl Protocols {
    /// Creates the protocols.
    ///
    /// # Errors
    /// Gossipsub's complaint about its configuration.
    pub(crate) fn new(key: &Keypair, mdns: bool, max_connections: usize) -> Result<Self, String> {
        Ok(Self {
            admission: Admission::new(max_connections),
            gossipsub: PruneFilter::new(gossipsub(key)?),
            // Listen addresses stay private: nodes are found by mDNS and by addresses that users
            // exchange, and identify would disclose local ones to every node.
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

/// Creates the mDNS behaviour; `None` without multicast, since dialling by address still works.
fn discovery(key: &Keypair) -> Option<mdns::tokio::Behaviour> {
    mdns::tokio::Behaviour::new(mdns::Config::default(), key.public().to_peer_id())
        .inspect_err(
            |error| tracing::warn!(%error, "mDNS is not available: nodes on the local network are not discovered"),
        )
        .ok()
}
