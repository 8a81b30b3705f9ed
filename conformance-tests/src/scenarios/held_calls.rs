//! Calls on hold.

use std::time::Duration;

use blink_api::CallId;
use blink_engine::{CallState, EndReason, LeftReason, ParticipantState};

use super::Scenario;
use crate::lab::{
    Command, EventMutation, Fault, Lab, Participant, Result, all_meet, call_ended, call_held, call_joined,
    call_resumed, incoming_call, left, ringing, state_of,
};

pub(super) const ALL: &[Scenario] = &[Scenario {
    number: 64,
    name: "hold",
    verifies: "A call is held while a second one is answered: both stay connected, each participant is told, and audio flows in the one that is not held only. Returning to the first holds the second, at once.",
    faults: &[
        Fault::IgnoresCommand(Command::Hold),
        Fault::IgnoresCommand(Command::Resume),
        Fault::OnlyAnnouncesMute,
        Fault::MutatesEvents(|event| EventMutation::suppress(event, "call_resumed")),
    ],
    run: |lab| Box::pin(hold(lab)),
    ..Scenario::DEFAULT
}];

const HELD: ParticipantState = ParticipantState { muted: false, deafened: false, recording: false, held: true };
const NOT_HELD: ParticipantState = ParticipantState { held: false, ..HELD };

async fn hold(lab: &mut Lab) -> Result {
    let [alice, bob, carol] = lab.participants().await?;
    let first = alice.calls(&[&bob]).await?;
    let second = carol.offers(&[&bob]).await?;
    bob.sees(incoming_call(second, &carol)).await?;
    carol.sees(ringing(second, &bob)).await?;

    bob.holds().await?;
    bob.sees(call_held(first)).await?;
    alice.sees(state_of(first, &bob, HELD)).await?;
    bob.sends_no_media().await?;
    bob.hears_nothing_of(&alice).await?;
    alice.hears_nothing_of(&bob).await?;

    bob.answers(second).await?;
    bob.sees(call_joined(second)).await?;
    carol.sees(call_joined(second)).await?;
    all_meet(second, &[&carol, &bob]).await?;
    bob.hears_nothing_of(&alice).await?;
    alice.hears_nothing_of(&bob).await?;
    alice.hears_nothing_of(&carol).await?;
    bob.has_call(first, CallState::Held).await?;
    bob.has_call(second, CallState::Active).await?;

    // Longer than paths live without packets.
    lab.passes(Duration::from_secs(10)).await;
    swaps(&bob, (first, &alice), (second, &carol)).await?;
    swaps(&bob, (second, &carol), (first, &alice)).await?;

    carol.leaves().await?;
    carol.sees(call_ended(second, EndReason::Left)).await?;
    bob.sees_in_order(vec![left(second, &carol, LeftReason::Left), call_ended(second, EndReason::RemoteLeft)]).await?;
    bob.returns_to(first).await?;
    bob.sees(call_resumed(first)).await?;
    alice.sees(state_of(first, &bob, NOT_HELD)).await?;
    alice.hears(&bob).await?;
    bob.hears(&alice).await?;
    bob.must(bob.sessions_opened()? == 2, "established a path anew")?;
    lab.no_unexpected_events().await
}

/// Returns to a held call, which holds the current one.
async fn swaps(
    who: &Participant,
    (held, one): (CallId, &Participant),
    (current, other): (CallId, &Participant),
) -> Result {
    who.returns_to(held).await?;
    who.sees_in_order(vec![call_held(current), call_resumed(held)]).await?;
    other.sees(state_of(current, who, HELD)).await?;
    one.sees(state_of(held, who, NOT_HELD)).await?;
    one.hears(who).await?;
    who.hears(one).await?;
    other.hears_nothing_of(who).await?;
    who.hears_nothing_of(other).await
}
