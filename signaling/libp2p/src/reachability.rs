//! Behaviours by which nodes find and reach each other beyond the local network.

use std::time::Duration;

use blink_signaling_kit::discovery::KAD_PROTOCOL;
use libp2p::kad::store::MemoryStore;
use libp2p::{PeerId, StreamProtocol, kad};

/// Timeout of a search or an announcement.
const QUERY_TIMEOUT: Duration = Duration::from_secs(15);
/// Lifetime of this node's records on the nodes that serve them; they are announced anew before.
const RECORD_TTL: Duration = Duration::from_secs(3600);

pub(crate) type Kad = kad::Behaviour<MemoryStore>;

/// Creates a client of the DHT, which stores nothing for others.
pub(crate) fn kad_client(local: PeerId) -> Kad {
    let mut config = kad::Config::new(StreamProtocol::new(KAD_PROTOCOL));
    config
        .set_query_timeout(QUERY_TIMEOUT)
        .set_provider_record_ttl(Some(RECORD_TTL))
        // The task announces whenever addresses or nodes change.
        .set_provider_publication_interval(None)
        .set_publication_interval(None)
        .set_replication_interval(None);
    let mut kad = Kad::with_config(local, MemoryStore::new(local), config);
    // The automatic mode would serve others as soon as this node is reached through a relay.
    kad.set_mode(Some(kad::Mode::Client));
    kad
}
