//! Members who lie, and messages that come when nobody expects them any more.

use std::collections::BTreeSet;
use std::time::Duration;

use blink_api::{CallId, CallSettings, DeviceId, Endpoint, StreamId, TrackKind};
use blink_proto::call::{EndReason, Event, LeftReason, StreamInfo};
use blink_proto::secure::{AgreementKey, Channel, Identity, Refusal, sign_call_key};
use blink_proto::wire::{
    Body, Bytes16, Cancel, CancelReason, Entry, EntryBody, JoinedClaim, Kind, Member, Record, Seen, Signed, SignedKey,
    Status, StreamOffer, cbor,
};
use blink_sim::simulation::{Network, Simulation, SimulationConfig};

use crate::{A, B, C, SECOND, connected, ended_with, incoming, joined};

/// Four people whose messages travel in envelopes.
fn sealed(seed: u64) -> Simulation {
    let devices = [(1, 1), (2, 2), (3, 3), (4, 4)];
    let (network, settings) = (Network::PERFECT, CallSettings::default());
    Simulation::configured(SimulationConfig { devices: &devices, seed, network, settings, sealed: true })
}

/// The call's keys as everybody in it knows them.
fn keys(world: &Simulation, node: usize) -> Vec<[u8; 32]> {
    let (_, keys) = world.known_call_keys(node).unwrap();
    keys.into_iter().map(|(_, key)| key).collect()
}

/// A device's key as its owner would sign it.
fn signed(world: &Simulation, endpoint: Endpoint, call: CallId, key: [u8; 32]) -> SignedKey {
    world.signed_key(&endpoint, &call, &key)
}

/// The key under which a device is in the call.
fn own_key(world: &Simulation, node: usize, call: CallId) -> SignedKey {
    signed(world, world.nodes[node].endpoint, call, keys(world, node)[0])
}

fn record(call_key: SignedKey, version: u64) -> Record {
    Record {
        call_key,
        version,
        status: Status::Joined,
        seat: 1,
        muted: false,
        deafened: false,
        recording: false,
        seen: Vec::new(),
        links: Vec::new(),
        digest: Bytes16::from([0; 16]),
        streams: Vec::new(),
        wanted: Vec::new(),
    }
}

/// A member says something that its machine never would to everybody in the call.
fn says(world: &mut Simulation, node: usize, call: CallId, record: Record) {
    says_of_the_roster(world, node, call, record, Vec::new());
}

