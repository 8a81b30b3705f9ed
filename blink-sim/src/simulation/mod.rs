//! Several call machines on a simulated network and a virtual clock, from a seed.
//!
//! A [`Simulation`] has [`Node`]s with a call machine each, signaling with [impairments] and
//! [transport sessions](SessionPaths) that connect once both sides were negotiated. Messages are
//! exchanged in the open, for speed, or sealed and opened as the driver does it. Tests act through
//! [`act`](Simulation::act) and the commands beside it, let time pass with
//! [`advance`](Simulation::advance), and look at nodes, events and the
//! [`transcript`](Simulation::transcript). Invariants are checked between two calls of
//! [`step`](Simulation::step), for the node that was [active last](Simulation::last_active).
//!
//! [impairments]: crate::impairment

mod clock;
mod commands;
mod control;
mod delivery;
mod driver;
mod network;
mod node;
mod queries;
mod receiving;
mod sessions;
mod trace;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use blink_api::{CallId, CallSettings, Did, Topic};
use blink_proto::call::{Memory, Now};
use blink_proto::wire::{Body, Kind};

use crate::impairment::{Impairments, LinkModel};
use delivery::DeliveryQueue;
use node::Start;

pub use clock::Step;
pub use delivery::{Delivery, Envelope};
pub use network::CallKeysOf;
pub use node::Node;
pub use sessions::SessionPaths;
pub use trace::{Trace, short};

/// Wall clock at which a simulation begins, in Unix milliseconds.
pub const UNIX_MS: u64 = 1_000_000_000_000;

/// Signaling network of a simulation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Network {
    /// Impairments of the link over which a node receives signaling.
    pub impairments: Impairments,
    /// Whether nodes are told of new subscribers of a topic.
    pub announces_subscribers: bool,
}

impl Network {
    /// Nothing is lost, and every message takes 2 ms.
    pub const PERFECT: Self =
        Self { impairments: Impairments::delayed(Duration::from_millis(2)), announces_subscribers: false };

    /// A quarter of the messages is lost, and three of ten others arrive twice, after up to 800 ms.
    pub const ROUGH: Self = Self {
        impairments: Impairments {
            loss: 0.24,
            duplicate: 0.3,
            delay: Duration::from_millis(1),
            jitter: Duration::from_millis(799),
            ..Impairments::NONE
        },
        announces_subscribers: false,
    };
}

/// Configuration of a simulation.
#[derive(Debug)]
pub struct SimulationConfig<'a> {
    /// Devices: the number of the person and that of the device.
    pub devices: &'a [(u8, u8)],
    /// Seed of all chance.
    pub seed: u64,
    /// Signaling network.
    pub network: Network,
    /// Settings of all nodes.
    pub settings: CallSettings,
    /// Whether messages travel in envelopes.
    pub sealed: bool,
}

/// Changes what a node sends.
pub type BodyMutation = Box<dyn FnMut(&mut Body)>;

/// Several call machines on a simulated network.
pub struct Simulation {
    /// Virtual time.
    pub now: Instant,
    began: Instant,
    /// Nodes, in the order of the configuration.
    pub nodes: Vec<Node>,
    /// Signaling network.
    pub network: Network,
    /// Ordered pairs of nodes between which signaling does not pass.
    pub cut_signaling: BTreeSet<(usize, usize)>,
    /// Ordered pairs of nodes between which messages to inboxes do not pass, as where only a node
    /// in the middle connects them.
    pub cut_inboxes: BTreeSet<(usize, usize)>,
    /// Transport sessions.
    pub paths: SessionPaths,
    /// Sender and kind of every message that was sent.
    pub sent: Vec<(usize, Kind)>,
    /// Call keys with which a node ever read a call's topic.
    pub call_keys: BTreeSet<[u8; 32]>,
    /// Nodes, calls and topics that were ever subscribed to.
    pub known_topics: BTreeSet<(usize, CallId, Topic)>,
    /// Keys that are no node's, and for which a machine sealed a message on a call's topic.
    pub unknown_recipients: BTreeSet<(usize, [u8; 32])>,
    /// Removals that succeeded: the call, the removed person, the node and its start.
    pub removals: Vec<(CallId, Did, usize, u64)>,
    /// Every envelope that was published.
    pub published: Vec<Rc<Envelope>>,
    /// Nodes that send something else than their machines do.
    pub mutations: BTreeMap<usize, BodyMutation>,
    /// Seed.
    pub seed: u64,
    /// Nodes that ever started again without their persisted state.
    pub forgetful: BTreeSet<usize>,
    /// Error of all wall clocks.
    pub clock_error_ms: i64,
    /// Node that did something last.
    pub last_active: usize,
    /// Trace.
    pub trace: Trace,
    /// Deliveries wait for `deliver_next` instead of their time.
    holds_deliveries: bool,
    links: Vec<LinkModel>,
    queue: DeliveryQueue,
    /// Signals that were delivered, for [`replay_all`](Self::replay_all).
    delivered: Vec<(usize, Delivery)>,
    deadlines: Vec<Option<Instant>>,
    recording: Option<(usize, Vec<(Now, Step)>)>,
    settings: CallSettings,
    sealed: bool,
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation").finish_non_exhaustive()
    }
}

impl Simulation {
    /// Creates a simulation of this many people with a device each, on a perfect network.
    pub fn new(count: u8, seed: u64) -> Self {
        Self::with(count, seed, Network::PERFECT, CallSettings::default())
    }

    /// Creates a simulation of this many people with a device each.
    pub fn with(count: u8, seed: u64, network: Network, settings: CallSettings) -> Self {
        let devices: Vec<_> = (1..=count).map(|person| (person, person)).collect();
        Self::of_devices(&devices, seed, network, settings)
    }

    /// Creates a simulation of devices: the number of the person and that of the device.
    pub fn of_devices(devices: &[(u8, u8)], seed: u64, network: Network, settings: CallSettings) -> Self {
        Self::configured(SimulationConfig { devices, seed, network, settings, sealed: false })
    }

    /// Creates a simulation.
    pub fn configured(config: SimulationConfig<'_>) -> Self {
        let SimulationConfig { devices, seed, network, settings, sealed } = config;
        let now = Instant::now();
        let time = Now { mono: now, unix_ms: UNIX_MS };
        let node = |device: &(u8, u8)| {
            let (settings, memory) = (&settings, Memory::default());
            Node::new(Start { seed: *device, boot: 1, simulation: seed, now: time, settings, memory, sealed })
        };
        let nodes: Vec<_> = devices.iter().map(node).collect();
        // Neighbouring seeds have no link in common.
        let link = |node: u64| LinkModel::new(network.impairments, seed.wrapping_mul(0x100).wrapping_add(node));
        Self {
            now,
            began: now,
            deadlines: vec![None; nodes.len()],
            links: (0..).zip(&nodes).map(|(number, _)| link(number)).collect(),
            trace: Trace::of(&nodes),
            nodes,
            network,
            cut_signaling: BTreeSet::new(),
            cut_inboxes: BTreeSet::new(),
            paths: SessionPaths::default(),
            sent: Vec::new(),
            call_keys: BTreeSet::new(),
            known_topics: BTreeSet::new(),
            unknown_recipients: BTreeSet::new(),
            removals: Vec::new(),
            published: Vec::new(),
            mutations: BTreeMap::new(),
            queue: DeliveryQueue::default(),
            delivered: Vec::new(),
            holds_deliveries: false,
            recording: None,
            seed,
            settings,
            sealed,
            forgetful: BTreeSet::new(),
            clock_error_ms: 0,
            last_active: 0,
        }
    }
}
