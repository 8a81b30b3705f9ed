//! Names that participants give themselves.

use blink_proto::call::{Event, Input, SessionInput};
use blink_proto::wire::{ChannelMessage, Member, Record, Status};
use blink_sim::simulation::Simulation;

use crate::{A, B, C, SECOND, incoming, joined};

fn named(simulation: &Simulation, node: usize, of: usize) -> Vec<String> {
    let of = simulation.nodes[of].endpoint;
    let name = |event: &Event| match event {
        Event::ParticipantNamed { participant, name, .. } if *participant == of => Some(name.clone()),
        _ => None,
    };
    simulation.nodes[node].events.iter().filter_map(name).collect()
}

fn in_snapshot(simulation: &Simulation, node: usize, of: usize) -> Option<String> {
    let did = simulation.did(of);
    let snapshot = simulation.nodes[node].machine.snapshot();
    let mut people = snapshot.calls.iter().flat_map(|call| &call.participants);
    people.find(|person| person.did == did).and_then(|person| person.name.clone())
}

#[test]
fn names_are_told_once_before_joining_and_nothing_before_the_answer() {
    let mut simulation = Simulation::new(3, 71);
    for (node, name) in [(A, "Ada"), (B, "Bob")] {
        simulation.act(node, |machine, _| machine.set_name(Some(name)));
    }
    let call = simulation.offer(A, &[B, C]);
    simulation.until(B, SECOND, "incoming", incoming);
    simulation.advance(10 * SECOND);
    for node in [A, B, C] {
        for of in [A, B, C] {
            assert!(named(&simulation, node, of).is_empty());
        }
    }
    assert_eq!((in_snapshot(&simulation, A, B), in_snapshot(&simulation, B, A)), (None, None));
    simulation.answer(B, call);
    simulation.answer(C, call);
    simulation.advance(20 * SECOND);
    for (node, of, name) in [(A, B, "Bob"), (B, A, "Ada"), (C, A, "Ada"), (C, B, "Bob")] {
        assert_eq!(named(&simulation, node, of), [name]);
        assert_eq!(in_snapshot(&simulation, node, of).as_deref(), Some(name));
        let other = simulation.nodes[of].endpoint;
        let events = &simulation.nodes[node].events;
        let at = |event: Event| events.iter().position(|known| *known == event);
        let told = at(Event::ParticipantNamed { call, participant: other, name: name.to_owned() });
        let there = at(Event::ParticipantJoined { call, participant: other });
        assert_eq!(told.map(|at| at + 1), there, "right before");
    }
    assert!(named(&simulation, A, C).is_empty() && in_snapshot(&simulation, A, C).is_none(), "no name, no event");
    // Another stay tells it again.
    simulation.leave(B);
    simulation.advance(5 * SECOND);
    assert_eq!(in_snapshot(&simulation, A, B), None);
    simulation.answer(B, call);
    simulation.advance(10 * SECOND);
    assert_eq!(named(&simulation, A, B), ["Bob", "Bob"]);
}

/// A participant that sends any text at all in its record.
#[test]
fn hostile_names_are_cleaned_and_do_not_change_within_a_stay() {
    let names = [
        ("\u{202e}Bob\u{1b}]0;x\u{7}\u{200b}", Some("Bob]0;x")),
        ("\u{200b}\u{feff}", None),
        (
            "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp!",
            Some("did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp!"),
        ),
        (&*"x".repeat(10_000), Some(&*"x".repeat(64))),
    ];
    for (sent, shown) in names {
        let mut simulation = Simulation::new(2, 72);
        let call = simulation.offer(A, &[B]);
        simulation.until(B, SECOND, "incoming", incoming);
        simulation.answer(B, call);
        simulation.until(A, SECOND, "joined", joined);
        let bob = simulation.nodes[B].endpoint;
        let (call, keys) = simulation.known_call_keys(B).expect("it is in a call");
        let key = keys.iter().find(|(endpoint, _)| *endpoint == bob).expect("its own key").1;
        let mut says = |version: u64, name: &str| {
            let record = Record {
                seat: 1,
                messages: Some(true),
                name: Some(name.to_owned()),
                ..Record::new(simulation.signed_key(&bob, &call, &key), version, Status::Joined)
            };
            let member = Box::new(Member { record, entries: Vec::new(), secret: None });
            let (session, boot) = (simulation.paths.session_with(A, B), simulation.nodes[B].boot);
            let event = SessionInput::Channel(ChannelMessage::Member { boot, member });
            simulation.input(A, Input::Session { session, event });
            in_snapshot(&simulation, A, B)
        };
        assert_eq!(says(1_000, sent).as_deref(), shown);
        if let Some(shown) = shown {
            assert_eq!(says(1_001, "somebody else").as_deref(), Some(shown));
        }
    }
}
