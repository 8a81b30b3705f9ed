//! What users do at random times: everything that the machine lets them do.

use std::collections::BTreeSet;

use blink_api::{CallId, Endpoint, StreamId, TrackKind};
use blink_proto::call::{CallSnapshot, CallState, Input, Machine, StreamInfo};
use blink_proto::secure::Random;
use blink_sim::simulation::Simulation;
use rand::{Rng, RngExt};

/// Something that one of these devices' users does. What is refused is refused with an error; that
/// is fine here.
pub(crate) fn act(world: &mut Simulation, nodes: usize, random: &mut Random) {
    let node = random.random_range(0..nodes);
    let current = world.nodes[node].machine.current();
    match random.random_range(0..30) {
        0..=2 if current.is_none() || random.random_bool(0.4) => offer_one(world, node, random),
        3 | 4 if current.is_none() || random.random_bool(0.3) => offer_group(world, node, random),
        5..=12 => answer(world, node, random),
        13 => reject(world, node, random),
        14 | 15 => drop(world.act(node, |machine, now| machine.leave(now).ok())),
        16 => world.act(node, |machine, now| machine.set_muted(now, random.random_bool(0.5))),
        17 => world.act(node, |machine, now| machine.set_deafened(now, random.random_bool(0.5))),
        18 => drop(world.act(node, |machine, now| machine.set_recording(now, random.random_bool(0.5)).ok())),
        19 => {
            let somebody = world.did(random.random_range(0..world.nodes.len()));
            world.trace(node, || format!("adds {somebody}"));
            world.act(node, |machine, now| machine.add(now, somebody).ok());
        }
        20 => {
            let somebody = world.did(random.random_range(0..world.nodes.len()));
            world.trace(node, || format!("removes {somebody}"));
            // Only the creator may.
            world.try_remove(node, somebody).ok();
        }
        21 | 22 => offer_stream(world, node, random),
        23 => revoke_stream(world, node),
        24 | 25 => request_stream(world, node, random),
        26 => close_stream(world, node),
        27 | 28 => speak(world, node, random),
        _ => {}
    }
}

fn offer_one(world: &mut Simulation, node: usize, random: &mut Random) {
    let somebody = world.did(random.random_range(0..world.nodes.len()));
    world.trace(node, || format!("calls {somebody}"));
    // Oneself is refused.
    world.try_offer(node, &[somebody]).ok();
}

fn offer_group(world: &mut Simulation, node: usize, random: &mut Random) {
    let people: BTreeSet<_> =
        (0..world.nodes.len()).filter(|_| random.random_bool(0.6)).map(|other| world.did(other)).collect();
    let people: Vec<_> = people.into_iter().collect();
    world.trace(node, || format!("calls {} people", people.len()));
    // Nobody at all is refused.
    world.try_offer(node, &people).ok();
}

/// A call that rings, or one that goes on.
fn answer(world: &mut Simulation, node: usize, random: &mut Random) {
    if let Some(call) = any_call(world, node, &[CallState::Ringing, CallState::Open], random) {
        world.trace(node, || format!("answers {}", blink_sim::simulation::short(&call)));
        world.try_answer(node, call).ok();
    }
}

fn reject(world: &mut Simulation, node: usize, random: &mut Random) {
    if let Some(call) = any_call(world, node, &[CallState::Ringing], random) {
        world.trace(node, || format!("rejects {}", blink_sim::simulation::short(&call)));
        world.act(node, |machine, now| machine.reject(now, call).ok());
    }
}

fn any_call(world: &Simulation, node: usize, states: &[CallState], random: &mut Random) -> Option<CallId> {
    let calls = world.nodes[node].machine.snapshot().calls;
    let calls: Vec<_> = calls.iter().filter(|call| states.contains(&call.state)).map(|call| call.call).collect();
    (!calls.is_empty()).then(|| calls[random.random_range(0..calls.len())])
}

fn offer_stream(world: &mut Simulation, node: usize, random: &mut Random) {
    let mut id = [0; 16];
    random.fill_bytes(&mut id);
    let kind = if random.random_bool(0.7) { TrackKind::Video } else { TrackKind::Audio };
    let info = StreamInfo { stream: StreamId::from_random(id), kind, codec: "any".to_owned(), name: String::new() };
    world.act(node, |machine, now| machine.offer_stream(now, info).ok());
}

fn revoke_stream(world: &mut Simulation, node: usize) {
    let own = world.nodes[node].machine.snapshot().streams;
    if let Some(stream) = own.first().map(|info| info.stream) {
        world.act(node, |machine, now| machine.revoke_stream(now, stream).ok());
    }
}

fn request_stream(world: &mut Simulation, node: usize, random: &mut Random) {
    let Some(call) = current(world, node) else { return };
    let offered: Vec<(Endpoint, StreamId)> = call
        .participants
        .iter()
        .filter_map(|other| other.endpoint.map(|endpoint| (endpoint, &other.streams)))
        .flat_map(|(endpoint, streams)| streams.iter().map(move |info| (endpoint, info.stream)))
        .collect();
    if !offered.is_empty() {
        let (endpoint, stream) = offered[random.random_range(0..offered.len())];
        world.trace(node, || format!("asks {} for {stream}", endpoint.device));
        // More than sections are there are refused.
        world.try_request(node, endpoint, stream).ok();
    }
}

fn close_stream(world: &mut Simulation, node: usize) {
    if let Some(request) = world.nodes[node].requested.first().copied() {
        world.act(node, |machine, now| machine.close_stream(now, request.endpoint, request.stream).ok());
    }
}

/// A voice is heard on this device: its own, or somebody's.
fn speak(world: &mut Simulation, node: usize, random: &mut Random) {
    let others = current(world, node).map(|call| call.participants).unwrap_or_default();
    let voices: Vec<Endpoint> =
        others.iter().filter_map(|other| other.endpoint).chain([world.nodes[node].endpoint]).collect();
    let endpoint = voices[random.random_range(0..voices.len())];
    world.input(node, Input::Speaking { endpoint, speaking: random.random_bool(0.6) });
}

/// The call that a device is in.
pub(crate) fn current(world: &Simulation, node: usize) -> Option<CallSnapshot> {
    let machine: &Machine = &world.nodes[node].machine;
    let id = machine.current()?;
    machine.snapshot().calls.into_iter().find(|call| call.call == id)
}
