//! False statements of malicious members, and messages that arrive late.

use std::collections::BTreeSet;
use std::time::Duration;

use blink_api::{CallId, CallSettings, DeviceId, Endpoint, StreamId, TrackKind};
use blink_proto::call::{EndReason, Event, LeftReason, StreamInfo};
use blink_proto::secure::{AgreementKey, Channel, Identity, Refusal, sign_call_key};
use blink_proto::wire::{
    Body, Cancel, CancelReason, Entry, EntryBody, JoinedClaim, Kind, Member, Record, Seen, Signed, SignedKey, Status,
    StreamOffer, cbor,
};
use blink_sim::simulation::{Network, Simulation, SimulationConfig};

use crate::{A, B, C, SECOND, connected, ended_with, incoming, joined};

/// Four people whose messages travel in envelopes.
fn sealed(seed: u64) -> Simulation {
    let devices = [(1, 1), (2, 2), (3, 3), (4, 4)];
    let (network, settings) = (Network::PERFECT, CallSettings::default());
    Simulation::configured(SimulationConfig { devices: &devices, seed, network, settings, sealed: true })
}

/// Keys of the call's members.
fn keys(simulation: &Simulation, node: usize) -> Vec<[u8; 32]> {
    let (_, keys) = simulation.known_call_keys(node).unwrap();
    keys.into_iter().map(|(_, key)| key).collect()
}

/// A device's key as its owner would sign it.
fn signed(simulation: &Simulation, endpoint: Endpoint, call: CallId, key: [u8; 32]) -> SignedKey {
    simulation.signed_key(&endpoint, &call, &key)
}

/// The key under which a device is in the call.
fn own_key(simulation: &Simulation, node: usize, call: CallId) -> SignedKey {
    signed(simulation, simulation.nodes[node].endpoint, call, keys(simulation, node)[0])
}

fn record(call_key: SignedKey, version: u64) -> Record {
    Record { seat: 1, ..Record::new(call_key, version, Status::Joined) }
}

/// Sends a message of a malicious member to all others.
fn says(simulation: &mut Simulation, node: usize, call: CallId, record: Record) {
    says_of_the_roster(simulation, node, call, record, Vec::new());
}

fn says_of_the_roster(simulation: &mut Simulation, node: usize, call: CallId, record: Record, entries: Vec<Signed>) {
    let recipients = keys(simulation, node);
    let body = Body::Member(Box::new(Member { record, entries, secret: None }));
    simulation.send_raw(node, Channel::Call(call), &recipients, call, body);
}

/// An invitation by a person of whom this much is known.
fn invitation(call: CallId, by: &Identity, did: blink_api::Did, slot: u8) -> Signed {
    let bytes = cbor::encode(&Entry { call, did, body: EntryBody::Add { by: by.did(), slot } });
    Signed { signature: by.sign(b"blink/1 entry\0", &bytes), bytes }
}

/// Invitations of people that do not exist, by a person and by those, as many as find room.
fn made_up_people(call: CallId, by: &Identity) -> Vec<Signed> {
    let person = |n: u8| Identity::from_seed(&[n; 32]);
    let mut inviters = vec![by.clone()];
    let mut entries = Vec::new();
    for n in 0..64 {
        entries.push(invitation(call, &inviters[usize::from(n / 4)], person(100 + n).did(), n % 4));
        inviters.push(person(100 + n));
    }
    entries
}

/// A member claims something in a envelope.
fn claims(simulation: &mut Simulation, node: usize, to: usize, call: CallId, mut joined: Vec<JoinedClaim>) {
    let (endpoint, boot) = (simulation.nodes[node].endpoint, simulation.nodes[node].boot);
    joined.push(JoinedClaim { endpoint, boot, version: 1, call_key: own_key(simulation, node, call) });
    let reason = CancelReason::Left;
    let body = Body::Cancel(Cancel { reason, version: 1, joined, acknowledged: false, replaced_by: None });
    let recipient = AgreementKey::public_of(&simulation.did(to)).unwrap();
    simulation.send_raw(node, Channel::Inbox(simulation.did(to)), &[recipient], call, body);
}

fn muted(event: &Event) -> bool {
    matches!(event, Event::ParticipantStateChanged { state, .. } if state.muted)
}

fn device(of: &Simulation, node: usize, number: u8) -> Endpoint {
    Endpoint { device: DeviceId::from_random([number; 16]), ..of.nodes[node].endpoint }
}

