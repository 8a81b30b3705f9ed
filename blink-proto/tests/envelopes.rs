//! Attacks on envelopes, each of which is rejected and counted and has no other effect.

use std::time::Instant;

use blink_api::{CallId, Delivery, DeliveryId, DeviceId, Endpoint, Origin, Topic, Verdict};
use blink_proto::secure::{
    AgreementKey, CallKeys, Channel, EnvelopeCodec, Identity, MAX_ENVELOPE, Random, Refusal, Sealing, inbox_topic,
    open, seal,
};
use blink_proto::wire::{
    Body, Bytes16, Cancel, CancelReason, Content, Member, Record, Ringing, SignedKey, Status, cbor,
};
use rand::SeedableRng;

const CALL: CallId = CallId::from_bytes([7; 16]);

struct Person {
    identity: Identity,
    endpoint: Endpoint,
    opener: EnvelopeCodec,
}

fn person(seed: u8) -> Person {
    let identity = Identity::from_seed(&[seed; 32]);
    let endpoint = Endpoint { did: identity.did(), device: DeviceId::from_random([seed; 16]) };
    let opener = EnvelopeCodec::new(identity.clone(), endpoint, 1, Random::from_seed([seed; 32]), Instant::now());
    Person { identity, endpoint, opener }
}

fn ringing() -> Body {
    Body::Ringing(Ringing { nonce: Bytes16::from([9; 16]), rings: true })
}

fn delivery(message: Vec<u8>) -> Delivery {
    Delivery { id: DeliveryId(1), origin: Some(Origin([1; 16])), message: message.into() }
}

/// From Alice to Bob's inbox.
fn envelope(alice: &mut Person, bob: &Person) -> (Topic, Vec<u8>) {
    let recipient = AgreementKey::public_of(&bob.endpoint.did).unwrap();
    alice.opener.seal(&Channel::Inbox(bob.endpoint.did), &[recipient], CALL, ringing(), 5).unwrap()
}

#[test]
fn an_envelope_is_accepted_once_and_names_its_sender() {
    let (mut alice, mut bob) = (person(1), person(2));
    let (topic, bytes) = envelope(&mut alice, &bob);
    let (result, verdict) = bob.opener.open(Instant::now(), &topic, &delivery(bytes.clone()));
    let (channel, content) = result.unwrap();
    assert_eq!((channel, verdict), (Channel::Inbox(bob.endpoint.did), Verdict::Accept));
    assert_eq!((content.from, content.call, content.body), (alice.endpoint, CALL, ringing()));
    let (again, _) = bob.opener.open(Instant::now(), &topic, &delivery(bytes));
    assert_eq!(again.unwrap_err(), Refusal::Replayed);
    assert_eq!(bob.opener.counters().replayed, 1);
}

#[test]
fn every_flipped_bit_and_every_truncation_is_refused_and_counted() {
    let (mut alice, mut bob) = (person(1), person(2));
    let (topic, bytes) = envelope(&mut alice, &bob);
    let key = bob.identity.agreement();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            assert!(open(&topic, &changed, &[&key], None).is_err(), "bit {bit} of byte {at}");
        }
        assert!(open(&topic, &bytes[..at], &[&key], None).is_err(), "cut at {at}");
    }
    let mut refused = 0;
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        // A separate origin for each, so that no rate limit applies.
        let origin = Some(Origin([(at % 251) as u8; 16]));
        let delivery = Delivery { origin, ..delivery(changed) };
        let later = Instant::now() + std::time::Duration::from_secs(at as u64);
        assert!(bob.opener.open(later, &topic, &delivery).0.is_err());
        refused += 1;
    }
    let counters = *bob.opener.counters();
    assert_eq!(counters.total() + counters.not_for_us, refused);
    assert!(
        bob.opener.open(Instant::now(), &topic, &delivery(bytes)).0.is_ok(),
        "rejected envelopes do not enter the replay window"
    );
}

#[test]
fn an_envelope_opens_with_its_key_on_its_topic_only() {
    let (mut alice, bob, mut carol) = (person(1), person(2), person(3));
    let (topic, bytes) = envelope(&mut alice, &bob);
    let (bobs, carols) = (bob.identity.agreement(), carol.identity.agreement());
    assert_eq!(open(&topic, &bytes, &[&carols], None), Err(Refusal::NotForUs));
    let elsewhere = inbox_topic(&carol.endpoint.did);
    assert_eq!(open(&elsewhere, &bytes, &[&bobs], None), Err(Refusal::NotForUs));
    assert!(carol.opener.open(Instant::now(), &elsewhere, &delivery(bytes.clone())).0.is_err());
    assert_eq!(open(&topic, &bytes, &[&bobs], Some(&[0; 32])), Err(Refusal::BadTag));
    assert!(open(&topic, &bytes, &[&carols, &bobs], None).is_ok());
}

