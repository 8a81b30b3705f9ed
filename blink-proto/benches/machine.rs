//! How many inputs a call machine takes a second, how many whole calls are simulated in one, and
//! what offers cost.
//!
//! The inputs are those of the one who is called in a minute of a call of two, all that reaches a
//! machine in it: messages, what its session reports, time.

#[path = "../tests/world/mod.rs"]
mod world;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use blink_api::{CallId, CallSettings, DeviceId, Endpoint};
use blink_proto::call::{
    Input, Machine, MachineConfig, Memory, Negotiation, Now, Output, SessionId, SessionInput, Signal,
};
use blink_proto::secure::Channel;
use blink_proto::secure::Identity;
use blink_proto::wire::{Body, Entry, EntryBody, Offer, Signed, cbor};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use world::{Network, World};

const MINUTE: Duration = Duration::from_secs(60);
/// How often a session reports packets.
const TRAFFIC: Duration = Duration::from_millis(100);

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    inputs(&mut criterion);
    offers(&mut criterion);
    calls(&mut criterion);
    criterion.final_summary();
}

fn inputs(criterion: &mut Criterion) {
    let (fresh, steps) = Pair::new().record();
    let mut group = criterion.benchmark_group("machine");
    group.throughput(Throughput::Elements(steps.len() as u64));
    group.bench_function("inputs", |bencher| {
        let play = |mut machine: Machine| {
            for (now, step) in &steps {
                step.clone().take(&mut machine, *now);
                while machine.poll().is_some() {}
            }
            machine
        };
        bencher.iter_batched(|| fresh.clone(), play, BatchSize::SmallInput);
    });
    group.finish();
}

/// An offer of a stranger, full of entries: before anything is known of its sender, and once it
/// echoes the nonce. The second has all its signatures checked, as the first had before they were
/// left for last.
fn offers(criterion: &mut Criterion) {
    let now = Now { mono: Instant::now(), unix_ms: 0 };
    let callee = Machine::new(config(2), now);
    let (from, call, unasked) = offer_full_of_entries(&callee, now);
    let hear = |machine: &mut Machine, offer: &Offer| {
        let (channel, body) = (Channel::Inbox(machine.own().did), Body::Offer(Box::new(offer.clone())));
        machine.handle(now, Input::Signal(Signal { channel, from, boot: 1, call, body }));
        std::iter::from_fn(|| machine.poll()).collect::<Vec<_>>()
    };
    let answer = hear(&mut callee.clone(), &unasked);
    let nonce = answer.iter().find_map(|output| match output {
        Output::Send { body, .. } => match &**body {
            Body::Ringing(ringing) => Some(ringing.nonce),
            _ => None,
        },
        _ => None,
    });
    let asked = Offer { echo: vec![nonce.expect("who asks is answered")], ..unasked.clone() };
    let mut group = criterion.benchmark_group("offer with 64 entries");
    group.throughput(Throughput::Elements(1));
    for (name, offer) in [("unasked", &unasked), ("asked", &asked)] {
        group.bench_function(name, |bencher| {
            let run = |mut machine: Machine| (hear(&mut machine, offer), machine);
            bencher.iter_batched(|| callee.clone(), run, BatchSize::SmallInput);
        });
    }
    group.finish();
}

fn offer_full_of_entries(callee: &Machine, now: Now) -> (Endpoint, CallId, Offer) {
    let identity = Identity::from_seed(&[9; 32]);
    let mut caller = Machine::new(config(9), now);
    let call = caller.offer(now, &[callee.own().did], b"").expect("there is somebody to call");
    let offer = std::iter::from_fn(|| caller.poll()).find_map(|output| match output {
        Output::Send { body, .. } => match *body {
            Body::Offer(offer) => Some(*offer),
            _ => None,
        },
        _ => None,
    });
    let entry = |n: u8| {
        let (did, body) = (Identity::from_seed(&[n; 32]).did(), EntryBody::Add { by: identity.did(), slot: n % 4 });
        let bytes = cbor::encode(&Entry { call, did, body });
        Signed { signature: identity.sign(b"blink/1 entry\0", &bytes), bytes }
    };
    let entries = (100..164).map(entry).collect();
    (caller.own(), call, Offer { entries, ..offer.expect("an offer goes out at once") })
}

/// A minute of a call each, on a network that loses, doubles and reorders, with the hanging up.
fn calls(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("simulation");
    group.throughput(Throughput::Elements(1));
    for people in [2, 4, 8u8] {
        group.bench_function(BenchmarkId::new("calls", people), |bencher| {
            let mut seed = 0;
            bencher.iter(|| {
                seed += 1;
                simulate(people, seed)
            });
        });
    }
    group.finish();
}

fn simulate(people: u8, seed: u64) -> World {
    let mut world = World::with(people, seed, Network::ROUGH, CallSettings::default());
    let callees: Vec<_> = (1..usize::from(people)).collect();
    let call = world.offer(0, &callees);
    world.advance(Duration::from_secs(10));
    for callee in &callees {
        // One whom no offer has reached yet has nothing to answer.
        world.act(*callee, |machine, now| machine.answer(now, call).ok());
    }
    world.advance(MINUTE);
    for node in 0..usize::from(people) {
        // One that is alone in a call of two has left it.
        world.act(node, |machine, now| machine.leave(now).ok());
    }
    world.advance(Duration::from_secs(20));
    world
}

