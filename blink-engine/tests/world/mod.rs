//! Several call machines on one virtual network and one virtual clock, from a seed.
//!
//! Messages are exchanged opened; sealing has tests of its own. A failing test prints its seed and who said what.

#![allow(dead_code, reason = "each test binary uses its part of the world")]

mod delivery;
mod path;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::{Duration, Instant};

use blink_api::{CallId, CallSettings, DeviceId, Did, Endpoint, StreamId};
use blink_engine::call::{Event, Input, Machine, MachineConfig, Memory, Now, Output, SessionId, Signal, StreamFlow};
use blink_engine::secure::{Channel, Identity, Random, Refusal, inbox_topic};
use blink_engine::wire::{Body, Kind};
use rand::{RngExt, SeedableRng};

use delivery::{Delivery, What};
use path::Paths;

/// How the signaling network behaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Network {
    /// Share of deliveries that are lost.
    pub(crate) loss: f64,
    /// Share of deliveries that come twice.
    pub(crate) duplication: f64,
    /// Shortest and longest way.
    pub(crate) delay: (Duration, Duration),
}

impl Network {
    pub(crate) const PERFECT: Self =
        Self { loss: 0.0, duplication: 0.0, delay: (Duration::from_millis(2), Duration::from_millis(2)) };

    pub(crate) const ROUGH: Self =
        Self { loss: 0.3, duplication: 0.3, delay: (Duration::from_millis(1), Duration::from_millis(800)) };
}

/// One device.
pub(crate) struct Node {
    pub(crate) machine: Machine,
    pub(crate) endpoint: Endpoint,
    pub(crate) events: Vec<Event>,
    pub(crate) refusals: Vec<Refusal>,
    /// The call whose microphone is open.
    pub(crate) gate: Option<CallId>,
    pub(crate) sessions_opened: usize,
    /// Streams that flow on its sessions.
    flows: BTreeSet<(SessionId, StreamId, bool)>,
    /// Streams it asked for that came to an end.
    pub(crate) ended_streams: Vec<StreamId>,
    pub(crate) online: bool,
    topics: BTreeMap<CallId, [u8; 32]>,
    old_keys: BTreeSet<[u8; 32]>,
    /// What it wrote down.
    pub(crate) memory: Memory,
    pub(crate) boot: u64,
    seed: (u8, u8),
}

pub(crate) struct World {
    pub(crate) now: Instant,
    began: Instant,
    pub(crate) nodes: Vec<Node>,
    pub(crate) network: Network,
    /// Ordered pairs between which signaling does not pass.
    pub(crate) cut_signaling: BTreeSet<(usize, usize)>,
    /// Ordered pairs between which letters to inboxes do not pass, as where only a node in the middle connects them.
    pub(crate) cut_inboxes: BTreeSet<(usize, usize)>,
    pub(crate) paths: Paths,
    /// Every message that was sent: sender, body.
    pub(crate) sent: Vec<(usize, Kind)>,
    queue: BinaryHeap<Reverse<Delivery>>,
    captured: Vec<Delivery>,
    order: u64,
    random: Random,
    seed: u64,
    settings: CallSettings,
    /// Who started anew without memory.
    pub(crate) forgetful: BTreeSet<usize>,
    /// How wrong everybody's wall clock is.
    pub(crate) clock_error_ms: i64,
    trace: Vec<String>,
}

/// When a world begins.
const UNIX_MS: u64 = 1_000_000_000_000;

impl World {
    /// `count` people with a device each, on a perfect network.
    pub(crate) fn new(count: u8, seed: u64) -> Self {
        Self::with(count, seed, Network::PERFECT, CallSettings::default())
    }

    pub(crate) fn with(count: u8, seed: u64, network: Network, settings: CallSettings) -> Self {
        let devices: Vec<_> = (1..=count).map(|person| (person, person)).collect();
        Self::of_devices(&devices, seed, network, settings)
    }