#[test]
fn a_call_key_for_which_nothing_can_be_sealed_is_refused_and_keeps_no_record_from_others() {
    let mut simulation = sealed(1);
    let call = connected(&mut simulation, &[B, C]);
    let endpoint = device(&simulation, B, 90);
    let fake = Seen { endpoint, boot: 1, call_key: signed(&simulation, endpoint, call, [0; 32]), version: 1 };
    let own = own_key(&simulation, C, call);
    says(&mut simulation, C, call, Record { seen: vec![fake], ..record(own, 500) });
    let weak = signed(&simulation, simulation.nodes[C].endpoint, call, [0; 32]);
    says(&mut simulation, C, call, record(weak, 501));
    let endpoint = device(&simulation, B, 91);
    let claim = JoinedClaim { endpoint, boot: 1, version: 1, call_key: signed(&simulation, endpoint, call, [0; 32]) };
    claims(&mut simulation, C, A, call, vec![claim]);
    simulation.advance(SECOND);
    assert!(simulation.nodes[A].refusals.contains(&Refusal::WeakKey), "{:?}", simulation.nodes[A].refusals);
    simulation.paths.cut.insert((A, B));
    simulation.act(A, |machine, now| machine.set_muted(now, true));
    simulation.until(B, 2 * SECOND, "muted", muted);
}

#[test]
fn a_call_key_that_is_said_to_be_anothers_keeps_no_record_from_its_owner_and_breaks_no_path() {
    let mut simulation = sealed(2);
    let call = connected(&mut simulation, &[B, C]);
    let [own, theirs] = [C, B].map(|node| own_key(&simulation, node, call));
    // One after the other, so that the malicious member loses its own path last.
    let fake = |simulation: &Simulation, number| Seen {
        endpoint: device(simulation, B, number),
        boot: 1,
        call_key: theirs,
        version: 1,
    };
    let seen = vec![fake(&simulation, 90), fake(&simulation, 91)];
    says(&mut simulation, C, call, Record { seen, ..record(own, 500) });
    simulation.advance(SECOND);
    let as_own = signed(&simulation, simulation.nodes[C].endpoint, call, theirs.key);
    says(&mut simulation, C, call, record(as_own, 600));
    simulation.advance(SECOND);
    simulation.act(A, |machine, now| machine.set_muted(now, true));
    simulation.until(B, 2 * SECOND, "muted", muted);
    simulation.advance(100 * SECOND);
    let trouble = |event: &Event| match event {
        Event::ParticipantReconnecting { participant, .. } | Event::ParticipantLeft { participant, .. } => {
            participant.did != simulation.did(C)
        }
        _ => false,
    };
    assert_eq!((simulation.count(A, trouble), simulation.count(B, trouble)), (0, 0), "{}", simulation.transcript());
}

#[test]
fn a_member_that_fills_the_roster_is_removed_and_keeps_no_other_out() {
    let mut simulation = sealed(8);
    let call = connected(&mut simulation, &[B, C]);
    let (own, liar) = (own_key(&simulation, C, call), Identity::from_seed(&[3; 32]));
    assert_eq!(liar.did(), simulation.did(C));
    let entries = made_up_people(call, &liar);
    says_of_the_roster(&mut simulation, C, call, record(own, 500), entries);
    simulation.advance(SECOND);
    let (third, fourth) = (simulation.did(C), simulation.did(3));
    simulation.act(A, |machine, now| machine.remove(now, third)).unwrap();
    let removed = |event: &Event| matches!(event, Event::ParticipantLeft { reason: LeftReason::Removed, participant, .. } if participant.did == third);
    simulation.until(A, SECOND, "removed", removed);
    simulation.until(B, SECOND, "removed", removed);
    simulation.until(C, SECOND, "removed", ended_with(EndReason::Removed));
    simulation.act(B, |machine, now| machine.add(now, fourth)).unwrap();
    simulation.until(3, 5 * SECOND, "incoming", incoming);
    simulation.answer(3, call);
    for node in [A, B] {
        simulation.until(
            node,
            5 * SECOND,
            "joined",
            |event| matches!(event, Event::ParticipantJoined { participant, .. } if participant.did == fourth),
        );
    }
    // What the removed one says of people whom it invites now makes none of them a member.
    let late = Identity::from_seed(&[250; 32]).did();
    let entries = (0..4).map(|slot| invitation(call, &liar, late, slot)).collect();
    says_of_the_roster(&mut simulation, C, call, record(own, 600), entries);
    simulation.advance(3 * SECOND);
    let people = |node: usize| -> BTreeSet<_> {
        let participants = simulation.nodes[node].machine.snapshot().calls.remove(0).participants;
        participants.into_iter().map(|participant| participant.did).chain([simulation.did(node)]).collect()
    };
    assert!(!people(A).contains(&late) && !people(B).contains(&late));
    assert_eq!(people(A), people(B));
}

