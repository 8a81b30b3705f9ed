//! Calls of two.

use std::time::Duration;

use blink_api::{BusyPolicy, CallId, CallSettings};
use blink_proto::call::{CancelledReason, EndReason, Event, LeftReason};
use blink_proto::wire::Kind;
use blink_sim::simulation::{Network, Simulation};

use crate::{A, B, C, SECOND, connected, ended, ended_with, idle, incoming, joined, left};

#[test]
fn accept_connects_both_once_and_quickly() {
    let mut world = Simulation::new(2, 1);
    let call = world.offer(A, &[B]);
    world.until(B, SECOND, "incoming", incoming);
    let answered = world.now;
    world.answer(B, call);
    world.until(A, SECOND, "joined", joined);
    world.until(B, SECOND, "joined", joined);
    assert!(
        world.now - answered < Duration::from_millis(50),
        "took {:?}\n{}",
        world.now - answered,
        world.transcript()
    );
    world.advance(90 * SECOND);
    for node in [A, B] {
        assert_eq!(world.count(node, joined), 1);
        assert_eq!(world.count(node, |event| matches!(event, Event::CallJoined { .. })), 1);
        assert_eq!(world.nodes[node].machine.current(), Some(call));
        assert_eq!(world.nodes[node].active_call, Some(call));
        assert_eq!(world.count(node, |event| left(event) || ended(event)), 0);
        assert!(world.nodes[node].refusals.is_empty());
    }
    assert_eq!(world.count(B, incoming), 1);
}

#[test]
fn nothing_of_media_before_accept() {
    let mut world = Simulation::new(2, 2);
    world.offer(A, &[B]);
    world.until(B, SECOND, "incoming", incoming);
    world.advance(20 * SECOND);
    assert_eq!((world.nodes[B].active_call, world.nodes[B].sessions_opened), (None, 0));
    assert!(world.sent.iter().all(|(node, kind)| *node != B || *kind == Kind::Ringing), "{}", world.transcript());
}

#[test]
fn reject_ends_the_callers_offer() {
    let mut world = Simulation::new(2, 3);
    let call = world.offer(A, &[B]);
    world.until(B, SECOND, "incoming", incoming);
    world.reject(B, call);
    world.until(A, SECOND, "rejected", |event| matches!(event, Event::ParticipantRejected { .. }));
    world.until(A, SECOND, "ended", ended_with(EndReason::Rejected));
    world.advance(40 * SECOND);
    idle(&world, A);
    idle(&world, B);
    assert_eq!(world.count(B, incoming), 1);
}

#[test]
fn cancel_while_ringing_is_seen_within_a_second() {
    let mut world = Simulation::new(2, 4);
    world.offer(A, &[B]);
    world.until(B, SECOND, "incoming", incoming);
    world.leave(A);
    world.until(B, SECOND, "cancelled", |event| {
        matches!(event, Event::CallCancelled { reason: CancelledReason::CallerLeft, .. })
    });
    world.advance(40 * SECOND);
    idle(&world, A);
    idle(&world, B);
}

#[test]
fn no_answer_ends_after_the_ring_time_on_both_sides() {
    let mut world = Simulation::new(2, 5);
    world.offer(A, &[B]);
    world.until(B, SECOND, "incoming", incoming);
    world.advance(59 * SECOND - Duration::from_millis(100));
    assert_eq!(world.count(A, ended) + world.count(B, |event| matches!(event, Event::MissedCall { .. })), 0);
    world.until(A, 2 * SECOND, "unanswered", ended_with(EndReason::Unanswered));
    world.until(B, 2 * SECOND, "missed", |event| matches!(event, Event::MissedCall { .. }));
    world.advance(40 * SECOND);
    assert_eq!(world.count(B, |event| matches!(event, Event::CallCancelled { .. })), 0);
    idle(&world, A);
    idle(&world, B);
}

#[test]
fn leaving_a_call_of_two_ends_it_on_both_sides() {
    for leaver in [A, B] {
        let mut world = Simulation::new(2, 6);
        connected(&mut world, &[B]);
        world.leave(leaver);
        let other = 1 - leaver;
        world.until(other, SECOND, "left", |event| {
            matches!(event, Event::ParticipantLeft { reason: LeftReason::Left, .. })
        });
        world.until(other, SECOND, "ended", ended_with(EndReason::RemoteLeft));
        world.advance(40 * SECOND);
        assert_eq!(world.count(leaver, ended_with(EndReason::Left)), 1);
        assert_eq!((world.count(leaver, left), world.count(other, ended)), (0, 1));
        idle(&world, A);
        idle(&world, B);
    }
}

