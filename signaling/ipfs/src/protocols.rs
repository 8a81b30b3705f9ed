//! Protocols of the signaling behaviour: gossipsub, ping, admission, identify, and optionally mDNS
//! and the DHT.

use std::time::Duration;

use blink_signaling_kit::discovery::{IDENTIFY_PROTOCOL, KAD_PROTOCOL};
use blink_signaling_kit::liveness::PING_INTERVAL;
use libp2p::identity::Keypair;
use libp2p::kad::store::MemoryStore;
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{PeerId, StreamProtocol, identify, kad, mdns, ping};

use crate::admission::Admission;
use crate::gossip::gossipsub;
use crate::prune_filter::PruneFilter;

/// Timeout of a search or an announcement.
const QUERY_TIMEOUT: Duration = Duration::from_secs(15);
/// Lifetime of this node's records on the nodes that serve them; they are announced anew before.
const RECORD_TTL: Duration = Duration::from_secs(3600);

/// Protocols of the signaling behaviour.
#[derive(NetworkBehaviour)]
pub(crate) struct Protocols {
    pub(crate) admission: Admission,
    pub(crate) gossipsub: PruneFilter,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    mdns: Toggle<mdns::tokio::Behaviour>,
    pub(crate) kad: Toggle<kad::Behaviour<MemoryStore>>,
}

impl Protocols {
    /// Creates the protocols.
    ///
    /// # Errors
    /// Gossipsub's complaint about its configuration.
    pub(crate) fn new(key: &Keypair, mdns: bool, dht: bool, max_connections: usize) -> Result<Self, String> {
        Ok(Self {
            admission: Admission::new(max_connections),
            gossipsub: PruneFilter::new(gossipsub(key)?),
            // Listen addresses stay private: nodes are found by mDNS, in the DHT and by addresses
            // that users exchange, and identify would disclose local ones to every node.
            identify: identify::Behaviour::new(
                identify::Config::new(IDENTIFY_PROTOCOL.to_owned(), key.public())
                    .with_agent_version(concat!("blink/", env!("CARGO_PKG_VERSION")).to_owned())
                    .with_hide_listen_addrs(true),
            ),
            ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_INTERVAL).with_timeout(PING_INTERVAL)),
            mdns: mdns.then(|| discovery(key)).flatten().into(),
            kad: dht.then(|| kad_client(key.public().to_peer_id())).into(),
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

/// Creates a client of the DHT, which stores nothing for others.
fn kad_client(local: PeerId) -> kad::Behaviour<MemoryStore> {
    let mut config = kad::Config::new(StreamProtocol::new(KAD_PROTOCOL));
    config
        .set_query_timeout(QUERY_TIMEOUT)
        .set_provider_record_ttl(Some(RECORD_TTL))
        // The behaviour announces whenever addresses or nodes change.
        .set_provider_publication_interval(None)
        .set_publication_interval(None)
        .set_replication_interval(None);
    let mut kad = kad::Behaviour::with_config(local, MemoryStore::new(local), config);
    // The automatic mode would serve others as soon as this node is reached through a relay.
    kad.set_mode(Some(kad::Mode::Client));
    kad
}
