//! Network behaviour of the swarm: gossipsub with peer scores, ping, admission, relays, hole
//! punching, and optionally mDNS, the DHT and UPnP.

use std::collections::HashSet;
use std::time::Duration;

use blink_api::{Error, ErrorKind, Result, Topic};
use blink_signaling_kit::admission::BAN_DURATION;
use blink_signaling_kit::discovery::IDENTIFY_PROTOCOL;
use blink_signaling_kit::liveness::PING_INTERVAL;
use libp2p::gossipsub::{
    self, CallbackSubscriptionFilter, IdentTopic, IdentityTransform, MaxCountSubscriptionFilter, MessageAuthenticity,
    PeerScoreParams, PeerScoreThresholds, TopicHash, TopicScoreParams, ValidationMode,
};
use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{PeerId, autonat, dcutr, identify, mdns, ping, relay, upnp};

use crate::NAME;
use crate::admission::Admission;
use crate::config::{Discovery, Libp2pConfig};
use crate::reachability::{Kad, kad_client};

/// Time for which gossipsub accepts a verdict on a message: [`HISTORY`] heartbeats.
pub(crate) const VERDICT_WINDOW: Duration = HEARTBEAT.saturating_mul(HISTORY as u32);

const HEARTBEAT: Duration = Duration::from_millis(700);
const HISTORY: usize = 10;
/// Maximum RPC size. Must be the same on all nodes: a node that receives a larger one closes the
/// gossipsub stream until the next connection.
const MAX_TRANSMIT: usize = 64 * 1024;
/// Queue of messages per node; further ones are dropped.
const NODE_QUEUE: usize = 1024;
/// Limit of tracked topics per node.
const MAX_TOPICS: usize = 4096;
/// Gossipsub's default thresholds.
const THRESHOLDS: PeerScoreThresholds = PeerScoreThresholds {
    gossip_threshold: -10.0,
    publish_threshold: -50.0,
    graylist_threshold: -80.0,
    accept_px_threshold: 10.0,
    opportunistic_graft_threshold: 20.0,
};

#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    pub(crate) admission: Admission,
    pub(crate) gossipsub: Gossipsub,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    mdns: Toggle<mdns::tokio::Behaviour>,
    pub(crate) kad: Toggle<Kad>,
    relay: relay::client::Behaviour,
    dcutr: dcutr::Behaviour,
    autonat: autonat::v2::client::Behaviour,
    upnp: Toggle<upnp::tokio::Behaviour>,
}

pub(crate) type Gossipsub = gossipsub::Behaviour<IdentityTransform, TopicFilter>;
pub(crate) type TopicFilter = MaxCountSubscriptionFilter<CallbackSubscriptionFilter<fn(&TopicHash) -> bool>>;

impl Behaviour {
    pub(crate) fn new(key: &Keypair, config: &Libp2pConfig, relay: relay::client::Behaviour) -> Result<Self> {
        let local = key.public().to_peer_id();
        Ok(Self {
            admission: Admission::new(config.max_connections),
            gossipsub: gossipsub(key).map_err(|message| {
                Error::new(ErrorKind::Unexpected, "gossipsub rejects its configuration")
                    .backend(NAME)
                    .with("reason", message)
            })?,
            // Listen addresses stay private: nodes are found by mDNS, in the DHT and by addresses
            // that users exchange, and identify would disclose local ones to every node.
            identify: identify::Behaviour::new(
                identify::Config::new(IDENTIFY_PROTOCOL.to_owned(), key.public())
                    .with_agent_version(concat!("blink/", env!("CARGO_PKG_VERSION")).to_owned())
                    .with_hide_listen_addrs(true),
            ),
            ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_INTERVAL).with_timeout(PING_INTERVAL)),
            mdns: config.mdns.then(|| discovery(key)).flatten().into(),
            kad: (config.discovery == Discovery::Dht).then(|| kad_client(local)).into(),
            relay,
            dcutr: dcutr::Behaviour::new(local),
            autonat: autonat::v2::client::Behaviour::default(),
            upnp: config.upnp.then(upnp::tokio::Behaviour::default).into(),
        })
    }

    /// Subscribes to a topic and sets its score parameters, needed before the first verdict.
    pub(crate) fn subscribe(&mut self, topic: &Topic) -> Result<()> {
        let topic = ident(topic);
        let refused = |reason: String| {
            Error::new(ErrorKind::Unexpected, "gossipsub rejects the topic").backend(NAME).with("reason", reason)
        };
        self.gossipsub.set_topic_params(topic.clone(), topic_score()).map_err(|reason| refused(reason.to_owned()))?;
        self.gossipsub.subscribe(&topic).map_err(|error| refused(error.to_string()))?;
        Ok(())
    }

    /// Returns whether gossipsub ignores a node, so that its connections are useless.
    pub(crate) fn is_graylisted(&self, peer: &PeerId) -> bool {
        self.gossipsub.peer_score(peer).is_some_and(|score| score < THRESHOLDS.graylist_threshold)
    }
}

