//! Everything that was ever on the network, played back on every topic to every device: while calls
//! go on, and once they are over.

use std::collections::BTreeSet;
use std::time::Duration;

use blink_api::{CallId, CallSettings, Origin, StreamId, Topic, TrackKind};
use blink_proto::call::{Event, Snapshot, StreamInfo};
use blink_proto::secure::inbox_topic;
use blink_sim::simulation::{Envelope, Network, Simulation, SimulationConfig};
use libtest_mimic::{Failed, Trial};

const SECOND: Duration = Duration::from_secs(1);
/// Played back to each device every second: few enough that no limit of rates is what keeps it out.
const AT_ONCE: usize = 100;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("replays::while_a_call_goes_on", while_a_call_goes_on),
        Trial::test("replays::once_all_is_over", once_all_is_over),
        Trial::test("replays::after_everybody_started_anew", after_everybody_started_anew),
    ]
}

fn while_a_call_goes_on() -> Result<(), Failed> {
    let (mut world, _) = call_of_a_group();
    play_everything_back(&mut world)
}

fn once_all_is_over() -> Result<(), Failed> {
    let mut world = everything();
    play_everything_back(&mut world)
}

/// Nobody's door remembers what it has seen. What is known of calls that were or still are was
/// written down.
fn after_everybody_started_anew() -> Result<(), Failed> {
    let (mut world, _) = call_of_a_group();
    world.leave(3);
    world.advance(10 * SECOND);
    for node in 0..world.nodes.len() {
        world.restart_with_memory(node);
    }
    world.advance(90 * SECOND);
    play_everything_back(&mut world)
}

/// Four people, one of them with two devices: who is offered a call answers, rejects or does
/// nothing; there are streams, and somebody joins again.
fn call_of_a_group() -> (Simulation, CallId) {
    let devices = [(1, 1), (2, 2), (2, 20), (3, 3), (4, 4), (5, 5)];
    let (network, settings) = (Network::PERFECT, CallSettings::default());
    let mut world =
        Simulation::configured(SimulationConfig { devices: &devices, seed: 1, network, settings, sealed: true });
    world.paths.traffic = SECOND;
    let call = world.offer(0, &[1, 3, 4, 5]);
    world.advance(SECOND);
    world.answer(1, call);
    world.advance(SECOND);
    world.answer(3, call);
    world.reject(5, call);
    world.advance(5 * SECOND);
    world.leave(3);
    world.advance(5 * SECOND);
    world.answer(3, call);
    world.act(1, |machine, now| machine.set_muted(now, true));
    let (stream, name) = (StreamId::from_random([1; 16]), "screen".to_owned());
    let info = StreamInfo { stream, kind: TrackKind::Video, codec: "VP8".to_owned(), name };
    world.act(1, |machine, now| machine.offer_stream(now, info)).expect("it is in a call");
    world.advance(5 * SECOND);
    let from = world.nodes[1].endpoint;
    world.try_request(0, from, stream).expect("it is offered");
    // Until nobody rings any more.
    world.advance(90 * SECOND);
    (world, call)
}

/// As above, then all leave, two of them talk alone, and one is called who is not asked for long.
fn everything() -> Simulation {
    let (mut world, _) = call_of_a_group();
    for node in [0, 1, 3] {
        world.leave(node);
        world.advance(SECOND);
    }
    let call = world.offer(4, &[5]);
    world.advance(SECOND);
    world.answer(5, call);
    world.advance(10 * SECOND);
    world.leave(5);
    world.advance(10 * SECOND);
    world.offer(0, &[3]);
    world.advance(SECOND);
    world.leave(0);
    world.advance(90 * SECOND);
    world
}

/// Nobody may be told anything by it, and nobody may believe anything else after it.
fn play_everything_back(world: &mut Simulation) -> Result<(), Failed> {
    let letters = world.published.clone();
    let inboxes = world.nodes.iter().map(|node| inbox_topic(&node.endpoint.did));
    let topics: BTreeSet<Topic> = letters.iter().map(|letter| letter.topic).chain(inboxes).collect();
    let before = beliefs(world);
    let mut played = 0_usize;
    for letter in &letters {
        for topic in &topics {
            played += 1;
            let mut origin = [0; 16];
            origin[..8].copy_from_slice(&played.to_be_bytes());
            let letter = Envelope { topic: *topic, bytes: letter.bytes.clone(), origin: Origin(origin) };
            for node in 0..world.nodes.len() {
                let told = world.nodes[node].events.len();
                world.deliver_to(node, &letter);
                if world.nodes[node].events.len() > told {
                    return Err(format!("{}\nnode {node} was told something", world.transcript()).into());
                }
            }
            if played.is_multiple_of(AT_ONCE) {
                world.advance(SECOND);
            }
        }
    }
    world.advance(60 * SECOND);
    let after = beliefs(world);
    if before != after {
        return Err(format!("{}\nbefore: {before:?}\nafter: {after:?}", world.transcript()).into());
    }
    let limited: u64 =
        world.nodes.iter().filter_map(|node| node.envelopes.as_ref()).map(|d| d.counters().rate_limited).sum();
    if played == 0 || limited > 0 {
        return Err(format!("{played} were played back, of which limits of rates kept {limited} out").into());
    }
    Ok(())
}

fn beliefs(world: &Simulation) -> Vec<(Snapshot, Vec<Event>, Option<CallId>, usize)> {
    let belief = |node: &blink_sim::simulation::Node| {
        (node.machine.snapshot(), node.events.clone(), node.active_call, node.sessions.len())
    };
    world.nodes.iter().map(belief).collect()
}
