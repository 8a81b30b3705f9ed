//! Application messages between participants: order, loss, limits, and hostile ones.

use std::time::Duration;

use blink_api::{CallSettings, Endpoint, ErrorKind, Result};
use blink_proto::call::{Event, Input, LeftReason, MessageId, ParticipantStatus, SessionInput};
use blink_proto::secure::Refusal;
use blink_proto::wire::{AppMessage, ChannelMessage};
use blink_sim::simulation::{Network, Simulation};

use crate::{A, B, C, SECOND, connected, ended, incoming, joined};

fn send(simulation: &mut Simulation, from: usize, to: Option<usize>, message: &[u8]) -> Result<MessageId> {
    let to = to.map(|to| simulation.nodes[to].endpoint);
    simulation.act(from, |machine, now| machine.send_message(now, to, message))
}

/// Messages that a node received from another one.
fn received(simulation: &Simulation, node: usize, from: usize) -> Vec<Vec<u8>> {
    let from = simulation.nodes[from].endpoint;
    let of = |event: &Event| match event {
        Event::MessageReceived { participant, message, .. } if *participant == from => Some(message.clone()),
        _ => None,
    };
    simulation.nodes[node].events.iter().filter_map(of).collect()
}

fn lost(simulation: &Simulation, node: usize) -> Vec<(Endpoint, MessageId)> {
    let of = |event: &Event| match event {
        Event::MessageLost { participant, message, .. } => Some((*participant, *message)),
        _ => None,
    };
    simulation.nodes[node].events.iter().filter_map(of).collect()
}

fn text(n: usize) -> Vec<u8> {
    let mut text = format!("message {n} ").into_bytes();
    text.resize(text.len() + (n * 997) % 16_000, b'x');
    text
}

#[test]
fn messages_reach_one_or_all_once_and_in_order() {
    let mut simulation = Simulation::new(3, 51);
    connected(&mut simulation, &[B, C]);
    for n in 0..10 {
        send(&mut simulation, A, None, &text(n)).unwrap();
        send(&mut simulation, B, Some(A), &text(100 + n)).unwrap();
    }
    send(&mut simulation, A, Some(C), b"").unwrap();
    simulation.advance(5 * SECOND);
    let to_all: Vec<_> = (0..10).map(text).collect();
    assert_eq!(received(&simulation, B, A), to_all);
    assert_eq!(received(&simulation, C, A), [to_all, vec![Vec::new()]].concat());
    assert_eq!(received(&simulation, A, B), (100..110).map(text).collect::<Vec<_>>());
    assert!(received(&simulation, C, B).is_empty());
    for node in [A, B, C] {
        assert!(simulation.nodes[node].refusals.is_empty() && lost(&simulation, node).is_empty());
    }
}

#[test]
fn messages_on_a_rough_network_all_arrive_in_order() {
    for seed in 0..20 {
        let mut simulation = Simulation::with(3, seed, Network::ROUGH, CallSettings::default());
        connected(&mut simulation, &[B, C]);
        for n in 0..30 {
            send(&mut simulation, A, None, &text(n)).unwrap();
            simulation.advance(Duration::from_millis(120));
        }
        simulation.advance(60 * SECOND);
        for node in [B, C] {
            let got = received(&simulation, node, A);
            assert_eq!(got, (0..30).map(text).collect::<Vec<_>>(), "seed {seed}, node {node}: {}", got.len());
        }
    }
}

/// The session breaks while messages are under way: they arrive on the next one, none twice.
#[test]
fn messages_survive_a_path_that_is_made_anew() {
    let mut simulation = Simulation::new(3, 52);
    connected(&mut simulation, &[B, C]);
    send(&mut simulation, A, Some(B), b"before").unwrap();
    simulation.advance(SECOND);
    simulation.break_session(B, A);
    for n in 0..20 {
        send(&mut simulation, A, Some(B), &text(n)).unwrap();
        simulation.advance(Duration::from_millis(110));
    }
    simulation.advance(70 * SECOND);
    let expected = [vec![b"before".to_vec()], (0..20).map(text).collect()].concat();
    assert_eq!(received(&simulation, B, A), expected, "{}", simulation.transcript());
    assert!(lost(&simulation, A).is_empty());
}

