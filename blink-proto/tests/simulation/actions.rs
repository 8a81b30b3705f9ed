//! Random actions of users, over all methods of the machine.

use std::collections::BTreeSet;

use blink_api::{CallId, Endpoint, QualityReason, StreamId, TrackKind};
use blink_proto::call::{CallSnapshot, CallState, Input, Machine, StreamInfo};
use blink_proto::secure::Random;
use blink_sim::simulation::Simulation;
use rand::{Rng, RngExt};

/// Performs a random action of a random user. Errors of actions that are not possible now are
/// ignored.
pub(crate) fn act(simulation: &mut Simulation, nodes: usize, random: &mut Random) {
    let node = random.random_range(0..nodes);
    let current = simulation.nodes[node].machine.current();
    match random.random_range(0..30) {
        0..=2 if current.is_none() || random.random_bool(0.4) => offer_one(simulation, node, random),
        3 | 4 if current.is_none() || random.random_bool(0.3) => offer_group(simulation, node, random),
        5..=12 => answer(simulation, node, random),
        13 => reject(simulation, node, random),
        14 | 15 => drop(simulation.act(node, |machine, now| machine.leave(now).ok())),
        16 => simulation.act(node, |machine, now| machine.set_muted(now, random.random_bool(0.5))),
        17 => simulation.act(node, |machine, now| machine.set_deafened(now, random.random_bool(0.5))),
        18 => drop(simulation.act(node, |machine, now| machine.set_recording(now, random.random_bool(0.5)).ok())),
        19 => {
            let did = simulation.did(random.random_range(0..simulation.nodes.len()));
            simulation.trace(node, || format!("adds {did}"));
            simulation.act(node, |machine, now| machine.add(now, did).ok());
        }
        20 => {
            let did = simulation.did(random.random_range(0..simulation.nodes.len()));
            simulation.trace(node, || format!("removes {did}"));
            // An error for others than the creator.
            simulation.try_remove(node, did).ok();
        }
        21 | 22 => offer_stream(simulation, node, random),
        23 => revoke_stream(simulation, node),
        24 | 25 => request_stream(simulation, node, random),
        26 => close_stream(simulation, node),
        27 | 28 => speak(simulation, node, random),
        29 => measure(simulation, node),
        _ => {}
    }
}

/// Some users send application messages to all or to one, each with a number that grows.
pub(crate) fn send_messages(simulation: &mut Simulation, nodes: usize, random: &mut Random, sent: &mut u64) {
    for _ in 0..random.random_range(0..6) {
        let node = random.random_range(0..nodes);
        let other = simulation.nodes[random.random_range(0..nodes)].endpoint;
        let to = random.random_bool(0.5).then_some(other);
        *sent += 1;
        let mut message = sent.to_be_bytes().to_vec();
        message.resize(random.random_range(8..=16_384), 0);
        simulation.trace(node, || format!("sends message {sent} to {to:?}"));
        // An error without a call, to one who is not in it, and above the rate.
        simulation.act(node, |machine, now| machine.send_message(now, to, &message).ok());
    }
}

fn offer_one(simulation: &mut Simulation, node: usize, random: &mut Random) {
    let did = simulation.did(random.random_range(0..simulation.nodes.len()));
    simulation.trace(node, || format!("calls {did}"));
    // An error for a call to oneself.
    simulation.try_offer(node, &[did]).ok();
}

fn offer_group(simulation: &mut Simulation, node: usize, random: &mut Random) {
    let people: BTreeSet<_> =
        (0..simulation.nodes.len()).filter(|_| random.random_bool(0.6)).map(|other| simulation.did(other)).collect();
    let people: Vec<_> = people.into_iter().collect();
    simulation.trace(node, || format!("calls {} people", people.len()));
    // An error for an empty list.
    simulation.try_offer(node, &people).ok();
}

/// Accepts a ringing call, or joins an ongoing one.
fn answer(simulation: &mut Simulation, node: usize, random: &mut Random) {
    if let Some(call) = any_call(simulation, node, &[CallState::Ringing, CallState::Open], random) {
        simulation.trace(node, || format!("answers {}", blink_sim::simulation::short(&call)));
        simulation.try_answer(node, call).ok();
    }
}

fn reject(simulation: &mut Simulation, node: usize, random: &mut Random) {
    if let Some(call) = any_call(simulation, node, &[CallState::Ringing], random) {
        simulation.trace(node, || format!("rejects {}", blink_sim::simulation::short(&call)));
        simulation.act(node, |machine, now| machine.reject(now, call).ok());
    }
}

fn any_call(simulation: &Simulation, node: usize, states: &[CallState], random: &mut Random) -> Option<CallId> {
    let calls = simulation.nodes[node].machine.snapshot().calls;
    let calls: Vec<_> = calls.iter().filter(|call| states.contains(&call.state)).map(|call| call.call).collect();
    (!calls.is_empty()).then(|| calls[random.random_range(0..calls.len())])
}

