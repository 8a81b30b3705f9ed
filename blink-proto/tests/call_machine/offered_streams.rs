//! Streams beside the microphone: who offers, who asks, and what flows.

use std::time::Duration;

use blink_api::{CallId, ErrorKind, StreamId, TrackKind};
use blink_proto::call::{Event, Input, SessionInput, StreamEndReason, StreamInfo};
use blink_sim::simulation::Simulation;

use crate::{A, B, C, SECOND, connected, ended, idle, incoming, joined};

fn video(number: u8) -> StreamInfo {
    let stream = StreamId::from_random([number; 16]);
    StreamInfo { stream, kind: TrackKind::Video, codec: "VP8".to_owned(), name: format!("camera {number}") }
}

fn offered(event: &Event) -> bool {
    matches!(event, Event::StreamOffered { .. })
}

fn revoked(event: &Event) -> bool {
    matches!(event, Event::StreamEnded { reason: StreamEndReason::Revoked, .. })
}

fn offer(world: &mut Simulation, node: usize, info: &StreamInfo) {
    world.act(node, |machine, now| machine.offer_stream(now, info.clone())).unwrap();
}

fn request(world: &mut Simulation, node: usize, from: usize, stream: StreamId) -> blink_api::Result<StreamInfo> {
    let participant = world.nodes[from].endpoint;
    world.act(node, |machine, now| machine.request_stream(now, participant, stream))
}

fn close(world: &mut Simulation, node: usize, from: usize, stream: StreamId) -> blink_api::Result<()> {
    let participant = world.nodes[from].endpoint;
    world.act(node, |machine, now| machine.close_stream(now, participant, stream))
}

#[test]
fn a_stream_flows_while_it_is_asked_for_and_only_to_who_asked() {
    let mut world = Simulation::new(3, 31);
    connected(&mut world, &[B, C]);
    let info = video(1);
    offer(&mut world, A, &info);
    for node in [B, C] {
        world.until(
            node,
            SECOND,
            "offered",
            |event| matches!(event, Event::StreamOffered { stream, .. } if *stream == info),
        );
    }
    assert_eq!(world.sends(A), 0, "nobody asked");
    for _ in 0..2 {
        assert_eq!(request(&mut world, B, A, info.stream).unwrap(), info);
        world.advance(SECOND);
        assert!(world.flows(A, B, info.stream), "{}", world.transcript());
        assert_eq!(world.sends(A), 1);
        close(&mut world, B, A, info.stream).unwrap();
        world.advance(SECOND);
        assert_eq!((world.sends(A), world.flows(A, B, info.stream)), (0, false));
    }
    assert_eq!((world.count(B, offered), world.count(B, revoked)), (1, 0));
}

