//! Authorization in a call: each check of the machine, once with a conforming caller and once with
//! the attack that it prevents.
//!
//! The callee is a real machine. The caller is handwritten, so that it can send any message.

mod parties;

use blink_api::{CallId, Endpoint};
use blink_proto::call::{CallState, EndReason, Event, Output, SessionInput};
use blink_proto::secure::Identity;
use blink_proto::secure::{AgreementKey, Refusal, link_id};
use blink_proto::wire::{
    AppMessage, Body, Bytes16, ChannelMessage, Entry, EntryBody, Link, Member, Offer, Record, Root, cbor,
};

use parties::*;

#[test]
fn an_offer_rings_only_with_the_nonce_of_this_start_for_this_caller_and_this_call() {
    let (alice, bob, carol) = people();
    let caller = Caller::new(&alice, &bob);
    let mut callee = Callee::new(&bob);
    let asked = callee.receive_offer(&caller, caller.offer(None));
    let own = nonce(&asked).unwrap();
    assert!(!rang(&asked), "{asked:?}");

    let other_person = Caller::new(&carol, &bob);
    let other_call = Caller { root: Root { unix_ms: 2, ..caller.root.clone() }, ..Caller::new(&alice, &bob) };
    let nonces = [
        Bytes16::from([0; 16]),
        nonce(&callee.receive_offer(&other_person, other_person.offer(None))).unwrap(),
        nonce(&callee.receive_offer(&other_call, other_call.offer(None))).unwrap(),
        nonce(&Callee::started(&bob, 0, 8).receive_offer(&caller, caller.offer(None))).unwrap(),
    ];
    for wrong in nonces {
        let outputs = callee.receive_offer(&caller, caller.offer(Some(wrong)));
        assert!(!rang(&outputs), "{outputs:?}");
    }
    assert!(callee.machine.snapshot().calls.is_empty(), "nothing is stored before");
    assert!(rang(&callee.receive_offer(&caller, caller.offer(Some(own)))));
}

/// A caller with a root ground until its call's id is smaller, or greater, than another one.
fn ground(caller: Caller, than: CallId, smaller: bool) -> Caller {
    let roots = (1..).map(|unix_ms| Root { unix_ms, ..caller.root.clone() });
    let mut fitting = roots.filter(|root| (call_of(&cbor::encode(root)) < than) == smaller);
    let root = fitting.next().expect("every other root will do");
    Caller { root, ..caller }
}

#[test]
fn a_ground_call_id_does_not_decide_glare() {
    let (alice, bob, _) = people();
    // Bob's endpoint is the smaller one: his call goes on, whatever Alice's is called.
    for (caller, callee, replaced) in [(&alice, &bob, false), (&bob, &alice, true)] {
        let mut machine = Callee::new(callee);
        let own = machine.machine.offer(machine.now, &[caller.did()], b"").unwrap();
        machine.outputs();
        let crossing = ground(Caller::new(caller, callee), own, !replaced);
        let nonce = nonce(&machine.receive_offer(&crossing, crossing.offer(None))).unwrap();
        let outputs = machine.receive_offer(&crossing, crossing.offer(Some(nonce)));
        let given_up = events(&outputs).any(|event| matches!(event, Event::CallReplaced { .. }));
        assert_eq!(given_up, replaced, "{outputs:?}");
        assert_eq!(machine.machine.current(), Some(if replaced { crossing.call() } else { own }));
    }
}