#[test]
fn nothing_is_sealed_for_a_key_that_its_owner_has_not_signed_for() {
    let mut simulation = sealed(9);
    let call = connected(&mut simulation, &[B, C]);
    let own = own_key(&simulation, C, call);
    // The malicious member's keys as those of other identities' devices, signed by itself: in a
    // record, and in envelopes.
    let eyes: Vec<AgreementKey> = (90..94).map(|number| AgreementKey::from_scalar(&[number; 32])).collect();
    let liar = Identity::from_seed(&[3; 32]);
    let fake = |simulation: &Simulation, node: usize, number: u8| {
        let endpoint = device(simulation, node, number);
        let key = eyes[usize::from(number - 90)].public();
        (endpoint, sign_call_key(&liar, &endpoint.device, &call, key))
    };
    for (number, node) in [(90, B), (91, A)] {
        let (endpoint, call_key) = fake(&simulation, node, number);
        let seen = vec![Seen { endpoint, boot: 1, call_key, version: 1 }];
        says(&mut simulation, C, call, Record { seen, ..record(own, 500 + u64::from(number)) });
    }
    for (number, node, to) in [(92, B, A), (93, A, B)] {
        let (endpoint, call_key) = fake(&simulation, node, number);
        claims(&mut simulation, C, to, call, vec![JoinedClaim { endpoint, boot: 1, version: 1, call_key }]);
    }
    simulation.advance(SECOND);
    for node in [A, B] {
        assert!(
            simulation.nodes[node].refusals.contains(&Refusal::BadSignature),
            "{:?}",
            simulation.nodes[node].refusals
        );
    }
    let carol = simulation.did(C);
    simulation.act(A, |machine, now| machine.remove(now, carol)).unwrap();
    simulation.advance(10 * SECOND);
    simulation.act(A, |machine, now| machine.set_muted(now, true));
    simulation.until(B, 2 * SECOND, "muted", muted);
    let read: Vec<_> =
        simulation.unknown_recipients.iter().filter(|(_, key)| eyes.iter().any(|eye| eye.public() == key)).collect();
    assert!(read.is_empty(), "{read:?}\n{}", simulation.transcript());
}

#[test]
fn devices_that_are_made_up_do_not_keep_the_real_one_out() {
    let mut simulation = sealed(3);
    let call = simulation.offer(A, &[B, C, 3]);
    simulation.until(B, SECOND, "incoming", incoming);
    simulation.until(C, SECOND, "incoming", incoming);
    simulation.answer(B, call);
    simulation.until(A, SECOND, "joined", joined);
    let made_up = |number| {
        let endpoint = device(&simulation, C, number);
        let call_key = signed(&simulation, endpoint, call, *AgreementKey::from_scalar(&[number; 32]).public());
        JoinedClaim { endpoint, boot: 1, version: 1, call_key }
    };
    let made_up = (90..98).map(made_up).collect();
    claims(&mut simulation, B, A, call, made_up);
    simulation.advance(SECOND);
    simulation.answer(C, call);
    let third = simulation.nodes[C].endpoint;
    simulation.until(
        A,
        2 * SECOND,
        "joined",
        |event| matches!(event, Event::ParticipantJoined { participant, .. } if *participant == third),
    );
}

#[test]
fn a_third_party_state_keeps_no_member_in_a_call_that_it_left() {
    let mut simulation = sealed(4);
    let call = simulation.offer(A, &[B, C]);
    simulation.until(B, SECOND, "incoming", incoming);
    simulation.until(C, SECOND, "incoming", incoming);
    simulation.answer(C, call);
    simulation.until(A, SECOND, "joined", joined);
    let (endpoint, call_key) = (simulation.nodes[A].endpoint, own_key(&simulation, A, call));
    let claim = JoinedClaim { endpoint, boot: u64::MAX, version: u64::MAX, call_key };
    claims(&mut simulation, C, B, call, vec![claim]);
    simulation.advance(SECOND);
    simulation.leave(A);
    simulation.leave(C);
    simulation.until(B, SECOND, "cancelled", |event| matches!(event, Event::CallCancelled { .. }));
}

