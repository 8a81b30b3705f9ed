//! Calls of more than two.

use blink_proto::call::{CallState, Event};
use blink_sim::simulation::Simulation;

use crate::{A, B, C, SECOND, connected, ended, idle, incoming, joined, left};

#[test]
fn leaving_a_group_leaves_the_others_connected_and_lets_one_rejoin() {
    let mut simulation = Simulation::new(3, 7);
    let call = connected(&mut simulation, &[B, C]);
    simulation.leave(C);
    for node in [A, B] {
        simulation.until(node, SECOND, "left", left);
    }
    simulation.advance(40 * SECOND);
    assert_eq!((simulation.count(A, ended), simulation.count(B, ended), simulation.count(A, joined)), (0, 0, 2));
    assert_eq!(simulation.nodes[C].machine.snapshot().calls[0].state, CallState::Open);
    simulation.answer(C, call);
    simulation.advance(2 * SECOND);
    assert_eq!(
        (simulation.count(A, joined), simulation.count(B, joined), simulation.count(C, joined)),
        (3, 3, 4),
        "{}",
        simulation.transcript()
    );
}

#[test]
fn the_last_remote_leaves_a_group_and_the_call_goes_on() {
    let mut simulation = Simulation::new(3, 8);
    let call = connected(&mut simulation, &[B, C]);
    simulation.leave(B);
    simulation.leave(C);
    simulation.advance(40 * SECOND);
    assert_eq!((simulation.nodes[A].machine.current(), simulation.count(A, ended)), (Some(call), 0));
    simulation.answer(B, call);
    simulation.advance(2 * SECOND);
    assert_eq!(simulation.count(A, joined), 3, "{}", simulation.transcript());
}

#[test]
fn a_late_joiner_meets_everybody_once_and_learns_their_state() {
    let mut simulation = Simulation::new(3, 9);
    let call = simulation.offer(A, &[B, C]);
    simulation.until(B, SECOND, "incoming", incoming);
    simulation.answer(B, call);
    simulation.until(A, SECOND, "joined", joined);
    simulation.act(B, |machine, now| machine.set_muted(now, true));
    simulation.advance(10 * SECOND);
    simulation.answer(C, call);
    simulation.advance(SECOND);
    assert_eq!(
        (simulation.count(A, joined), simulation.count(B, joined), simulation.count(C, joined)),
        (2, 2, 2),
        "{}",
        simulation.transcript()
    );
    let muted = |event: &Event| matches!(event, Event::ParticipantStateChanged { state, .. } if state.muted);
    assert_eq!((simulation.count(A, muted), simulation.count(C, muted)), (1, 1), "{}", simulation.transcript());
}

#[test]
fn three_who_answer_at_the_same_instant_connect_pair_by_pair_once() {
    let mut simulation = Simulation::new(4, 10);
    let call = simulation.offer(A, &[B, C, 3]);
    for node in [B, C, 3] {
        simulation.until(node, SECOND, "incoming", incoming);
    }
    for node in [B, C, 3] {
        simulation.answer(node, call);
    }
    simulation.advance(3 * SECOND);
    for node in 0..4 {
        assert_eq!(simulation.count(node, joined), 3, "node {node}\n{}", simulation.transcript());
        assert_eq!(simulation.nodes[node].sessions_opened, 3);
    }
}

#[test]
fn two_who_only_share_the_callers_node_meet_in_the_call() {
    let mut simulation = Simulation::new(3, 32);
    simulation.cut_inboxes.extend([(B, C), (C, B)]);
    let call = simulation.offer(A, &[B, C]);
    simulation.until(B, SECOND, "incoming", incoming);
    simulation.until(C, SECOND, "incoming", incoming);
    simulation.answer(B, call);
    simulation.answer(C, call);
    simulation.advance(3 * SECOND);
    for node in [A, B, C] {
        assert_eq!(simulation.count(node, joined), 2, "node {node}\n{}", simulation.transcript());
    }
}

#[test]
fn everybody_leaves_before_one_answers() {
    let mut simulation = Simulation::new(3, 11);
    let call = simulation.offer(A, &[B, C]);
    simulation.until(B, SECOND, "incoming", incoming);
    simulation.until(C, SECOND, "incoming", incoming);
    simulation.answer(C, call);
    simulation.until(C, SECOND, "joined", joined);
    simulation.leave(C);
    simulation.advance(SECOND);
    assert_eq!(simulation.nodes[B].machine.pending(), [call], "the call goes on while A is in it");
    simulation.leave(A);
    simulation.until(B, SECOND, "cancelled", |event| matches!(event, Event::CallCancelled { .. }));
    simulation.advance(40 * SECOND);
    idle(&simulation, B);
}

#[test]
fn one_of_many_leaves_and_the_call_still_rings() {
    let mut simulation = Simulation::new(3, 12);
    let call = simulation.offer(A, &[B, C]);
    simulation.until(C, SECOND, "incoming", incoming);
    simulation.answer(C, call);
    simulation.until(A, SECOND, "joined", joined);
    simulation.leave(A);
    simulation.advance(5 * SECOND);
    assert_eq!(simulation.nodes[B].machine.pending(), [call], "{}", simulation.transcript());
    simulation.answer(B, call);
    simulation.until(B, SECOND, "joined", joined);
}

#[test]
fn a_groups_call_that_was_missed_can_be_joined() {
    let mut simulation = Simulation::new(4, 34);
    let call = simulation.offer(A, &[B, C, 3]);
    for node in [B, C] {
        simulation.until(node, SECOND, "incoming", incoming);
        simulation.answer(node, call);
    }
    simulation.until(3, 70 * SECOND, "missed", |event| matches!(event, Event::MissedCall { .. }));
    simulation.advance(10 * SECOND);
    assert_eq!(simulation.count(A, |event| matches!(event, Event::ParticipantUnanswered { .. })), 1);
    simulation.answer(3, call);
    simulation.advance(3 * SECOND);
    assert_eq!(
        (simulation.count(3, joined), simulation.count(A, joined), simulation.count(B, joined)),
        (3, 3, 3),
        "{}",
        simulation.transcript()
    );
}