#[test]
fn an_offer_with_an_invalid_root_is_not_answered() {
    let (alice, bob, carol) = people();
    let caller = Caller::new(&alice, &bob);
    let root = |root: &Root| signed(&alice, b"blink/1 root\0", cbor::encode(root));
    let of = |one: &Identity, other: &Identity| {
        let mut members = vec![one.did(), other.did()];
        members.sort();
        Root { members, ..caller.root.clone() }
    };
    let (without_alice, without_bob) = (of(&bob, &carol), of(&alice, &carol));
    let unsorted = Root { members: caller.root.members.iter().rev().copied().collect(), ..caller.root.clone() };
    let good = caller.offer(None);
    for (what, call, offer, refusal) in [
        (
            "signed by another identity",
            caller.call(),
            Offer { root: signed(&carol, b"blink/1 root\0", cbor::encode(&caller.root)), ..good.clone() },
            Refusal::BadSignature,
        ),
        (
            "signed as something else",
            caller.call(),
            Offer { root: signed(&alice, b"blink/1 entry\0", cbor::encode(&caller.root)), ..good.clone() },
            Refusal::BadSignature,
        ),
        ("of another call", CallId::from_bytes([9; 16]), good.clone(), Refusal::Inconsistent),
        ("with another secret", caller.call(), Offer { secret: [5; 32].into(), ..good.clone() }, Refusal::Inconsistent),
        (
            "without its creator",
            call_of(&cbor::encode(&without_alice)),
            Offer { root: root(&without_alice), ..good.clone() },
            Refusal::Inconsistent,
        ),
        (
            "in another order",
            call_of(&cbor::encode(&unsorted)),
            Offer { root: root(&unsorted), ..good.clone() },
            Refusal::Inconsistent,
        ),
        (
            "without the one it comes to",
            call_of(&cbor::encode(&without_bob)),
            Offer { root: root(&without_bob), ..good.clone() },
            Refusal::NotAuthorized,
        ),
    ] {
        let mut callee = Callee::new(&bob);
        let outputs = callee.receive(caller.endpoint, call, Body::Offer(Box::new(offer)));
        assert_eq!(refusals(&outputs), [refusal], "{what}");
        assert_eq!(outputs.len(), 1, "{what}: {outputs:?}");
    }
    let outputs = Callee::new(&bob).receive(endpoint(&carol), caller.call(), Body::Offer(Box::new(good)));
    assert_eq!(refusals(&outputs), [Refusal::NotAuthorized], "an offer of an identity that is not on the roster");
}

#[test]
fn invalid_entries_are_rejected_and_add_no_member() {
    let (alice, bob, carol) = people();
    let caller = Caller::new(&alice, &bob);
    let entry = |call, signer: &Identity| {
        let body = EntryBody::Add { by: alice.did(), slot: 0 };
        signed(signer, b"blink/1 entry\0", cbor::encode(&Entry { call, did: carol.did(), body }))
    };
    let mut callee = Callee::new(&bob);
    callee.is_in_the_call(&caller);
    for (version, bad, refusal) in [
        (3, entry(caller.call(), &carol), Refusal::BadSignature),
        (4, entry(CallId::from_bytes([9; 16]), &alice), Refusal::Inconsistent),
    ] {
        let record = Record { version, ..caller.record(&callee) };
        let body = Body::Member(Box::new(Member { record, entries: vec![bad], secret: None }));
        assert_eq!(refusals(&callee.receive(caller.endpoint, caller.call(), body)), [refusal]);
    }
    let people = |callee: &Callee| -> Vec<_> {
        callee.machine.snapshot().calls[0].participants.iter().map(|participant| participant.did).collect()
    };
    assert!(!people(&callee).contains(&carol.did()), "{:?}", people(&callee));
    let record = Record { version: 5, ..caller.record(&callee) };
    let entries = vec![entry(caller.call(), &alice)];
    callee.receive(caller.endpoint, caller.call(), Body::Member(Box::new(Member { record, entries, secret: None })));
    assert!(
        people(&callee).contains(&carol.did()),
        "an entry signed by its author adds an identity: {:?}",
        people(&callee)
    );
}

#[test]
fn messages_of_identities_outside_the_roster_are_rejected() {
    let (alice, bob, carol) = people();
    let caller = Caller::new(&alice, &bob);
    let mut callee = Callee::new(&bob);
    callee.is_in_the_call(&caller);
    let before = format!("{:?}", callee.machine.snapshot());
    let stranger = Caller { key: AgreementKey::from_scalar(&[8; 32]), ..Caller::new(&carol, &bob) };
    let record = member(stranger.record(&callee));
    let link = stranger.link(&callee, &format!("v=0\r\n{FINGERPRINT}"));
    for body in [record, Body::Link(Box::new(link))] {
        let kind = body.kind();
        let outputs = callee.receive(stranger.endpoint, caller.call(), body);
        assert_eq!(refusals(&outputs), [Refusal::NotAuthorized], "{kind:?}");
        // Messages to the caller and to the callee's own devices continue; none goes to the
        // stranger.
        let strangers = [*stranger.key.public(), *carol.agreement().public()];
        let to_others = |output: &Output| match output {
            Output::Send { recipients, .. } => recipients.iter().all(|key| !strangers.contains(key)),
            output => matches!(output, Output::CountRefusal(_)),
        };
        assert!(outputs.iter().all(to_others), "{kind:?}: {outputs:?}");
    }
    assert_eq!(format!("{:?}", callee.machine.snapshot()), before);
}

