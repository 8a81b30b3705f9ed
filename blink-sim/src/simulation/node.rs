//! One device of a simulation: its call machine, its envelopes, its commands and events.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use blink_api::{CallId, CallSettings, DeviceId, Endpoint, Origin, StreamId, Topic};
use blink_proto::call::{Event, Machine, MachineConfig, Memory, Now, SessionId};
use blink_proto::secure::{CallKeys, EnvelopeCodec, Identity, Random, Refusal, inbox_topic};
use blink_proto::wire::StreamRequest;
use rand::SeedableRng;

/// One device with its call machine.
pub struct Node {
    /// Call machine.
    pub machine: Machine,
    /// Endpoint of the device.
    pub endpoint: Endpoint,
    /// Events that the machine emitted, in all starts of the device.
    pub events: Vec<Event>,
    /// Refusals that the machine reported since its start.
    pub refusals: Vec<Refusal>,
    /// Call in which the device may capture and send media.
    pub active_call: Option<CallId>,
    /// Calls that the user offered or answered, and those that replaced them.
    pub accepted: BTreeSet<CallId>,
    /// Number of sessions opened since the start.
    pub sessions_opened: usize,
    /// Open sessions with their calls and remote endpoints.
    pub sessions: BTreeMap<SessionId, (CallId, Endpoint)>,
    /// Sessions on which media may flow.
    pub admitted: BTreeSet<SessionId>,
    /// Streams that flow on its sessions; true: it sends.
    pub(super) flows: BTreeSet<(SessionId, StreamId, bool)>,
    /// Streams that the user requested and that did not end.
    pub requested: BTreeSet<StreamRequest>,
    /// Requested streams that ended.
    pub ended_streams: Vec<StreamId>,
    /// Whether messages reach it.
    pub online: bool,
    /// Error of its wall clock.
    pub clock_error_ms: i64,
    pub(super) subscriptions: BTreeMap<CallId, Subscription>,
    /// Persisted state.
    pub memory: Memory,
    /// Number of its current start.
    pub boot: u64,
    /// Number of times that it started.
    pub starts: u64,
    /// Whether its last start had the persisted state.
    pub remembers: bool,
    /// Envelopes, in a sealed simulation.
    pub envelopes: Option<Box<EnvelopeCodec>>,
    /// Newest boot of each sender, in a simulation without envelopes.
    pub(super) boots: BTreeMap<Endpoint, u64>,
    /// Numbers of its person and its device.
    pub seed: (u8, u8),
    inbox: Topic,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").finish_non_exhaustive()
    }
}

/// Subscription of a call's topic.
pub(super) struct Subscription {
    pub(super) topic: Topic,
    /// Earlier topics of the call.
    pub(super) old: Vec<Topic>,
    pub(super) keys: CallKeys,
    pub(super) key: [u8; 32],
    pub(super) previous_key: Option<[u8; 32]>,
}

/// Configuration of one start of a node.
pub(super) struct Start<'a> {
    pub(super) seed: (u8, u8),
    pub(super) boot: u64,
    pub(super) simulation: u64,
    pub(super) now: Now,
    pub(super) settings: &'a CallSettings,
    pub(super) memory: Memory,
    pub(super) sealed: bool,
}

impl Node {
    pub(super) fn new(start: Start<'_>) -> Self {
        let (person, device) = start.seed;
        let identity = Identity::from_seed(&[person; 32]);
        let endpoint = Endpoint { did: identity.did(), device: DeviceId::from_random([device; 16]) };
        let mut random = [device; 32];
        random[..8].copy_from_slice(&start.simulation.to_be_bytes());
        random[8..16].copy_from_slice(&start.boot.to_be_bytes());
        let envelopes = start.sealed.then(|| {
            random[16] ^= 1;
            let sealing = Random::from_seed(random);
            random[16] ^= 1;
            Box::new(EnvelopeCodec::new(identity.clone(), endpoint, start.boot, sealing, start.now.mono))
        });
        let memory = start.memory.clone();
        let (boot, settings) = (start.boot, start.settings.clone());
        let config = MachineConfig { identity, own: endpoint, boot, settings, seed: random, memory };
        Self {
            machine: Machine::new(config, start.now),
            endpoint,
            events: Vec::new(),
            refusals: Vec::new(),
            active_call: None,
            accepted: BTreeSet::new(),
            sessions_opened: 0,
            sessions: BTreeMap::new(),
            admitted: BTreeSet::new(),
            flows: BTreeSet::new(),
            requested: BTreeSet::new(),
            ended_streams: Vec::new(),
            online: true,
            clock_error_ms: 0,
            subscriptions: BTreeMap::new(),
            memory: start.memory,
            boot,
            starts: 1,
            remembers: false,
            envelopes,
            boots: BTreeMap::new(),
            seed: start.seed,
            inbox: inbox_topic(&endpoint.did),
        }
    }

    /// Name of its signaling node in the network.
    pub fn origin(&self) -> Origin {
        Origin([self.seed.1; 16])
    }

    /// Number of calls whose topics it subscribes to.
    pub fn subscribed_calls(&self) -> usize {
        self.subscriptions.len()
    }

    /// Whether it subscribes to a topic.
    pub fn subscribes(&self, topic: &Topic) -> bool {
        *topic == self.inbox || self.subscriptions.values().any(|call| call.topic == *topic || call.old.contains(topic))
    }

    /// The topic on which it publishes in a call.
    pub fn topic_of(&self, call: &CallId) -> Option<Topic> {
        self.subscriptions.get(call).map(|subscription| subscription.topic)
    }

    /// Whether a message to these keys on a call's topic is for this device, in a simulation
    /// without envelopes.
    pub(super) fn reads(&self, call: &CallId, topic: Option<Topic>, recipients: &[[u8; 32]]) -> bool {
        self.subscriptions.get(call).is_some_and(|own| {
            let subscribes = topic.is_some_and(|topic| own.topic == topic || own.old.contains(&topic));
            subscribes && recipients.iter().any(|key| own.key == *key || own.previous_key == Some(*key))
        })
    }

    /// The newest boot of a sender, where this one is older, in a simulation without envelopes.
    pub(super) fn newer_boot(&mut self, from: &Endpoint, boot: u64) -> Option<u64> {
        let newest = self.boots.entry(*from).or_insert(boot);
        *newest = boot.max(*newest);
        Some(*newest).filter(|newest| boot < *newest)
    }
}
