//! Streams beside the microphone: who offers, who asks, and what flows.

use std::time::Duration;

use blink_api::{CallId, ErrorKind, QualityReason, StreamId, TrackKind};
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

fn offer(simulation: &mut Simulation, node: usize, info: &StreamInfo) {
    simulation.act(node, |machine, now| machine.offer_stream(now, info.clone())).unwrap();
}

fn request(simulation: &mut Simulation, node: usize, from: usize, stream: StreamId) -> blink_api::Result<StreamInfo> {
    let participant = simulation.nodes[from].endpoint;
    simulation.act(node, |machine, now| machine.request_stream(now, participant, stream))
}

fn close(simulation: &mut Simulation, node: usize, from: usize, stream: StreamId) -> blink_api::Result<()> {
    let participant = simulation.nodes[from].endpoint;
    simulation.act(node, |machine, now| machine.close_stream(now, participant, stream))
}

#[test]
fn a_stream_flows_while_it_is_asked_for_and_only_to_who_asked() {
    let mut simulation = Simulation::new(3, 31);
    connected(&mut simulation, &[B, C]);
    let info = video(1);
    offer(&mut simulation, A, &info);
    for node in [B, C] {
        simulation.until(
            node,
            SECOND,
            "offered",
            |event| matches!(event, Event::StreamOffered { stream, .. } if *stream == info),
        );
    }
    assert_eq!(simulation.sends(A), 0, "no request");
    for _ in 0..2 {
        assert_eq!(request(&mut simulation, B, A, info.stream).unwrap(), info);
        simulation.advance(SECOND);
        assert!(simulation.flows(A, B, info.stream), "{}", simulation.transcript());
        assert_eq!(simulation.sends(A), 1);
        close(&mut simulation, B, A, info.stream).unwrap();
        simulation.advance(SECOND);
        assert_eq!((simulation.sends(A), simulation.flows(A, B, info.stream)), (0, false));
    }
    assert_eq!((simulation.count(B, offered), simulation.count(B, revoked)), (1, 0));
}

