//! Calls on hold: which call is the current one, what the others see, and what ends.

use blink_api::{CallId, Endpoint, ErrorKind, FailureReason, PathFailure, StreamId, TrackKind, TransportState};
use blink_proto::call::{CallSnapshot, CallState, EndReason, Event, Input, Machine, ParticipantState, StreamInfo};
use blink_proto::secure::Channel;
use blink_proto::wire::{Body, Cause, Member, Record, Status};
use blink_sim::simulation::Simulation;

use super::{A, B, C, SECOND, connected, ended, ended_with, idle, joined, left};

/// State of a participant as node `at` knows it.
fn state_of(simulation: &Simulation, at: usize, call: CallId, other: usize) -> ParticipantState {
    let did = simulation.did(other);
    let participants = call_at(simulation, at, call).participants;
    participants.into_iter().find(|participant| participant.did == did).expect("it is on the roster").state
}

fn call_at(simulation: &Simulation, at: usize, call: CallId) -> CallSnapshot {
    let calls = simulation.nodes[at].machine.snapshot().calls;
    calls.into_iter().find(|known| known.call == call).expect("the node knows the call")
}

fn hold(simulation: &mut Simulation, node: usize) -> CallId {
    simulation.act(node, Machine::hold).expect("it has joined a call")
}

fn resume(simulation: &mut Simulation, node: usize, call: CallId) {
    simulation.act(node, |machine, now| machine.resume(now, call)).expect("it holds the call");
}

/// B is in a call with A, which it holds, and in one with C.
fn two_calls(simulation: &mut Simulation) -> (CallId, CallId) {
    let first = connected(simulation, &[B]);
    let second = simulation.offer(C, &[B]);
    simulation.until(
        B,
        SECOND,
        "incoming",
        |event| matches!(event, Event::IncomingCall { call, .. } if *call == second),
    );
    assert_eq!(hold(simulation, B), first);
    simulation.answer(B, second);
    simulation.until(C, 5 * SECOND, "joined", joined);
    simulation.advance(SECOND);
    (first, second)
}

#[test]
fn a_held_call_stays_connected_while_another_one_is_answered() {
    let mut simulation = Simulation::new(3, 50);
    let (first, second) = two_calls(&mut simulation);
    simulation.advance(60 * SECOND);
    let machine = &simulation.nodes[B].machine;
    assert_eq!((machine.current(), simulation.nodes[B].active_call), (Some(second), Some(second)));
    assert_eq!(call_at(&simulation, B, first).state, CallState::Held);
    assert_eq!(call_at(&simulation, B, second).state, CallState::Active);
    for (node, call) in [(A, first), (C, second)] {
        assert_eq!(call_at(&simulation, node, call).state, CallState::Active);
        assert!(simulation.paths.are_connected(node, B), "{}", simulation.transcript());
        assert_eq!(simulation.count(node, left), 0);
    }
    let held = ParticipantState { held: true, ..ParticipantState::default() };
    assert_eq!(state_of(&simulation, A, first, B), held);
    assert_eq!(state_of(&simulation, C, second, B), ParticipantState::default());
    assert_eq!(simulation.nodes[B].sessions_opened, 2, "nothing was set up anew");
}

#[test]
fn resuming_a_call_holds_the_other_one() {
    let mut simulation = Simulation::new(3, 51);
    let (first, second) = two_calls(&mut simulation);
    for (current, held) in [(first, second), (second, first), (first, second)] {
        resume(&mut simulation, B, current);
        assert_eq!(simulation.nodes[B].active_call, Some(current));
        simulation.advance(SECOND);
        assert_eq!(call_at(&simulation, B, held).state, CallState::Held);
        assert_eq!(state_of(&simulation, A, first, B).held, held == first);
        assert_eq!(state_of(&simulation, C, second, B).held, held == second);
    }
    let resumed = |event: &Event| matches!(event, Event::CallResumed { .. });
    let on_hold = |event: &Event| matches!(event, Event::CallHeld { .. });
    assert_eq!((simulation.count(B, resumed), simulation.count(B, on_hold)), (3, 4));
    assert_eq!(simulation.nodes[B].sessions_opened, 2);
}

