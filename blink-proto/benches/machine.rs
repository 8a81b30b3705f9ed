//! How many inputs a call machine takes a second, how many whole calls are simulated in one, and
//! what offers cost.
//!
//! The inputs are all those of the callee in a minute of a call of two: messages, events of its
//! session, timers.

use std::time::{Duration, Instant};

use blink_api::{CallId, CallSettings, DeviceId, Endpoint};
use blink_proto::call::{Event, Input, Machine, MachineConfig, Memory, Now, Output, Signal};
use blink_proto::secure::Channel;
use blink_proto::secure::Identity;
use blink_proto::wire::{Body, Entry, EntryBody, Offer, Signed, cbor};
use blink_sim::simulation::{Network, Simulation, Step};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};

const MINUTE: Duration = Duration::from_secs(60);

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    inputs(&mut criterion);
    offers(&mut criterion);
    calls(&mut criterion);
    criterion.final_summary();
}

fn inputs(criterion: &mut Criterion) {
    let (fresh, steps) = record();
    let mut group = criterion.benchmark_group("machine");
    group.throughput(Throughput::Elements(steps.len() as u64));
    group.bench_function("inputs", |bencher| {
        let play = |mut machine: Machine| {
            for (now, step) in &steps {
                step.clone().to(&mut machine, *now);
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
    let call = caller.offer(now, &[callee.own().did], b"").expect("one participant to call");
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

fn simulate(people: u8, seed: u64) -> Simulation {
    let mut simulation = Simulation::with(people, seed, Network::ROUGH, CallSettings::default());
    let callees: Vec<_> = (1..usize::from(people)).collect();
    let call = simulation.offer(0, &callees);
    simulation.advance(Duration::from_secs(10));
    for callee in &callees {
        // One whom no offer has reached yet has nothing to answer.
        simulation.act(*callee, |machine, now| machine.answer(now, call).ok());
    }
    simulation.advance(MINUTE);
    for node in 0..usize::from(people) {
        // The last one in a call of two has left already, which is an error.
        simulation.act(node, |machine, now| machine.leave(now).ok());
    }
    simulation.advance(Duration::from_secs(20));
    simulation
}

/// Input of the callee's machine.
#[derive(Clone)]
enum Given {
    Step(Step),
    Answer(CallId),
}

impl Given {
    fn to(self, machine: &mut Machine, now: Now) {
        match self {
            Self::Step(Step::Input(input)) => machine.handle(now, *input),
            Self::Step(Step::Timeout) => machine.handle_timeout(now),
            Self::Answer(call) => drop(machine.answer(now, call).expect("it rings")),
        }
    }
}

/// The callee's machine before a minute of a call of two, and all that it is given in it.
fn record() -> (Machine, Vec<(Now, Given)>) {
    let (caller, callee) = (0, 1);
    let mut simulation = Simulation::new(2, 1);
    simulation.trace.disable();
    let fresh = simulation.nodes[callee].machine.clone();
    simulation.record(callee);
    let call = simulation.offer(caller, &[callee]);
    simulation.until(callee, MINUTE, "the offer", |event| matches!(event, Event::IncomingCall { .. }));
    let mut given: Vec<_> = steps(&mut simulation);
    given.push((simulation.time(callee), Given::Answer(call)));
    simulation.record(callee);
    simulation.answer(callee, call);
    simulation.advance(MINUTE);
    given.extend(steps(&mut simulation));
    let measured = simulation.nodes[callee].machine.clock_of(&simulation.nodes[caller].endpoint).is_some();
    assert!(measured, "a call in which the paths are measured");
    (fresh, given)
}

fn steps(simulation: &mut Simulation) -> Vec<(Now, Given)> {
    simulation.take_recording().into_iter().map(|(now, step)| (now, Given::Step(step))).collect()
}

fn config(person: u8) -> MachineConfig {
    let identity = Identity::from_seed(&[person; 32]);
    let own = Endpoint { did: identity.did(), device: DeviceId::from_random([person; 16]) };
    let settings = CallSettings::default();
    MachineConfig { identity, own, boot: 1, settings, seed: [person; 32], memory: Memory::default() }
}
