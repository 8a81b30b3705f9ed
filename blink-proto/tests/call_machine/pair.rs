//! Calls of two.

use std::time::Duration;

use blink_api::{BusyPolicy, CallId, CallSettings};
use blink_proto::call::{CancelledReason, EndReason, Event, LeftReason};
use blink_proto::wire::Kind;
use blink_sim::simulation::{Network, Simulation};

use crate::{A, B, C, SECOND, connected, ended, ended_with, idle, incoming, joined, left};

#[test]
fn accept_connects_both_once_and_quickly() {
    let mut simulation = Simulation::new(2, 1);
    let call = simulation.offer(A, &[B]);
    simulation.until(B, SECOND, "incoming", incoming);
    let answered = simulation.now;
    simulation.answer(B, call);
    simulation.until(A, SECOND, "joined", joined);
    simulation.until(B, SECOND, "joined", joined);
    assert!(
        simulation.now - answered < Duration::from_millis(50),
        "took {:?}\n{}",
        simulation.now - answered,
        simulation.transcript()
    );
    simulation.advance(90 * SECOND);
    for node in [A, B] {
        assert_eq!(simulation.count(node, joined), 1);
        assert_eq!(simulation.count(node, |event| matches!(event, Event::CallJoined { .. })), 1);
        assert_eq!(simulation.nodes[node].machine.current(), Some(call));
        assert_eq!(simulation.nodes[node].active_call, Some(call));
        assert_eq!(simulation.count(node, |event| left(event) || ended(event)), 0);
        assert!(simulation.nodes[node].refusals.is_empty());
    }
    assert_eq!(simulation.count(B, incoming), 1);
}

#[test]
fn nothing_of_media_before_accept() {
    let mut simulation = Simulation::new(2, 2);
    simulation.offer(A, &[B]);
    simulation.until(B, SECOND, "incoming", incoming);
    simulation.advance(20 * SECOND);
    assert_eq!((simulation.nodes[B].active_call, simulation.nodes[B].sessions_opened), (None, 0));
    assert!(
        simulation.sent.iter().all(|(node, kind)| *node != B || *kind == Kind::Ringing),
        "{}",
        simulation.transcript()
    );
}

#[test]
fn reject_ends_the_callers_offer() {
    let mut simulation = Simulation::new(2, 3);
    let call = simulation.offer(A, &[B]);
    simulation.until(B, SECOND, "incoming", incoming);
    simulation.reject(B, call);
    simulation.until(A, SECOND, "rejected", |event| matches!(event, Event::ParticipantRejected { .. }));
    simulation.until(A, SECOND, "ended", ended_with(EndReason::Rejected));
    simulation.advance(40 * SECOND);
    idle(&simulation, A);
    idle(&simulation, B);
    assert_eq!(simulation.count(B, incoming), 1);
}

#[test]
fn cancel_while_ringing_is_seen_within_a_second() {
    let mut simulation = Simulation::new(2, 4);
    simulation.offer(A, &[B]);
    simulation.until(B, SECOND, "incoming", incoming);
    simulation.leave(A);
    simulation.until(B, SECOND, "cancelled", |event| {
        matches!(event, Event::CallCancelled { reason: CancelledReason::CallerLeft, .. })
    });
    simulation.advance(40 * SECOND);
    idle(&simulation, A);
    idle(&simulation, B);
}

#[test]
fn no_answer_ends_after_the_ring_time_on_both_sides() {
    let mut simulation = Simulation::new(2, 5);
    simulation.offer(A, &[B]);
    simulation.until(B, SECOND, "incoming", incoming);
    simulation.advance(59 * SECOND - Duration::from_millis(100));
    assert_eq!(simulation.count(A, ended) + simulation.count(B, |event| matches!(event, Event::MissedCall { .. })), 0);
    simulation.until(A, 2 * SECOND, "unanswered", ended_with(EndReason::Unanswered));
    simulation.until(B, 2 * SECOND, "missed", |event| matches!(event, Event::MissedCall { .. }));
    simulation.advance(40 * SECOND);
    assert_eq!(simulation.count(B, |event| matches!(event, Event::CallCancelled { .. })), 0);
    idle(&simulation, A);
    idle(&simulation, B);
}

#[test]
fn leaving_a_call_of_two_ends_it_on_both_sides() {
    for leaver in [A, B] {
        let mut simulation = Simulation::new(2, 6);
        connected(&mut simulation, &[B]);
        simulation.leave(leaver);
        let other = 1 - leaver;
        simulation.until(other, SECOND, "left", |event| {
            matches!(event, Event::ParticipantLeft { reason: LeftReason::Left, .. })
        });
        simulation.until(other, SECOND, "ended", ended_with(EndReason::RemoteLeft));
        simulation.advance(40 * SECOND);
        assert_eq!(simulation.count(leaver, ended_with(EndReason::Left)), 1);
        assert_eq!((simulation.count(leaver, left), simulation.count(other, ended)), (0, 1));
        idle(&simulation, A);
        idle(&simulation, B);
    }
}