    /// Devices, each a person and a number of its own.
    pub(crate) fn of_devices(devices: &[(u8, u8)], seed: u64, network: Network, settings: CallSettings) -> Self {
        let now = Instant::now();
        let start = Now { mono: now, unix_ms: UNIX_MS };
        let nodes =
            devices.iter().map(|device| Node::new(*device, 1, seed, start, &settings, Memory::default())).collect();
        let random = Random::seed_from_u64(seed);
        Self {
            now,
            began: now,
            nodes,
            network,
            cut_signaling: BTreeSet::new(),
            cut_inboxes: BTreeSet::new(),
            paths: Paths::default(),
            sent: Vec::new(),
            queue: BinaryHeap::new(),
            captured: Vec::new(),
            order: 0,
            random,
            seed,
            settings,
            forgetful: BTreeSet::new(),
            clock_error_ms: 0,
            trace: Vec::new(),
        }
    }

    pub(crate) fn did(&self, node: usize) -> Did {
        self.nodes[node].endpoint.did
    }

    fn time(&self) -> Now {
        let since = self.now.duration_since(self.began).as_millis() as u64;
        Now { mono: self.now, unix_ms: (UNIX_MS + since).saturating_add_signed(self.clock_error_ms) }
    }

    /// Lets a user do something, and carries out what follows at once.
    pub(crate) fn act<T>(&mut self, node: usize, action: impl FnOnce(&mut Machine, Now) -> T) -> T {
        let now = self.time();
        let result = action(&mut self.nodes[node].machine, now);
        self.carry_out(node);
        result
    }

    pub(crate) fn offer(&mut self, from: usize, to: &[usize]) -> CallId {
        let people: Vec<_> = to.iter().map(|node| self.did(*node)).collect();
        self.act(from, |machine, now| machine.offer(now, &people, b"")).unwrap()
    }

    pub(crate) fn answer(&mut self, node: usize, call: CallId) {
        self.act(node, |machine, now| machine.answer(now, call)).unwrap();
    }

    pub(crate) fn reject(&mut self, node: usize, call: CallId) {
        self.act(node, |machine, now| machine.reject(now, call)).unwrap();
    }

    pub(crate) fn leave(&mut self, node: usize) {
        self.act(node, Machine::leave).unwrap();
    }

    /// The device is gone without a word and comes back as a new start, without memory.
    pub(crate) fn restart(&mut self, node: usize) {
        self.forgetful.insert(node);
        self.start_anew(node, Memory::default());
    }

    /// The device is gone without a word and comes back with what it wrote down.
    pub(crate) fn restart_with_memory(&mut self, node: usize) {
        let memory = self.nodes[node].memory.clone();
        self.start_anew(node, memory);
    }

    fn start_anew(&mut self, node: usize, memory: Memory) {
        self.note(node, "starts anew".to_owned());
        let old = &self.nodes[node];
        let mut fresh = Node::new(old.seed, old.boot + 1, self.seed, self.time(), &self.settings, memory);
        fresh.events.clone_from(&old.events);
        self.paths.forget(node);
        self.nodes[node] = fresh;
        self.carry_out(node);
    }

    /// The transport's session between two devices fails on one side.
    pub(crate) fn break_session(&mut self, node: usize, other: usize) {
        let session = self.paths.break_session(node, other);
        self.session_input(node, session, blink_engine::call::SessionInput::Failed);
    }