#[test]
fn a_description_goes_to_the_transport_under_the_links_id_only() {
    let (alice, bob, _) = people();
    let caller = Caller::new(&alice, &bob);
    let mut callee = Callee::new(&bob);
    callee.is_in_the_call(&caller);
    let right = caller.link(&callee, &format!("v=0\r\n{FINGERPRINT}"));
    let other_keys = [AgreementKey::from_scalar(&[9; 32]), AgreementKey::from_scalar(&[10; 32])];
    let own = callee.machine.own();
    let stranger = Endpoint { did: own.did, ..caller.endpoint };
    for link in [
        link_id((&caller.endpoint, other_keys[0].public()), (&own, other_keys[1].public())),
        link_id((&caller.endpoint, caller.key.public()), (&own, other_keys[0].public())),
        link_id((&caller.endpoint, other_keys[0].public()), (&own, &callee.call_key())),
        link_id((&stranger, caller.key.public()), (&own, &callee.call_key())),
    ] {
        let wrong = Link { link: link.into(), ..right.clone() };
        let outputs = callee.receive(caller.endpoint, caller.call(), Body::Link(Box::new(wrong)));
        assert!(!accepted(&outputs), "{outputs:?}");
    }
    assert!(accepted(&callee.receive(caller.endpoint, caller.call(), Body::Link(Box::new(right)))));
}

#[test]
fn a_description_must_name_one_certificate() {
    let (alice, bob, _) = people();
    let caller = Caller::new(&alice, &bob);
    let mut callee = Callee::new(&bob);
    callee.is_in_the_call(&caller);
    let long = "a=x\r\n".repeat(12_288 / 5 + 1);
    for sdp in [
        "v=0\r\n".to_owned(),
        "v=0\r\na=fingerprint:sha-1 0A:0B\r\n".to_owned(),
        format!("v=0\r\n{FINGERPRINT}a=fingerprint:sha-256 0C:0D\r\n"),
        format!("v=0\r\n{FINGERPRINT}a=fingerprint:sha-1 0A:0B\r\n"),
        format!("v=0\r\n{FINGERPRINT}{long}"),
    ] {
        let link = caller.link(&callee, &sdp);
        let outputs = callee.receive(caller.endpoint, caller.call(), Body::Link(Box::new(link)));
        assert_eq!(refusals(&outputs), [Refusal::Inconsistent], "{}", &sdp[..sdp.len().min(80)]);
        assert!(!accepted(&outputs), "{outputs:?}");
    }
    let link = caller.link(&callee, &format!("v=0\r\n{FINGERPRINT}{}", FINGERPRINT.to_lowercase()));
    assert!(accepted(&callee.receive(caller.endpoint, caller.call(), Body::Link(Box::new(link)))), "said twice");
}

/// No message opens a device, a session or the call's topic before the user accepts, whichever side
/// is the offerer.
#[test]
fn a_call_that_rings_opens_nothing() {
    let (alice, bob, _) = people();
    for (calls, called) in [(&alice, &bob), (&bob, &alice)] {
        let caller = Caller::new(calls, called);
        let mut callee = Callee::new(called);
        let nonce = nonce(&callee.receive_offer(&caller, caller.offer(None))).unwrap();
        let mut outputs = callee.receive_offer(&caller, caller.offer(Some(nonce)));
        assert!(rang(&outputs), "{outputs:?}");
        // As if it had answered, under a key that it could have.
        callee.key = Some(*AgreementKey::from_scalar(&[11; 32]).public());
        let record = member(caller.record(&callee));
        let link = caller.link(&callee, &format!("v=0\r\n{FINGERPRINT}"));
        for body in [record, Body::Link(Box::new(link)), Body::Offer(Box::new(caller.offer(Some(nonce))))] {
            outputs.extend(callee.receive(caller.endpoint, caller.call(), body));
        }
        let opens = |output: &&Output| {
            matches!(
                output,
                Output::SetActiveCall(Some(_))
                    | Output::OpenSession { .. }
                    | Output::Subscribe(_)
                    | Output::Negotiate { .. }
            )
        };
        assert_eq!(outputs.iter().filter(opens).count(), 0, "{outputs:?}");
        callee.machine.answer(callee.now, caller.call()).unwrap();
        let outputs = callee.outputs();
        assert!(outputs.iter().any(|output| matches!(output, Output::SetActiveCall(Some(_)))), "{outputs:?}");
    }
}

