//! Several call machines on one virtual network and one virtual clock, from a seed.
//!
//! Messages are exchanged opened, for speed, or sealed and opened as the driver does it. A failing
//! test prints its seed and who said what.

#![allow(dead_code, unused_imports, reason = "each test binary uses its part of the world")]

mod delivery;
mod driver;
mod node;
mod path;
mod post;
mod trace;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::rc::Rc;
use std::time::{Duration, Instant};

use blink_api::{CallId, CallSettings, Did, Endpoint, StreamId, Topic};
use blink_proto::call::{Event, Input, Machine, Memory, Now, SessionId, SessionInput};
use blink_proto::secure::{Channel, Random, inbox_topic};
use blink_proto::wire::{Body, Kind, StreamRequest};
use rand::SeedableRng;

use delivery::{Delivery, What};
use node::Start;
use path::Paths;

pub(crate) use delivery::Letter;
pub(crate) use node::Node;
pub(crate) use trace::{Trace, short};

/// How the signaling network behaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Network {
    /// Share of deliveries that are lost.
    pub(crate) loss: f64,
    /// Share of deliveries that come twice.
    pub(crate) duplication: f64,
    /// Shortest and longest way.
    pub(crate) delay: (Duration, Duration),
    /// Whether devices hear of who begins to listen on a topic.
    pub(crate) tells_subscribers: bool,
}

impl Network {
    pub(crate) const PERFECT: Self = Self {
        loss: 0.0,
        duplication: 0.0,
        delay: (Duration::from_millis(2), Duration::from_millis(2)),
        tells_subscribers: false,
    };

    pub(crate) const ROUGH: Self = Self {
        loss: 0.3,
        duplication: 0.3,
        delay: (Duration::from_millis(1), Duration::from_millis(800)),
        tells_subscribers: false,
    };
}

/// What a world is made of.
pub(crate) struct Setup<'a> {
    /// Devices, each a person and a number of its own.
    pub(crate) devices: &'a [(u8, u8)],
    pub(crate) seed: u64,
    pub(crate) network: Network,
    pub(crate) settings: CallSettings,
    /// Messages travel in envelopes.
    pub(crate) sealed: bool,
}

/// A liar's tongue: what it says instead.
pub(crate) type Lie = Box<dyn FnMut(&mut Body)>;

pub(crate) struct World {
    pub(crate) now: Instant,
    began: Instant,
    pub(crate) nodes: Vec<Node>,
    pub(crate) network: Network,
    /// Ordered pairs between which signaling does not pass.
    pub(crate) cut_signaling: BTreeSet<(usize, usize)>,
    /// Ordered pairs between which letters to inboxes do not pass, as where only a node in the
    /// middle connects them.
    pub(crate) cut_inboxes: BTreeSet<(usize, usize)>,
    pub(crate) paths: Paths,
    /// Every message that was sent: sender, body.
    pub(crate) sent: Vec<(usize, Kind)>,
    /// Call keys with which a device has ever read a call's topic.
    pub(crate) call_keys: BTreeSet<[u8; 32]>,
    /// Topics that devices ever joined in a call.
    pub(crate) known_topics: BTreeSet<(usize, CallId, Topic)>,
    /// Keys for which a machine wanted something sealed on a call's topic, and which are no
    /// device's.
    pub(crate) sealed_for_nobody: BTreeSet<(usize, [u8; 32])>,
    /// Removals that succeeded: which call, who, by which start of which node.
    pub(crate) removals: Vec<(CallId, Did, usize, u64)>,
    /// Every envelope that was ever on the network.
    pub(crate) wire: Vec<Rc<Letter>>,
    /// Devices that say something else than their machines want said.
    pub(crate) lies: BTreeMap<usize, Lie>,
    queue: BinaryHeap<Reverse<Delivery>>,
    captured: Vec<Delivery>,
    order: u64,
    pub(crate) random: Random,
    pub(crate) seed: u64,
    settings: CallSettings,
    sealed: bool,
    /// Who started anew without memory.
    pub(crate) forgetful: BTreeSet<usize>,
    /// How wrong everybody's wall clock is.
    pub(crate) clock_error_ms: i64,
    /// Whose turn it was last.
    pub(crate) turn: usize,
    deadlines: Vec<Option<Instant>>,
    pub(crate) trace: Trace,
}

