//! Calls of two participants, from the offer to the first audio or to the end.

use std::time::Duration;

use blink_api::{CallId, ErrorKind};
use blink_engine::{CallState, CancelledReason, EndReason, LeftReason};
use blink_proto::wire::{Body, Kind};

use super::Scenario;
use crate::lab::{
    Command, EventMutation, Fault, Lab, MessageAction, Profile, Requirements, Result, all_meet, any, call_cancelled,
    call_ended, call_joined, expect_error, incoming_call, joined, left, media_started, missed_call, no_microphone,
    rejected, ringing, unanswered,
};

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        number: 1,
        name: "accept",
        verifies: "A call rings once; when it is answered, each side sees the other join once, not before the path is up, and hears it.",
        faults: &[
            Fault::MutatesEvents(|event| EventMutation::duplicate(event, "participant_joined")),
            Fault::MutatesEvents(|event| EventMutation::duplicate(event, "incoming_call")),
            Fault::NoMediaFor(1),
        ],
        run: |lab| Box::pin(accept(lab)),
        needs: Requirements { blackout: true, ..Requirements::NONE },
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 2,
        name: "reject",
        verifies: "A rejected call ends on both sides, and the caller receives the reason.",
        faults: &[Fault::IgnoresCommand(Command::Reject), Fault::DropsInboxMessages(Kind::Reject)],
        run: |lab| Box::pin(reject(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 3,
        name: "cancel-while-ringing",
        verifies: "A caller that cancels stops the ringing within a second.",
        faults: &[Fault::DropsInboxMessages(Kind::Cancel)],
        run: |lab| Box::pin(cancel_while_ringing(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 4,
        name: "no-answer",
        verifies: "After the ring time the caller is informed that the call was not answered, and the callee that it missed a call.",
        faults: &[Fault::MutatesEvents(|event| EventMutation::suppress(event, "missed_call"))],
        run: |lab| Box::pin(no_answer(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 5,
        name: "starts-late-in-time",
        verifies: "A participant that comes online while a call is offered rings, and can answer.",
        faults: &[Fault::DropsInboxMessages(Kind::Offer)],
        run: |lab| Box::pin(starts_late_in_time(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 6,
        name: "starts-after-expiry",
        verifies: "A participant that comes online after a call's ring time is informed of a missed call, and does not ring.",
        faults: &[Fault::NeverAnnouncesSubscribers],
        run: |lab| Box::pin(starts_after_expiry(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 7,
        name: "duplicate-offers",
        verifies: "An offer that is delivered five times rings once.",
        needs: Requirements { messages: true, ..Requirements::NONE },
        faults: &[Fault::MutatesEvents(|event| EventMutation::duplicate(event, "incoming_call"))],
        run: |lab| Box::pin(duplicate_offers(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 8,
        name: "cancel-overtakes-offer",
        verifies: "An offer that arrives after its own cancellation does not ring.",
        needs: Requirements { messages: true, ..Requirements::NONE },
        faults: &[Fault::DropsInboxMessages(Kind::Cancel)],
        run: |lab| Box::pin(cancel_overtakes_offer(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 9,
        name: "candidates-overtake-description",
        verifies: "Candidates that arrive before their answer, and messages out of order, still connect.",
        needs: Requirements { messages: true, ..Requirements::NONE },
        faults: &[Fault::DropsEarlyCandidates],
        run: |lab| Box::pin(candidates_overtake_description(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 10,
        name: "replay",
        verifies: "All published messages, delivered again after the call, have no effect.",
        needs: Requirements { messages: true, ..Requirements::NONE },
        faults: &[Fault::AcceptsForgedMessages],
        run: |lab| Box::pin(replay(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 19,
        name: "unknown-call",
        verifies: "Commands about an unknown call fail with a typed error, and cause no event.",
        faults: &[Fault::NeverReportsErrors],
        run: |lab| Box::pin(unknown_call(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 20,
        name: "no-microphone",
        verifies: "Without a microphone a participant listens and is informed of it; if one is required, answering fails and the call keeps ringing.",
        faults: &[Fault::FakesMicrophone, Fault::IgnoresSettings],
        run: |lab| Box::pin(no_microphone_there(lab)),
        ..Scenario::DEFAULT
    },
];

async fn accept(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    let call = alice.offers(&[&bob]).await?;
    bob.sees(incoming_call(call, &alice)).await?;
    alice.sees(ringing(call, &bob)).await?;
    lab.passes(Duration::from_secs(5)).await;
    bob.answers(call).await?;
    alice.sees(call_joined(call)).await?;
    bob.sees(call_joined(call)).await?;
    all_meet(call, &[&alice, &bob]).await?;
    bob.saw_once("incoming_call", call)?;
    lab.no_unexpected_events().await?;

    let carol = lab.participant(Profile::new("carol").without_microphone()).await?;
    alice.leaves().await?;
    alice.sees(call_ended(call, EndReason::Left)).await?;
    bob.sees(left(call, &alice, LeftReason::Left)).await?;
    bob.sees(call_ended(call, EndReason::RemoteLeft)).await?;
    let call = alice.offers(&[&carol]).await?;
    carol.sees(incoming_call(call, &alice)).await?;
    alice.sees(ringing(call, &carol)).await?;
    carol.loses_media_path()?;
    carol.answers(call).await?;
    carol.sees(call_joined(call)).await?;
    carol.sees(no_microphone(call)).await?;
    alice.sees(call_joined(call)).await?;
    lab.no_unexpected_events().await?;
    carol.regains_media_path()?;
    alice.sees(joined(call, &carol)).await?;
    carol.meets(call, &alice).await?;
    alice.hears_nothing_of(&carol).await?;
    lab.no_unexpected_events().await
}

async fn reject(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    let call = alice.offers(&[&bob]).await?;
    bob.sees(incoming_call(call, &alice)).await?;
    alice.sees(ringing(call, &bob)).await?;
    bob.rejects(call).await?;
    bob.has_no_call().await?;
    alice.sees_in_order(vec![rejected(call, &bob), call_ended(call, EndReason::Rejected)]).await?;
    alice.has_no_call().await?;
    lab.no_unexpected_events().await
}

async fn cancel_while_ringing(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    let call = alice.offers(&[&bob]).await?;
    bob.sees(incoming_call(call, &alice)).await?;
    alice.sees(ringing(call, &bob)).await?;
    alice.leaves().await?;
    bob.sees_within(Duration::from_secs(1), call_cancelled(call, CancelledReason::CallerLeft)).await?;
    alice.sees(call_ended(call, EndReason::Left)).await?;
    alice.has_no_call().await?;
    bob.has_no_call().await?;
    lab.no_unexpected_events().await
}

async fn no_answer(lab: &mut Lab) -> Result {
    let alice = lab.participant(Profile::new("alice").setting("call.ring_time=10s")).await?;
    let bob = lab.participant(Profile::new("bob")).await?;
    let call = alice.offers(&[&bob]).await?;
    bob.sees(incoming_call(call, &alice)).await?;
    alice.sees(ringing(call, &bob)).await?;
    lab.passes(Duration::from_secs(9)).await;
    bob.has_call(call, CallState::Ringing).await?;
    alice.sees_within(Duration::from_secs(2), unanswered(call, &bob)).await?;
    alice.sees(call_ended(call, EndReason::Unanswered)).await?;
    bob.sees(missed_call(call, &alice)).await?;
    alice.has_no_call().await?;
    bob.has_no_call().await?;
    lab.no_unexpected_events().await
}

async fn starts_late_in_time(lab: &mut Lab) -> Result {
    let [alice] = lab.participants().await?;
    let bob = lab.unstarted_participant(Profile::new("bob"));
    let call = alice.offers(&[&bob]).await?;
    lab.passes(Duration::from_secs(5)).await;
    bob.restarts().await?;
    bob.sees(incoming_call(call, &alice)).await?;
    alice.sees(ringing(call, &bob)).await?;
    bob.answers(call).await?;
    alice.sees(call_joined(call)).await?;
    bob.sees(call_joined(call)).await?;
    all_meet(call, &[&alice, &bob]).await?;
    lab.no_unexpected_events().await
}

async fn starts_after_expiry(lab: &mut Lab) -> Result {
    let alice = lab.participant(Profile::new("alice").setting("call.ring_time=5s")).await?;
    let bob = lab.unstarted_participant(Profile::new("bob"));
    let call = alice.offers(&[&bob]).await?;
    lab.passes(Duration::from_secs(8)).await;
    alice.sees_in_order(vec![unanswered(call, &bob), call_ended(call, EndReason::Unanswered)]).await?;
    bob.restarts().await?;
    bob.sees(missed_call(call, &alice)).await?;
    bob.never_saw(any("incoming_call"))?;
    bob.has_no_call().await?;
    lab.no_unexpected_events().await
}

async fn duplicate_offers(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    lab.set_message_rule(|message| match message.body {
        Some(Body::Offer(_)) => MessageAction::Duplicate(5),
        _ => MessageAction::Deliver,
    });
    let call = alice.calls(&[&bob]).await?;
    bob.saw_once("incoming_call", call)?;
    lab.no_unexpected_events().await
}

async fn cancel_overtakes_offer(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    lab.set_message_rule(|message| if message.rings() { MessageAction::Hold } else { MessageAction::Deliver });
    let call = alice.offers(&[&bob]).await?;
    lab.passes(Duration::from_secs(1)).await;
    alice.leaves().await?;
    alice.sees(call_ended(call, EndReason::Left)).await?;
    lab.passes(Duration::from_secs(1)).await;
    lab.release_held_messages();
    lab.no_unexpected_events().await?;
    bob.never_saw(any("incoming_call"))?;
    bob.has_no_call().await
}

async fn candidates_overtake_description(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    lab.deliver_candidates_before_answers();
    let mut late = false;
    lab.set_message_rule(move |message| {
        late = !late && message.inbox_of.is_none();
        if late { MessageAction::Delay(Duration::from_millis(400)) } else { MessageAction::Deliver }
    });
    alice.calls(&[&bob]).await?;
    lab.no_unexpected_events().await
}

async fn replay(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    let call = alice.calls(&[&bob]).await?;
    bob.leaves().await?;
    bob.sees(call_ended(call, EndReason::Left)).await?;
    alice.sees(left(call, &bob, LeftReason::Left)).await?;
    alice.sees(call_ended(call, EndReason::RemoteLeft)).await?;
    for after in [Duration::from_secs(1), Duration::from_secs(15)] {
        lab.passes(after).await;
        let before = alice.counters().await?.total() + bob.counters().await?.total();
        for message in lab.published() {
            lab.inject_message(message.topic, &message.message);
            lab.passes(Duration::from_millis(20)).await;
        }
        let expect_error = alice.counters().await?.total() + bob.counters().await?.total() - before;
        bob.must(expect_error > 0, "took nothing for a replay")?;
        alice.has_no_call().await?;
        bob.has_no_call().await?;
        lab.no_unexpected_events().await?;
    }
    Ok(())
}

async fn unknown_call(lab: &mut Lab) -> Result {
    use ErrorKind::{NotFound, State};
    let [alice, bob] = lab.participants().await?;
    let call = CallId::from_bytes([7; 16]);
    expect_error(&alice, NotFound, "to answer a call that never was", alice.tries_to_answer(call).await?)?;
    expect_error(&alice, NotFound, "to reject a call that never was", alice.tries_to_reject(call).await?)?;
    expect_error(&alice, State, "to leave no call", alice.tries_to_leave().await?)?;
    expect_error(&alice, State, "to invite into no call", alice.tries_to_add(&bob).await?)?;
    lab.no_unexpected_events().await
}

async fn no_microphone_there(lab: &mut Lab) -> Result {
    let [alice] = lab.participants().await?;
    let bob = lab.participant(Profile::new("bob").without_microphone()).await?;
    let strict = Profile::new("carol").without_microphone().setting("call.require_microphone=true");
    let carol = lab.participant(strict).await?;
    let call = alice.offers(&[&bob, &carol]).await?;
    for participant in [&bob, &carol] {
        participant.sees(incoming_call(call, &alice)).await?;
        alice.sees(ringing(call, participant)).await?;
    }
    bob.answers(call).await?;
    bob.sees(call_joined(call)).await?;
    alice.sees(call_joined(call)).await?;
    bob.sees(no_microphone(call)).await?;
    alice.sees(joined(call, &bob)).await?;
    bob.sees(joined(call, &alice)).await?;
    bob.sees(media_started(call, &alice)).await?;
    bob.hears(&alice).await?;
    alice.hears_nothing_of(&bob).await?;

    // Openings are tried again meanwhile.
    lab.passes(Duration::from_secs(3)).await;
    bob.saw_once("no_microphone", call)?;

    let answer = carol.tries_to_answer(call).await?;
    expect_error(&carol, ErrorKind::NotFound, "to answer without a microphone", answer)?;
    carol.has_pending(&[call]).await?;
    lab.no_unexpected_events().await
}