/// The other end of a connected path has the certificate of the sealed description: media is sent
/// at once. What it says beside that counts once it has named the link, and naming another one
/// ends it.
#[test]
fn a_path_is_admitted_once_it_is_connected_and_heard_once_the_other_end_names_this_link() {
    let (alice, bob, _) = people();
    let caller = Caller::new(&alice, &bob);
    let right = |callee: &Callee| caller.link_id(callee);
    let hello = |link: [u8; 16]| SessionInput::Channel(ChannelMessage::Hello { link: link.into() });
    let member = |callee: &Callee| {
        let early = Record { version: 9, muted: true, ..caller.record(callee) };
        let member = Box::new(Member { record: early, entries: Vec::new(), secret: None });
        SessionInput::Channel(ChannelMessage::Member { boot: 1, member })
    };

    let mut callee = Callee::new(&bob);
    let session = callee.has_a_session(&caller);
    let mut outputs = callee.session(session, SessionInput::ChannelOpen);
    outputs.extend(callee.session(session, hello(right(&callee))));
    outputs.extend(callee.session(session, SessionInput::Traffic));
    assert!(!admitted(&outputs), "before the path is connected: {outputs:?}");
    let outputs = callee.session(session, SessionInput::Connected);
    assert!(admitted(&outputs), "{outputs:?}");

    let message = || {
        let bytes = b"early".to_vec().into();
        let part = AppMessage { series: 1, number: 1, length: 5, offset: 0, bytes };
        SessionInput::Channel(ChannelMessage::Message(part))
    };
    let sends = |outputs: &[Output]| {
        let is =
            |output: &Output| matches!(output, Output::SendChannelMessage { message: ChannelMessage::Message(..), .. });
        outputs.iter().any(is)
    };

    let mut callee = Callee::new(&bob);
    let session = callee.has_a_session(&caller);
    let outputs = callee.session(session, SessionInput::Connected);
    assert!(admitted(&outputs), "{outputs:?}");
    assert!(events(&outputs).any(|event| matches!(event, Event::ParticipantJoined { .. })), "{outputs:?}");
    callee.session(session, SessionInput::ChannelOpen);
    let outputs = callee.session(session, member(&callee));
    assert_eq!(events(&outputs).count(), 0, "messages before the hello are ignored: {outputs:?}");
    let outputs = callee.session(session, message());
    assert_eq!(events(&outputs).count(), 0, "of applications too: {outputs:?}");
    let outputs = callee.sends(caller.endpoint, b"secret");
    assert!(!sends(&outputs), "and none is sent: {outputs:?}");
    let outputs = callee.session(session, hello(right(&callee)));
    assert_eq!(refusals(&outputs), []);
    assert!(sends(&outputs), "{outputs:?}");
    let outputs = callee.session(session, message());
    let is_received = |event: &Event| matches!(event, Event::MessageReceived { .. });
    assert!(events(&outputs).any(is_received), "{outputs:?}");
    let outputs = callee.session(session, member(&callee));
    let is_muted = |event: &Event| matches!(event, Event::ParticipantStateChanged { .. });
    assert!(events(&outputs).any(is_muted), "{outputs:?}");

    let mut callee = Callee::new(&bob);
    let session = callee.has_a_session(&caller);
    callee.session(session, SessionInput::Connected);
    callee.session(session, SessionInput::ChannelOpen);
    let outputs = callee.session(session, hello([9; 16]));
    assert_eq!(refusals(&outputs), [Refusal::Inconsistent]);
    let ended = |event: &Event| matches!(event, Event::CallEnded { reason: EndReason::Failed, .. });
    assert!(events(&outputs).any(ended), "{outputs:?}");
    assert!(callee.machine.snapshot().calls.iter().all(|call| call.state != CallState::Active));
}