/// When a world begins.
pub(crate) const UNIX_MS: u64 = 1_000_000_000_000;

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
        Self::set_up(Setup { devices, seed, network, settings, sealed: false })
    }

    pub(crate) fn set_up(setup: Setup<'_>) -> Self {
        let Setup { devices, seed, network, settings, sealed } = setup;
        let now = Instant::now();
        let time = Now { mono: now, unix_ms: UNIX_MS };
        let node = |device: &(u8, u8)| {
            let (settings, memory) = (&settings, Memory::default());
            Node::new(Start { seed: *device, boot: 1, world: seed, now: time, settings, memory, sealed })
        };
        let nodes: Vec<_> = devices.iter().map(node).collect();
        Self {
            now,
            began: now,
            deadlines: vec![None; nodes.len()],
            trace: Trace::of(&nodes),
            nodes,
            network,
            cut_signaling: BTreeSet::new(),
            cut_inboxes: BTreeSet::new(),
            paths: Paths::default(),
            sent: Vec::new(),
            call_keys: BTreeSet::new(),
            known_topics: BTreeSet::new(),
            sealed_for_nobody: BTreeSet::new(),
            removals: Vec::new(),
            wire: Vec::new(),
            lies: BTreeMap::new(),
            queue: BinaryHeap::new(),
            captured: Vec::new(),
            order: 0,
            random: Random::seed_from_u64(seed),
            seed,
            settings,
            sealed,
            forgetful: BTreeSet::new(),
            clock_error_ms: 0,
            turn: 0,
        }
    }

    pub(crate) fn did(&self, node: usize) -> Did {
        self.nodes[node].endpoint.did
    }

    /// How long this world has been.
    pub(crate) fn age(&self) -> Duration {
        self.now.duration_since(self.began)
    }

    /// What a device's clocks say.
    pub(crate) fn time(&self, node: usize) -> Now {
        let since = self.age().as_millis() as u64;
        let error = self.clock_error_ms + self.nodes[node].clock_error_ms;
        Now { mono: self.now, unix_ms: (UNIX_MS + since).saturating_add_signed(error) }
    }

    /// Lets a user do something, and carries out what follows at once.
    pub(crate) fn act<T>(&mut self, node: usize, action: impl FnOnce(&mut Machine, Now) -> T) -> T {
        let now = self.time(node);
        let result = action(&mut self.nodes[node].machine, now);
        self.carry_out(node);
        result
    }

    pub(crate) fn offer(&mut self, from: usize, to: &[usize]) -> CallId {
        let people: Vec<_> = to.iter().map(|node| self.did(*node)).collect();
        self.try_offer(from, &people).unwrap()
    }

    /// A user calls; that it did is known before anything follows from it.
    pub(crate) fn try_offer(&mut self, from: usize, people: &[Did]) -> blink_api::Result<CallId> {
        let now = self.time(from);
        let offered = self.nodes[from].machine.offer(now, people, b"");
        self.nodes[from].accepted.extend(offered.as_ref().ok());
        self.carry_out(from);
        offered
    }

    pub(crate) fn answer(&mut self, node: usize, call: CallId) {
        self.try_answer(node, call).unwrap();
    }

    pub(crate) fn try_answer(&mut self, node: usize, call: CallId) -> blink_api::Result<CallId> {
        let now = self.time(node);
        let answered = self.nodes[node].machine.answer(now, call);
        self.nodes[node].accepted.extend(answered.as_ref().ok());
        self.carry_out(node);
        answered
    }

    pub(crate) fn reject(&mut self, node: usize, call: CallId) {
        self.act(node, |machine, now| machine.reject(now, call)).unwrap();
    }

    pub(crate) fn leave(&mut self, node: usize) {
        self.act(node, Machine::leave).unwrap();
    }

    /// A user asks for a stream.
    pub(crate) fn try_request(&mut self, node: usize, endpoint: Endpoint, stream: StreamId) -> blink_api::Result<()> {
        let now = self.time(node);
        let requested = self.nodes[node].machine.request_stream(now, endpoint, stream);
        if requested.is_ok() {
            self.nodes[node].requested.insert(StreamRequest { endpoint, stream });
        }
        self.carry_out(node);
        requested.map(drop)
    }

    /// A user removes a person.
    pub(crate) fn try_remove(&mut self, node: usize, did: Did) -> blink_api::Result<()> {
        let removed = self.act(node, |machine, now| machine.remove(now, did));
        if let (Ok(()), Some(call)) = (&removed, self.nodes[node].machine.current()) {
            self.removals.push((call, did, node, self.nodes[node].starts));
        }
        removed
    }

    /// The device is gone without a word and comes back as a new start, without memory.
    pub(crate) fn restart(&mut self, node: usize) {
        self.restart_as(node, self.nodes[node].boot + 1, false);
    }

    /// The device is gone without a word and comes back with what it wrote down.
    pub(crate) fn restart_with_memory(&mut self, node: usize) {
        self.restart_as(node, self.nodes[node].boot + 1, true);
    }

    /// A new start that counts as `boot`.
    pub(crate) fn restart_as(&mut self, node: usize, boot: u64, remembers: bool) {
        self.note(node, || format!("starts anew{}", if remembers { "" } else { " without memory" }));
        let memory = if remembers { self.nodes[node].memory.clone() } else { Memory::default() };
        if !remembers {
            self.forgetful.insert(node);
        }
        let (old, now) = (&self.nodes[node], self.time(node));
        let (world, settings, sealed) = (self.seed, &self.settings, self.sealed);
        let mut fresh = Node::new(Start { seed: old.seed, boot, world, now, settings, memory, sealed });
        fresh.events.clone_from(&old.events);
        fresh.clock_error_ms = old.clock_error_ms;
        fresh.starts = old.starts + 1;
        fresh.remembers = remembers;
        self.paths.forget(node);
        self.nodes[node] = fresh;
        self.carry_out(node);
        self.tell_subscriber(node, inbox_topic(&self.did(node)));
    }

    /// The transport's session between two devices fails on one side.
    pub(crate) fn break_session(&mut self, node: usize, other: usize) {
        let session = self.paths.break_session(node, other);
        self.session_input(node, session, SessionInput::Failed);
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
                self.input(delivery.to, Input::Signal((*signal).clone()));
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

    /// Whether a stream flows from one device to another: one sends it, the other takes it, and the
    /// path passes packets.
    pub(crate) fn flows(&self, from: usize, to: usize, stream: StreamId) -> bool {
        self.nodes[from].flows.iter().any(|(session, sent, sends)| {
            let carried = || self.paths.carry(from, *session);
            let taken = |(node, session)| node == to && self.nodes[to].flows.contains(&(session, stream, false));
            *sent == stream && *sends && carried().is_some_and(taken)
        })
    }

    /// What a device sends, and to whom it goes, if to anybody.
    pub(crate) fn sending(&self, node: usize) -> Vec<(Option<usize>, StreamId)> {
        let sent = self.nodes[node].flows.iter().filter(|(.., sends)| *sends);
        sent.map(|(session, stream, _)| (self.paths.carry(node, *session).map(|(to, _)| to), *stream)).collect()
    }

    /// How many streams a device sends to anybody.
    pub(crate) fn sends(&self, node: usize) -> usize {
        self.nodes[node].flows.iter().filter(|(.., sends)| *sends).count()
    }

    /// Everything that was sent and told, and what everybody believes in the end.
    pub(crate) fn story(&self) -> String {
        let beliefs = self.nodes.iter().enumerate().map(|(number, node)| {
            let calls: Vec<_> = node.machine.snapshot().calls.iter().map(trace::belief).collect();
            format!(
                "node {number} believes {}",
                if calls.is_empty() { "in no call".to_owned() } else { calls.join("; ") }
            )
        });
        let beliefs: Vec<_> = beliefs.collect();
        format!("{}\n{}", self.trace.story(), self.trace.short(&beliefs.join("\n")))
    }

    /// The story, and what it comes to.
    pub(crate) fn told_by(&self, end: &str) -> String {
        format!("{}\n{}", self.story(), self.trace.short(end))
    }

    /// How often a device was told something.
    pub(crate) fn count(&self, node: usize, is: impl Fn(&Event) -> bool) -> usize {
        self.nodes[node].events.iter().filter(|event| is(event)).count()
    }

    /// Goes to the next thing that happens until `end`; false, and then it is `end`, where there is
    /// none.
    pub(crate) fn step(&mut self, end: Instant) -> bool {
        let delivery = self.queue.peek().map(|Reverse(delivery)| delivery.at);
        let timer = self.deadlines.iter().enumerate().filter_map(|(node, at)| Some(((*at)?, node))).min();
        let path = self.paths.next();
        let next = [delivery, timer.map(|(at, _)| at), path].into_iter().flatten().min();
        let Some(at) = next.filter(|at| *at <= end) else {
            self.now = end;
            return false;
        };
        self.now = self.now.max(at);
        if delivery == Some(at) {
            self.deliver_next();
        } else if path == Some(at) {
            let reports = self.paths.poll(self.now);
            reports.into_iter().for_each(|(to, session, event)| self.session_input(to, session, event));
        } else if let Some((_, node)) = timer {
            self.act(node, Machine::handle_timeout);
            let still = self.deadlines[node];
            assert!(still.is_none_or(|at| at > self.now), "seed {}: node {node} spins\n{}", self.seed, self.story());
        }
        true
    }

    fn session_input(&mut self, to: usize, session: SessionId, event: SessionInput) {
        self.input(to, Input::Session { session, event });
    }

    pub(crate) fn note(&mut self, node: usize, what: impl FnOnce() -> String) {
        let at = self.age();
        self.trace.note(at, node, what);
    }
}

fn is_inbox(channel: &Channel) -> bool {
    matches!(channel, Channel::Inbox(_))
}
