//! Replay of all traffic on every topic to every device, during calls and after their end.

use std::collections::BTreeSet;
use std::time::Duration;

use blink_api::{CallId, CallSettings, Origin, StreamId, Topic, TrackKind};
use blink_proto::call::{Event, Snapshot, StreamInfo};
use blink_proto::secure::inbox_topic;
use blink_sim::simulation::{Envelope, Network, Simulation, SimulationConfig};
use libtest_mimic::{Failed, Trial};

const SECOND: Duration = Duration::from_secs(1);
/// Envelopes replayed to each device every second: few enough to stay below the rate limits.
const AT_ONCE: usize = 100;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("replays::during_a_call", during_a_call),
        Trial::test("replays::after_all_calls_ended", after_all_calls_ended),
        Trial::test("replays::after_all_devices_restarted", after_all_devices_restarted),
    ]
}

fn during_a_call() -> Result<(), Failed> {
    let (mut simulation, _) = call_of_a_group();
    replay_everything(&mut simulation)
}

fn after_all_calls_ended() -> Result<(), Failed> {
    let mut simulation = ended_calls();
    replay_everything(&mut simulation)
}

/// After a restart of all devices the replay windows are empty. Past and current calls are restored
/// from memory.
fn after_all_devices_restarted() -> Result<(), Failed> {
    let (mut simulation, _) = call_of_a_group();
    simulation.leave(3);
    simulation.advance(10 * SECOND);
    for node in 0..simulation.nodes.len() {
        simulation.restart_with_memory(node);
    }
    simulation.advance(90 * SECOND);
    replay_everything(&mut simulation)
}

/// A group call with two devices of one identity: of the invited, some accept, one rejects and one
/// does not answer. One member offers a stream, and one rejoins.
fn call_of_a_group() -> (Simulation, CallId) {
    let devices = [(1, 1), (2, 2), (2, 20), (3, 3), (4, 4), (5, 5)];
    let (network, settings) = (Network::PERFECT, CallSettings::default());
    let mut simulation =
        Simulation::configured(SimulationConfig { devices: &devices, seed: 1, network, settings, sealed: true });
    simulation.paths.traffic = SECOND;
    let call = simulation.offer(0, &[1, 3, 4, 5]);
    simulation.advance(SECOND);
    simulation.answer(1, call);
    simulation.advance(SECOND);
    simulation.answer(3, call);
    simulation.reject(5, call);
    simulation.advance(5 * SECOND);
    simulation.leave(3);
    simulation.advance(5 * SECOND);
    simulation.answer(3, call);
    simulation.act(1, |machine, now| machine.set_muted(now, true));
    let (stream, name) = (StreamId::from_random([1; 16]), "screen".to_owned());
    let info = StreamInfo { stream, kind: TrackKind::Video, codec: "VP8".to_owned(), name };
    simulation.act(1, |machine, now| machine.offer_stream(now, info)).expect("it is in a call");
    simulation.advance(5 * SECOND);
    let from = simulation.nodes[1].endpoint;
    simulation.try_request(0, from, stream).expect("it is offered");
    // Until the last offer has ended.
    simulation.advance(90 * SECOND);
    (simulation, call)
}

/// As above; then all leave, two of them have a call of two, and an offer is revoked.
fn ended_calls() -> Simulation {
    let (mut simulation, _) = call_of_a_group();
    for node in [0, 1, 3] {
        simulation.leave(node);
        simulation.advance(SECOND);
    }
    let call = simulation.offer(4, &[5]);
    simulation.advance(SECOND);
    simulation.answer(5, call);
    simulation.advance(10 * SECOND);
    simulation.leave(5);
    simulation.advance(10 * SECOND);
    simulation.offer(0, &[3]);
    simulation.advance(SECOND);
    simulation.leave(0);
    simulation.advance(90 * SECOND);
    simulation
}

/// Replays all envelopes, which must cause no event and no change of state.
fn replay_everything(simulation: &mut Simulation) -> Result<(), Failed> {
    let envelopes = simulation.published.clone();
    let inboxes = simulation.nodes.iter().map(|node| inbox_topic(&node.endpoint.did));
    let topics: BTreeSet<Topic> = envelopes.iter().map(|envelope| envelope.topic).chain(inboxes).collect();
    let before = states(simulation);
    let mut played = 0_usize;
    for envelope in &envelopes {
        for topic in &topics {
            played += 1;
            let mut origin = [0; 16];
            origin[..8].copy_from_slice(&played.to_be_bytes());
            let envelope = Envelope { topic: *topic, bytes: envelope.bytes.clone(), origin: Origin(origin) };
            for node in 0..simulation.nodes.len() {
                let events = simulation.nodes[node].events.len();
                simulation.deliver_to(node, &envelope);
                if simulation.nodes[node].events.len() > events {
                    return Err(format!("{}\nnode {node} emitted an event", simulation.transcript()).into());
                }
            }
            if played.is_multiple_of(AT_ONCE) {
                simulation.advance(SECOND);
            }
        }
    }
    simulation.advance(60 * SECOND);
    let after = states(simulation);
    if before != after {
        return Err(format!("{}\nbefore: {before:?}\nafter: {after:?}", simulation.transcript()).into());
    }
    let limited: u64 =
        simulation.nodes.iter().filter_map(|node| node.envelopes.as_ref()).map(|d| d.counters().rate_limited).sum();
    if played == 0 || limited > 0 {
        return Err(format!("{played} envelopes were replayed, of which {limited} were rate-limited").into());
    }
    Ok(())
}

fn states(simulation: &Simulation) -> Vec<(Snapshot, Vec<Event>, Option<CallId>, usize)> {
    let state = |node: &blink_sim::simulation::Node| {
        (node.machine.snapshot(), node.events.clone(), node.active_call, node.sessions.len())
    };
    simulation.nodes.iter().map(state).collect()
}
