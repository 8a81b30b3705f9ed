//! Calls of two people, from the offer to the first sound or to the end.

use std::time::Duration;

use blink_api::{CallId, ErrorKind};
use blink_engine::{CallState, CancelledReason, EndReason, LeftReason};
use blink_proto::wire::{Body, Kind};

use super::Scenario;
use crate::lab::{
    Deed, Fault, Handling, Lab, Needs, Profile, Result, Telling, any, call_cancelled, call_ended, call_joined,
    incoming_call, joined, left, media_started, meet, missed_call, no_microphone, refused, rejected, ringing,
    unanswered,
};

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        number: 1,
        name: "accept",
        verifies: "A call rings once; when it is answered, each side sees the other join once, no sooner than the path is up, and hears it.",
        faults: &[
            Fault::Tells(|event| Telling::twice(event, "participant_joined")),
            Fault::Tells(|event| Telling::twice(event, "incoming_call")),
            Fault::NoMediaFor(1),
        ],
        run: |lab| Box::pin(accept(lab)),
        needs: Needs { blackout: true, ..Needs::NOTHING },
        ..Scenario::USUAL
    },
    Scenario {
        number: 2,
        name: "reject",
        verifies: "A rejected call is over on both sides, and the caller is told why.",
        faults: &[Fault::Neglects(Deed::Reject), Fault::Loses(Kind::Reject)],
        run: |lab| Box::pin(reject(lab)),
        ..Scenario::USUAL
    },
    Scenario {
        number: 3,
        name: "cancel-while-ringing",
        verifies: "A caller who gives up stops the ringing within a second.",
        faults: &[Fault::Loses(Kind::Cancel)],
        run: |lab| Box::pin(cancel_while_ringing(lab)),
        ..Scenario::USUAL
    },
    Scenario {
        number: 4,
        name: "no-answer",
        verifies: "After the ring time the caller is told that nobody answered, and the callee that it missed a call.",
        faults: &[Fault::Tells(|event| Telling::nothing_of(event, "missed_call"))],
        run: |lab| Box::pin(no_answer(lab)),
        ..Scenario::USUAL
    },
    Scenario {
        number: 5,
        name: "starts-late-in-time",
        verifies: "Somebody who comes online while a call is offered is rung, and can answer.",
        faults: &[Fault::Loses(Kind::Offer)],
        run: |lab| Box::pin(starts_late_in_time(lab)),
        ..Scenario::USUAL
    },
    Scenario {
        number: 6,
        name: "starts-after-expiry",
        verifies: "Somebody who comes online after a call's ring time is told of a missed call and not rung.",
        faults: &[Fault::NeverAnnouncesSubscribers],
        run: |lab| Box::pin(starts_after_expiry(lab)),
        ..Scenario::USUAL
    },
    Scenario {
        number: 7,
        name: "duplicate-offers",
        verifies: "An offer that is delivered five times rings once.",
        needs: Needs { letters: true, ..Needs::NOTHING },
        faults: &[Fault::Tells(|event| Telling::twice(event, "incoming_call"))],
        run: |lab| Box::pin(duplicate_offers(lab)),
        ..Scenario::USUAL
    },
    Scenario {
        number: 8,
        name: "cancel-overtakes-offer",
        verifies: "An offer that arrives after its own cancellation does not ring.",
        needs: Needs { letters: true, ..Needs::NOTHING },
        faults: &[Fault::Loses(Kind::Cancel)],
        run: |lab| Box::pin(cancel_overtakes_offer(lab)),
        ..Scenario::USUAL
    },
    Scenario {
        number: 9,
        name: "candidates-overtake-description",
        verifies: "Candidates that come before the answer they belong to, and messages out of order, still connect.",
        needs: Needs { letters: true, ..Needs::NOTHING },
        faults: &[Fault::ForgetsEarlyCandidates],
        run: |lab| Box::pin(candidates_overtake_description(lab)),
        ..Scenario::USUAL
    },
    Scenario {
        number: 10,
        name: "replay",
        verifies: "Everything that was published, delivered again after the call, does nothing.",
        needs: Needs { letters: true, ..Needs::NOTHING },
        faults: &[Fault::BelievesEverything],
        run: |lab| Box::pin(replay(lab)),
        ..Scenario::USUAL
    },
    Scenario {
        number: 19,
        name: "unknown-call",
        verifies: "Commands about a call that never was fail with a typed error, and nothing is told.",
        faults: &[Fault::SaysYes],
        run: |lab| Box::pin(unknown_call(lab)),
        ..Scenario::USUAL
    },
    Scenario {
        number: 20,
        name: "no-microphone",
        verifies: "Without a microphone one listens and is told so; where one is required the answer is refused and the call still rings.",
        faults: &[Fault::PretendsMicrophone, Fault::ForgetsSettings],
        run: |lab| Box::pin(no_microphone_there(lab)),
        ..Scenario::USUAL
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
    meet(call, &[&alice, &bob]).await?;
    bob.saw_once("incoming_call", call)?;
    lab.nobody_sees_anything_more().await?;

    let carol = lab.participant(Profile::new("carol").without_microphone()).await?;
    alice.leaves().await?;
    alice.sees(call_ended(call, EndReason::Left)).await?;
    bob.sees(left(call, &alice, LeftReason::Left)).await?;
    bob.sees(call_ended(call, EndReason::RemoteLeft)).await?;
    let call = alice.offers(&[&carol]).await?;
    carol.sees(incoming_call(call, &alice)).await?;
    alice.sees(ringing(call, &carol)).await?;
    carol.loses_its_path()?;
    carol.answers(call).await?;
    carol.sees(call_joined(call)).await?;
    carol.sees(no_microphone(call)).await?;
    alice.sees(call_joined(call)).await?;
    lab.nobody_sees_anything_more().await?;
    carol.finds_its_path()?;
    alice.sees(joined(call, &carol)).await?;
    carol.meets(call, &alice).await?;
    alice.hears_nothing_of(&carol).await?;
    lab.nobody_sees_anything_more().await
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
    lab.nobody_sees_anything_more().await
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
    lab.nobody_sees_anything_more().await
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
    lab.nobody_sees_anything_more().await
}

