//! Attacks by uninvited, removed and malicious participants.

use std::time::Duration;

use blink_api::{CallId, DeviceId, Endpoint, ErrorKind, Topic};
use blink_engine::{CallState, EndReason, Identity, LeftReason, ParticipantState};
use blink_proto::secure::{AgreementKey, Random, Sealing, seal, sign_call_key};
use blink_proto::wire::{
    Body, Cancel, CancelReason, Content, Entry, EntryBody, Kind, Member, Record, Signed, Status, cbor,
};
use bytes::Bytes;
use rand::SeedableRng;

use super::Scenario;
use crate::lab::{
    Command, Fault, Lab, MessageAction, Participant, Profile, Requirements, Result, all_hear_each_other, all_meet, any,
    call_ended, call_joined, expect_error, incoming_call, left, ringing, state_of,
};

const LETTERS: Requirements = Requirements { messages: true, ..Requirements::NONE };

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        number: 31,
        name: "uninvited-peer",
        verifies: "An uninvited participant changes nothing, hears nothing, and does not even learn whether the callee is online.",
        needs: LETTERS,
        quiet_machine: true,
        faults: &[Fault::IgnoresSettings, Fault::NeverCountsRejections, Fault::AcceptsForgedMessages],
        run: |lab| Box::pin(uninvited_peer(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 55,
        name: "forged-messages",
        verifies: "Messages that were tampered with, reflected, moved to another topic or signed with another key are dropped and counted.",
        needs: LETTERS,
        quiet_machine: true,
        faults: &[Fault::AcceptsForgedMessages, Fault::NeverCountsRejections],
        run: |lab| Box::pin(forged_messages(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 56,
        name: "left-or-removed",
        verifies: "A participant that left or was removed cannot decrypt later messages; one that was removed receives no media and cannot rejoin, whatever it wrote into the roster before.",
        needs: Requirements { second_device: true, messages: true, ..Requirements::NONE },
        faults: &[Fault::IgnoresCommand(Command::Remove), Fault::NeverReportsErrors, Fault::NeverCountsRejections],
        run: |lab| Box::pin(left_or_removed(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 57,
        name: "nothing-before-accept",
        verifies: "Before its user answers, a device opens no microphone, gathers no candidates and sends no packet, whatever a caller sends.",
        needs: LETTERS,
        faults: &[Fault::OpensMicrophoneEarly, Fault::GathersEarly],
        run: |lab| Box::pin(nothing_before_accept(lab)),
        ..Scenario::DEFAULT
    },
];

/// Builds a `Cancel` with the given signer and sender, addressed to a participant's inbox.
fn farewell(call: CallId, signer: &Identity, name: Endpoint, seq: u64, to: &Participant) -> (Topic, Bytes) {
    let cancel = Cancel {
        reason: CancelReason::Left,
        version: u64::from(u32::MAX),
        joined: Vec::new(),
        acknowledged: false,
        replaced_by: None,
    };
    let content = Content { from: name, boot: u64::MAX / 2, seq, unix_ms: 0, call, body: Body::Cancel(cancel) };
    let key = AgreementKey::public_of(&to.did()).expect("a participant's key is valid");
    let sealing = Sealing { topic: to.inbox(), recipients: &[key], tag: None, identity: signer };
    let mut random = Random::from_seed([seq as u8; 32]);
    let envelope = seal(&sealing, &content.encode(), &mut random).expect("a farewell is small");
    (to.inbox(), envelope.into())
}

async fn uninvited_peer(lab: &mut Lab) -> Result {
    let [alice] = lab.participants().await?;
    let bob = lab.participant(Profile::new("bob").setting("call.from=known")).await?;
    let mallory = lab.participant(Profile::new("mallory")).await?;
    bob.knows(&[&alice]).await?;
    let unwanted = mallory.offers(&[&bob]).await?;
    lab.passes(Duration::from_secs(5)).await;
    bob.never_saw(any("incoming_call"))?;
    mallory.never_saw(any("participant_ringing"))?;
    mallory.must(
        mallory.inbox_messages_since(Duration::ZERO) == 0,
        "received an answer from a participant that does not know it",
    )?;
    mallory.leaves().await?;
    mallory.sees(call_ended(unwanted, EndReason::Left)).await?;

    let call = alice.calls(&[&bob]).await?;
    let before = (alice.snapshot().await?, bob.snapshot().await?);
    let (since, mut counted) = (lab.now(), Vec::new());
    for (seq, victim) in [(1, &alice), (2, &bob)] {
        counted.push(victim.counters().await?.not_authorized);
        let own = mallory.endpoint().ok_or_else(|| mallory.fails("was never started"))?;
        let (topic, message) = farewell(call, mallory.identity(), own, seq, victim);
        victim.must(lab.inject_message(topic, &message) > 0, "does not read its inbox")?;
    }
    lab.passes(Duration::from_secs(1)).await;
    for (victim, before) in [&alice, &bob].into_iter().zip(counted) {
        let after = victim.counters().await?.not_authorized;
        victim.must(after > before, "did not count a message from outside the call")?;
    }
    alice.must(
        (alice.snapshot().await?, bob.snapshot().await?) == before,
        "changed by a message from outside the call",
    )?;
    mallory.must(mallory.packets_received()? == 0, "received media of a call that it is not in")?;
    alice.heard_throughout(&bob, since)?;
    bob.heard_throughout(&alice, since)?;
    lab.no_unexpected_events().await
}

async fn forged_messages(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    let call = alice.calls(&[&bob]).await?;
    // Each participant should have published more than once on the call's topic.
    lab.passes(Duration::from_secs(12)).await;
    let messages = lab.published();
    let before = (alice.snapshot().await?, bob.snapshot().await?);
    let counted = bob.counters().await?;
    let on_call = messages.iter().find(|message| !lab.is_inbox(&message.topic)).map(|message| message.topic);
    let on_call = on_call.ok_or_else(|| alice.fails("nothing was published on the call's topic"))?;
    let since = lab.now();
    for (number, message) in messages.iter().enumerate() {
        let mut tampered = message.message.to_vec();
        let place = number * 37 % tampered.len();
        tampered[place] ^= 1 << (number % 8);
        lab.inject_message(message.topic, &tampered.into());
        // Unchanged: replayed, and reflected to their senders.
        lab.inject_message(message.topic, &message.message);
        let elsewhere = if lab.is_inbox(&message.topic) { on_call } else { bob.inbox() };
        lab.inject_message(elsewhere, &message.message);
        lab.passes(Duration::from_millis(60)).await;
    }
    let stranger = Identity::from_seed(&[99; 32]);
    let alice_herself = alice.endpoint().ok_or_else(|| alice.fails("was never started"))?;
    let unknown_device = Endpoint { did: alice.did(), device: DeviceId::from_bytes([9; 16]) };
    for (seq, signer, name) in [(1, &stranger, alice_herself), (2, &stranger, unknown_device)] {
        let (topic, message) = farewell(call, signer, name, seq, &bob);
        lab.inject_message(topic, &message);
        lab.inject_message(on_call, &message);
    }
    lab.passes(Duration::from_secs(1)).await;

    let after = bob.counters().await?;
    for (what, more) in [
        ("a wrong tag", after.bad_tag > counted.bad_tag),
        ("a wrong signature", after.bad_signature >= counted.bad_signature + 2),
        ("a broken seal", after.bad_seal > counted.bad_seal),
        ("a replay", after.replayed > counted.replayed),
        ("its own name", after.own_endpoint > counted.own_endpoint),
        ("a message for another recipient", after.not_for_us > counted.not_for_us),
    ] {
        bob.must(more, format!("did not count {what}"))?;
    }
    let now = (alice.snapshot().await?, bob.snapshot().await?);
    bob.must(now == before, format!("changed by forged messages, from {before:?} to {now:?}"))?;
    alice.heard_throughout(&bob, since)?;
    bob.heard_throughout(&alice, since)?;
    lab.no_unexpected_events().await
}

async fn left_or_removed(lab: &mut Lab) -> Result {
    let [alice, bob, carol, dave] = lab.participants().await?;
    let call = alice.calls(&[&bob, &carol, &dave]).await?;
    carol.leaves().await?;
    carol.sees(call_ended(call, EndReason::Left)).await?;
    for other in [&alice, &bob, &dave] {
        other.sees(left(call, &carol, LeftReason::Left)).await?;
    }
    // Carol stays subscribed to the call's topic for a few seconds, but has no key for later
    // messages.
    lab.passes(Duration::from_secs(2)).await;
    let (first, packets) = (call_letters(lab, &carol).await?, carol.packets_received()?);
    mute_twice(lab, call, &alice, &[&bob, &dave]).await?;
    let last = call_letters(lab, &carol).await?;
    let (messages, unreadable) = (last.came - first.came, last.unreadable - first.unreadable);
    carol.must(messages > 0, "was not subscribed, so that the check is void")?;
    carol.must(unreadable == messages, format!("could read {} of {messages}", messages.abs_diff(unreadable)))?;
    receives_no_media(&carol, packets)?;

    // Dave fills the roster with invented members, so that his removal would find no free entry.
    for (seq, other) in [(1, &alice), (2, &bob), (3, &carol)] {
        let (topic, message) = crowd(call, &dave, seq, other);
        other.must(lab.inject_message(topic, &message) > 0, "does not read its inbox")?;
    }
    lab.passes(Duration::from_secs(1)).await;
    alice.removes(&dave).await?;
    dave.sees(call_ended(call, EndReason::Removed)).await?;
    for other in [&alice, &bob] {
        other.sees(left(call, &dave, LeftReason::Removed)).await?;
    }
    // Dave stays subscribed too, but the call continues on another topic.
    lab.passes(Duration::from_secs(2)).await;
    let (first, packets) = (call_letters(lab, &dave).await?, dave.packets_received()?);
    mute_twice(lab, call, &alice, &[&bob]).await?;
    let last = call_letters(lab, &dave).await?;
    dave.must(last.came == first.came, format!("received {} messages", last.came - first.came))?;
    receives_no_media(&dave, packets)?;

    expect_error(&dave, ErrorKind::NotFound, "to join a call one was removed from", dave.tries_to_answer(call).await?)?;
    expect_error(&alice, ErrorKind::State, "to invite a removed participant", alice.tries_to_add(&dave).await?)?;
    let tablet = lab.participant(Profile::device_of("dave's tablet", &dave)).await?;
    lab.passes(Duration::from_secs(15)).await;
    tablet.has_no_call().await?;
    dave.has_no_call().await?;
    carol.has_call(call, CallState::Open).await?;
    all_hear_each_other(&[&alice, &bob]).await?;
    lab.no_unexpected_events().await
}

/// Changes the state of one participant a few times, and waits until the others see each change.
async fn mute_twice(lab: &mut Lab, call: CallId, one: &Participant, others: &[&Participant]) -> Result {
    for muted in [true, false, true, false] {
        one.sets_muted(muted).await?;
        let state = ParticipantState { muted, ..ParticipantState::default() };
        for other in others {
            other.sees(state_of(call, one, state)).await?;
        }
        lab.passes(Duration::from_millis(500)).await;
    }
    Ok(())
}

fn receives_no_media(outsider: &Participant, packets_before: u64) -> Result {
    outsider.must(outsider.packets_received()? == packets_before, "received media of a call that it is not in")?;
    outsider.must(outsider.open_sessions()? == 0, "has an open session outside a call")
}

/// Builds a message of another device of a participant, with as many roster entries as fit:
/// invented members, invited by it and by each other, that have all rejected, so that none rings.
fn crowd(call: CallId, maker: &Participant, seq: u64, to: &Participant) -> (Topic, Bytes) {
    let participant = |n: u8| Identity::from_seed(&[150 + n; 32]);
    let mut entries = Vec::new();
    for n in 0..32 {
        let by = if n < 4 { maker.identity().clone() } else { participant(n / 4 - 1) };
        let add = EntryBody::Add { by: by.did(), slot: n % 4 };
        for (signer, body) in [(&by, add), (&participant(n), EntryBody::Reject { n: 0 })] {
            let bytes = cbor::encode(&Entry { call, did: participant(n).did(), body });
            entries.push(Signed { signature: signer.sign(b"blink/1 entry\0", &bytes), bytes });
        }
    }
    let from = Endpoint { did: maker.did(), device: DeviceId::from_bytes([9; 16]) };
    let key = AgreementKey::from_scalar(&[9; 32]);
    let record = Record::new(sign_call_key(maker.identity(), &from.device, &call, key.public()), 1, Status::Left);
    let body = Body::Member(Box::new(Member { record, entries, secret: None }));
    let content = Content { from, boot: 1, seq, unix_ms: 0, call, body };
    let key = AgreementKey::public_of(&to.did()).expect("a participant's key is valid");
    let sealing = Sealing { topic: to.inbox(), recipients: &[key], tag: None, identity: maker.identity() };
    let mut random = Random::from_seed([seq as u8; 32]);
    let envelope = seal(&sealing, &content.encode(), &mut random).expect("64 entries find room");
    (to.inbox(), envelope.into())
}

/// Messages received on calls' topics, and messages that the engine could not decrypt.
struct CallLetters {
    came: u64,
    unreadable: u64,
}

/// Counts them at a moment when the engine has processed all received messages.
async fn call_letters(lab: &mut Lab, participant: &Participant) -> Result<CallLetters> {
    loop {
        let came = participant.call_messages_since(Duration::ZERO)?;
        lab.passes(Duration::from_millis(200)).await;
        let unreadable = participant.counters().await?.not_for_us;
        if participant.call_messages_since(Duration::ZERO)? == came {
            return Ok(CallLetters { came, unreadable });
        }
    }
}

async fn nothing_before_accept(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    lab.set_message_rule(|message| if message.to == 1 { MessageAction::Duplicate(3) } else { MessageAction::Deliver });
    let call = alice.offers(&[&bob]).await?;
    bob.sees(incoming_call(call, &alice)).await?;
    alice.sees(ringing(call, &bob)).await?;
    lab.passes(Duration::from_secs(3)).await;
    for message in lab.published() {
        // The published messages, in another order and on wrong topics.
        lab.inject_message(bob.inbox(), &message.message);
        lab.passes(Duration::from_millis(20)).await;
    }
    let her_tablet = Endpoint { did: alice.did(), device: DeviceId::from_bytes([9; 16]) };
    let other_call = CallId::from_bytes([3; 16]);
    let (topic, message) = farewell(other_call, alice.identity(), her_tablet, 1, &bob);
    lab.inject_message(topic, &message);
    lab.passes(Duration::from_secs(5)).await;

    bob.must(bob.microphones_opened() == 0, "opened its microphone before its user answered")?;
    bob.must(bob.open_devices() == 0, "has a device open before its user answered")?;
    bob.must(bob.sessions_opened()? == 0, "opened a session before its user answered")?;
    bob.must(bob.candidates_gathered()? == 0, "gathered a candidate before its user answered")?;
    bob.must(bob.packets_sent()? == 0, "sent a packet before its user answered")?;
    let said = lab.message_kinds_from(&bob);
    let only_rings = said.iter().all(|kind| *kind == Some(Kind::Ringing));
    bob.must(only_rings, format!("said more than that it rings: {said:?}"))?;
    bob.has_pending(&[call]).await?;

    lab.release_held_messages();
    let call = bob.answers(call).await?;
    alice.sees(call_joined(call)).await?;
    bob.sees(call_joined(call)).await?;
    all_meet(call, &[&alice, &bob]).await?;
    lab.no_unexpected_events().await
}
