//! Three machines, what is on its way between them, and a clock.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use blink_api::{CallId, CallSettings, CodecName, DeviceId, Endpoint, StreamId, TrackKind};
use blink_proto::call::{
    Input as MachineInput, Machine, MachineConfig, Memory, Negotiation, Now, Output, SessionId, SessionInput, Signal,
    StreamInfo,
};
use blink_proto::secure::{Channel, Identity, inbox_topic};
use blink_proto::wire::Content;

use crate::input::Input;

/// More on the way than this is lost.
const MOST_NEWS: usize = 512;

/// Person and device. The second person has two devices.
const DEVICES: [(u8, u8); 3] = [(1, 1), (2, 2), (2, 3)];

/// What is on its way.
#[derive(Clone)]
pub(super) enum News {
    Signal(Box<Signal>),
    Session(SessionId, Box<SessionInput>),
}

pub(super) struct Node {
    machine: Machine,
    endpoint: Endpoint,
    gate: Option<CallId>,
    sessions: BTreeMap<SessionId, Endpoint>,
    memory: Memory,
    boot: u64,
}

pub(super) struct Town {
    pub(super) nodes: Vec<Node>,
    pub(super) queue: VecDeque<(usize, News)>,
    began: Instant,
    now: Instant,
}

impl Town {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let start = Now { mono: now, unix_ms: 1_000_000 };
        let nodes = DEVICES.map(|device| Node::new(device, 1, Memory::default(), start));
        Self { nodes: nodes.into(), queue: VecDeque::new(), began: now, now }
    }

    /// What must hold at every moment.
    pub(super) fn check(&self) {
        for node in &self.nodes {
            let current = node.machine.current();
            assert_eq!(node.gate, current, "a microphone is open in a call, and there only");
            assert!(current.is_some() || node.sessions.is_empty(), "no session without a call");
        }
    }

    /// The next message arrives.
    pub(super) fn deliver(&mut self) {
        let Some((to, news)) = self.queue.pop_front() else { return };
        let input = match news {
            News::Signal(signal) => MachineInput::Signal(*signal),
            News::Session(session, event) => MachineInput::Session { session, event: *event },
        };
        self.act(to, |machine, now| machine.handle(now, input));
    }

    pub(super) fn act<T>(&mut self, node: usize, action: impl FnOnce(&mut Machine, Now) -> T) -> T {
        let now = self.time();
        let result = action(&mut self.nodes[node].machine, now);
        self.carry_out(node);
        result
    }

    /// Does what time demands, machine by machine.
    pub(super) fn advance(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let deadline = |node: usize| Some((self.nodes[node].machine.deadline()?, node));
            let Some((at, node)) = (0..self.nodes.len()).filter_map(deadline).min().filter(|(at, _)| *at <= end) else {
                break;
            };
            self.now = self.now.max(at);
            self.act(node, Machine::handle_timeout);
            let still = self.nodes[node].machine.deadline();
            assert!(still.is_none_or(|at| at > self.now), "a machine spins");
        }
        self.now = end;
    }

    pub(super) fn offer(&mut self, node: usize, choice: u8) {
        let people: Vec<_> =
            (0..4).filter(|person| choice >> person & 1 != 0).map(|person| self.anybody(person).did).collect();
        // Nobody, or only oneself, is refused.
        self.act(node, |machine, now| machine.offer(now, &people, &[choice]).ok());
    }

    /// An endpoint of one of the machines, or of a stranger.
    pub(super) fn anybody(&self, choice: u8) -> Endpoint {
        self.nodes.get(usize::from(choice % 4)).map_or_else(|| endpoint((9, 9)), |node| node.endpoint)
    }

    pub(super) fn channel(&self, choice: u8) -> Channel {
        let calls = self.nodes.iter().flat_map(|node| node.machine.snapshot().calls).map(|call| call.call);
        let calls: Vec<_> = calls.collect();
        match calls.get(usize::from(choice >> 1)) {
            Some(call) if choice & 1 != 0 => Channel::Call(*call),
            _ => Channel::Inbox(self.anybody(choice >> 1).did),
        }
    }

    /// Somebody's message reaches a device at once.
    pub(super) fn say(&mut self, to: usize, channel: Channel, from: Endpoint, content: Content) {
        let Content { boot, call, body, .. } = content;
        // A device hears nothing of itself: the door keeps that out.
        if from != self.nodes[to].endpoint {
            let signal = Signal { channel, from, boot, call, body };
            self.act(to, |machine, now| machine.handle(now, MachineInput::Signal(signal)));
        }
    }

    pub(super) fn stream(&self, choice: u8) -> StreamInfo {
        let kind = if choice & 4 == 0 { TrackKind::Video } else { TrackKind::Audio };
        let stream = StreamId::from_bytes([choice >> 3 & 3; 16]);
        StreamInfo { stream, kind, codec: CodecName::new("VP8").to_string(), name: "screen".to_owned() }
    }

    /// A session is up.
    pub(super) fn connect(&mut self, node: usize, choice: u8) {
        self.session_input(node, choice, SessionInput::Connected);
        self.session_input(node, choice, SessionInput::ChannelOpen);
    }

    pub(super) fn session_event(&mut self, node: usize, input: &mut Input<'_>) {
        let (choice, what) = (input.byte(), input.byte());
        let stream = StreamId::from_bytes([what >> 3 & 3; 16]);
        let event = match what % 8 {
            0 => SessionInput::Failed,
            1 => SessionInput::StreamRefused(stream),
            2 => SessionInput::FirstFrame(stream),
            3 => SessionInput::Candidate { attribute: String::from_utf8_lossy(input.chunk()).into_owned() },
            4 => {
                let (generation, sdp) = (input.u32(), String::from_utf8_lossy(input.chunk()).into_owned());
                SessionInput::Described { generation, sdp }
            }
            _ => SessionInput::Traffic,
        };
        self.session_input(node, choice, event);
    }

    pub(super) fn session_input(&mut self, node: usize, choice: u8, event: SessionInput) {
        let sessions: Vec<_> = self.nodes[node].sessions.keys().copied().collect();
        if let Some(session) = sessions.get(usize::from(choice) % sessions.len().max(1)).copied() {
            self.act(node, |machine, now| machine.handle(now, MachineInput::Session { session, event }));
        }
    }

    pub(super) fn subscribe(&mut self, node: usize, choice: u8) {
        let topic = inbox_topic(&self.anybody(choice).did);
        self.act(node, |machine, now| machine.handle(now, MachineInput::SubscriberJoined(topic)));
    }

    /// The device comes back with what it wrote down.
    pub(super) fn restart(&mut self, node: usize) {
        let old = &self.nodes[node];
        let now = self.time();
        self.nodes[node] = Node::new(DEVICES[node], old.boot + 1, old.memory.clone(), now);
        self.carry_out(node);
    }

    fn time(&self) -> Now {
        let since = self.now.duration_since(self.began).as_millis();
        Now { mono: self.now, unix_ms: 1_000_000 + u64::try_from(since).expect("far from the end of time") }
    }

    fn carry_out(&mut self, node: usize) {
        while let Some(output) = self.nodes[node].machine.poll() {
            match output {
                Output::Send { channel, call, body, .. } => {
                    let (from, boot) = (self.nodes[node].endpoint, self.nodes[node].boot);
                    let signal = Signal { channel, from, boot, call, body: *body };
                    self.publish(node, &signal);
                }
                Output::OpenSession { session, remote, .. } => {
                    let before = self.nodes[node].sessions.insert(session, remote);
                    assert!(before.is_none(), "a session is opened once");
                }
                Output::CloseSession { session } => drop(self.nodes[node].sessions.remove(&session)),
                Output::Negotiate { session, step } => self.negotiate(node, session, step),
                Output::SendChannelMessage { session, message } => {
                    self.pass_on(node, session, SessionInput::Channel(message))
                }
                Output::SetActiveCall(gate) => self.nodes[node].gate = gate,
                Output::Persist(memo) => self.nodes[node].memory.apply(memo),
                Output::SetBoot(boot) => self.nodes[node].boot = boot,
                _ => {}
            }
        }
    }

    fn publish(&mut self, from: usize, signal: &Signal) {
        for to in (0..self.nodes.len()).filter(|to| *to != from) {
            let reads = match signal.channel {
                Channel::Inbox(did) => did == self.nodes[to].endpoint.did,
                Channel::Call(_) => true,
            };
            if reads {
                self.send(to, News::Signal(Box::new(signal.clone())));
            }
        }
    }

    fn negotiate(&mut self, node: usize, session: SessionId, step: Negotiation) {
        if let Negotiation::Offer { generation, .. } | Negotiation::AcceptOffer { generation, .. } = step {
            let sdp = format!("v=0\r\na=fingerprint:sha-256 {node}:{}\r\n", session.0);
            let attribute = "candidate:1 1 udp 1 192.0.2.1 9 typ host".to_owned();
            for event in [SessionInput::Described { generation, sdp }, SessionInput::Candidate { attribute }] {
                self.send(node, News::Session(session, Box::new(event)));
            }
        }
    }

    /// What is said on a data channel comes out at the other end.
    fn pass_on(&mut self, node: usize, session: SessionId, event: SessionInput) {
        let from = self.nodes[node].endpoint;
        let Some(remote) = self.nodes[node].sessions.get(&session) else { return };
        let Some(to) = self.nodes.iter().position(|node| node.endpoint == *remote) else { return };
        let back = self.nodes[to].sessions.iter().rev().find(|(_, remote)| **remote == from);
        if let Some((session, _)) = back {
            self.send(to, News::Session(*session, Box::new(event)));
        }
    }

    fn send(&mut self, to: usize, news: News) {
        if self.queue.len() < MOST_NEWS {
            self.queue.push_back((to, news));
        }
    }
}

impl Node {
    fn new(device: (u8, u8), boot: u64, memory: Memory, now: Now) -> Self {
        let identity = Identity::from_seed(&[device.0; 32]);
        let own = endpoint(device);
        let mut seed = [device.1; 32];
        seed[..8].copy_from_slice(&boot.to_be_bytes());
        let settings = CallSettings::default();
        let config = MachineConfig { identity, own, boot, settings, seed, memory: memory.clone() };
        let machine = Machine::new(config, now);
        Self { machine, endpoint: own, gate: None, sessions: BTreeMap::new(), memory, boot }
    }
}

fn endpoint((person, device): (u8, u8)) -> Endpoint {
    let did = Identity::from_seed(&[person; 32]).did();
    Endpoint { did, device: DeviceId::from_random([device; 16]) }
}