async fn starts_late_in_time(lab: &mut Lab) -> Result {
    let [alice] = lab.participants().await?;
    let bob = lab.absent(Profile::new("bob"));
    let call = alice.offers(&[&bob]).await?;
    lab.passes(Duration::from_secs(5)).await;
    bob.comes_back().await?;
    bob.sees(incoming_call(call, &alice)).await?;
    alice.sees(ringing(call, &bob)).await?;
    bob.answers(call).await?;
    alice.sees(call_joined(call)).await?;
    bob.sees(call_joined(call)).await?;
    meet(call, &[&alice, &bob]).await?;
    lab.nobody_sees_anything_more().await
}

async fn starts_after_expiry(lab: &mut Lab) -> Result {
    let alice = lab.participant(Profile::new("alice").setting("call.ring_time=5s")).await?;
    let bob = lab.absent(Profile::new("bob"));
    let call = alice.offers(&[&bob]).await?;
    lab.passes(Duration::from_secs(8)).await;
    alice.sees_in_order(vec![unanswered(call, &bob), call_ended(call, EndReason::Unanswered)]).await?;
    bob.comes_back().await?;
    bob.sees(missed_call(call, &alice)).await?;
    bob.never_saw(any("incoming_call"))?;
    bob.has_no_call().await?;
    lab.nobody_sees_anything_more().await
}

async fn duplicate_offers(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    lab.handles_letters(|letter| match letter.body {
        Some(Body::Offer(_)) => Handling::Repeat(5),
        _ => Handling::Deliver,
    });
    let call = alice.calls(&[&bob]).await?;
    bob.saw_once("incoming_call", call)?;
    lab.nobody_sees_anything_more().await
}

async fn cancel_overtakes_offer(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    lab.handles_letters(|letter| if letter.rings() { Handling::Hold } else { Handling::Deliver });
    let call = alice.offers(&[&bob]).await?;
    lab.passes(Duration::from_secs(1)).await;
    alice.leaves().await?;
    alice.sees(call_ended(call, EndReason::Left)).await?;
    lab.passes(Duration::from_secs(1)).await;
    lab.releases_letters();
    lab.nobody_sees_anything_more().await?;
    bob.never_saw(any("incoming_call"))?;
    bob.has_no_call().await
}

async fn candidates_overtake_description(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    lab.lets_candidates_overtake_answers();
    let mut late = false;
    lab.handles_letters(move |letter| {
        late = !late && letter.inbox_of.is_none();
        if late { Handling::Delay(Duration::from_millis(400)) } else { Handling::Deliver }
    });
    alice.calls(&[&bob]).await?;
    lab.nobody_sees_anything_more().await
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
        for letter in lab.published() {
            lab.delivers(letter.topic, &letter.message);
            lab.passes(Duration::from_millis(20)).await;
        }
        let refused = alice.counters().await?.total() + bob.counters().await?.total() - before;
        bob.must(refused > 0, "took nothing for a replay")?;
        alice.has_no_call().await?;
        bob.has_no_call().await?;
        lab.nobody_sees_anything_more().await?;
    }
    Ok(())
}

async fn unknown_call(lab: &mut Lab) -> Result {
    use ErrorKind::{NotFound, State};
    let [alice, bob] = lab.participants().await?;
    let call = CallId::from_bytes([7; 16]);
    refused(&alice, NotFound, "to answer a call that never was", alice.tries_to_answer(call).await?)?;
    refused(&alice, NotFound, "to reject a call that never was", alice.tries_to_reject(call).await?)?;
    refused(&alice, State, "to leave no call", alice.tries_to_leave().await?)?;
    refused(&alice, State, "to invite into no call", alice.tries_to_add(&bob).await?)?;
    lab.nobody_sees_anything_more().await
}

async fn no_microphone_there(lab: &mut Lab) -> Result {
    let [alice] = lab.participants().await?;
    let bob = lab.participant(Profile::new("bob").without_microphone()).await?;
    let strict = Profile::new("carol").without_microphone().setting("call.require_microphone=true");
    let carol = lab.participant(strict).await?;
    let call = alice.offers(&[&bob, &carol]).await?;
    for person in [&bob, &carol] {
        person.sees(incoming_call(call, &alice)).await?;
        alice.sees(ringing(call, person)).await?;
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

    let answer = carol.tries_to_answer(call).await?;
    refused(&carol, ErrorKind::NotFound, "to answer without a microphone", answer)?;
    carol.has_pending(&[call]).await?;
    lab.nobody_sees_anything_more().await
}