#[test]
fn messages_to_one_who_leaves_before_it_has_them_are_reported_before_it_is_gone() {
    let mut simulation = Simulation::new(3, 53);
    connected(&mut simulation, &[B, C]);
    simulation.nodes[B].online = false;
    simulation.break_session(A, B);
    let ids: Vec<_> = (0..3).map(|n| send(&mut simulation, A, Some(B), &text(n)).unwrap()).collect();
    let gone = |event: &Event| matches!(event, Event::ParticipantLeft { reason: LeftReason::TimedOut, .. });
    simulation.until(A, 60 * SECOND, "gone", gone);
    let bob = simulation.nodes[B].endpoint;
    let expected: Vec<_> = ids.into_iter().map(|id| (bob, id)).collect();
    assert_eq!(lost(&simulation, A), expected);
    let events = &simulation.nodes[A].events;
    let last = events.iter().rposition(|event| matches!(event, Event::MessageLost { .. }));
    assert!(last < events.iter().position(gone));
    let later = send(&mut simulation, A, Some(B), b"late").unwrap_err();
    assert_eq!(later.kind(), ErrorKind::NotFound);
}

#[test]
fn messages_that_were_not_acknowledged_are_reported_when_this_device_leaves() {
    let mut simulation = Simulation::new(2, 54);
    connected(&mut simulation, &[B]);
    send(&mut simulation, A, Some(B), b"arrives").unwrap();
    simulation.advance(SECOND);
    let id = send(&mut simulation, A, Some(B), b"perhaps").unwrap();
    simulation.leave(A);
    let bob = simulation.nodes[B].endpoint;
    assert_eq!(lost(&simulation, A), [(bob, id)]);
    let events = &simulation.nodes[A].events;
    let at = |is: &dyn Fn(&Event) -> bool| events.iter().position(is);
    assert!(at(&|event| matches!(event, Event::MessageLost { .. })) < at(&|event| ended(event)));
    assert_eq!(send(&mut simulation, A, Some(B), b"late").unwrap_err().kind(), ErrorKind::State);
}

/// Another stay of a participant: nothing of the one before is repeated, and numbers begin anew.
#[test]
fn messages_go_on_when_a_participant_joins_again() {
    let mut simulation = Simulation::new(3, 55);
    let call = connected(&mut simulation, &[B, C]);
    for n in 0..5 {
        send(&mut simulation, A, None, &text(n)).unwrap();
        send(&mut simulation, B, None, &text(10 + n)).unwrap();
    }
    simulation.advance(SECOND);
    simulation.leave(B);
    simulation.advance(SECOND);
    simulation.answer(B, call);
    let bob = simulation.nodes[B].endpoint;
    for node in [A, C] {
        let again =
            |event: &Event| matches!(event, Event::ParticipantJoined { participant, .. } if *participant == bob);
        for _ in 0..100 {
            if simulation.count(node, again) >= 2 {
                break;
            }
            simulation.advance(Duration::from_millis(50));
        }
    }
    send(&mut simulation, A, None, b"again").unwrap();
    send(&mut simulation, B, None, b"I am back").unwrap();
    simulation.advance(SECOND);
    assert_eq!(received(&simulation, B, A).last().unwrap(), b"again");
    assert_eq!(received(&simulation, B, A).len(), 6);
    assert_eq!(received(&simulation, A, B).last().unwrap(), b"I am back");
    assert_eq!(received(&simulation, C, B).len(), 6);
}

