//! One device of a world: its machine, its door, and what it did and was told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use blink_api::{CallId, CallSettings, DeviceId, Endpoint, Origin, StreamId, Topic};
use blink_proto::call::{Event, Machine, MachineConfig, Memory, Now, SessionId};
use blink_proto::secure::{CallKeys, EnvelopeCodec, Identity, Random, Refusal, inbox_topic};
use blink_proto::wire::StreamRequest;
use rand::SeedableRng;

pub(crate) struct Node {
    pub(crate) machine: Machine,
    pub(crate) endpoint: Endpoint,
    pub(crate) events: Vec<Event>,
    pub(crate) refusals: Vec<Refusal>,
    /// The call whose microphone is open.
    pub(crate) gate: Option<CallId>,
    /// Calls that the user offered or answered, and those that took their place.
    pub(crate) accepted: BTreeSet<CallId>,
    pub(crate) sessions_opened: usize,
    /// Sessions that are open: in which call, towards whom.
    pub(crate) sessions: BTreeMap<SessionId, (CallId, Endpoint)>,
    /// Sessions on which media may flow.
    pub(crate) admitted: BTreeSet<SessionId>,
    /// Streams that flow on its sessions; true: it sends.
    pub(super) flows: BTreeSet<(SessionId, StreamId, bool)>,
    /// Streams that its user asked for and that did not end.
    pub(crate) requested: BTreeSet<StreamRequest>,
    /// Streams it asked for that came to an end.
    pub(crate) ended_streams: Vec<StreamId>,
    pub(crate) online: bool,
    /// How wrong its wall clock is.
    pub(crate) clock_error_ms: i64,
    pub(super) topics: BTreeMap<CallId, Listening>,
    /// What it wrote down.
    pub(crate) memory: Memory,
    pub(crate) boot: u64,
    /// How often it started, and whether it remembered anything the last time.
    pub(crate) starts: u64,
    pub(crate) remembers: bool,
    /// In a world with envelopes.
    pub(crate) door: Option<Box<EnvelopeCodec>>,
    /// In a world without: the newest start of everybody heard.
    pub(super) boots: BTreeMap<Endpoint, u64>,
    /// Person and device.
    pub(crate) seed: (u8, u8),
    inbox: Topic,
}

/// A call's topic that a device reads.
pub(super) struct Listening {
    pub(super) topic: Topic,
    /// Topics that the call had before.
    pub(super) old: Vec<Topic>,
    pub(super) keys: CallKeys,
    pub(super) key: [u8; 32],
    pub(super) previous: Option<[u8; 32]>,
}

/// What a node is made of.
pub(super) struct Start<'a> {
    pub(super) seed: (u8, u8),
    pub(super) boot: u64,
    pub(super) world: u64,
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
        random[..8].copy_from_slice(&start.world.to_be_bytes());
        random[8..16].copy_from_slice(&start.boot.to_be_bytes());
        let door = start.sealed.then(|| {
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
            gate: None,
            accepted: BTreeSet::new(),
            sessions_opened: 0,
            sessions: BTreeMap::new(),
            admitted: BTreeSet::new(),
            flows: BTreeSet::new(),
            requested: BTreeSet::new(),
            ended_streams: Vec::new(),
            online: true,
            clock_error_ms: 0,
            topics: BTreeMap::new(),
            memory: start.memory,
            boot,
            starts: 1,
            remembers: false,
            door,
            boots: BTreeMap::new(),
            seed: start.seed,
            inbox: inbox_topic(&endpoint.did),
        }
    }

    /// How the network names it.
    pub(crate) fn origin(&self) -> Origin {
        Origin([self.seed.1; 16])
    }

    /// Calls whose topics it reads.
    pub(crate) fn listening(&self) -> usize {
        self.topics.len()
    }

    /// Whether a letter to these keys is one for this device, in a world without envelopes.
    pub(super) fn reads(&self, call: &CallId, topic: Option<Topic>, recipients: &[[u8; 32]]) -> bool {
        self.topics.get(call).is_some_and(|listening| {
            let listens = topic.is_some_and(|topic| listening.topic == topic || listening.old.contains(&topic));
            listens && recipients.iter().any(|key| listening.key == *key || listening.previous == Some(*key))
        })
    }

    /// Whether it listens on a topic.
    pub(crate) fn reads_topic(&self, topic: &Topic) -> bool {
        self.subscribes(topic)
    }

    /// The topic on which it speaks in a call.
    pub(crate) fn topic_of(&self, call: &CallId) -> Option<Topic> {
        self.topics.get(call).map(|listening| listening.topic)
    }

    pub(super) fn subscribes(&self, topic: &Topic) -> bool {
        *topic == self.inbox
            || self.topics.values().any(|listening| listening.topic == *topic || listening.old.contains(topic))
    }

    /// The newest start of a sender, if this is an older one, in a world without envelopes.
    pub(super) fn newer_start(&mut self, from: &Endpoint, boot: u64) -> Option<u64> {
        let newest = self.boots.entry(*from).or_insert(boot);
        *newest = boot.max(*newest);
        Some(*newest).filter(|newest| boot < *newest)
    }

    /// When its machine has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.machine.deadline()
    }
}