#[test]
fn busy_is_told_to_the_caller_only() {
    let settings = CallSettings { busy: BusyPolicy::Reject, ..CallSettings::default() };
    let mut simulation = Simulation::with(3, 16, Network::PERFECT, settings);
    let call = connected(&mut simulation, &[B]);
    let events = simulation.nodes[B].events.len();
    simulation.offer(C, &[B]);
    simulation.until(C, 5 * SECOND, "busy", |event| matches!(event, Event::ParticipantBusy { .. }));
    simulation.until(C, SECOND, "ended", ended_with(EndReason::Busy));
    assert_eq!((simulation.nodes[B].events.len(), simulation.nodes[B].machine.current()), (events, Some(call)));
}

#[test]
fn answering_a_second_call_leaves_the_first() {
    let mut simulation = Simulation::new(3, 17);
    connected(&mut simulation, &[B]);
    let second = simulation.offer(C, &[B]);
    simulation.until(
        B,
        SECOND,
        "incoming",
        |event| matches!(event, Event::IncomingCall { call, .. } if *call == second),
    );
    simulation.answer(B, second);
    simulation.until(A, SECOND, "left", left);
    simulation.until(C, SECOND, "joined", joined);
    simulation.advance(20 * SECOND);
    idle(&simulation, A);
    assert_eq!(simulation.nodes[B].machine.current(), Some(second));
}

#[test]
fn two_calls_ring_and_answering_one_leaves_the_other_ringing() {
    let mut simulation = Simulation::new(3, 18);
    let first = simulation.offer(A, &[B]);
    let second = simulation.offer(C, &[B]);
    simulation.advance(SECOND);
    assert_eq!(simulation.nodes[B].machine.pending().len(), 2);
    simulation.answer(B, first);
    simulation.until(A, SECOND, "joined", joined);
    assert_eq!(simulation.nodes[B].machine.pending(), [second]);
}

#[test]
fn two_who_call_each_other_at_the_same_instant_are_in_one_call() {
    for seed in 0..40 {
        let network = if seed % 2 == 0 { Network::PERFECT } else { Network::ROUGH };
        let mut simulation = Simulation::with(2, seed, network, CallSettings::default());
        let calls = [simulation.offer(A, &[B]), simulation.offer(B, &[A])];
        assert!(
            simulation.nodes[B].endpoint < simulation.nodes[A].endpoint,
            "the call of the smaller endpoint goes on"
        );
        let [given_up, survivor] = calls;
        for node in [A, B] {
            simulation.until(node, 30 * SECOND, "joined", joined);
        }
        simulation.network = Network::PERFECT;
        simulation.advance(60 * SECOND);
        for node in [A, B] {
            assert_eq!(
                simulation.nodes[node].machine.current(),
                Some(survivor),
                "seed {seed}\n{}",
                simulation.transcript()
            );
            assert_eq!(
                simulation.count(node, |event| incoming(event) || ended(event)),
                0,
                "seed {seed}\n{}",
                simulation.transcript()
            );
            assert_eq!(
                (simulation.count(node, joined), simulation.paths.open_at(node)),
                (1, 1),
                "seed {seed}\n{}",
                simulation.transcript()
            );
        }
        let replaced = |event: &Event| matches!(event, Event::CallReplaced { .. });
        assert_eq!(
            simulation.count(A, replaced) + simulation.count(B, replaced),
            1,
            "seed {seed}\n{}",
            simulation.transcript()
        );
        let loser = if calls[0] == given_up { A } else { B };
        use blink_api::ErrorKind;
        let by_old_id = simulation.act(loser, |machine, now| machine.answer(now, given_up).unwrap_err());
        assert_eq!(by_old_id.kind(), ErrorKind::State, "the old id names the call this device is in");
        simulation.leave(A);
        simulation.advance(60 * SECOND);
        idle(&simulation, A);
        idle(&simulation, B);
    }
}

#[test]
fn one_who_hangs_up_while_calls_cross_leaves_both_idle() {
    for seed in 0..40 {
        let mut simulation = Simulation::new(2, seed);
        simulation.offer(A, &[B]);
        simulation.offer(B, &[A]);
        simulation.advance(Duration::from_millis(seed));
        simulation.leave(A);
        simulation.advance(90 * SECOND);
        idle(&simulation, A);
        idle(&simulation, B);
    }
}

#[test]
fn unknown_call_ids_are_typed_errors_without_events() {
    let mut simulation = Simulation::new(2, 25);
    let unknown = CallId::from_bytes([9; 16]);
    let errors = [
        simulation.act(A, |machine, now| machine.answer(now, unknown).unwrap_err()),
        simulation.act(A, |machine, now| machine.reject(now, unknown).unwrap_err()),
        simulation.act(A, |machine, now| machine.leave(now).unwrap_err()),
    ];
    use blink_api::ErrorKind;
    assert_eq!(errors.map(|error| error.kind()), [ErrorKind::NotFound, ErrorKind::NotFound, ErrorKind::State]);
    assert_eq!(simulation.nodes[A].events, []);
}
