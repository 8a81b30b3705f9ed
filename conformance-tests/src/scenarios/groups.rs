//! Groups: who goes when, and who must not come.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use blink_api::CallId;
use blink_engine::{CallState, CancelledReason, EndReason, Event, LeftReason};
use blink_proto::wire::{Body, Kind};

use super::Scenario;
use crate::lab::{
    Fault, Handling, Lab, Needs, Participant, Profile, Result, Telling, call_cancelled, call_ended, call_joined,
    hear_each_other, incoming_call, left, meet, reconnected, reconnecting, rejected, ringing,
};

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        number: 24,
        name: "all-leave-before-the-answer",
        verifies: "A call rings no more once everybody who was in it has left.",
        faults: &[Fault::Loses(Kind::Cancel)],
        run: |lab| Box::pin(all_leave_before_the_answer(lab)),
        ..Scenario::USUAL
    },
    Scenario {
        number: 25,
        name: "one-of-many-leaves",
        verifies: "A call rings on while somebody is in it, and can be joined.",
        faults: &[Fault::OneLeaverIsAll],
        run: |lab| Box::pin(one_of_many_leaves(lab)),
        ..Scenario::USUAL
    },
    Scenario {
        number: 26,
        name: "last-remote-leaves",
        verifies: "A group's call goes on with one person in it, and others can join again.",
        faults: &[Fault::Tells(|event| match event {
            Event::ParticipantLeft { call, .. } => {
                Telling::Also(Event::CallEnded { call: *call, reason: EndReason::RemoteLeft })
            }
            _ => Telling::Truth,
        })],
        run: |lab| Box::pin(last_remote_leaves(lab)),
        ..Scenario::USUAL
    },
    Scenario {
        number: 27,
        name: "partner-leaves",
        verifies: "A call of two ends for both when one leaves.",
        faults: &[
            Fault::Tells(|event| Telling::nothing_of(event, "participant_left")),
            Fault::Tells(|event| Telling::twice(event, "call_ended")),
        ],
        run: |lab| Box::pin(partner_leaves(lab)),
        ..Scenario::USUAL
    },
    Scenario {
        number: 29,
        name: "reject-then-join",
        verifies: "Whoever rejected a group's call can join it all the same.",
        faults: &[Fault::RejectsForGood],
        run: |lab| Box::pin(reject_then_join(lab)),
        ..Scenario::USUAL
    },
    Scenario {
        number: 30,
        name: "rejecter-is-not-asked-again",
        verifies: "Whoever rejected gets no more offers, while others still do.",
        needs: Needs { letters: true, ..Needs::NOTHING },
        faults: &[Fault::Loses(Kind::Reject)],
        run: |lab| Box::pin(rejecter_is_not_asked_again(lab)),
        ..Scenario::USUAL
    },
    Scenario {
        number: 32,
        name: "crash",
        verifies: "Whoever crashes is seen to reconnect and then to have left; the others hear each other all the time.",
        needs: Needs { restart: true, ..Needs::NOTHING },
        quiet_machine: true,
        faults: &[Fault::OneQueueForAll, Fault::Tells(|event| Telling::nothing_of(event, "participant_reconnecting"))],
        run: |lab| Box::pin(crash(lab)),
        ..Scenario::USUAL
    },
    Scenario {
        number: 33,
        name: "one-flapping-link",
        verifies: "A participant whose path comes and goes disturbs nobody else.",
        needs: Needs { blackout: true, ..Needs::NOTHING },
        quiet_machine: true,
        faults: &[Fault::OneQueueForAll],
        run: |lab| Box::pin(one_flapping_link(lab)),
        ..Scenario::USUAL
    },
];

/// Alice calls bob and carol; carol answers, bob lets it ring.
async fn carol_answers(lab: &mut Lab) -> Result<(CallId, [Participant; 3])> {
    let [alice, bob, carol] = lab.participants().await?;
    let call = alice.offers(&[&bob, &carol]).await?;
    for person in [&bob, &carol] {
        person.sees(incoming_call(call, &alice)).await?;
        alice.sees(ringing(call, person)).await?;
    }
    carol.answers(call).await?;
    carol.sees(call_joined(call)).await?;
    alice.sees(call_joined(call)).await?;
    meet(call, &[&alice, &carol]).await?;
    Ok((call, [alice, bob, carol]))
}

async fn all_leave_before_the_answer(lab: &mut Lab) -> Result {
    let (call, [alice, bob, carol]) = carol_answers(lab).await?;
    alice.leaves().await?;
    alice.sees(call_ended(call, EndReason::Left)).await?;
    carol.sees(left(call, &alice, LeftReason::Left)).await?;
    lab.passes(Duration::from_secs(1)).await;
    bob.has_pending(&[call]).await?;
    carol.leaves().await?;
    carol.sees(call_ended(call, EndReason::Left)).await?;
    bob.sees(call_cancelled(call, CancelledReason::CallerLeft)).await?;
    lab.passes(Duration::from_secs(15)).await;
    bob.has_no_call().await?;
    lab.nobody_sees_anything_more().await
}

async fn one_of_many_leaves(lab: &mut Lab) -> Result {
    let (call, [alice, bob, carol]) = carol_answers(lab).await?;
    carol.leaves().await?;
    carol.sees(call_ended(call, EndReason::Left)).await?;
    alice.sees(left(call, &carol, LeftReason::Left)).await?;
    lab.nobody_sees_anything_more().await?;
    bob.has_pending(&[call]).await?;
    bob.answers(call).await?;
    bob.sees(call_joined(call)).await?;
    meet(call, &[&alice, &bob]).await?;
    lab.nobody_sees_anything_more().await
}