/// Gossipsub topic of a topic: its hex string, unhashed.
pub(crate) fn ident(topic: &Topic) -> IdentTopic {
    IdentTopic::new(topic.to_string())
}

fn gossipsub(key: &Keypair) -> std::result::Result<Gossipsub, String> {
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(ValidationMode::Strict)
        .validate_messages()
        .max_transmit_size(MAX_TRANSMIT)
        // Publish to every connected subscriber, whether in the mesh or not and regardless of a
        // backoff: the first message on a new topic must not wait for a heartbeat.
        .flood_publish(true)
        .heartbeat_initial_delay(HEARTBEAT)
        .heartbeat_interval(HEARTBEAT)
        .history_length(HISTORY)
        // A generous upper mesh size grafts everyone who asks, so that a node between the
        // participants of a call forwards messages at once instead of by gossip.
        .mesh_outbound_min(2)
        .mesh_n_low(5)
        .mesh_n(6)
        .mesh_n_high(20)
        .unsubscribe_backoff(Duration::from_secs(1))
        .connection_handler_queue_len(NODE_QUEUE)
        .build()
        .map_err(|error| error.to_string())?;
    let filter = MaxCountSubscriptionFilter {
        filter: CallbackSubscriptionFilter(is_topic as fn(&TopicHash) -> bool),
        max_subscribed_topics: MAX_TOPICS,
        max_subscriptions_per_request: MAX_TOPICS,
    };
    let authenticity = MessageAuthenticity::Signed(key.clone());
    let mut behaviour = Gossipsub::new_with_subscription_filter(authenticity, config, filter)?;
    behaviour.with_peer_score(node_score(), THRESHOLDS)?;
    Ok(behaviour)
}

fn is_topic(topic: &TopicHash) -> bool {
    Topic::from_hex(topic.as_str()).is_some()
}

/// Peer score that counts only invalid messages and broken promises. IP colocation is off, since
/// many users share a router's address; slow peers are not penalised either.
fn node_score() -> PeerScoreParams {
    PeerScoreParams {
        ip_colocation_factor_weight: 0.0,
        ip_colocation_factor_whitelist: HashSet::new(),
        behaviour_penalty_threshold: 6.0,
        slow_peer_weight: 0.0,
        // Scores do not decay while a node is disconnected. Retaining them for less than the ban
        // lets a banned node start over.
        retain_score: BAN_DURATION.saturating_sub(Duration::from_secs(5)),
        ..PeerScoreParams::default()
    }
}

/// Topic score that graylists a node after three rejected messages in a short time: 1.0 × -20 × 3²
/// is below the graylist threshold of -80. Decay takes 40 s for two thirds of the way back.
/// Positive scores are off, so that an abuser cannot accumulate credit.
fn topic_score() -> TopicScoreParams {
    TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.0,
        first_message_deliveries_weight: 0.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -20.0,
        invalid_message_deliveries_decay: 0.99,
        ..TopicScoreParams::default()
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