#[test]
fn oversize_is_refused_before_anything_else_and_never_made() {
    let (mut alice, mut bob) = (person(1), person(2));
    let (topic, _) = envelope(&mut alice, &bob);
    let (result, verdict) = bob.opener.open(Instant::now(), &topic, &delivery(vec![0; MAX_ENVELOPE + 1]));
    assert_eq!((result.unwrap_err(), verdict), (Refusal::Oversize, Verdict::Reject));
    assert_eq!(bob.opener.counters().oversize, 1);

    let recipient = *bob.identity.agreement().public();
    let sealing = Sealing { topic, recipients: &[recipient], tag: None, identity: &alice.identity };
    let mut random = Random::from_seed([0; 32]);
    assert_eq!(seal(&sealing, &vec![0; MAX_ENVELOPE], &mut random), Err(Refusal::Oversize));
    let many = Sealing { recipients: &[recipient; 33], ..sealing };
    assert_eq!(seal(&many, b"", &mut random), Err(Refusal::Oversize));
}

#[test]
fn a_call_topic_needs_the_calls_tag_and_takes_records_only() {
    let (mut alice, mut bob) = (person(1), person(2));
    let keys = CallKeys::new(CALL, [3; 32].into());
    let mut random = Random::from_seed([5; 32]);
    let (alices, bobs) = (AgreementKey::generate(&mut random), AgreementKey::generate(&mut random));
    alice.opener.join(keys.clone(), alices.clone());
    bob.opener.join(keys.clone(), bobs.clone());
    let now = Instant::now();
    let mut say = |body| alice.opener.seal(&Channel::Call(CALL), &[*bobs.public()], CALL, body, 0).unwrap();

    let (topic, record) = say(member(&alices));
    assert_eq!(topic, keys.topic);
    assert!(bob.opener.open(now, &topic, &delivery(record.clone())).0.is_ok());
    let (_, misplaced) = say(ringing());
    assert_eq!(bob.opener.open(now, &topic, &delivery(misplaced)).0.unwrap_err(), Refusal::WrongTopic);

    let other = CallKeys::new(CALL, [4; 32].into());
    assert_ne!(other.topic, keys.topic);
    assert_eq!(open(&topic, &record, &[&bobs], Some(other.tag())), Err(Refusal::BadTag));
    bob.opener.leave(&CALL);
    assert!(bob.opener.open(now, &topic, &delivery(record)).0.is_err(), "after leaving, the call's topic is unknown");
}

#[test]
fn a_member_cannot_speak_for_another() {
    let (alice, mut bob, mallory) = (person(1), person(2), person(3));
    let recipient = AgreementKey::public_of(&bob.endpoint.did).unwrap();
    let topic = inbox_topic(&bob.endpoint.did);
    let cancel =
        Cancel { reason: CancelReason::Left, version: 1, joined: Vec::new(), acknowledged: false, replaced_by: None };
    let content =
        |from, seq| Content { from, boot: 1, seq, unix_ms: 0, call: CALL, body: Body::Cancel(cancel.clone()) };
    let sealing = Sealing { topic, recipients: &[recipient], tag: None, identity: &mallory.identity };
    let mut random = Random::from_seed([0; 32]);
    let forged = seal(&sealing, &content(alice.endpoint, 1).encode(), &mut random).unwrap();
    let (refused, verdict) = bob.opener.open(Instant::now(), &topic, &delivery(forged));
    assert_eq!(refused.unwrap_err(), Refusal::BadSignature);
    assert_eq!(verdict, Verdict::Ignore, "a relay cannot verify that");

    let (_, own) = bob.opener.seal(&Channel::Inbox(bob.endpoint.did), &[recipient], CALL, ringing(), 5).unwrap();
    assert_eq!(bob.opener.open(Instant::now(), &topic, &delivery(own)).0.unwrap_err(), Refusal::OwnEndpoint);
    assert_eq!(bob.opener.cloned(), None, "it is what Bob said");
}