/// What a machine is given.
#[derive(Clone)]
enum Step {
    Input(Box<Input>),
    Answer(CallId),
    Timeout,
}

impl Step {
    fn take(self, machine: &mut Machine, now: Now) {
        match self {
            Self::Input(input) => machine.handle(now, *input),
            Self::Answer(call) => drop(machine.answer(now, call).expect("it rings")),
            Self::Timeout => machine.handle_timeout(now),
        }
    }
}

/// Two machines on a network that loses nothing and takes no time.
struct Pair {
    machines: [Machine; 2],
    sessions: [Option<SessionId>; 2],
    news: VecDeque<(usize, Step)>,
    began: Instant,
    now: Instant,
    /// All that the second was given.
    steps: Vec<(Now, Step)>,
}

impl Pair {
    fn new() -> Self {
        let began = Instant::now();
        let start = Now { mono: began, unix_ms: 0 };
        let machines = [1, 2].map(|person| Machine::new(config(person), start));
        Self { machines, sessions: [None; 2], news: VecDeque::new(), began, now: began, steps: Vec::new() }
    }

    /// A minute of a call, and the machine that was called as it was before.
    fn record(mut self) -> (Machine, Vec<(Now, Step)>) {
        let fresh = self.machines[1].clone();
        let now = self.time();
        let call = self.machines[0].offer(now, &[fresh.own().did], b"").expect("there is somebody to call");
        self.carry_out(0);
        self.deliver();
        self.give(1, Step::Answer(call));
        let end = self.began + MINUTE;
        let mut traffic = self.began + TRAFFIC;
        loop {
            self.deliver();
            let timer = (0..2).filter_map(|node| Some((self.machines[node].deadline()?, node))).min();
            self.now = self.now.max(timer.map_or(traffic, |(at, _)| at.min(traffic)));
            if self.now >= end {
                break;
            }
            match timer {
                Some((at, node)) if at < traffic => self.give(node, Step::Timeout),
                _ => {
                    traffic += TRAFFIC;
                    (0..2).for_each(|node| self.report(node, SessionInput::Traffic));
                }
            }
        }
        let connected = self.machines[1].clock_of(&self.machines[0].own()).is_some();
        assert!(connected, "a call in which the paths are measured");
        (fresh, self.steps)
    }

    fn time(&self) -> Now {
        Now { mono: self.now, unix_ms: self.now.duration_since(self.began).as_millis() as u64 }
    }

    fn deliver(&mut self) {
        while let Some((to, step)) = self.news.pop_front() {
            self.give(to, step);
        }
    }

    fn give(&mut self, to: usize, step: Step) {
        let now = self.time();
        if to == 1 {
            self.steps.push((now, step.clone()));
        }
        step.take(&mut self.machines[to], now);
        self.carry_out(to);
    }

    fn report(&mut self, to: usize, event: SessionInput) {
        if let Some(session) = self.sessions[to] {
            self.news.push_back((to, Step::Input(Box::new(Input::Session { session, event }))));
        }
    }

    fn carry_out(&mut self, node: usize) {
        while let Some(output) = self.machines[node].poll() {
            match output {
                Output::Send { channel, call, body, .. } => {
                    let signal = Signal { channel, from: self.machines[node].own(), boot: 1, call, body: *body };
                    self.news.push_back((1 - node, Step::Input(Box::new(Input::Signal(signal)))));
                }
                Output::OpenSession { session, .. } => self.sessions[node] = Some(session),
                Output::Negotiate { step, .. } => self.negotiate(node, &step),
                Output::SendChannelMessage { message, .. } => self.report(1 - node, SessionInput::Channel(message)),
                _ => {}
            }
        }
    }

    fn negotiate(&mut self, node: usize, step: &Negotiation) {
        match step {
            Negotiation::Offer { generation, .. } | Negotiation::AcceptOffer { generation, .. } => {
                let sdp = format!("v=0\r\na=fingerprint:sha-256 {node}\r\n");
                self.report(node, SessionInput::Described { generation: *generation, sdp });
                let attribute = "candidate:1 1 udp 1 192.0.2.1 9 typ host".to_owned();
                self.report(node, SessionInput::Candidate { attribute });
            }
            Negotiation::Answer { .. } => {
                for to in 0..2 {
                    self.report(to, SessionInput::Connected);
                    self.report(to, SessionInput::ChannelOpen);
                }
            }
            Negotiation::Candidate { .. } => {}
        }
    }
}

fn config(person: u8) -> MachineConfig {
    let identity = Identity::from_seed(&[person; 32]);
    let own = Endpoint { did: identity.did(), device: DeviceId::from_random([person; 16]) };
    let settings = CallSettings::default();
    MachineConfig { identity, own, boot: 1, settings, seed: [person; 32], memory: Memory::default() }
}