fn says_of_the_roster(world: &mut Simulation, node: usize, call: CallId, record: Record, entries: Vec<Signed>) {
    let recipients = keys(world, node);
    let body = Body::Member(Box::new(Member { record, entries, secret: None }));
    world.send_raw(node, Channel::Call(call), &recipients, call, body);
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

/// A member claims something in a letter.
fn claims(world: &mut Simulation, node: usize, to: usize, call: CallId, mut joined: Vec<JoinedClaim>) {
    let (endpoint, boot) = (world.nodes[node].endpoint, world.nodes[node].boot);
    joined.push(JoinedClaim { endpoint, boot, version: 1, call_key: own_key(world, node, call) });
    let reason = CancelReason::Left;
    let body = Body::Cancel(Cancel { reason, version: 1, joined, acknowledged: false, replaced_by: None });
    let recipient = AgreementKey::public_of(&world.did(to)).unwrap();
    world.send_raw(node, Channel::Inbox(world.did(to)), &[recipient], call, body);
}

fn muted(event: &Event) -> bool {
    matches!(event, Event::ParticipantStateChanged { state, .. } if state.muted)
}

fn device(of: &Simulation, node: usize, number: u8) -> Endpoint {
    Endpoint { device: DeviceId::from_random([number; 16]), ..of.nodes[node].endpoint }
}

#[test]
fn a_call_key_for_which_nothing_can_be_sealed_is_refused_and_keeps_no_record_from_others() {
    let mut world = sealed(1);
    let call = connected(&mut world, &[B, C]);
    let endpoint = device(&world, B, 90);
    let fake = Seen { endpoint, boot: 1, call_key: signed(&world, endpoint, call, [0; 32]), version: 1 };
    let own = own_key(&world, C, call);
    says(&mut world, C, call, Record { seen: vec![fake], ..record(own, 500) });
    let weak = signed(&world, world.nodes[C].endpoint, call, [0; 32]);
    says(&mut world, C, call, record(weak, 501));
    let endpoint = device(&world, B, 91);
    let claim = JoinedClaim { endpoint, boot: 1, version: 1, call_key: signed(&world, endpoint, call, [0; 32]) };
    claims(&mut world, C, A, call, vec![claim]);
    world.advance(SECOND);
    assert!(world.nodes[A].refusals.contains(&Refusal::WeakKey), "{:?}", world.nodes[A].refusals);
    world.paths.cut.insert((A, B));
    world.act(A, |machine, now| machine.set_muted(now, true));
    world.until(B, 2 * SECOND, "muted", muted);
}

#[test]
fn a_call_key_that_is_said_to_be_anothers_keeps_no_record_from_its_owner_and_breaks_no_path() {
    let mut world = sealed(2);
    let call = connected(&mut world, &[B, C]);
    let [own, theirs] = [C, B].map(|node| own_key(&world, node, call));
    // One after the other, so that the liar itself loses its path only in the end.
    let fake =
        |world: &Simulation, number| Seen { endpoint: device(world, B, number), boot: 1, call_key: theirs, version: 1 };
    let seen = vec![fake(&world, 90), fake(&world, 91)];
    says(&mut world, C, call, Record { seen, ..record(own, 500) });
    world.advance(SECOND);
    let as_own = signed(&world, world.nodes[C].endpoint, call, theirs.key);
    says(&mut world, C, call, record(as_own, 600));
    world.advance(SECOND);
    world.act(A, |machine, now| machine.set_muted(now, true));
    world.until(B, 2 * SECOND, "muted", muted);
    world.advance(100 * SECOND);
    let trouble = |event: &Event| match event {
        Event::ParticipantReconnecting { participant, .. } | Event::ParticipantLeft { participant, .. } => {
            participant.did != world.did(C)
        }
        _ => false,
    };
    assert_eq!((world.count(A, trouble), world.count(B, trouble)), (0, 0), "{}", world.transcript());
}

#[test]
fn a_member_that_fills_the_roster_is_removed_all_the_same_and_keeps_nobody_out() {
    let mut world = sealed(8);
    let call = connected(&mut world, &[B, C]);
    let (own, liar) = (own_key(&world, C, call), Identity::from_seed(&[3; 32]));
    assert_eq!(liar.did(), world.did(C));
    let entries = made_up_people(call, &liar);
    says_of_the_roster(&mut world, C, call, record(own, 500), entries);
    world.advance(SECOND);
    let (third, fourth) = (world.did(C), world.did(3));
    world.act(A, |machine, now| machine.remove(now, third)).unwrap();
    let removed = |event: &Event| matches!(event, Event::ParticipantLeft { reason: LeftReason::Removed, participant, .. } if participant.did == third);
    world.until(A, SECOND, "removed", removed);
    world.until(B, SECOND, "removed", removed);
    world.until(C, SECOND, "removed", ended_with(EndReason::Removed));
    world.act(B, |machine, now| machine.add(now, fourth)).unwrap();
    world.until(3, 5 * SECOND, "incoming", incoming);
    world.answer(3, call);
    for node in [A, B] {
        world.until(
            node,
            5 * SECOND,
            "joined",
            |event| matches!(event, Event::ParticipantJoined { participant, .. } if participant.did == fourth),
        );
    }
    // What the removed one says of people whom it invites now makes none of them a member.
    let late = Identity::from_seed(&[250; 32]).did();
    let entries = (0..4).map(|slot| invitation(call, &liar, late, slot)).collect();
    says_of_the_roster(&mut world, C, call, record(own, 600), entries);
    world.advance(3 * SECOND);
    let people = |node: usize| -> BTreeSet<_> {
        let participants = world.nodes[node].machine.snapshot().calls.remove(0).participants;
        participants.into_iter().map(|participant| participant.did).chain([world.did(node)]).collect()
    };
    assert!(!people(A).contains(&late) && !people(B).contains(&late));
    assert_eq!(people(A), people(B));
}

#[test]
fn nothing_is_sealed_for_a_key_that_its_owner_has_not_signed_for() {
    let mut world = sealed(9);
    let call = connected(&mut world, &[B, C]);
    let own = own_key(&world, C, call);
    // The liar's keys as those of other people's devices, signed by itself: in a record, and in
    // letters.
    let eyes: Vec<AgreementKey> = (90..94).map(|number| AgreementKey::from_scalar(&[number; 32])).collect();
    let liar = Identity::from_seed(&[3; 32]);
    let fake = |world: &Simulation, node: usize, number: u8| {
        let endpoint = device(world, node, number);
        let key = eyes[usize::from(number - 90)].public();
        (endpoint, sign_call_key(&liar, &endpoint.device, &call, key))
    };
    for (number, node) in [(90, B), (91, A)] {
        let (endpoint, call_key) = fake(&world, node, number);
        let seen = vec![Seen { endpoint, boot: 1, call_key, version: 1 }];
        says(&mut world, C, call, Record { seen, ..record(own, 500 + u64::from(number)) });
    }
    for (number, node, to) in [(92, B, A), (93, A, B)] {
        let (endpoint, call_key) = fake(&world, node, number);
        claims(&mut world, C, to, call, vec![JoinedClaim { endpoint, boot: 1, version: 1, call_key }]);
    }
    world.advance(SECOND);
    for node in [A, B] {
        assert!(world.nodes[node].refusals.contains(&Refusal::BadSignature), "{:?}", world.nodes[node].refusals);
    }
    let carol = world.did(C);
    world.act(A, |machine, now| machine.remove(now, carol)).unwrap();
    world.advance(10 * SECOND);
    world.act(A, |machine, now| machine.set_muted(now, true));
    world.until(B, 2 * SECOND, "muted", muted);
    let read: Vec<_> =
        world.unknown_recipients.iter().filter(|(_, key)| eyes.iter().any(|eye| eye.public() == key)).collect();
    assert!(read.is_empty(), "{read:?}\n{}", world.transcript());
}

#[test]
fn devices_that_are_made_up_do_not_keep_the_real_one_out() {
    let mut world = sealed(3);
    let call = world.offer(A, &[B, C, 3]);
    world.until(B, SECOND, "incoming", incoming);
    world.until(C, SECOND, "incoming", incoming);
    world.answer(B, call);
    world.until(A, SECOND, "joined", joined);
    let made_up = |number| {
        let endpoint = device(&world, C, number);
        let call_key = signed(&world, endpoint, call, *AgreementKey::from_scalar(&[number; 32]).public());
        JoinedClaim { endpoint, boot: 1, version: 1, call_key }
    };
    let made_up = (90..98).map(made_up).collect();
    claims(&mut world, B, A, call, made_up);
    world.advance(SECOND);
    world.answer(C, call);
    let third = world.nodes[C].endpoint;
    world.until(
        A,
        2 * SECOND,
        "joined",
        |event| matches!(event, Event::ParticipantJoined { participant, .. } if *participant == third),
    );
}

#[test]
fn a_claim_keeps_nobody_in_a_call_who_says_that_it_left() {
    let mut world = sealed(4);
    let call = world.offer(A, &[B, C]);
    world.until(B, SECOND, "incoming", incoming);
    world.until(C, SECOND, "incoming", incoming);
    world.answer(C, call);
    world.until(A, SECOND, "joined", joined);
    let (endpoint, call_key) = (world.nodes[A].endpoint, own_key(&world, A, call));
    let claim = JoinedClaim { endpoint, boot: u64::MAX, version: u64::MAX, call_key };
    claims(&mut world, C, B, call, vec![claim]);
    world.advance(SECOND);
    world.leave(A);
    world.leave(C);
    world.until(B, SECOND, "cancelled", |event| matches!(event, Event::CallCancelled { .. }));
}

#[test]
fn of_two_streams_with_one_id_the_first_is_offered() {
    let mut world = sealed(5);
    let call = connected(&mut world, &[B]);
    let stream =
        |kind| StreamOffer { id: StreamId::from_random([1; 16]), kind, codec: "any".to_owned(), name: String::new() };
    let own = own_key(&world, B, call);
    let streams = vec![stream(TrackKind::Video), stream(TrackKind::Audio)];
    says(&mut world, B, call, Record { streams, ..record(own, 500) });
    world.advance(SECOND);
    let offered = |event: &Event| matches!(event, Event::StreamOffered { .. });
    assert_eq!(world.count(A, offered), 1, "{}", world.transcript());
}

#[test]
fn an_offer_that_was_held_back_does_not_ring() {
    let mut world = sealed(6);
    world.offer(A, &[B]);
    while !world.sent.contains(&(B, Kind::Ringing)) {
        world.advance(Duration::from_millis(1));
    }
    world.nodes[B].online = false;
    world.advance(SECOND);
    world.leave(A);
    world.advance(180 * SECOND);
    world.nodes[B].online = true;
    for letter in world.published.clone() {
        world.deliver_to(B, &letter);
    }
    world.advance(60 * SECOND);
    assert_eq!(world.count(B, incoming), 0, "{}", world.transcript());
}

#[test]
fn who_comes_back_is_told_everything_anew_and_so_is_everybody_about_it() {
    let mut world = Simulation::new(3, 7);
    let call = connected(&mut world, &[B, C]);
    let (stream, codec) = (StreamId::from_random([1; 16]), "VP8".to_owned());
    let info = StreamInfo { stream, kind: TrackKind::Video, codec, name: String::new() };
    world.act(B, |machine, now| machine.set_muted(now, true));
    world.advance(SECOND);
    world.leave(A);
    // While A is out, its device hears of the call all the same.
    world.act(B, |machine, now| machine.offer_stream(now, info)).unwrap();
    world.advance(SECOND);
    world.answer(A, call);
    world.advance(5 * SECOND);
    let offered = |event: &Event| matches!(event, Event::StreamOffered { .. });
    assert_eq!((world.count(A, muted), world.count(A, offered)), (2, 1), "{}", world.transcript());
    // Now B comes back, as muted as before.
    world.leave(B);
    world.advance(SECOND);
    world.answer(B, call);
    world.advance(5 * SECOND);
    assert_eq!((world.count(A, muted), world.count(C, muted)), (3, 2), "{}", world.transcript());
}

#[test]
fn nothing_is_told_of_a_call_that_another_one_took_the_place_of() {
    let mut replaced = 0;
    for seed in 0..20 {
        let mut world = Simulation::new(3, seed);
        world.nodes[C].online = false;
        let old = connected(&mut world, &[B]);
        world.leave(A);
        world.advance(20 * SECOND);
        let first = world.offer(A, &[B, C]);
        world.until(B, SECOND, "incoming", incoming);
        world.advance(SECOND);
        world.answer(B, first);
        world.advance(3 * SECOND);
        world.nodes[C].online = true;
        world.offer(C, &[A, B]);
        world.advance(60 * SECOND);
        for node in [A, B, C] {
            let events = &world.nodes[node].events;
            let is = |event: &Event| matches!(event, Event::CallReplaced { .. });
            let Some(at) = events.iter().position(is) else { continue };
            let Event::CallReplaced { old: given_up, .. } = &events[at] else { continue };
            replaced += 1;
            let of_it = |event: &Event| format!("{event:?}").contains(&given_up.to_string());
            assert!(!events[at + 1..].iter().any(of_it), "seed {seed} node {node}\n{}", world.transcript());
        }
        assert_ne!(old, first);
    }
    assert!(replaced > 0, "no seed gave a call up");
}