    /// Somebody's inbox gains a subscriber: everybody hears of it.
    pub(crate) fn go_online(&mut self, node: usize) {
        self.nodes[node].online = true;
        let topic = inbox_topic(&self.did(node));
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            self.act(other, |machine, now| machine.handle(now, Input::SubscriberJoined(topic)));
        }
    }

    /// Delivers everything that was ever delivered once more, to everybody it can reach.
    pub(crate) fn replay_all(&mut self) {
        let captured = self.captured.clone();
        for delivery in captured {
            if let What::Signal(signal) = delivery.what {
                self.input(delivery.to, Input::Signal(*signal));
            }
        }
    }

    /// Hands a message to a device as if the network had brought it.
    pub(crate) fn input(&mut self, node: usize, input: Input) {
        self.act(node, |machine, now| machine.handle(now, input));
    }

    /// Runs for a time.
    pub(crate) fn advance(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until a device was told something; panics with the trace when the limit is over.
    pub(crate) fn until(&mut self, node: usize, limit: Duration, what: &str, is: impl Fn(&Event) -> bool) {
        let end = self.now + limit;
        while !self.nodes[node].events.iter().any(&is) {
            if !self.step(end) {
                panic!("seed {}: node {node} was not told `{what}` in {limit:?}\n{}", self.seed, self.story());
            }
        }
    }

    /// Whether a stream flows from one device to another: one sends it, the other takes it, and the path passes packets.
    pub(crate) fn flows(&self, from: usize, to: usize, stream: StreamId) -> bool {
        self.nodes[from].flows.iter().any(|(session, sent, sends)| {
            let carried = || self.paths.carry(from, *session);
            let taken = |(node, session)| node == to && self.nodes[to].flows.contains(&(session, stream, false));
            *sent == stream && *sends && carried().is_some_and(taken)
        })
    }

    /// How many streams a device sends to anybody.
    pub(crate) fn sends(&self, node: usize) -> usize {
        self.nodes[node].flows.iter().filter(|(.., sends)| *sends).count()
    }

    /// Everything that was sent and told.
    pub(crate) fn story(&self) -> String {
        self.trace.join("\n")
    }

    /// How often a device was told something.
    pub(crate) fn count(&self, node: usize, is: impl Fn(&Event) -> bool) -> usize {
        self.nodes[node].events.iter().filter(|event| is(event)).count()
    }

    /// Goes to the next thing that happens before `end`.
    fn step(&mut self, end: Instant) -> bool {
        let delivery = self.queue.peek().map(|Reverse(delivery)| delivery.at);
        let timer = (0..self.nodes.len()).filter_map(|node| Some((self.nodes[node].machine.deadline()?, node))).min();
        let path = self.paths.next();
        let next = [delivery, timer.map(|(at, _)| at), path].into_iter().flatten().min();
        let Some(at) = next.filter(|at| *at <= end) else { return false };
        self.now = self.now.max(at);
        if delivery == Some(at) {
            self.deliver_next();
        } else if path == Some(at) {
            let reports = self.paths.poll(self.now);
            reports.into_iter().for_each(|(to, session, event)| self.session_input(to, session, event));
        } else if let Some((_, node)) = timer {
            self.act(node, Machine::handle_timeout);
            let still = self.nodes[node].machine.deadline();
            assert!(still.is_none_or(|at| at > self.now), "seed {}: node {node} spins\n{}", self.seed, self.story());
        }
        true
    }

    fn deliver_next(&mut self) {
        let Some(Reverse(delivery)) = self.queue.pop() else { return };
        let to = delivery.to;
        match delivery.what.clone() {
            What::Signal(signal) => {
                if self.nodes[to].online {
                    self.captured.push(delivery);
                    self.input(to, Input::Signal(*signal));
                }
            }
            What::Session(session, event) => self.session_input(to, session, *event),
        }
    }

    fn session_input(&mut self, to: usize, session: SessionId, event: blink_engine::call::SessionInput) {
        self.input(to, Input::Session { session, event });
    }

    fn carry_out(&mut self, node: usize) {
        while let Some(output) = self.nodes[node].machine.poll() {
            match output {
                Output::Send { channel, recipients, call, body } => self.send(node, channel, &recipients, call, *body),
                Output::Join(topic) => {
                    let previous = self.nodes[node].topics.insert(topic.keys.id, *topic.key.public());
                    self.nodes[node].old_keys.extend(previous);
                }
                Output::Part(call) => {
                    self.nodes[node].topics.remove(&call);
                }
                Output::Open { session, remote, dials, .. } => {
                    self.nodes[node].sessions_opened += 1;
                    let remote = self.node_of(&remote);
                    self.paths.open(node, session, remote, dials);
                }
                Output::Negotiate { session, step } => {
                    for (to, session, event) in self.paths.negotiate(self.now, node, session, step) {
                        self.later(Duration::from_micros(500), to, What::Session(session, Box::new(event)));
                    }
                }
                Output::Channel { session, message } => {
                    if let Some((to, session)) = self.paths.carry(node, session) {
                        let event = blink_engine::call::SessionInput::Channel(message);
                        self.later(Duration::from_millis(1), to, What::Session(session, Box::new(event)));
                    }
                }
                Output::Admit { .. } => {}
                Output::Stream { session, stream, flow, on } => {
                    let flows = &mut self.nodes[node].flows;
                    let flow = (session, stream, flow == StreamFlow::Send);
                    let changed = if on { flows.insert(flow) } else { flows.remove(&flow) };
                    assert!(changed, "a stream starts and stops in turn\n{}", self.story());
                }
                Output::EndStream { stream, .. } => self.nodes[node].ended_streams.push(stream),
                Output::Close { session } => {
                    self.nodes[node].flows.retain(|(on, ..)| *on != session);
                    self.paths.close(node, session);
                }
                Output::Gate(gate) => self.nodes[node].gate = gate,
                Output::Keep(memo) => self.nodes[node].memory.apply(memo),
                Output::Boot(boot) => self.nodes[node].boot = boot,
                Output::Emit(event) => {
                    self.note(node, format!("is told {event:?}"));
                    self.nodes[node].events.push(event);
                }
                Output::Refuse(refusal) => {
                    self.note(node, format!("refuses: {refusal:?}"));
                    self.nodes[node].refusals.push(refusal);
                }
            }
        }
    }

    fn send(&mut self, node: usize, channel: Channel, recipients: &[[u8; 32]], call: CallId, body: Body) {
        self.note(
            node,
            format!("sends {body:?} on {}", if matches!(channel, Channel::Inbox(_)) { "an inbox" } else { "the call" }),
        );
        self.sent.push((node, body.kind()));
        let from = self.nodes[node].endpoint;
        let boot = self.nodes[node].boot;
        let signal = Signal { channel, from, boot, call, body };
        for to in (0..self.nodes.len()).filter(|to| *to != node) {
            let reads = match channel {
                Channel::Inbox(did) => did == self.did(to) && !self.cut_inboxes.contains(&(node, to)),
                Channel::Call(id) => self.nodes[to].reads(&id, recipients),
            };
            if reads && !self.cut_signaling.contains(&(node, to)) {
                self.transmit(to, What::Signal(Box::new(signal.clone())));
            }
        }
    }

    fn transmit(&mut self, to: usize, what: What) {
        let copies = 1 + usize::from(self.random.random_bool(self.network.duplication));
        for _ in 0..copies {
            if !self.random.random_bool(self.network.loss) {
                let (shortest, longest) = self.network.delay;
                let delay = shortest + (longest - shortest).mul_f64(self.random.random_range(0.0..=1.0));
                self.later(delay, to, what.clone());
            }
        }
    }

    fn later(&mut self, delay: Duration, to: usize, what: What) {
        self.order += 1;
        self.queue.push(Reverse(Delivery { at: self.now + delay, order: self.order, to, what }));
    }

    fn node_of(&self, endpoint: &Endpoint) -> usize {
        self.nodes.iter().position(|node| node.endpoint == *endpoint).expect("sessions are between nodes of this world")
    }

    fn note(&mut self, node: usize, what: String) {
        let at = self.now.duration_since(self.began).as_secs_f64();
        self.trace.push(format!("{at:9.3} node {node} {what}"));
    }
}