fn offer_stream(simulation: &mut Simulation, node: usize, random: &mut Random) {
    let mut id = [0; 16];
    random.fill_bytes(&mut id);
    let kind = if random.random_bool(0.7) { TrackKind::Video } else { TrackKind::Audio };
    let info = StreamInfo { stream: StreamId::from_random(id), kind, codec: "any".to_owned(), name: String::new() };
    simulation.act(node, |machine, now| machine.offer_stream(now, info).ok());
}

fn revoke_stream(simulation: &mut Simulation, node: usize) {
    let own = simulation.nodes[node].machine.snapshot().streams;
    if let Some(stream) = own.first().map(|info| info.stream) {
        simulation.act(node, |machine, now| machine.revoke_stream(now, stream).ok());
    }
}

fn request_stream(simulation: &mut Simulation, node: usize, random: &mut Random) {
    let Some(call) = current(simulation, node) else { return };
    let offered: Vec<(Endpoint, StreamId)> = call
        .participants
        .iter()
        .filter_map(|other| other.endpoint.map(|endpoint| (endpoint, &other.streams)))
        .flat_map(|(endpoint, streams)| streams.iter().map(move |info| (endpoint, info.stream)))
        .collect();
    if !offered.is_empty() {
        let (endpoint, stream) = offered[random.random_range(0..offered.len())];
        simulation.trace(node, || format!("asks {} for {stream}", endpoint.device));
        // An error beyond the number of media sections.
        simulation.try_request(node, endpoint, stream).ok();
    }
}

fn close_stream(simulation: &mut Simulation, node: usize) {
    if let Some(request) = simulation.nodes[node].requested.first().copied() {
        simulation.act(node, |machine, now| machine.close_stream(now, request.endpoint, request.stream).ok());
    }
}

/// Starts or stops speech of a participant or of this device.
fn speak(simulation: &mut Simulation, node: usize, random: &mut Random) {
    let others = current(simulation, node).map(|call| call.participants).unwrap_or_default();
    let voices: Vec<Endpoint> =
        others.iter().filter_map(|other| other.endpoint).chain([simulation.nodes[node].endpoint]).collect();
    let endpoint = voices[random.random_range(0..voices.len())];
    simulation.input(node, Input::Speaking { endpoint, speaking: random.random_bool(0.6) });
}

/// The media of a participant, or of one that is not there, is degraded or has recovered.
///
/// Chosen by the time, so that each seed keeps its other choices.
fn measure(simulation: &mut Simulation, node: usize) {
    let milliseconds = simulation.elapsed().as_millis() as usize;
    let endpoint = simulation.nodes[milliseconds % simulation.nodes.len()].endpoint;
    let reason = QualityReason::Loss { measured: 0.1, threshold: 0.05 };
    let degraded = (milliseconds % 5 < 3).then_some(reason);
    let calls = calls_of(simulation, node);
    if !calls.is_empty() {
        let call = calls[milliseconds % calls.len()].call;
        simulation.input(node, Input::Quality { call, endpoint, degraded });
    }
}

/// A device holds its call, resumes a held one, or leaves one.
///
/// Chosen by the time, so that each seed keeps its other choices.
pub(crate) fn hold_or_resume(simulation: &mut Simulation, nodes: usize) {
    let milliseconds = simulation.elapsed().as_millis() as usize;
    let node = milliseconds % nodes;
    let held: Vec<_> = calls_of(simulation, node).into_iter().filter(|call| call.state == CallState::Held).collect();
    let held = (!held.is_empty()).then(|| held[milliseconds % held.len()].call);
    match (milliseconds % 5, held) {
        (0 | 1, Some(call)) => {
            simulation.trace(node, || format!("resumes {}", blink_sim::simulation::short(&call)));
            // An error while another call is being set up.
            simulation.act(node, |machine, now| machine.resume(now, call).ok());
        }
        (2, Some(call)) => {
            simulation.trace(node, || format!("leaves {}, which it holds", blink_sim::simulation::short(&call)));
            simulation.act(node, |machine, now| machine.leave_call(now, call)).expect("it is in that call");
        }
        (_, _) => {
            simulation.trace(node, || "holds its call".to_owned());
            // An error without a call that it has joined.
            simulation.act(node, |machine, now| machine.hold(now).ok());
        }
    }
}

/// The calls that a device is in, held or not, or tries to be in.
pub(crate) fn calls_of(simulation: &Simulation, node: usize) -> Vec<CallSnapshot> {
    let calls = simulation.nodes[node].machine.snapshot().calls;
    let is_in = |call: &CallSnapshot| !matches!(call.state, CallState::Ringing | CallState::Open);
    calls.into_iter().filter(is_in).collect()
}

/// The call that a device is in and does not hold.
pub(crate) fn current(simulation: &Simulation, node: usize) -> Option<CallSnapshot> {
    let machine: &Machine = &simulation.nodes[node].machine;
    let id = machine.current()?;
    machine.snapshot().calls.into_iter().find(|call| call.call == id)
}
