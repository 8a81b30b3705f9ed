//! What the swarm does: gossipsub with scores, pings, admission, and mDNS where wanted.

use std::collections::HashSet;
use std::time::Duration;

use blink_api::{Error, ErrorKind, Result, Topic};
use blink_signaling_kit::admission::KEPT_OUT;
use blink_signaling_kit::liveness::PING_INTERVAL;
use libp2p::gossipsub::{
    self, CallbackSubscriptionFilter, IdentTopic, IdentityTransform, MaxCountSubscriptionFilter, MessageAuthenticity,
    PeerScoreParams, PeerScoreThresholds, TopicHash, TopicScoreParams, ValidationMode,
};
use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{PeerId, identify, mdns, ping};

use crate::NAME;
use crate::admission::Admission;

/// Gossipsub remembers a message for verdicts this long: [`HISTORY`] heartbeats.
pub(crate) const VERDICT_WINDOW: Duration = HEARTBEAT.saturating_mul(HISTORY as u32);

const HEARTBEAT: Duration = Duration::from_millis(700);
const HISTORY: usize = 10;
/// The same at every node: one message above a node's limit ends its gossip until it is connected
/// anew.
const MAX_TRANSMIT: usize = 64 * 1024;
/// Messages that wait for one node, beyond which its messages are dropped.
const NODE_QUEUE: usize = 1024;
/// Topics of one node that are taken note of.
const MAX_TOPICS: usize = 4096;
/// Those of gossipsub by default.
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
}

pub(crate) type Gossipsub = gossipsub::Behaviour<IdentityTransform, TopicFilter>;
pub(crate) type TopicFilter = MaxCountSubscriptionFilter<CallbackSubscriptionFilter<fn(&TopicHash) -> bool>>;

impl Behaviour {
    pub(crate) fn new(key: &Keypair, mdns: bool, max_connections: usize) -> Result<Self> {
        Ok(Self {
            admission: Admission::new(max_connections),
            gossipsub: gossipsub(key).map_err(|message| {
                Error::new(ErrorKind::Unexpected, "gossipsub refuses its settings")
                    .backend(NAME)
                    .with("reason", message)
            })?,
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

    /// Subscribes with the score parameters every topic needs before its first message is judged.
    pub(crate) fn subscribe(&mut self, topic: &Topic) -> Result<()> {
        let topic = ident(topic);
        let refused = |reason: String| {
            Error::new(ErrorKind::Unexpected, "gossipsub refuses the topic").backend(NAME).with("reason", reason)
        };
        self.gossipsub.set_topic_params(topic.clone(), topic_score()).map_err(|reason| refused(reason.to_owned()))?;
        self.gossipsub.subscribe(&topic).map_err(|error| refused(error.to_string()))?;
        Ok(())
    }

    /// Whether nothing of a node is processed any more, so that its connections only cost.
    pub(crate) fn is_graylisted(&self, peer: &PeerId) -> bool {
        self.gossipsub.peer_score(peer).is_some_and(|score| score < THRESHOLDS.graylist_threshold)
    }
}

/// The topic as gossipsub knows it: the hex string itself.
pub(crate) fn ident(topic: &Topic) -> IdentTopic {
    IdentTopic::new(topic.to_string())
}

fn gossipsub(key: &Keypair) -> std::result::Result<Gossipsub, String> {
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(ValidationMode::Strict)
        .validate_messages()
        .max_transmit_size(MAX_TRANSMIT)
        // What this node publishes goes to every subscriber it is connected to, in the mesh or not,
        // backed off or not: the first message on a new topic must not wait for a heartbeat.
        .flood_publish(true)
        .heartbeat_initial_delay(HEARTBEAT)
        .heartbeat_interval(HEARTBEAT)
        .history_length(HISTORY)
        // Who wants to be in a mesh is let in, so that a node in the middle of a call passes
        // everything on at once.
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

/// Only garbage and broken promises count. Nodes that share an IP address are people behind one
/// router, and a slow node is not a bad one.
fn node_score() -> PeerScoreParams {
    PeerScoreParams {
        ip_colocation_factor_weight: 0.0,
        ip_colocation_factor_whitelist: HashSet::new(),
        behaviour_penalty_threshold: 6.0,
        slow_peer_weight: 0.0,
        // A score does not decay while its node is disconnected: a node that was kept out starts
        // anew.
        retain_score: KEPT_OUT.saturating_sub(Duration::from_secs(5)),
        ..PeerScoreParams::default()
    }
}

/// Three rejected messages in a short time end in silence: 1.0 × -20 × 3² is below the graylist
/// threshold of -80. Two thirds of the way back take 40 s. All that earns points is off, or an
/// abuser could live on its savings.
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

/// A machine without multicast can still be reached by address.
fn discovery(key: &Keypair) -> Option<mdns::tokio::Behaviour> {
    mdns::tokio::Behaviour::new(mdns::Config::default(), key.public().to_peer_id())
        .inspect_err(|error| tracing::warn!(%error, "nodes on the local network are not looked for"))
        .ok()
}
