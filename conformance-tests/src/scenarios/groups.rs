//! Group calls: leaving, rejecting, crashing and failing links.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use blink_api::CallId;
use blink_engine::{CallState, CancelledReason, EndReason, Event, LeftReason};
use blink_proto::wire::{Body, Kind};

use super::Scenario;
use crate::lab::{
    EventMutation, Fault, Lab, MessageAction, Participant, Profile, Requirements, Result, all_hear_each_other,
    all_meet, call_cancelled, call_ended, call_joined, incoming_call, left, reconnected, reconnecting, rejected,
    ringing,
};

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        number: 24,
        name: "all-leave-before-the-answer",
        verifies: "A call stops ringing once all participants in it have left.",
        faults: &[Fault::DropsInboxMessages(Kind::Cancel)],
        run: |lab| Box::pin(all_leave_before_the_answer(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 25,
        name: "one-of-many-leaves",
        verifies: "A call keeps ringing while a participant is in it, and can be joined.",
        faults: &[Fault::LeaveEndsGroupCall],
        run: |lab| Box::pin(one_of_many_leaves(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 26,
        name: "last-remote-leaves",
        verifies: "A group call continues with one participant in it, and others can rejoin.",
        faults: &[Fault::MutatesEvents(|event| match event {
            Event::ParticipantLeft { call, .. } => {
                EventMutation::Append(Event::CallEnded { call: *call, reason: EndReason::RemoteLeft, failure: None })
            }
            _ => EventMutation::Unchanged,
        })],
        run: |lab| Box::pin(last_remote_leaves(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 27,
        name: "partner-leaves",
        verifies: "A call of two ends on both sides when one leaves.",
        faults: &[
            Fault::MutatesEvents(|event| EventMutation::suppress(event, "participant_left")),
            Fault::MutatesEvents(|event| EventMutation::duplicate(event, "call_ended")),
        ],
        run: |lab| Box::pin(partner_leaves(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 29,
        name: "reject-then-join",
        verifies: "A participant that rejected a group call can still join it.",
        faults: &[Fault::RejectIsPermanent],
        run: |lab| Box::pin(reject_then_join(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 30,
        name: "rejecter-is-not-asked-again",
        verifies: "A participant that rejected receives no further offers, while others still do.",
        needs: Requirements { messages: true, ..Requirements::NONE },
        faults: &[Fault::DropsInboxMessages(Kind::Reject)],
        run: |lab| Box::pin(rejecter_is_not_asked_again(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 32,
        name: "crash",
        verifies: "A crashed participant is reported as reconnecting and then as having left; the others hear each other without interruption.",
        needs: Requirements { restart: true, ..Requirements::NONE },
        quiet_machine: true,
        faults: &[
            Fault::SharesPacketQueue,
            Fault::MutatesEvents(|event| EventMutation::suppress(event, "participant_reconnecting")),
        ],
        run: |lab| Box::pin(crash(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 33,
        name: "one-flapping-link",
        verifies: "A participant with a flapping link disturbs no other participant.",
        needs: Requirements { blackout: true, ..Requirements::NONE },
        quiet_machine: true,
        faults: &[Fault::SharesPacketQueue],
        run: |lab| Box::pin(one_flapping_link(lab)),
        ..Scenario::DEFAULT
    },
];

/// Alice calls bob and carol; carol answers, bob keeps ringing.
async fn carol_answers(lab: &mut Lab) -> Result<(CallId, [Participant; 3])> {
    let [alice, bob, carol] = lab.participants().await?;
    let call = alice.offers(&[&bob, &carol]).await?;
    for participant in [&bob, &carol] {
        participant.sees(incoming_call(call, &alice)).await?;
        alice.sees(ringing(call, participant)).await?;
    }
    carol.answers(call).await?;
    carol.sees(call_joined(call)).await?;
    alice.sees(call_joined(call)).await?;
    all_meet(call, &[&alice, &carol]).await?;
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
    lab.no_unexpected_events().await
}

async fn one_of_many_leaves(lab: &mut Lab) -> Result {
    let (call, [alice, bob, carol]) = carol_answers(lab).await?;
    carol.leaves().await?;
    carol.sees(call_ended(call, EndReason::Left)).await?;
    alice.sees(left(call, &carol, LeftReason::Left)).await?;
    lab.no_unexpected_events().await?;
    bob.has_pending(&[call]).await?;
    bob.answers(call).await?;
    bob.sees(call_joined(call)).await?;
    all_meet(call, &[&alice, &bob]).await?;
    lab.no_unexpected_events().await
}

async fn last_remote_leaves(lab: &mut Lab) -> Result {
    let [alice, bob, carol] = lab.participants().await?;
    let call = alice.calls(&[&bob, &carol]).await?;
    bob.leaves().await?;
    bob.sees(call_ended(call, EndReason::Left)).await?;
    for other in [&alice, &carol] {
        other.sees(left(call, &bob, LeftReason::Left)).await?;
    }
    // Wait until she has seen bob's state: a participant outside the call is not informed who
    // leaves it.
    carol.leaves().await?;
    carol.sees(call_ended(call, EndReason::Left)).await?;
    alice.sees(left(call, &carol, LeftReason::Left)).await?;
    lab.passes(Duration::from_secs(20)).await;
    lab.no_unexpected_events().await?;
    alice.has_call(call, CallState::Active).await?;
    carol.answers(call).await?;
    carol.sees(call_joined(call)).await?;
    all_meet(call, &[&alice, &carol]).await?;
    lab.no_unexpected_events().await
}

async fn partner_leaves(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    let call = alice.calls(&[&bob]).await?;
    bob.leaves().await?;
    bob.sees(call_ended(call, EndReason::Left)).await?;
    alice.sees_in_order(vec![left(call, &bob, LeftReason::Left), call_ended(call, EndReason::RemoteLeft)]).await?;
    lab.no_unexpected_events().await?;
    for participant in [&alice, &bob] {
        participant.has_no_call().await?;
        participant.must(participant.open_devices() == 0, "has an open device outside a call")?;
        participant.must(participant.open_sessions()? == 0, "has an open session outside a call")?;
    }
    Ok(())
}

async fn reject_then_join(lab: &mut Lab) -> Result {
    let (call, [alice, bob, carol]) = carol_answers(lab).await?;
    bob.rejects(call).await?;
    for other in [&alice, &carol] {
        other.sees(rejected(call, &bob)).await?;
    }
    lab.no_unexpected_events().await?;
    bob.has_call(call, CallState::Open).await?;
    bob.answers(call).await?;
    bob.sees(call_joined(call)).await?;
    for other in [&alice, &carol] {
        bob.meets(call, other).await?;
        other.meets(call, &bob).await?;
    }
    lab.no_unexpected_events().await
}

async fn rejecter_is_not_asked_again(lab: &mut Lab) -> Result {
    let [alice, bob, carol] = lab.participants().await?;
    let offers: Arc<[AtomicUsize; 3]> = Arc::default();
    let counted = offers.clone();
    lab.set_message_rule(move |message| {
        if let Some(Body::Offer(_)) = message.body {
            counted[message.to].fetch_add(1, Ordering::Relaxed);
        }
        MessageAction::Deliver
    });
    let call = alice.offers(&[&bob, &carol]).await?;
    for participant in [&bob, &carol] {
        participant.sees(incoming_call(call, &alice)).await?;
        alice.sees(ringing(call, participant)).await?;
    }
    bob.rejects(call).await?;
    alice.sees(rejected(call, &bob)).await?;
    let count = |participant: &Participant| offers[participant.number()].load(Ordering::Relaxed);
    let (for_bob, for_carol) = (count(&bob), count(&carol));
    lab.passes(Duration::from_secs(15)).await;
    bob.must(count(&bob) == for_bob, "received an offer after it rejected")?;
    carol.must(count(&carol) > for_carol, "received no further offer after another participant rejected")?;
    carol.has_pending(&[call]).await?;
    lab.no_unexpected_events().await
}

async fn crash(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    let carol = lab.participant(Profile::new("carol")).await?;
    let call = alice.calls(&[&bob, &carol]).await?;
    let since = lab.now();
    carol.is_killed().await;
    for other in [&alice, &bob] {
        other.sees(reconnecting(call, &carol)).await?;
    }
    let end = since + Duration::from_secs(35);
    for other in [&alice, &bob] {
        other.sees_within(end.saturating_sub(lab.now()), left(call, &carol, LeftReason::TimedOut)).await?;
    }
    lab.no_unexpected_events().await?;
    alice.heard_throughout(&bob, since)?;
    bob.heard_throughout(&alice, since)
}

async fn one_flapping_link(lab: &mut Lab) -> Result {
    let [alice, bob, carol] = lab.participants().await?;
    let call = alice.calls(&[&bob, &carol]).await?;
    let since = lab.now();
    for _ in 0..4 {
        carol.loses_media_path()?;
        for (one, other) in [(&alice, &carol), (&bob, &carol), (&carol, &alice), (&carol, &bob)] {
            one.sees(reconnecting(call, other)).await?;
        }
        carol.regains_media_path()?;
        for (one, other) in [(&alice, &carol), (&bob, &carol), (&carol, &alice), (&carol, &bob)] {
            one.sees(reconnected(call, other)).await?;
        }
        lab.passes(Duration::from_secs(1)).await;
    }
    alice.heard_throughout(&bob, since)?;
    bob.heard_throughout(&alice, since)?;
    all_hear_each_other(&[&alice, &bob, &carol]).await?;
    lab.no_unexpected_events().await
}