impl Node {
    fn new(seed: (u8, u8), boot: u64, world: u64, now: Now, settings: &CallSettings, memory: Memory) -> Self {
        let (person, device) = seed;
        let identity = Identity::from_seed(&[person; 32]);
        let endpoint = Endpoint { did: identity.did(), device: DeviceId::from_random([device; 16]) };
        let mut random = [device; 32];
        random[..8].copy_from_slice(&world.to_be_bytes());
        random[8..16].copy_from_slice(&boot.to_be_bytes());
        let written = memory.clone();
        let settings = settings.clone();
        let config = MachineConfig { identity, own: endpoint, boot, settings, seed: random, memory };
        Self {
            machine: Machine::new(config, now),
            endpoint,
            events: Vec::new(),
            refusals: Vec::new(),
            gate: None,
            sessions_opened: 0,
            flows: BTreeSet::new(),
            ended_streams: Vec::new(),
            online: true,
            topics: BTreeMap::new(),
            old_keys: BTreeSet::new(),
            memory: written,
            boot,
            seed,
        }
    }

    fn reads(&self, call: &CallId, recipients: &[[u8; 32]]) -> bool {
        self.topics.contains_key(call)
            && recipients.iter().any(|key| self.topics.get(call) == Some(key) || self.old_keys.contains(key))
    }
}
