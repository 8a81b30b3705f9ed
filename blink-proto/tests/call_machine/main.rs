//! The call machine on virtual time: required and forbidden events and messages of each situation.

mod budgets;
mod false_claims;
mod group;
mod hold;
mod messages;
mod named_devices;
mod names;
mod network;
mod no_session;
mod offered_streams;
mod pair;
mod past_calls;
mod people;
mod rate_limits;
mod remembering;
mod strangers;

use std::time::Duration;

use blink_api::{CallId, CallSettings};
use blink_proto::call::{CancelledReason, EndReason, Event};
use blink_sim::simulation::{Network, Simulation};

pub(crate) const A: usize = 0;
pub(crate) const B: usize = 1;
pub(crate) const C: usize = 2;
pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn incoming(event: &Event) -> bool {
    matches!(event, Event::IncomingCall { .. })
}

pub(crate) fn joined(event: &Event) -> bool {
    matches!(event, Event::ParticipantJoined { .. })
}

pub(crate) fn left(event: &Event) -> bool {
    matches!(event, Event::ParticipantLeft { .. })
}

pub(crate) fn ended(event: &Event) -> bool {
    matches!(event, Event::CallEnded { .. })
}

pub(crate) fn ended_with(reason: EndReason) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::CallEnded { reason: why, .. } if *why == reason)
}

/// A calls the others and all of them answer.
pub(crate) fn connected(simulation: &mut Simulation, callees: &[usize]) -> CallId {
    let call = simulation.offer(A, callees);
    for callee in callees {
        simulation.until(*callee, 20 * SECOND, "incoming", incoming);
        simulation.answer(*callee, call);
    }
    for node in 0..=callees.len() {
        for _ in 0..400 {
            if simulation.count(node, joined) >= callees.len() {
                break;
            }
            simulation.advance(Duration::from_millis(50));
        }
        assert_eq!(simulation.count(node, joined), callees.len(), "node {node}\n{}", simulation.transcript());
    }
    call
}

/// No calls, no sessions, no open microphone.
pub(crate) fn idle(simulation: &Simulation, node: usize) {
    let snapshot = simulation.nodes[node].machine.snapshot();
    assert!(snapshot.calls.is_empty(), "node {node}: {:?}\n{}", snapshot.calls, simulation.transcript());
    assert_eq!(
        (simulation.paths.open_at(node), simulation.nodes[node].active_call),
        (0, None),
        "node {node}\n{}",
        simulation.transcript()
    );
}

/// A with one device, B with two.
pub(crate) fn two_devices(seed: u64) -> Simulation {
    Simulation::of_devices(&[(1, 1), (2, 2), (2, 3)], seed, Network::PERFECT, CallSettings::default())
}

pub(crate) fn cancelled_with(reason: CancelledReason) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::CallCancelled { reason: why, .. } if *why == reason)
}