#[test]
fn of_two_streams_with_one_id_the_first_is_offered() {
    let mut simulation = sealed(5);
    let call = connected(&mut simulation, &[B]);
    let stream =
        |kind| StreamOffer { id: StreamId::from_random([1; 16]), kind, codec: "any".to_owned(), name: String::new() };
    let own = own_key(&simulation, B, call);
    let streams = vec![stream(TrackKind::Video), stream(TrackKind::Audio)];
    says(&mut simulation, B, call, Record { streams, ..record(own, 500) });
    simulation.advance(SECOND);
    let offered = |event: &Event| matches!(event, Event::StreamOffered { .. });
    assert_eq!(simulation.count(A, offered), 1, "{}", simulation.transcript());
}

#[test]
fn an_offer_that_was_held_back_does_not_ring() {
    let mut simulation = sealed(6);
    simulation.offer(A, &[B]);
    while !simulation.sent.contains(&(B, Kind::Ringing)) {
        simulation.advance(Duration::from_millis(1));
    }
    simulation.nodes[B].online = false;
    simulation.advance(SECOND);
    simulation.leave(A);
    simulation.advance(180 * SECOND);
    simulation.nodes[B].online = true;
    for envelope in simulation.published.clone() {
        simulation.deliver_to(B, &envelope);
    }
    simulation.advance(60 * SECOND);
    assert_eq!(simulation.count(B, incoming), 0, "{}", simulation.transcript());
}

#[test]
fn who_comes_back_is_told_everything_anew_and_so_is_everybody_about_it() {
    let mut simulation = Simulation::new(3, 7);
    let call = connected(&mut simulation, &[B, C]);
    let (stream, codec) = (StreamId::from_random([1; 16]), "VP8".to_owned());
    let info = StreamInfo { stream, kind: TrackKind::Video, codec, name: String::new() };
    simulation.act(B, |machine, now| machine.set_muted(now, true));
    simulation.advance(SECOND);
    simulation.leave(A);
    // While A is out, its device hears of the call all the same.
    simulation.act(B, |machine, now| machine.offer_stream(now, info)).unwrap();
    simulation.advance(SECOND);
    simulation.answer(A, call);
    simulation.advance(5 * SECOND);
    let offered = |event: &Event| matches!(event, Event::StreamOffered { .. });
    assert_eq!((simulation.count(A, muted), simulation.count(A, offered)), (2, 1), "{}", simulation.transcript());
    // Now B comes back, as muted as before.
    simulation.leave(B);
    simulation.advance(SECOND);
    simulation.answer(B, call);
    simulation.advance(5 * SECOND);
    assert_eq!((simulation.count(A, muted), simulation.count(C, muted)), (3, 2), "{}", simulation.transcript());
}

#[test]
fn nothing_is_told_of_a_call_that_another_one_took_the_place_of() {
    let mut replaced = 0;
    for seed in 0..20 {
        let mut simulation = Simulation::new(3, seed);
        simulation.nodes[C].online = false;
        let old = connected(&mut simulation, &[B]);
        simulation.leave(A);
        simulation.advance(20 * SECOND);
        let first = simulation.offer(A, &[B, C]);
        simulation.until(B, SECOND, "incoming", incoming);
        simulation.advance(SECOND);
        simulation.answer(B, first);
        simulation.advance(3 * SECOND);
        simulation.nodes[C].online = true;
        simulation.offer(C, &[A, B]);
        simulation.advance(60 * SECOND);
        for node in [A, B, C] {
            let events = &simulation.nodes[node].events;
            let is = |event: &Event| matches!(event, Event::CallReplaced { .. });
            let Some(at) = events.iter().position(is) else { continue };
            let Event::CallReplaced { old: given_up, .. } = &events[at] else { continue };
            replaced += 1;
            let of_it = |event: &Event| format!("{event:?}").contains(&given_up.to_string());
            assert!(!events[at + 1..].iter().any(of_it), "seed {seed} node {node}\n{}", simulation.transcript());
        }
        assert_ne!(old, first);
    }
    assert!(replaced > 0, "no seed gave a call up");
}
