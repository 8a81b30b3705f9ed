//! Calls of more than two.

use blink_proto::call::{CallState, Event};
use blink_sim::simulation::Simulation;

use crate::{A, B, C, SECOND, connected, ended, idle, incoming, joined, left};

#[test]
fn leaving_a_group_leaves_the_others_connected_and_lets_one_rejoin() {
    let mut world = Simulation::new(3, 7);
    let call = connected(&mut world, &[B, C]);
    world.leave(C);
    for node in [A, B] {
        world.until(node, SECOND, "left", left);
    }
    world.advance(40 * SECOND);
    assert_eq!((world.count(A, ended), world.count(B, ended), world.count(A, joined)), (0, 0, 2));
    assert_eq!(world.nodes[C].machine.snapshot().calls[0].state, CallState::Open);
    world.answer(C, call);
    world.advance(2 * SECOND);
    assert_eq!(
        (world.count(A, joined), world.count(B, joined), world.count(C, joined)),
        (3, 3, 4),
        "{}",
        world.transcript()
    );
}

#[test]
fn the_last_remote_leaves_a_group_and_the_call_goes_on() {
    let mut world = Simulation::new(3, 8);
    let call = connected(&mut world, &[B, C]);
    world.leave(B);
    world.leave(C);
    world.advance(40 * SECOND);
    assert_eq!((world.nodes[A].machine.current(), world.count(A, ended)), (Some(call), 0));
    world.answer(B, call);
    world.advance(2 * SECOND);
    assert_eq!(world.count(A, joined), 3, "{}", world.transcript());
}

#[test]
fn a_late_joiner_meets_everybody_once_and_learns_their_state() {
    let mut world = Simulation::new(3, 9);
    let call = world.offer(A, &[B, C]);
    world.until(B, SECOND, "incoming", incoming);
    world.answer(B, call);
    world.until(A, SECOND, "joined", joined);
    world.act(B, |machine, now| machine.set_muted(now, true));
    world.advance(10 * SECOND);
    world.answer(C, call);
    world.advance(SECOND);
    assert_eq!(
        (world.count(A, joined), world.count(B, joined), world.count(C, joined)),
        (2, 2, 2),
        "{}",
        world.transcript()
    );
    let muted = |event: &Event| matches!(event, Event::ParticipantStateChanged { state, .. } if state.muted);
    assert_eq!((world.count(A, muted), world.count(C, muted)), (1, 1), "{}", world.transcript());
}

#[test]
fn three_who_answer_at_the_same_instant_connect_pair_by_pair_once() {
    let mut world = Simulation::new(4, 10);
    let call = world.offer(A, &[B, C, 3]);
    for node in [B, C, 3] {
        world.until(node, SECOND, "incoming", incoming);
    }
    for node in [B, C, 3] {
        world.answer(node, call);
    }
    world.advance(3 * SECOND);
    for node in 0..4 {
        assert_eq!(world.count(node, joined), 3, "node {node}\n{}", world.transcript());
        assert_eq!(world.nodes[node].sessions_opened, 3);
    }
}

#[test]
fn two_who_only_share_the_callers_node_meet_in_the_call() {
    let mut world = Simulation::new(3, 32);
    world.cut_inboxes.extend([(B, C), (C, B)]);
    let call = world.offer(A, &[B, C]);
    world.until(B, SECOND, "incoming", incoming);
    world.until(C, SECOND, "incoming", incoming);
    world.answer(B, call);
    world.answer(C, call);
    world.advance(3 * SECOND);
    for node in [A, B, C] {
        assert_eq!(world.count(node, joined), 2, "node {node}\n{}", world.transcript());
    }
}

#[test]
fn everybody_leaves_before_one_answers() {
    let mut world = Simulation::new(3, 11);
    let call = world.offer(A, &[B, C]);
    world.until(B, SECOND, "incoming", incoming);
    world.until(C, SECOND, "incoming", incoming);
    world.answer(C, call);
    world.until(C, SECOND, "joined", joined);
    world.leave(C);
    world.advance(SECOND);
    assert_eq!(world.nodes[B].machine.pending(), [call], "the call goes on while A is in it");
    world.leave(A);
    world.until(B, SECOND, "cancelled", |event| matches!(event, Event::CallCancelled { .. }));
    world.advance(40 * SECOND);
    idle(&world, B);
}

#[test]
fn one_of_many_leaves_and_the_call_still_rings() {
    let mut world = Simulation::new(3, 12);
    let call = world.offer(A, &[B, C]);
    world.until(C, SECOND, "incoming", incoming);
    world.answer(C, call);
    world.until(A, SECOND, "joined", joined);
    world.leave(A);
    world.advance(5 * SECOND);
    assert_eq!(world.nodes[B].machine.pending(), [call], "{}", world.transcript());
    world.answer(B, call);
    world.until(B, SECOND, "joined", joined);
}

#[test]
fn a_groups_call_that_was_missed_can_be_joined() {
    let mut world = Simulation::new(4, 34);
    let call = world.offer(A, &[B, C, 3]);
    for node in [B, C] {
        world.until(node, SECOND, "incoming", incoming);
        world.answer(node, call);
    }
    world.until(3, 70 * SECOND, "missed", |event| matches!(event, Event::MissedCall { .. }));
    world.advance(10 * SECOND);
    assert_eq!(world.count(A, |event| matches!(event, Event::ParticipantUnanswered { .. })), 1);
    world.answer(3, call);
    world.advance(3 * SECOND);
    assert_eq!(
        (world.count(3, joined), world.count(A, joined), world.count(B, joined)),
        (3, 3, 3),
        "{}",
        world.transcript()
    );
}