/// The same device as one of [`person`], started as another boot.
fn started_as(boot: u64) -> Person {
    let Person { identity, endpoint, .. } = person(2);
    let random = Random::from_seed([u8::try_from(boot).unwrap(); 32]);
    let opener = EnvelopeCodec::new(identity.clone(), endpoint, boot, random, Instant::now());
    Person { identity, endpoint, opener }
}

#[test]
fn a_device_notices_that_it_was_copied_and_takes_no_old_word_of_its_own_for_that() {
    let (mut first, mut second) = (started_as(5), started_as(6));
    let to_oneself = |bob: &mut Person| {
        let key = AgreementKey::public_of(&bob.endpoint.did).unwrap();
        bob.opener.seal(&Channel::Inbox(bob.endpoint.did), &[key], CALL, ringing(), 5).unwrap()
    };
    let mut said: Vec<_> = (0..3).map(|_| to_oneself(&mut first)).collect();
    said.extend((0..3).map(|_| to_oneself(&mut second)));
    let hears = |bob: &mut Person, (topic, bytes): &(Topic, Vec<u8>)| {
        bob.opener.open(Instant::now(), topic, &delivery(bytes.clone())).0.unwrap_err()
    };

    // Whatever a device ever said may be played back to it, after a restart too.
    for own in &said {
        assert_eq!(hears(&mut second, own), Refusal::OwnEndpoint);
    }
    assert_eq!((second.opener.cloned(), second.opener.counters().own_endpoint), (None, 6));

    // A later start of the same device cannot be its own past.
    assert_eq!(hears(&mut first, &said[3]), Refusal::ClonedDevice);
    assert_eq!((first.opener.cloned(), first.opener.counters().cloned_device), (Some(6), 1));

    // Nor can what it has not come to yet under its own boot, as after a snapshot of the machine it
    // runs on.
    let mut snapshot = started_as(6);
    assert_eq!(hears(&mut snapshot, &said[3]), Refusal::ClonedDevice);

    // A boot above the received one is the later one, permanently.
    let mut again = started_as(7);
    said.iter().for_each(|own| assert_eq!(hears(&mut again, own), Refusal::OwnEndpoint));
}

#[test]
fn envelopes_look_alike_whatever_is_in_them() {
    let (mut alice, bob) = (person(1), person(2));
    let lengths: Vec<_> = (0..8).map(|_| envelope(&mut alice, &bob).1.len()).collect();
    assert!(lengths.windows(2).all(|pair| pair[0] == pair[1]), "{lengths:?}");
    let (_, one) = envelope(&mut alice, &bob);
    let (_, other) = envelope(&mut alice, &bob);
    let same = one.iter().zip(&other).filter(|(one, other)| one == other).count();
    assert!(same < one.len() / 4, "two envelopes of the same message share {same} of {} bytes", one.len());
    for needle in [&alice.endpoint.did.public_key()[..], bob.endpoint.did.public_key(), CALL.as_bytes()] {
        assert!(!one.windows(needle.len()).any(|window| window == needle));
    }
}

#[test]
fn weak_keys_are_refused() {
    let weak = blink_api::Did::from_public_key([0; 32]);
    assert_eq!(AgreementKey::public_of(&weak).err(), Some(Refusal::WeakKey));
    let key = AgreementKey::from_scalar(&[5; 32]);
    for point in [[0; 32], {
        let mut one = [0; 32];
        one[0] = 1;
        one
    }] {
        assert_eq!(key.agree(&point).err(), Some(Refusal::WeakKey));
    }
}

#[test]
fn every_body_has_exactly_one_encoding() {
    let content = |body| Content { from: person(1).endpoint, boot: 3, seq: 4, unix_ms: 5, call: CALL, body };
    let key = AgreementKey::from_scalar(&[5; 32]);
    for body in [ringing(), member(&key)] {
        let bytes = content(body.clone()).encode();
        assert_eq!(cbor::check(&bytes), Ok(()));
        assert_eq!(Content::decode(&bytes).unwrap(), content(body));
    }
}

fn member(key: &AgreementKey) -> Body {
    Body::Member(Box::new(Member {
        record: Record {
            seat: 1,
            messages: Some(true),
            name: Some("Ada 😀".to_owned()),
            ..Record::new(SignedKey { key: *key.public(), signature: [7; 64] }, 1, Status::Joined)
        },
        entries: Vec::new(),
        secret: None,
    }))
}