#[test]
fn revoking_ends_a_stream_for_everybody_once() {
    let mut world = Simulation::new(3, 32);
    connected(&mut world, &[B, C]);
    let info = video(1);
    offer(&mut world, A, &info);
    world.advance(SECOND);
    for node in [B, C] {
        request(&mut world, node, A, info.stream).unwrap();
    }
    world.advance(SECOND);
    assert_eq!(world.sends(A), 2);
    world.act(A, |machine, now| machine.revoke_stream(now, info.stream)).unwrap();
    assert_eq!(world.sends(A), 0, "at once");
    world.advance(SECOND);
    for node in [B, C] {
        assert_eq!(world.count(node, revoked), 1, "{}", world.transcript());
        assert_eq!(world.nodes[node].ended_streams, [info.stream]);
    }
    let again = world.act(A, |machine, now| machine.revoke_stream(now, info.stream));
    assert_eq!(again.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(request(&mut world, B, A, info.stream).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_late_joiner_learns_what_is_offered_and_can_have_it() {
    let mut world = Simulation::new(3, 33);
    let call = world.offer(A, &[B, C]);
    world.until(B, SECOND, "incoming", incoming);
    world.answer(B, call);
    world.until(A, SECOND, "joined", joined);
    let info = video(1);
    offer(&mut world, B, &info);
    world.advance(5 * SECOND);
    world.answer(C, call);
    world.advance(SECOND);
    assert_eq!(world.count(C, offered), 1, "{}", world.transcript());
    let snapshot = world.nodes[C].machine.snapshot();
    let bob = world.did(B);
    let streams = snapshot.calls[0].participants.iter().find(|other| other.did == bob).map(|bob| &bob.streams);
    assert_eq!(streams, Some(&vec![info.clone()]));
    request(&mut world, C, B, info.stream).unwrap();
    world.advance(SECOND);
    assert!(world.flows(B, C, info.stream));
}

#[test]
fn a_request_outlives_a_lost_path_and_ends_with_its_sender() {
    let mut world = Simulation::new(3, 34);
    let call = connected(&mut world, &[B, C]);
    let info = video(1);
    offer(&mut world, A, &info);
    world.advance(SECOND);
    request(&mut world, B, A, info.stream).unwrap();
    world.advance(SECOND);
    world.break_session(B, A);
    world.advance(70 * SECOND);
    assert!(world.flows(A, B, info.stream), "the path was made anew\n{}", world.transcript());

    world.leave(A);
    world.advance(SECOND);
    let gone = |event: &Event| matches!(event, Event::StreamEnded { reason: StreamEndReason::ParticipantLeft, .. });
    assert_eq!((world.count(B, gone), world.count(C, gone)), (1, 1), "{}", world.transcript());
    assert_eq!(world.nodes[B].ended_streams, [info.stream]);
    assert!(world.nodes[A].machine.snapshot().streams.is_empty(), "offers end with the call");

    world.answer(A, call);
    world.advance(2 * SECOND);
    assert_eq!(world.sends(A), 0);
    assert_eq!(request(&mut world, B, A, info.stream).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn who_joins_again_is_told_what_others_offer_again() {
    let mut world = Simulation::new(3, 35);
    let call = connected(&mut world, &[B, C]);
    offer(&mut world, A, &video(1));
    world.act(A, |machine, now| machine.set_recording(now, true)).unwrap();
    world.advance(SECOND);
    world.leave(C);
    world.advance(20 * SECOND);
    world.answer(C, call);
    world.advance(SECOND);
    assert_eq!((world.count(C, offered), world.count(B, offered)), (2, 1), "{}", world.transcript());
    let recording = |event: &Event| matches!(event, Event::ParticipantStateChanged { state, .. } if state.recording);
    assert_eq!((world.count(C, recording), world.count(B, recording)), (2, 1), "{}", world.transcript());
}

#[test]
fn what_cannot_be_sent_is_refused_and_may_be_asked_for_again() {
    let mut world = Simulation::new(2, 36);
    connected(&mut world, &[B]);
    let info = video(1);
    offer(&mut world, A, &info);
    world.advance(SECOND);
    request(&mut world, B, A, info.stream).unwrap();
    world.advance(SECOND);
    let session = world.paths.session_with(A, B);
    let event = SessionInput::StreamRefused(info.stream);
    world.input(A, Input::Session { session, event });
    let refused = |event: &Event| matches!(event, Event::StreamEnded { reason: StreamEndReason::Refused, .. });
    world.until(B, SECOND, "refused", refused);
    world.advance(SECOND);
    assert_eq!((world.sends(A), world.nodes[B].ended_streams.len()), (0, 1), "{}", world.transcript());
    request(&mut world, B, A, info.stream).unwrap();
}

#[test]
fn offers_and_requests_have_limits_and_need_a_call() {
    let mut world = Simulation::new(2, 37);
    let info = video(1);
    let without = world.act(A, |machine, now| machine.offer_stream(now, info.clone()));
    assert_eq!(without.unwrap_err().kind(), ErrorKind::State);
    assert_eq!(request(&mut world, B, A, info.stream).unwrap_err().kind(), ErrorKind::State);
    connected(&mut world, &[B]);
    for number in 1..=8 {
        offer(&mut world, A, &video(number));
    }
    let ninth = world.act(A, |machine, now| machine.offer_stream(now, video(9)));
    assert_eq!(ninth.unwrap_err().kind(), ErrorKind::State);
    world.advance(SECOND);
    assert_eq!(world.count(B, offered), 8, "{}", world.transcript());
    assert_eq!(request(&mut world, B, A, video(9).stream).unwrap_err().kind(), ErrorKind::NotFound);
    for number in 1..=2 {
        request(&mut world, B, A, video(number).stream).unwrap();
    }
    for number in 2..=3 {
        assert_eq!(request(&mut world, B, A, video(number).stream).unwrap_err().kind(), ErrorKind::State);
    }
    close(&mut world, B, A, video(1).stream).unwrap();
    request(&mut world, B, A, video(3).stream).unwrap();
    world.advance(SECOND);
    assert_eq!(world.sends(A), 2);
    assert_eq!(close(&mut world, B, A, video(1).stream).unwrap_err().kind(), ErrorKind::NotFound);

    let long = StreamInfo { name: "x".repeat(65), ..video(9) };
    world.act(A, |machine, now| machine.revoke_stream(now, video(8).stream)).unwrap();
    assert_eq!(world.act(A, |machine, now| machine.offer_stream(now, long)).unwrap_err().kind(), ErrorKind::Invalid);
    world.leave(A);
    world.until(B, SECOND, "ended", ended);
    world.advance(20 * SECOND);
    idle(&world, A);
    idle(&world, B);
}

#[test]
fn who_speaks_while_two_offers_cross_is_heard_to_stop_in_no_other_call() {
    let mut world = Simulation::new(2, 39);
    let calls = [world.offer(A, &[B]), world.offer(B, &[A])];
    assert!(world.nodes[B].endpoint < world.nodes[A].endpoint, "the call of the smaller endpoint goes on");
    let (loser, goes_on) = (A, calls[1]);
    let endpoint = world.nodes[loser].endpoint;
    world.input(loser, Input::Speaking { endpoint, speaking: true });
    world.advance(5 * SECOND);
    assert_eq!(world.nodes[loser].machine.current(), Some(goes_on), "{}", world.transcript());
    world.input(loser, Input::Speaking { endpoint, speaking: false });
    assert_eq!(world.count(loser, |event| matches!(event, Event::SpeakingStopped { .. })), 0, "{}", world.transcript());
    world.input(loser, Input::Speaking { endpoint, speaking: true });
    let of_it = |call: &CallId| *call == goes_on;
    assert_eq!(world.count(loser, |event| matches!(event, Event::SpeakingStarted { call, .. } if of_it(call))), 1);
}

#[test]
fn a_voice_is_told_once_per_utterance_and_ends_with_muting_and_leaving() {
    let mut world = Simulation::new(2, 38);
    connected(&mut world, &[B]);
    let (alice, bob) = (world.nodes[A].endpoint, world.nodes[B].endpoint);
    let started = |event: &Event| matches!(event, Event::SpeakingStarted { .. });
    let stopped = |event: &Event| matches!(event, Event::SpeakingStopped { .. });
    for (node, endpoint) in [(B, alice), (A, alice), (A, alice)] {
        world.input(node, Input::Speaking { endpoint, speaking: true });
    }
    assert_eq!((world.count(A, started), world.count(B, started)), (1, 1));
    world.act(A, |machine, now| machine.set_muted(now, true));
    world.advance(SECOND);
    assert_eq!((world.count(A, stopped), world.count(B, stopped)), (1, 1), "{}", world.transcript());
    // A voice that the media did not hear end is there again at once.
    world.act(A, |machine, now| machine.set_muted(now, false));
    world.advance(SECOND);
    for (node, endpoint) in [(A, alice), (B, alice)] {
        assert_eq!((world.count(node, started), world.count(node, stopped)), (2, 1), "{}", world.transcript());
        world.input(node, Input::Speaking { endpoint, speaking: false });
        assert_eq!(world.count(node, stopped), 2);
    }
    world.input(A, Input::Speaking { endpoint: bob, speaking: true });
    world.leave(B);
    world.advance(Duration::from_millis(500));
    assert_eq!((world.count(A, started), world.count(A, stopped)), (3, 3), "{}", world.transcript());
    world.input(A, Input::Speaking { endpoint: bob, speaking: true });
    assert_eq!(world.count(A, started), 3, "nobody is in a call");
}
