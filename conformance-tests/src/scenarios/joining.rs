//! Group calls: joining, rejoining and inviting.

use std::time::Duration;

use blink_engine::{CallState, EndReason, LeftReason, ParticipantState};

use super::{Ability, Scenario};
use crate::impaired::Impairments;
use crate::lab::{
    Command, EventMutation, Fault, Lab, Result, all_hear_each_other, all_meet, any_of, call_ended, call_joined,
    incoming_call, joined, left, media_started, ringing, state_of, stream_offered,
};

/// Delayed, reordered, and 10 % lost.
const LOSSY: Impairments =
    Impairments { jitter: Duration::from_millis(120), loss: 0.1, ..Impairments::delayed(Duration::from_millis(20)) };

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        number: 21,
        name: "three-way",
        verifies: "In a call of three each participant hears both others.",
        faults: &[Fault::NoMediaFor(1)],
        run: |lab| Box::pin(three_way(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 22,
        name: "everyone-at-once",
        verifies: "Five participants that join at once over a lossy network are connected pairwise, each pair exactly once.",
        network: LOSSY,
        faults: &[Fault::MutatesEvents(|event| EventMutation::duplicate(event, "participant_joined"))],
        run: |lab| Box::pin(everyone_at_once(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 23,
        name: "late-joiner",
        verifies: "A participant that joins late knows within a second who is muted, deafened, recording or offering a stream, and is reported to join once.",
        abilities: &[Ability::Video],
        faults: &[
            Fault::MutatesEvents(|event| EventMutation::suppress(event, "participant_state_changed")),
            Fault::MutatesEvents(|event| EventMutation::suppress(event, "stream_offered")),
            Fault::MutatesEvents(|event| EventMutation::duplicate(event, "participant_joined")),
        ],
        run: |lab| Box::pin(late_joiner(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 28,
        name: "leave-and-rejoin",
        verifies: "A participant that leaves a group call and rejoins it is reported to leave and to join, and is heard again.",
        faults: &[
            Fault::MutatesEvents(|event| EventMutation::suppress(event, "participant_left")),
            Fault::MutatesEvents(|event| EventMutation::duplicate(event, "participant_joined")),
        ],
        run: |lab| Box::pin(leave_and_rejoin(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 34,
        name: "add-someone",
        verifies: "A participant invited into a call of two rings and joins, and all three hear each other.",
        faults: &[Fault::IgnoresCommand(Command::Add)],
        run: |lab| Box::pin(add_someone(lab)),
        ..Scenario::DEFAULT
    },
];

async fn three_way(lab: &mut Lab) -> Result {
    let [alice, bob, carol] = lab.participants().await?;
    alice.calls(&[&bob, &carol]).await?;
    all_hear_each_other(&[&alice, &bob, &carol]).await?;
    lab.no_unexpected_events().await
}

async fn everyone_at_once(lab: &mut Lab) -> Result {
    let [alice, bob, carol, dave, erin] = lab.participants().await?;
    let everyone = [&alice, &bob, &carol, &dave, &erin];
    let invited = &everyone[1..];
    let event_timeout = Duration::from_secs(20);
    let call = alice.offers(invited).await?;
    for participant in invited {
        participant.sees_within(event_timeout, incoming_call(call, &alice)).await?;
        alice.sees_within(event_timeout, ringing(call, participant)).await?;
    }
    for participant in invited {
        participant.answers(call).await?;
    }
    for one in everyone {
        one.sees_within(event_timeout, call_joined(call)).await?;
        for other in everyone.iter().filter(|other| other.number() != one.number()) {
            one.sees_within(event_timeout, joined(call, other)).await?;
            one.sees_within(event_timeout, media_started(call, other)).await?;
        }
    }
    all_hear_each_other(&everyone).await?;
    lab.passes(Duration::from_secs(10)).await;
    lab.no_unexpected_events().await?;
    everyone.iter().try_for_each(|one| one.must(one.open_sessions()? == 4, "has not one session for each other"))
}

async fn late_joiner(lab: &mut Lab) -> Result {
    let [alice, bob, carol] = lab.participants().await?;
    let call = alice.offers(&[&bob, &carol]).await?;
    for participant in [&bob, &carol] {
        participant.sees(incoming_call(call, &alice)).await?;
        alice.sees(ringing(call, participant)).await?;
    }
    bob.answers(call).await?;
    bob.sees(call_joined(call)).await?;
    alice.sees(call_joined(call)).await?;
    all_meet(call, &[&alice, &bob]).await?;
    let muted = ParticipantState { muted: true, ..ParticipantState::default() };
    let recording = ParticipantState { recording: true, ..muted };
    let deafened = ParticipantState { deafened: true, ..ParticipantState::default() };
    alice.sets_muted(true).await?;
    bob.sees(state_of(call, &alice, muted)).await?;
    alice.sets_recording(true).await?;
    bob.sees(state_of(call, &alice, recording)).await?;
    bob.sets_deafened(true).await?;
    alice.sees(state_of(call, &bob, deafened)).await?;
    let stream = bob.offers_video().await?;
    alice.sees(stream_offered(call, &bob, stream)).await?;
    lab.passes(Duration::from_secs(3)).await;

    carol.answers(call).await?;
    let limit = Duration::from_secs(1);
    carol.sees_within(limit, state_of(call, &alice, recording)).await?;
    carol.sees_within(limit, stream_offered(call, &bob, stream)).await?;
    carol.sees_within(limit, state_of(call, &bob, deafened)).await?;
    carol.sees(call_joined(call)).await?;
    for other in [&alice, &bob] {
        other.sees(joined(call, &carol)).await?;
        other.sees(media_started(call, &carol)).await?;
        carol.sees(joined(call, other)).await?;
    }
    carol.sees(media_started(call, &bob)).await?;
    carol.hears(&bob).await?;
    alice.hears(&carol).await?;
    bob.hears_nothing_of(&carol).await?;
    carol.hears_nothing_of(&alice).await?;
    lab.no_unexpected_events().await
}

async fn leave_and_rejoin(lab: &mut Lab) -> Result {
    let [alice, bob, carol] = lab.participants().await?;
    let everyone = [&alice, &bob, &carol];
    let call = alice.calls(&[&bob, &carol]).await?;
    for pause in [Duration::ZERO, Duration::from_secs(20)] {
        bob.leaves().await?;
        bob.sees(call_ended(call, EndReason::Left)).await?;
        for other in [&alice, &carol] {
            other.sees(left(call, &bob, LeftReason::Left)).await?;
        }
        bob.has_call(call, CallState::Open).await?;
        lab.passes(pause).await;
        bob.answers(call).await?;
        bob.sees(call_joined(call)).await?;
        for other in [&alice, &carol] {
            bob.meets(call, other).await?;
            other.meets(call, &bob).await?;
        }
        all_hear_each_other(&everyone).await?;
        lab.no_unexpected_events().await?;
    }
    Ok(())
}

async fn add_someone(lab: &mut Lab) -> Result {
    let [alice, bob, carol] = lab.participants().await?;
    let call = alice.calls(&[&bob]).await?;
    bob.adds(&carol).await?;
    // Either participant of the call may be the first to reach her.
    carol.sees(any_of("incoming_call", call)).await?;
    carol.answers(call).await?;
    carol.sees(call_joined(call)).await?;
    for other in [&alice, &bob] {
        carol.meets(call, other).await?;
        other.meets(call, &carol).await?;
    }
    all_hear_each_other(&[&alice, &bob, &carol]).await?;
    lab.no_unexpected_events().await
}