#[test]
fn messages_have_limits_and_need_someone_to_read_them() {
    let mut simulation = Simulation::new(3, 56);
    assert_eq!(send(&mut simulation, A, None, b"no call").unwrap_err().kind(), ErrorKind::State);
    let call = simulation.offer(A, &[B]);
    simulation.until(B, SECOND, "incoming", incoming);
    assert_eq!(send(&mut simulation, A, None, b"no one").unwrap_err().kind(), ErrorKind::State);
    assert_eq!(send(&mut simulation, A, Some(B), b"rings").unwrap_err().kind(), ErrorKind::NotFound);
    simulation.answer(B, call);
    simulation.until(A, SECOND, "joined", joined);
    simulation.until(B, SECOND, "joined", joined);
    let refused = send(&mut simulation, A, Some(B), &[0; 16_385]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TooLarge);
    send(&mut simulation, A, Some(B), &[7; 16_384]).unwrap();
    assert_eq!(send(&mut simulation, A, Some(C), b"a stranger").unwrap_err().kind(), ErrorKind::NotFound);
    simulation.advance(SECOND);
    assert_eq!(received(&simulation, B, A), [vec![7; 16_384]]);
    // 32 at once, then ten a second; what was refused is not sent, the rest arrives.
    simulation.advance(10 * SECOND);
    let sent = (0..100).filter(|n| send(&mut simulation, A, Some(B), &[*n; 3]).is_ok()).count();
    assert_eq!(sent, 32);
    let error = send(&mut simulation, A, Some(B), b"more").unwrap_err();
    assert!(error.kind() == ErrorKind::Full && error.is_retryable(), "{error}");
    simulation.advance(SECOND);
    assert_eq!((0..100).filter(|n| send(&mut simulation, A, Some(B), &[*n; 3]).is_ok()).count(), 10);
    simulation.advance(5 * SECOND);
    assert_eq!(received(&simulation, B, A).len(), 1 + 32 + 10);
}

/// A participant that floods messages costs the others none, and itself nothing but time.
#[test]
fn a_flood_of_messages_is_bounded_and_others_are_heard() {
    let mut simulation = Simulation::new(3, 57);
    connected(&mut simulation, &[B, C]);
    simulation.trace.disable();
    let session = simulation.paths.session_with(B, A);
    let before = simulation.nodes[B].events.len();
    for n in 1..=8_000_u64 {
        let bytes = vec![n as u8; 8_192].into();
        let message = AppMessage { series: 9, number: n, length: 8_192, offset: 0, bytes };
        let event = SessionInput::Channel(ChannelMessage::Message(message));
        simulation.input(B, Input::Session { session, event });
        if n % 1_000 == 0 {
            send(&mut simulation, C, Some(B), &text(n as usize)).unwrap();
        }
        simulation.advance(Duration::from_millis(1));
    }
    simulation.advance(SECOND);
    let flooded = received(&simulation, B, A).len();
    assert!((256..=256 + 8 * 33).contains(&flooded), "{flooded} of 8,000");
    assert_eq!(received(&simulation, B, C), (1..=8).map(|n| text(n * 1_000)).collect::<Vec<_>>());
    assert!(simulation.nodes[B].refusals.contains(&Refusal::RateLimited));
    let events = simulation.nodes[B].events.len() - before;
    assert!(events < flooded + 50, "{events} events");
}

/// Forged numbers, lengths and acknowledgements: nothing is delivered that was not sent whole, and
/// no message of an honest participant is lost by it.
#[test]
fn forged_fragments_and_acknowledgements_change_nothing_for_others() {
    let mut simulation = Simulation::new(3, 58);
    connected(&mut simulation, &[B, C]);
    let session = simulation.paths.session_with(B, A);
    let whole = AppMessage { series: 1, number: 1, length: 3, offset: 0, bytes: b"one".to_vec().into() };
    let forged = [
        ChannelMessage::Message(AppMessage { length: 16_385, ..whole.clone() }),
        ChannelMessage::Message(AppMessage { offset: u32::MAX, ..whole.clone() }),
        ChannelMessage::Message(AppMessage { series: 0, ..whole.clone() }),
        ChannelMessage::Message(AppMessage { number: 2, ..whole.clone() }),
        ChannelMessage::MessageAck { series: 1, number: 1 },
        ChannelMessage::MessageAck { series: u64::MAX, number: u64::MAX },
        ChannelMessage::Message(whole.clone()),
        ChannelMessage::Message(whole),
    ];
    for message in forged {
        simulation.input(B, Input::Session { session, event: SessionInput::Channel(message) });
    }
    send(&mut simulation, B, None, b"to all").unwrap();
    send(&mut simulation, A, None, b"two").unwrap();
    send(&mut simulation, C, None, b"three").unwrap();
    simulation.advance(3 * SECOND);
    assert_eq!(received(&simulation, B, A), [b"one".to_vec(), b"two".to_vec()]);
    assert_eq!(received(&simulation, B, C), [b"three".to_vec()]);
    assert_eq!((received(&simulation, A, B).len(), received(&simulation, C, B).len()), (1, 1));
    let refused = simulation.nodes[B].refusals.iter().filter(|refusal| **refusal == Refusal::Malformed).count();
    assert_eq!(refused, 3, "{:?}", simulation.nodes[B].refusals);
}