async fn last_remote_leaves(lab: &mut Lab) -> Result {
    let [alice, bob, carol] = lab.participants().await?;
    let call = alice.calls(&[&bob, &carol]).await?;
    bob.leaves().await?;
    bob.sees(call_ended(call, EndReason::Left)).await?;
    for other in [&alice, &carol] {
        other.sees(left(call, &bob, LeftReason::Left)).await?;
    }
    // Not before she has heard of bob: whoever is out of a call is told no more who leaves it.
    carol.leaves().await?;
    carol.sees(call_ended(call, EndReason::Left)).await?;
    alice.sees(left(call, &carol, LeftReason::Left)).await?;
    lab.passes(Duration::from_secs(20)).await;
    lab.nobody_sees_anything_more().await?;
    alice.has_call(call, CallState::Active).await?;
    carol.answers(call).await?;
    carol.sees(call_joined(call)).await?;
    meet(call, &[&alice, &carol]).await?;
    lab.nobody_sees_anything_more().await
}

async fn partner_leaves(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    let call = alice.calls(&[&bob]).await?;
    bob.leaves().await?;
    bob.sees(call_ended(call, EndReason::Left)).await?;
    alice.sees_in_order(vec![left(call, &bob, LeftReason::Left), call_ended(call, EndReason::RemoteLeft)]).await?;
    lab.nobody_sees_anything_more().await?;
    for person in [&alice, &bob] {
        person.has_no_call().await?;
        person.must(person.open_devices() == 0, "has a device open in no call")?;
        person.must(person.open_sessions()? == 0, "has a session open in no call")?;
    }
    Ok(())
}

async fn reject_then_join(lab: &mut Lab) -> Result {
    let (call, [alice, bob, carol]) = carol_answers(lab).await?;
    bob.rejects(call).await?;
    for other in [&alice, &carol] {
        other.sees(rejected(call, &bob)).await?;
    }
    lab.nobody_sees_anything_more().await?;
    bob.has_call(call, CallState::Open).await?;
    bob.answers(call).await?;
    bob.sees(call_joined(call)).await?;
    for other in [&alice, &carol] {
        bob.meets(call, other).await?;
        other.meets(call, &bob).await?;
    }
    lab.nobody_sees_anything_more().await
}

async fn rejecter_is_not_asked_again(lab: &mut Lab) -> Result {
    let [alice, bob, carol] = lab.participants().await?;
    let offers: Arc<[AtomicUsize; 3]> = Arc::default();
    let counted = offers.clone();
    lab.handles_letters(move |letter| {
        if let Some(Body::Offer(_)) = letter.body {
            counted[letter.to].fetch_add(1, Ordering::Relaxed);
        }
        Handling::Deliver
    });
    let call = alice.offers(&[&bob, &carol]).await?;
    for person in [&bob, &carol] {
        person.sees(incoming_call(call, &alice)).await?;
        alice.sees(ringing(call, person)).await?;
    }
    bob.rejects(call).await?;
    alice.sees(rejected(call, &bob)).await?;
    let count = |person: &Participant| offers[person.number()].load(Ordering::Relaxed);
    let (for_bob, for_carol) = (count(&bob), count(&carol));
    lab.passes(Duration::from_secs(15)).await;
    bob.must(count(&bob) == for_bob, "was asked again after it rejected")?;
    carol.must(count(&carol) > for_carol, "was asked no more, because somebody else rejected")?;
    carol.has_pending(&[call]).await?;
    lab.nobody_sees_anything_more().await
}

async fn crash(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    let carol = lab.participant(Profile::new("carol")).await?;
    let call = alice.calls(&[&bob, &carol]).await?;
    let talking_since = lab.now();
    carol.is_killed().await;
    for other in [&alice, &bob] {
        other.sees(reconnecting(call, &carol)).await?;
    }
    let end = talking_since + Duration::from_secs(35);
    for other in [&alice, &bob] {
        other.sees_within(end.saturating_sub(lab.now()), left(call, &carol, LeftReason::TimedOut)).await?;
    }
    lab.nobody_sees_anything_more().await?;
    alice.heard_throughout(&bob, talking_since)?;
    bob.heard_throughout(&alice, talking_since)
}

async fn one_flapping_link(lab: &mut Lab) -> Result {
    let [alice, bob, carol] = lab.participants().await?;
    let call = alice.calls(&[&bob, &carol]).await?;
    let talking_since = lab.now();
    for _ in 0..4 {
        carol.loses_its_path()?;
        for (one, other) in [(&alice, &carol), (&bob, &carol), (&carol, &alice), (&carol, &bob)] {
            one.sees(reconnecting(call, other)).await?;
        }
        carol.finds_its_path()?;
        for (one, other) in [(&alice, &carol), (&bob, &carol), (&carol, &alice), (&carol, &bob)] {
            one.sees(reconnected(call, other)).await?;
        }
        lab.passes(Duration::from_secs(1)).await;
    }
    alice.heard_throughout(&bob, talking_since)?;
    bob.heard_throughout(&alice, talking_since)?;
    hear_each_other(&[&alice, &bob, &carol]).await?;
    lab.nobody_sees_anything_more().await
}
