//! Network behaviour of the node's swarm.

use std::time::Duration;

use blink_signaling_kit::liveness::PING_INTERVAL;
use libp2p::identity::Keypair;
use libp2p::kad::{self, BucketInserts, Mode, StoreInserts};
use libp2p::swarm::NetworkBehaviour;
use libp2p::{Multiaddr, StreamProtocol, autonat, identify, ping, relay};

use super::admission::Admission;
use super::dial_guard::DialGuard;
use super::providers::{Limits, ProviderStore, RECORD_TTL};
use super::relay_limits;
use crate::{AddressPolicy, DHT_PROTOCOL};

/// Interval at which a node of several looks for the others.
const BOOTSTRAP_INTERVAL: Duration = Duration::from_secs(300);

#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    pub(super) admission: Admission,
    dial_guard: DialGuard,
    pub(super) kad: kad::Behaviour<ProviderStore>,
    pub(super) relay: relay::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    autonat: autonat::v2::server::Behaviour,
}

impl Behaviour {
    pub(crate) fn new(key: &Keypair, policy: AddressPolicy, max_connections: usize, bootstrap: &[Multiaddr]) -> Self {
        let node = key.public().to_peer_id();
        Self {
            admission: Admission::new(max_connections),
            dial_guard: DialGuard::new(policy, bootstrap.to_vec()),
            kad: dht(node),
            relay: relay::Behaviour::new(node, relay_limits::config(max_connections)),
            identify: identify::Behaviour::new(
                identify::Config::new("/blink/1".to_owned(), key.public())
                    .with_agent_version(concat!("blink-node/", env!("CARGO_PKG_VERSION")).to_owned())
                    .with_hide_listen_addrs(true),
            ),
            ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_INTERVAL).with_timeout(PING_INTERVAL)),
            autonat: autonat::v2::server::Behaviour::default(),
        }
    }
}

fn dht(node: libp2p::PeerId) -> kad::Behaviour<ProviderStore> {
    let mut config = kad::Config::new(StreamProtocol::new(DHT_PROTOCOL));
    config
        // Records come as events, so that the sender's address can be counted.
        .set_record_filtering(StoreInserts::FilterBoth)
        .set_provider_record_ttl(Some(RECORD_TTL))
        .set_provider_publication_interval(None)
        .set_publication_interval(None)
        .set_replication_interval(None)
        .set_periodic_bootstrap_interval(Some(BOOTSTRAP_INTERVAL))
        .set_kbucket_inserts(BucketInserts::OnConnected);
    let mut kad = kad::Behaviour::with_config(node, ProviderStore::new(Limits::default()), config);
    kad.set_mode(Some(Mode::Server));
    kad
}