/// Parts that arrive before the path is verified, or for a call that is over, are no message.
#[test]
fn messages_on_a_path_that_is_not_verified_are_not_delivered() {
    let mut simulation = Simulation::new(2, 59);
    let call = simulation.offer(A, &[B]);
    simulation.until(B, SECOND, "incoming", incoming);
    simulation.answer(B, call);
    let message = || {
        let bytes = b"early".to_vec().into();
        ChannelMessage::Message(AppMessage { series: 1, number: 1, length: 5, offset: 0, bytes })
    };
    for _ in 0..200 {
        if simulation.count(B, joined) > 0 {
            break;
        }
        let sessions: Vec<_> = simulation.nodes[B].sessions.keys().copied().collect();
        for session in sessions {
            simulation.input(B, Input::Session { session, event: SessionInput::Channel(message()) });
        }
        assert_eq!(received(&simulation, B, A).len(), 0, "{}", simulation.transcript());
        simulation.advance(Duration::from_millis(1));
    }
    assert_eq!(simulation.count(B, joined), 1);
    // The hello comes with the data channel.
    simulation.advance(SECOND);
    let session = simulation.paths.session_with(B, A);
    simulation.input(B, Input::Session { session, event: SessionInput::Channel(message()) });
    assert_eq!(received(&simulation, B, A), [b"early".to_vec()]);
    simulation.leave(B);
    simulation.input(B, Input::Session { session, event: SessionInput::Channel(message()) });
    assert_eq!(received(&simulation, B, A).len(), 1);
}

/// A device of a version without messages: one message is an error, one to all reports it.
#[test]
fn a_participant_that_reads_no_messages_is_told_of() {
    let mut simulation = Simulation::new(3, 60);
    connected(&mut simulation, &[B, C]);
    let bob = simulation.nodes[B].endpoint;
    let (call, keys) = simulation.known_call_keys(B).expect("it is in a call");
    let key = keys.iter().find(|(endpoint, _)| *endpoint == bob).expect("its own key").1;
    let record = blink_proto::wire::Record {
        seat: 1,
        ..blink_proto::wire::Record::new(
            simulation.signed_key(&bob, &call, &key),
            1_000,
            blink_proto::wire::Status::Joined,
        )
    };
    let member = Box::new(blink_proto::wire::Member { record, entries: Vec::new(), secret: None });
    let (session, boot) = (simulation.paths.session_with(A, B), simulation.nodes[B].boot);
    let event = SessionInput::Channel(ChannelMessage::Member { boot, member });
    simulation.input(A, Input::Session { session, event });
    let error = send(&mut simulation, A, Some(B), b"hello").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let id = send(&mut simulation, A, None, b"hello").unwrap();
    assert_eq!(lost(&simulation, A), [(bob, id)]);
    simulation.advance(SECOND);
    assert_eq!(received(&simulation, C, A), [b"hello".to_vec()]);
}

/// A participant that was heard before is another end of a new session until its hello came.
#[test]
fn messages_on_a_new_session_wait_for_its_hello() {
    let mut simulation = Simulation::new(3, 61);
    connected(&mut simulation, &[B, C]);
    simulation.break_session(B, A);
    let mut tried = 0;
    for n in 0..5_000_u64 {
        let alice = simulation.did(A);
        let snapshot = simulation.nodes[B].machine.snapshot();
        let people = &snapshot.calls[0].participants;
        let status = people.iter().find(|person| person.did == alice).map(|person| person.status);
        if matches!(status, Some(ParticipantStatus::Connecting)) {
            let alice = simulation.nodes[A].endpoint;
            let sessions = simulation.nodes[B].sessions.iter().filter(|(_, (_, remote))| *remote == alice);
            for session in sessions.map(|(session, _)| *session).collect::<Vec<_>>() {
                let bytes = b"early".to_vec().into();
                let message = AppMessage { series: n + 1, number: 1, length: 5, offset: 0, bytes };
                let event = SessionInput::Channel(ChannelMessage::Message(message));
                simulation.input(B, Input::Session { session, event });
                tried += 1;
            }
        }
        simulation.advance(Duration::from_millis(1));
    }
    assert!(tried > 0, "{}", simulation.transcript());
    assert_eq!(received(&simulation, B, A).len(), 0, "of {tried}");
}
