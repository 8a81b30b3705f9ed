//! Concurrent calls: busy participants, glare, restarts, and several devices of one user.

use std::time::Duration;

use blink_api::{CallId, ErrorKind};
use blink_engine::{CallState, CancelledReason, EndReason, Event, LeftReason};
use blink_proto::wire::Kind;

use super::Scenario;
use crate::lab::{
    Command, EventMutation, Fault, Lab, Participant, Profile, Requirements, Result, all_meet, any, busy,
    call_cancelled, call_ended, call_joined, call_replaced_by, expect_error, incoming_call, left, rejected, ringing,
};

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        number: 11,
        name: "busy",
        verifies: "A call that arrives during another one rings, or with `call.busy = reject` the caller is informed that the callee is busy; the ongoing call is unaffected.",
        quiet_machine: true,
        faults: &[
            Fault::IgnoresSettings,
            Fault::MutatesEvents(|event| EventMutation::suppress(event, "participant_busy")),
        ],
        run: |lab| Box::pin(busy_callee(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 12,
        name: "two-incoming",
        verifies: "Two incoming calls ring at once; answering one leaves the other ringing and answerable.",
        faults: &[Fault::RejectsOthersOnAnswer],
        run: |lab| Box::pin(two_incoming(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 13,
        name: "answer-a-second-call",
        verifies: "Answering a second call leaves the first, whose participants are informed, and media flows in the second only.",
        faults: &[Fault::MutatesEvents(|event| EventMutation::suppress(event, "participant_left"))],
        run: |lab| Box::pin(answer_a_second_call(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 14,
        name: "glare",
        verifies: "Two participants that call each other at the same time end up in one call, and neither rings.",
        needs: Requirements { blackout: true, ..Requirements::NONE },
        faults: &[
            Fault::MutatesEvents(|event| EventMutation::suppress(event, "call_replaced")),
            Fault::MutatesEvents(|event| match event {
                Event::CallReplaced { old, .. } => {
                    EventMutation::Append(Event::CallCancelled { call: *old, reason: CancelledReason::CallerLeft })
                }
                _ => EventMutation::Unchanged,
            }),
        ],
        run: |lab| Box::pin(glare(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 15,
        name: "glare-and-hang-up",
        verifies: "If two participants call each other and one hangs up meanwhile, no call, session or device remains on either side.",
        faults: &[Fault::IgnoresCommand(Command::Leave)],
        run: |lab| Box::pin(glare_and_hang_up(lab)),
        limit: Duration::from_secs(400),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 16,
        name: "recall-after-restart",
        verifies: "A killed participant that calls again ends the old call at the remote side, where the new one rings.",
        needs: Requirements { restart: true, ..Requirements::NONE },
        faults: &[Fault::MutatesEvents(|event| EventMutation::suppress(event, "call_ended"))],
        run: |lab| Box::pin(recall_after_restart(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 17,
        name: "two-devices-one-accepts",
        verifies: "When one device of a user answers, the other stops ringing.",
        needs: Requirements { second_device: true, ..Requirements::NONE },
        faults: &[Fault::DropsInboxMessages(Kind::Cancel)],
        run: |lab| Box::pin(one_device_accepts(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 18,
        name: "two-devices-one-rejects",
        verifies: "When one device of a user rejects, the other stops ringing.",
        needs: Requirements { second_device: true, ..Requirements::NONE },
        faults: &[Fault::DropsInboxMessages(Kind::Cancel)],
        run: |lab| Box::pin(one_device_rejects(lab)),
        ..Scenario::DEFAULT
    },
];

async fn busy_callee(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    let carol = lab.participant(Profile::new("carol").setting("call.busy=reject")).await?;
    let theirs = bob.calls(&[&carol]).await?;
    let since = lab.now();

    let second = alice.offers(&[&bob]).await?;
    bob.sees(incoming_call(second, &alice)).await?;
    alice.sees(ringing(second, &bob)).await?;
    alice.leaves().await?;
    alice.sees(call_ended(second, EndReason::Left)).await?;
    bob.sees(call_cancelled(second, CancelledReason::CallerLeft)).await?;

    let third = alice.offers(&[&carol]).await?;
    alice.sees_in_order(vec![busy(third, &carol), call_ended(third, EndReason::Busy)]).await?;
    lab.no_unexpected_events().await?;
    bob.has_call(theirs, CallState::Active).await?;
    carol.has_call(theirs, CallState::Active).await?;
    bob.heard_throughout(&carol, since)?;
    carol.heard_throughout(&bob, since)
}

async fn two_incoming(lab: &mut Lab) -> Result {
    let [alice, bob, carol] = lab.participants().await?;
    let first = alice.offers(&[&bob]).await?;
    bob.sees(incoming_call(first, &alice)).await?;
    alice.sees(ringing(first, &bob)).await?;
    let second = carol.offers(&[&bob]).await?;
    bob.sees(incoming_call(second, &carol)).await?;
    carol.sees(ringing(second, &bob)).await?;
    bob.has_pending(&[first, second]).await?;

    answered(first, &alice, &bob).await?;
    bob.has_pending(&[second]).await?;
    lab.no_unexpected_events().await?;

    alice.leaves().await?;
    alice.sees(call_ended(first, EndReason::Left)).await?;
    bob.sees_in_order(vec![left(first, &alice, LeftReason::Left), call_ended(first, EndReason::RemoteLeft)]).await?;
    bob.has_pending(&[second]).await?;
    answered(second, &carol, &bob).await?;
    bob.has_pending(&[]).await?;
    lab.no_unexpected_events().await
}

async fn answer_a_second_call(lab: &mut Lab) -> Result {
    let [alice, bob, carol] = lab.participants().await?;
    let first = alice.calls(&[&bob]).await?;
    let second = carol.offers(&[&bob]).await?;
    bob.sees(incoming_call(second, &carol)).await?;
    carol.sees(ringing(second, &bob)).await?;
    answered(second, &carol, &bob).await?;
    bob.sees(call_ended(first, EndReason::Left)).await?;
    alice.sees_in_order(vec![left(first, &bob, LeftReason::Left), call_ended(first, EndReason::RemoteLeft)]).await?;
    alice.hears_nothing_of(&bob).await?;
    bob.hears_nothing_of(&alice).await?;
    carol.hears(&bob).await?;
    lab.no_unexpected_events().await
}

/// Answers a call and waits until both participants hear each other.
async fn answered(call: CallId, caller: &Participant, callee: &Participant) -> Result {
    callee.answers(call).await?;
    callee.sees(call_joined(call)).await?;
    caller.sees(call_joined(call)).await?;
    all_meet(call, &[caller, callee]).await
}

async fn glare(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    // On fast signaling the one would ring before it calls: neither hears of the other's offer
    // until both have been made.
    for participant in [&alice, &bob] {
        participant.loses_signaling()?;
    }
    let (hers, his) = call_each_other(&alice, &bob).await?;
    for participant in [&alice, &bob] {
        participant.regains_signaling()?;
    }
    let (call, winner, loser) =
        if alice.endpoint() < bob.endpoint() { (hers, &alice, &bob) } else { (his, &bob, &alice) };
    // The loser's handle may name the call that continues before its offer has returned.
    let replaced = loser.sees(call_replaced_by(call)).await?;
    let Event::CallReplaced { old: given_up, .. } = replaced.event else { unreachable!("the event that was expected") };
    winner.sees(call_joined(call)).await?;
    loser.sees(call_joined(call)).await?;
    all_meet(call, &[winner, loser]).await?;
    expect_error(loser, ErrorKind::State, "to answer under the old id", loser.tries_to_answer(given_up).await?)?;
    for participant in [winner, loser] {
        participant.has_call(call, CallState::Active).await?;
        participant.never_saw(any("incoming_call"))?;
    }
    lab.no_unexpected_events().await
}

async fn glare_and_hang_up(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    for (round, pause) in [0, 0, 1, 2, 5, 20, 100, 400].into_iter().enumerate() {
        call_each_other(&alice, &bob).await?;
        // On a loaded machine one participant may ring before it calls; its call then answers the
        // first.
        let both_called_at = lab.now();
        let rung = |participant: &Participant| {
            std::iter::from_fn(|| participant.has_seen(&any("incoming_call"))).find(|rung| rung.at > both_called_at)
        };
        lab.passes(Duration::from_millis(pause)).await;
        let (quitter, other) = if round % 2 == 0 { (&alice, &bob) } else { (&bob, &alice) };
        let quit_at = lab.now();
        // Whether a call still exists at this point depends on the backends.
        quitter.tries_to_leave().await?.ok();
        lab.passes(Duration::from_secs(20)).await;
        // A participant that hung up before it received the other's offer rings, unless the other
        // side has already given its own call up for the one that is over.
        if let Some(rung) = rung(quitter) {
            quitter.must(rung.at >= quit_at, "rang while it called")?;
            let calling = other.snapshot().await?.calls.first().map(|call| call.call);
            quitter.has_pending(calling.as_slice()).await?;
            if calling.is_some() {
                other.leaves().await?;
                lab.passes(Duration::from_secs(5)).await;
            }
        }
        // It may ring in another round, as the participant that hung up.
        other.must(rung(other).is_none(), "rang while it called")?;
        for participant in [quitter, other] {
            participant.has_no_call().await?;
            participant.must(participant.open_sessions()? == 0, "has an open session outside a call")?;
            participant.must(participant.open_devices() == 0, "has an open device outside a call")?;
        }
    }
    Ok(())
}

async fn call_each_other(alice: &Participant, bob: &Participant) -> Result<(CallId, CallId)> {
    let (to_bob, to_alice) = ([bob], [alice]);
    let (hers, his) = tokio::join!(alice.offers(&to_bob), bob.offers(&to_alice));
    Ok((hers?, his?))
}

async fn recall_after_restart(lab: &mut Lab) -> Result {
    let alice = lab.participant(Profile::new("alice").with_data_directory()).await?;
    let bob = lab.participant(Profile::new("bob")).await?;
    let old = alice.calls(&[&bob]).await?;
    alice.is_killed().await;
    alice.restarts().await?;
    let new = alice.offers(&[&bob]).await?;
    bob.sees_in_order(vec![left(old, &alice, LeftReason::Restarted), call_ended(old, EndReason::RemoteLeft)]).await?;
    bob.sees(incoming_call(new, &alice)).await?;
    alice.sees(ringing(new, &bob)).await?;
    answered(new, &alice, &bob).await?;
    lab.no_unexpected_events().await
}

async fn one_device_accepts(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    let tablet = lab.participant(Profile::device_of("tablet", &bob)).await?;
    let call = rings_on_both(&alice, &bob, &tablet).await?;
    answered(call, &alice, &bob).await?;
    tablet.sees(call_cancelled(call, CancelledReason::AnsweredElsewhere)).await?;
    tablet.is_idle().await?;
    alice.saw_once("participant_ringing", call)?;
    lab.no_unexpected_events().await?;
    tablet.must(tablet.sessions_opened()? == 0, "opened a session for a call that another device has")
}

async fn one_device_rejects(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    let tablet = lab.participant(Profile::device_of("tablet", &bob)).await?;
    let call = rings_on_both(&alice, &bob, &tablet).await?;
    bob.rejects(call).await?;
    tablet.sees(call_cancelled(call, CancelledReason::RejectedElsewhere)).await?;
    alice.sees_in_order(vec![rejected(call, &bob), call_ended(call, EndReason::Rejected)]).await?;
    for participant in [&alice, &bob, &tablet] {
        participant.has_no_call().await?;
    }
    lab.no_unexpected_events().await
}

async fn rings_on_both(alice: &Participant, bob: &Participant, tablet: &Participant) -> Result<CallId> {
    let call = alice.offers(&[bob]).await?;
    bob.sees(incoming_call(call, alice)).await?;
    tablet.sees(incoming_call(call, alice)).await?;
    alice.sees(ringing(call, bob)).await?;
    Ok(call)
}