#[test]
fn a_held_call_ends_with_its_last_participant_and_the_current_one_goes_on() {
    let mut simulation = Simulation::new(3, 52);
    let (first, second) = two_calls(&mut simulation);
    simulation.leave(A);
    simulation.until(B, 2 * SECOND, "ended", ended_with(EndReason::RemoteLeft));
    simulation.advance(40 * SECOND);
    idle(&simulation, A);
    assert_eq!((simulation.nodes[B].machine.current(), simulation.nodes[B].active_call), (Some(second), Some(second)));
    assert_eq!(simulation.count(C, left), 0);
    let again = simulation.act(B, |machine, now| machine.resume(now, first));
    assert_eq!(again.unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn leaving_the_current_call_leaves_the_held_one_held() {
    let mut simulation = Simulation::new(3, 53);
    let (first, _) = two_calls(&mut simulation);
    simulation.leave(B);
    simulation.until(C, 2 * SECOND, "ended", ended);
    simulation.advance(40 * SECOND);
    assert_eq!((simulation.nodes[B].machine.current(), simulation.nodes[B].active_call), (None, None));
    assert_eq!(call_at(&simulation, B, first).state, CallState::Held);
    let alone = simulation.act(B, Machine::leave);
    assert_eq!(alone.unwrap_err().kind(), ErrorKind::State, "a held call is left by its name only");
    simulation.act(B, |machine, now| machine.leave_call(now, first)).unwrap();
    simulation.until(A, 2 * SECOND, "ended", ended);
    simulation.advance(40 * SECOND);
    (A..=C).for_each(|node| idle(&simulation, node));
}

#[test]
fn both_ends_may_hold_a_call() {
    let mut simulation = Simulation::new(2, 54);
    let call = connected(&mut simulation, &[B]);
    assert_eq!((hold(&mut simulation, A), hold(&mut simulation, B)), (call, call));
    simulation.advance(90 * SECOND);
    assert!(state_of(&simulation, A, call, B).held && state_of(&simulation, B, call, A).held);
    assert!(simulation.paths.are_connected(A, B));
    resume(&mut simulation, A, call);
    simulation.advance(SECOND);
    assert!(!state_of(&simulation, B, call, A).held && state_of(&simulation, A, call, B).held);
    assert_eq!(simulation.count(A, ended) + simulation.count(B, ended), 0);
}

#[test]
fn streams_and_recording_end_with_hold_and_mute_stays() {
    let mut simulation = Simulation::new(2, 55);
    let call = connected(&mut simulation, &[B]);
    let stream = |n: u8| StreamId::from_bytes([n; 16]);
    for (node, other) in [(A, B), (B, A)] {
        let id = stream(node as u8 + 1);
        let info = StreamInfo { stream: id, kind: TrackKind::Video, codec: "VP8".into(), name: String::new() };
        simulation.act(node, |machine, now| machine.offer_stream(now, info)).unwrap();
        simulation.advance(SECOND);
        let endpoint = simulation.nodes[node].endpoint;
        simulation.try_request(other, endpoint, id).unwrap();
    }
    simulation.act(B, |machine, now| machine.set_muted(now, true));
    simulation.act(B, |machine, now| machine.set_recording(now, true)).unwrap();
    simulation.advance(SECOND);
    assert!(simulation.flows(A, B, stream(1)) && simulation.flows(B, A, stream(2)));
    hold(&mut simulation, B);
    assert_eq!(simulation.sends(B), 0, "at once");
    simulation.advance(SECOND);
    assert_eq!((simulation.sends(A), simulation.nodes[B].ended_streams.as_slice()), (0, &[stream(1)][..]));
    let expected = ParticipantState { muted: true, held: true, ..ParticipantState::default() };
    assert_eq!(state_of(&simulation, A, call, B), expected);
    let snapshot = simulation.nodes[B].machine.snapshot();
    assert_eq!((snapshot.streams.len(), snapshot.recording, snapshot.muted), (0, false, true));
    resume(&mut simulation, B, call);
    simulation.advance(SECOND);
    assert_eq!(state_of(&simulation, A, call, B), ParticipantState { held: false, ..expected });
    let alice = simulation.nodes[A].endpoint;
    simulation.try_request(B, alice, stream(1)).expect("it is offered all the time");
    simulation.advance(SECOND);
    assert!(simulation.flows(A, B, stream(1)));
}

#[test]
fn no_one_speaks_in_a_held_call_and_mute_is_announced_there() {
    let mut simulation = Simulation::new(2, 56);
    let call = connected(&mut simulation, &[B]);
    let [alice, bob] = [A, B].map(|node| simulation.nodes[node].endpoint);
    let speaks = |simulation: &mut Simulation, node: usize, endpoint: Endpoint| {
        simulation.input(node, Input::Speaking { endpoint, speaking: true });
    };
    let stopped = |event: &Event| matches!(event, Event::SpeakingStopped { .. });
    let started = |event: &Event| matches!(event, Event::SpeakingStarted { .. });
    speaks(&mut simulation, B, alice);
    speaks(&mut simulation, B, bob);
    speaks(&mut simulation, A, bob);
    hold(&mut simulation, B);
    assert_eq!(simulation.count(B, stopped), 2, "{}", simulation.transcript());
    simulation.advance(SECOND);
    assert_eq!(simulation.count(A, stopped), 1, "{}", simulation.transcript());
    speaks(&mut simulation, B, alice);
    assert_eq!(simulation.count(B, started), 2);
    simulation.act(B, |machine, now| machine.set_muted(now, true));
    simulation.advance(SECOND);
    assert!(state_of(&simulation, A, call, B).muted);
}

#[test]
fn what_cannot_be_held_or_resumed_is_refused() {
    let mut simulation = Simulation::new(4, 57);
    assert_eq!(simulation.act(A, Machine::hold).unwrap_err().kind(), ErrorKind::State);
    let first = connected(&mut simulation, &[B]);
    let active = simulation.act(B, |machine, now| machine.resume(now, first));
    assert_eq!(active.unwrap_err().kind(), ErrorKind::State, "it is not held");
    hold(&mut simulation, A);
    let unanswered = simulation.offer(A, &[C]);
    assert_eq!(simulation.act(A, Machine::hold).unwrap_err().kind(), ErrorKind::State, "no one has answered");
    let waiting = simulation.act(A, |machine, now| machine.resume(now, first));
    assert_eq!(waiting.unwrap_err().kind(), ErrorKind::State, "the offer is to be withdrawn first");
    assert_eq!(simulation.nodes[A].machine.current(), Some(unanswered));
    let held = simulation.act(A, |machine, now| machine.answer(now, first));
    assert_eq!(held.unwrap_err().kind(), ErrorKind::State);
    simulation.leave(A);
    resume(&mut simulation, A, first);
    let unknown = CallId::from_bytes([9; 16]);
    let unknown = simulation.act(A, |machine, now| machine.leave_call(now, unknown));
    assert_eq!(unknown.unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn at_most_eight_calls_are_held() {
    let mut simulation = Simulation::new(11, 58);
    for callee in 1..=9 {
        let call = simulation.offer(A, &[callee]);
        let rings = |event: &Event| matches!(event, Event::IncomingCall { call: id, .. } if *id == call);
        simulation.until(callee, SECOND, "incoming", rings);
        simulation.answer(callee, call);
        simulation.until(callee, 5 * SECOND, "joined", joined);
        simulation.advance(SECOND);
        let result = simulation.act(A, Machine::hold);
        assert_eq!(result.err().map(|error| error.kind()), (callee == 9).then_some(ErrorKind::Full));
    }
    simulation.act(A, Machine::leave_all);
    simulation.advance(60 * SECOND);
    (0..10).for_each(|node| idle(&simulation, node));
}

#[test]
fn a_restarted_device_leaves_the_calls_that_it_held() {
    let mut simulation = Simulation::new(3, 59);
    let (first, second) = two_calls(&mut simulation);
    simulation.restart_with_memory(B);
    for (node, call) in [(A, first), (C, second)] {
        simulation.until(
            node,
            5 * SECOND,
            "ended",
            |event| matches!(event, Event::CallEnded { call: id, .. } if *id == call),
        );
    }
    simulation.advance(60 * SECOND);
    (A..=C).for_each(|node| idle(&simulation, node));
}

#[test]
fn a_held_group_goes_on_and_new_members_connect() {
    let mut simulation = Simulation::new(3, 60);
    let call = connected(&mut simulation, &[B]);
    hold(&mut simulation, B);
    let carol = simulation.did(C);
    simulation.act(A, |machine, now| machine.add(now, carol)).unwrap();
    simulation.until(C, 5 * SECOND, "incoming", super::incoming);
    simulation.answer(C, call);
    simulation.until(C, 5 * SECOND, "joined", joined);
    simulation.advance(5 * SECOND);
    assert!(simulation.paths.are_connected(B, C), "{}", simulation.transcript());
    assert!(state_of(&simulation, C, call, B).held);
    simulation.leave(A);
    simulation.advance(5 * SECOND);
    resume(&mut simulation, B, call);
    simulation.advance(SECOND);
    assert!(!state_of(&simulation, C, call, B).held);
}

#[test]
fn what_a_device_offers_in_one_call_is_announced_in_no_other() {
    let mut simulation = Simulation::new(3, 61);
    let (first, second) = two_calls(&mut simulation);
    let id = StreamId::from_bytes([7; 16]);
    let info = StreamInfo { stream: id, kind: TrackKind::Video, codec: "VP8".into(), name: "desk".into() };
    simulation.act(B, |machine, now| machine.offer_stream(now, info.clone())).unwrap();
    simulation.act(B, |machine, now| machine.set_recording(now, true)).unwrap();
    // A change that is announced in both.
    simulation.act(B, |machine, now| machine.set_muted(now, true));
    simulation.advance(10 * SECOND);
    let bob = simulation.did(B);
    let known = |simulation: &Simulation, at: usize, call: CallId| {
        let participants = call_at(simulation, at, call).participants;
        let participant = participants.into_iter().find(|participant| participant.did == bob).unwrap();
        (participant.streams, participant.state)
    };
    let muted = ParticipantState { muted: true, ..ParticipantState::default() };
    assert_eq!(known(&simulation, A, first), (Vec::new(), ParticipantState { held: true, ..muted }));
    assert_eq!(known(&simulation, C, second), (vec![info], ParticipantState { recording: true, ..muted }));
    assert_eq!(simulation.count(A, |event| matches!(event, Event::StreamOffered { .. })), 0);
}

/// The message of the link was lost: only the record tells.
#[test]
fn a_held_call_ends_for_the_reason_that_the_other_side_reports() {
    let mut simulation = Simulation::new(2, 62);
    let call = connected(&mut simulation, &[B]);
    hold(&mut simulation, B);
    simulation.advance(SECOND);
    let (_, keys) = simulation.known_call_keys(A).expect("A is in the call");
    let key = simulation.signed_key(&simulation.nodes[A].endpoint, &call, &keys[0].1);
    let failure = PathFailure::local(FailureReason::SessionEnded, TransportState::default());
    let left = Record::new(key, 1_000, Status::Left);
    let record = Record { failed: Some(true), cause: Some(Cause::from(failure)), ..left };
    let body = Body::Member(Box::new(Member { record, entries: Vec::new(), secret: None }));
    simulation.send_raw(A, Channel::Call(call), &[keys[1].1], call, body);
    simulation.until(B, 2 * SECOND, "ended", ended_with(EndReason::Failed));
}