#[test]
fn revoking_ends_a_stream_for_everybody_once() {
    let mut simulation = Simulation::new(3, 32);
    connected(&mut simulation, &[B, C]);
    let info = video(1);
    offer(&mut simulation, A, &info);
    simulation.advance(SECOND);
    for node in [B, C] {
        request(&mut simulation, node, A, info.stream).unwrap();
    }
    simulation.advance(SECOND);
    assert_eq!(simulation.sends(A), 2);
    simulation.act(A, |machine, now| machine.revoke_stream(now, info.stream)).unwrap();
    assert_eq!(simulation.sends(A), 0, "at once");
    simulation.advance(SECOND);
    for node in [B, C] {
        assert_eq!(simulation.count(node, revoked), 1, "{}", simulation.transcript());
        assert_eq!(simulation.nodes[node].ended_streams, [info.stream]);
    }
    let again = simulation.act(A, |machine, now| machine.revoke_stream(now, info.stream));
    assert_eq!(again.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(request(&mut simulation, B, A, info.stream).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_late_joiner_learns_what_is_offered_and_can_have_it() {
    let mut simulation = Simulation::new(3, 33);
    let call = simulation.offer(A, &[B, C]);
    simulation.until(B, SECOND, "incoming", incoming);
    simulation.answer(B, call);
    simulation.until(A, SECOND, "joined", joined);
    let info = video(1);
    offer(&mut simulation, B, &info);
    simulation.advance(5 * SECOND);
    simulation.answer(C, call);
    simulation.advance(SECOND);
    assert_eq!(simulation.count(C, offered), 1, "{}", simulation.transcript());
    let snapshot = simulation.nodes[C].machine.snapshot();
    let bob = simulation.did(B);
    let streams = snapshot.calls[0].participants.iter().find(|other| other.did == bob).map(|bob| &bob.streams);
    assert_eq!(streams, Some(&vec![info.clone()]));
    request(&mut simulation, C, B, info.stream).unwrap();
    simulation.advance(SECOND);
    assert!(simulation.flows(B, C, info.stream));
}

#[test]
fn a_request_outlives_a_lost_path_and_ends_with_its_sender() {
    let mut simulation = Simulation::new(3, 34);
    let call = connected(&mut simulation, &[B, C]);
    let info = video(1);
    offer(&mut simulation, A, &info);
    simulation.advance(SECOND);
    request(&mut simulation, B, A, info.stream).unwrap();
    simulation.advance(SECOND);
    simulation.break_session(B, A);
    simulation.advance(70 * SECOND);
    assert!(simulation.flows(A, B, info.stream), "the path was made anew\n{}", simulation.transcript());

    simulation.leave(A);
    simulation.advance(SECOND);
    let gone = |event: &Event| matches!(event, Event::StreamEnded { reason: StreamEndReason::ParticipantLeft, .. });
    assert_eq!((simulation.count(B, gone), simulation.count(C, gone)), (1, 1), "{}", simulation.transcript());
    assert_eq!(simulation.nodes[B].ended_streams, [info.stream]);
    assert!(simulation.nodes[A].machine.snapshot().streams.is_empty(), "offers end with the call");

    simulation.answer(A, call);
    simulation.advance(2 * SECOND);
    assert_eq!(simulation.sends(A), 0);
    assert_eq!(request(&mut simulation, B, A, info.stream).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn who_joins_again_is_told_what_others_offer_again() {
    let mut simulation = Simulation::new(3, 35);
    let call = connected(&mut simulation, &[B, C]);
    offer(&mut simulation, A, &video(1));
    simulation.act(A, |machine, now| machine.set_recording(now, true)).unwrap();
    simulation.advance(SECOND);
    simulation.leave(C);
    simulation.advance(20 * SECOND);
    simulation.answer(C, call);
    simulation.advance(SECOND);
    assert_eq!((simulation.count(C, offered), simulation.count(B, offered)), (2, 1), "{}", simulation.transcript());
    let recording = |event: &Event| matches!(event, Event::ParticipantStateChanged { state, .. } if state.recording);
    assert_eq!((simulation.count(C, recording), simulation.count(B, recording)), (2, 1), "{}", simulation.transcript());
}

#[test]
fn what_cannot_be_sent_is_refused_and_may_be_asked_for_again() {
    let mut simulation = Simulation::new(2, 36);
    connected(&mut simulation, &[B]);
    let info = video(1);
    offer(&mut simulation, A, &info);
    simulation.advance(SECOND);
    request(&mut simulation, B, A, info.stream).unwrap();
    simulation.advance(SECOND);
    let session = simulation.paths.session_with(A, B);
    let event = SessionInput::StreamRefused(info.stream);
    simulation.input(A, Input::Session { session, event });
    let refused = |event: &Event| matches!(event, Event::StreamEnded { reason: StreamEndReason::Refused, .. });
    simulation.until(B, SECOND, "refused", refused);
    simulation.advance(SECOND);
    assert_eq!((simulation.sends(A), simulation.nodes[B].ended_streams.len()), (0, 1), "{}", simulation.transcript());
    request(&mut simulation, B, A, info.stream).unwrap();
}

#[test]
fn offers_and_requests_have_limits_and_need_a_call() {
    let mut simulation = Simulation::new(2, 37);
    let info = video(1);
    let without = simulation.act(A, |machine, now| machine.offer_stream(now, info.clone()));
    assert_eq!(without.unwrap_err().kind(), ErrorKind::State);
    assert_eq!(request(&mut simulation, B, A, info.stream).unwrap_err().kind(), ErrorKind::State);
    connected(&mut simulation, &[B]);
    for number in 1..=8 {
        offer(&mut simulation, A, &video(number));
    }
    let ninth = simulation.act(A, |machine, now| machine.offer_stream(now, video(9)));
    assert_eq!(ninth.unwrap_err().kind(), ErrorKind::State);
    simulation.advance(SECOND);
    assert_eq!(simulation.count(B, offered), 8, "{}", simulation.transcript());
    assert_eq!(request(&mut simulation, B, A, video(9).stream).unwrap_err().kind(), ErrorKind::NotFound);
    for number in 1..=2 {
        request(&mut simulation, B, A, video(number).stream).unwrap();
    }
    for number in 2..=3 {
        assert_eq!(request(&mut simulation, B, A, video(number).stream).unwrap_err().kind(), ErrorKind::State);
    }
    close(&mut simulation, B, A, video(1).stream).unwrap();
    request(&mut simulation, B, A, video(3).stream).unwrap();
    simulation.advance(SECOND);
    assert_eq!(simulation.sends(A), 2);
    assert_eq!(close(&mut simulation, B, A, video(1).stream).unwrap_err().kind(), ErrorKind::NotFound);

    let long = StreamInfo { name: "x".repeat(65), ..video(9) };
    simulation.act(A, |machine, now| machine.revoke_stream(now, video(8).stream)).unwrap();
    assert_eq!(
        simulation.act(A, |machine, now| machine.offer_stream(now, long)).unwrap_err().kind(),
        ErrorKind::Invalid
    );
    simulation.leave(A);
    simulation.until(B, SECOND, "ended", ended);
    simulation.advance(20 * SECOND);
    idle(&simulation, A);
    idle(&simulation, B);
}

#[test]
fn who_speaks_while_two_offers_cross_is_heard_to_stop_in_no_other_call() {
    let mut simulation = Simulation::new(2, 39);
    let calls = [simulation.offer(A, &[B]), simulation.offer(B, &[A])];
    assert!(simulation.nodes[B].endpoint < simulation.nodes[A].endpoint, "the call of the smaller endpoint goes on");
    let (loser, goes_on) = (A, calls[1]);
    let endpoint = simulation.nodes[loser].endpoint;
    simulation.input(loser, Input::Speaking { endpoint, speaking: true });
    simulation.advance(5 * SECOND);
    assert_eq!(simulation.nodes[loser].machine.current(), Some(goes_on), "{}", simulation.transcript());
    simulation.input(loser, Input::Speaking { endpoint, speaking: false });
    assert_eq!(
        simulation.count(loser, |event| matches!(event, Event::SpeakingStopped { .. })),
        0,
        "{}",
        simulation.transcript()
    );
    simulation.input(loser, Input::Speaking { endpoint, speaking: true });
    let of_it = |call: &CallId| *call == goes_on;
    assert_eq!(simulation.count(loser, |event| matches!(event, Event::SpeakingStarted { call, .. } if of_it(call))), 1);
}

#[test]
fn a_voice_is_told_once_per_utterance_and_ends_with_muting_and_leaving() {
    let mut simulation = Simulation::new(2, 38);
    connected(&mut simulation, &[B]);
    let (alice, bob) = (simulation.nodes[A].endpoint, simulation.nodes[B].endpoint);
    let started = |event: &Event| matches!(event, Event::SpeakingStarted { .. });
    let stopped = |event: &Event| matches!(event, Event::SpeakingStopped { .. });
    for (node, endpoint) in [(B, alice), (A, alice), (A, alice)] {
        simulation.input(node, Input::Speaking { endpoint, speaking: true });
    }
    assert_eq!((simulation.count(A, started), simulation.count(B, started)), (1, 1));
    simulation.act(A, |machine, now| machine.set_muted(now, true));
    simulation.advance(SECOND);
    assert_eq!((simulation.count(A, stopped), simulation.count(B, stopped)), (1, 1), "{}", simulation.transcript());
    // A voice that the media did not hear end is there again at once.
    simulation.act(A, |machine, now| machine.set_muted(now, false));
    simulation.advance(SECOND);
    for (node, endpoint) in [(A, alice), (B, alice)] {
        assert_eq!(
            (simulation.count(node, started), simulation.count(node, stopped)),
            (2, 1),
            "{}",
            simulation.transcript()
        );
        simulation.input(node, Input::Speaking { endpoint, speaking: false });
        assert_eq!(simulation.count(node, stopped), 2);
    }
    simulation.input(A, Input::Speaking { endpoint: bob, speaking: true });
    simulation.leave(B);
    simulation.advance(Duration::from_millis(500));
    assert_eq!((simulation.count(A, started), simulation.count(A, stopped)), (3, 3), "{}", simulation.transcript());
    simulation.input(A, Input::Speaking { endpoint: bob, speaking: true });
    assert_eq!(simulation.count(A, started), 3, "no call");
}

#[test]
fn degraded_quality_is_told_of_participants_only_and_its_end_once() {
    let mut simulation = Simulation::new(3, 40);
    let call = connected(&mut simulation, &[B]);
    let [bob, carol] = [B, C].map(|node| simulation.nodes[node].endpoint);
    let loss = Some(QualityReason::Loss { measured: 0.1, threshold: 0.05 });
    let degraded = |event: &Event| matches!(event, Event::QualityDegraded { .. });
    let recovered = |event: &Event| matches!(event, Event::QualityRecovered { .. });
    let jitter =
        Some(QualityReason::Jitter { measured: Duration::from_millis(40), threshold: Duration::from_millis(30) });
    let own = simulation.nodes[A].endpoint;
    for (endpoint, reason) in [(carol, loss), (own, loss), (bob, None), (bob, loss), (bob, jitter)] {
        simulation.input(A, Input::Quality { call, endpoint, degraded: reason });
    }
    assert_eq!((simulation.count(A, degraded), simulation.count(A, recovered)), (2, 0), "{}", simulation.transcript());
    for _ in 0..2 {
        simulation.input(A, Input::Quality { call, endpoint: bob, degraded: None });
    }
    assert_eq!((simulation.count(A, degraded), simulation.count(A, recovered)), (2, 1));
    simulation.input(A, Input::Quality { call, endpoint: bob, degraded: loss });
    simulation.leave(B);
    simulation.advance(Duration::from_millis(500));
    // Its path is gone, which media reports afterwards.
    simulation.input(A, Input::Quality { call, endpoint: bob, degraded: None });
    assert_eq!((simulation.count(A, degraded), simulation.count(A, recovered)), (3, 1), "{}", simulation.transcript());
}