#[test]
fn busy_is_told_to_the_caller_only() {
    let settings = CallSettings { busy: BusyPolicy::Reject, ..CallSettings::default() };
    let mut world = Simulation::with(3, 16, Network::PERFECT, settings);
    let call = connected(&mut world, &[B]);
    let events = world.nodes[B].events.len();
    world.offer(C, &[B]);
    world.until(C, 5 * SECOND, "busy", |event| matches!(event, Event::ParticipantBusy { .. }));
    world.until(C, SECOND, "ended", ended_with(EndReason::Busy));
    assert_eq!((world.nodes[B].events.len(), world.nodes[B].machine.current()), (events, Some(call)));
}

#[test]
fn answering_a_second_call_leaves_the_first() {
    let mut world = Simulation::new(3, 17);
    connected(&mut world, &[B]);
    let second = world.offer(C, &[B]);
    world.until(B, SECOND, "incoming", |event| matches!(event, Event::IncomingCall { call, .. } if *call == second));
    world.answer(B, second);
    world.until(A, SECOND, "left", left);
    world.until(C, SECOND, "joined", joined);
    world.advance(20 * SECOND);
    idle(&world, A);
    assert_eq!(world.nodes[B].machine.current(), Some(second));
}

#[test]
fn two_calls_ring_and_answering_one_leaves_the_other_ringing() {
    let mut world = Simulation::new(3, 18);
    let first = world.offer(A, &[B]);
    let second = world.offer(C, &[B]);
    world.advance(SECOND);
    assert_eq!(world.nodes[B].machine.pending().len(), 2);
    world.answer(B, first);
    world.until(A, SECOND, "joined", joined);
    assert_eq!(world.nodes[B].machine.pending(), [second]);
}

#[test]
fn two_who_call_each_other_at_the_same_instant_are_in_one_call() {
    for seed in 0..40 {
        let network = if seed % 2 == 0 { Network::PERFECT } else { Network::ROUGH };
        let mut world = Simulation::with(2, seed, network, CallSettings::default());
        let calls = [world.offer(A, &[B]), world.offer(B, &[A])];
        assert!(world.nodes[B].endpoint < world.nodes[A].endpoint, "the call of the smaller endpoint goes on");
        let [given_up, survivor] = calls;
        for node in [A, B] {
            world.until(node, 30 * SECOND, "joined", joined);
        }
        world.network = Network::PERFECT;
        world.advance(60 * SECOND);
        for node in [A, B] {
            assert_eq!(world.nodes[node].machine.current(), Some(survivor), "seed {seed}\n{}", world.transcript());
            assert_eq!(
                world.count(node, |event| incoming(event) || ended(event)),
                0,
                "seed {seed}\n{}",
                world.transcript()
            );
            assert_eq!(
                (world.count(node, joined), world.paths.open_at(node)),
                (1, 1),
                "seed {seed}\n{}",
                world.transcript()
            );
        }
        let replaced = |event: &Event| matches!(event, Event::CallReplaced { .. });
        assert_eq!(world.count(A, replaced) + world.count(B, replaced), 1, "seed {seed}\n{}", world.transcript());
        let loser = if calls[0] == given_up { A } else { B };
        use blink_api::ErrorKind;
        let by_old_id = world.act(loser, |machine, now| machine.answer(now, given_up).unwrap_err());
        assert_eq!(by_old_id.kind(), ErrorKind::State, "the old id names the call this device is in");
        world.leave(A);
        world.advance(60 * SECOND);
        idle(&world, A);
        idle(&world, B);
    }
}

#[test]
fn one_who_hangs_up_while_calls_cross_leaves_both_idle() {
    for seed in 0..40 {
        let mut world = Simulation::new(2, seed);
        world.offer(A, &[B]);
        world.offer(B, &[A]);
        world.advance(Duration::from_millis(seed));
        world.leave(A);
        world.advance(90 * SECOND);
        idle(&world, A);
        idle(&world, B);
    }
}

#[test]
fn unknown_call_ids_are_typed_errors_without_events() {
    let mut world = Simulation::new(2, 25);
    let unknown = CallId::from_bytes([9; 16]);
    let errors = [
        world.act(A, |machine, now| machine.answer(now, unknown).unwrap_err()),
        world.act(A, |machine, now| machine.reject(now, unknown).unwrap_err()),
        world.act(A, |machine, now| machine.leave(now).unwrap_err()),
    ];
    use blink_api::ErrorKind;
    assert_eq!(errors.map(|error| error.kind()), [ErrorKind::NotFound, ErrorKind::NotFound, ErrorKind::State]);
    assert_eq!(world.nodes[A].events, []);
}
