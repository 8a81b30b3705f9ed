//! Groups: who comes when.

use std::time::Duration;

use blink_engine::{CallState, EndReason, LeftReason, ParticipantState};

use super::{Ability, Scenario};
use crate::impaired::Impairments;
use crate::lab::{
    Deed, Fault, Lab, Result, Telling, any_of, call_ended, call_joined, hear_each_other, incoming_call, joined, left,
    media_started, meet, ringing, state_of, stream_offered,
};

/// Late, out of order, and one of ten is lost.
const ROUGH: Impairments =
    Impairments { jitter: Duration::from_millis(120), loss: 0.1, ..Impairments::delayed(Duration::from_millis(20)) };

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        number: 21,
        name: "three-way",
        verifies: "In a call of three everybody hears both others.",
        faults: &[Fault::NoMediaFor(1)],
        run: |lab| Box::pin(three_way(lab)),
        ..Scenario::USUAL
    },
    Scenario {
        number: 22,
        name: "everyone-at-once",
        verifies: "Five people who join at once over a rough network connect each to each exactly once.",
        network: ROUGH,
        faults: &[Fault::Tells(|event| Telling::twice(event, "participant_joined"))],
        run: |lab| Box::pin(everyone_at_once(lab)),
        ..Scenario::USUAL
    },
    Scenario {
        number: 23,
        name: "late-joiner",
        verifies: "Whoever joins late knows within a second who is muted, who is deaf, who records and who offers what, and is seen to join once.",
        abilities: &[Ability::Video],
        faults: &[
            Fault::Tells(|event| Telling::nothing_of(event, "participant_state_changed")),
            Fault::Tells(|event| Telling::nothing_of(event, "stream_offered")),
            Fault::Tells(|event| Telling::twice(event, "participant_joined")),
        ],
        run: |lab| Box::pin(late_joiner(lab)),
        ..Scenario::USUAL
    },
    Scenario {
        number: 28,
        name: "leave-and-rejoin",
        verifies: "Whoever leaves a group and joins it again is seen to leave and to join, and is heard again.",
        faults: &[
            Fault::Tells(|event| Telling::nothing_of(event, "participant_left")),
            Fault::Tells(|event| Telling::twice(event, "participant_joined")),
        ],
        run: |lab| Box::pin(leave_and_rejoin(lab)),
        ..Scenario::USUAL
    },
    Scenario {
        number: 34,
        name: "add-someone",
        verifies: "Somebody invited into a call of two rings, joins, and everybody hears everybody.",
        faults: &[Fault::Neglects(Deed::Add)],
        run: |lab| Box::pin(add_someone(lab)),
        ..Scenario::USUAL
    },
];

async fn three_way(lab: &mut Lab) -> Result {
    let [alice, bob, carol] = lab.participants().await?;
    alice.calls(&[&bob, &carol]).await?;
    hear_each_other(&[&alice, &bob, &carol]).await?;
    lab.nobody_sees_anything_more().await
}

async fn everyone_at_once(lab: &mut Lab) -> Result {
    let [alice, bob, carol, dave, erin] = lab.participants().await?;
    let everybody = [&alice, &bob, &carol, &dave, &erin];
    let invited = &everybody[1..];
    let patience = Duration::from_secs(20);
    let call = alice.offers(invited).await?;
    for person in invited {
        person.sees_within(patience, incoming_call(call, &alice)).await?;
        alice.sees_within(patience, ringing(call, person)).await?;
    }
    for person in invited {
        person.answers(call).await?;
    }
    for one in everybody {
        one.sees_within(patience, call_joined(call)).await?;
        for other in everybody.iter().filter(|other| other.number() != one.number()) {
            one.sees_within(patience, joined(call, other)).await?;
            one.sees_within(patience, media_started(call, other)).await?;
        }
    }
    hear_each_other(&everybody).await?;
    lab.passes(Duration::from_secs(10)).await;
    lab.nobody_sees_anything_more().await?;
    everybody.iter().try_for_each(|one| one.must(one.open_sessions()? == 4, "has not one session for each other"))
}

async fn late_joiner(lab: &mut Lab) -> Result {
    let [alice, bob, carol] = lab.participants().await?;
    let call = alice.offers(&[&bob, &carol]).await?;
    for person in [&bob, &carol] {
        person.sees(incoming_call(call, &alice)).await?;
        alice.sees(ringing(call, person)).await?;
    }
    bob.answers(call).await?;
    bob.sees(call_joined(call)).await?;
    alice.sees(call_joined(call)).await?;
    meet(call, &[&alice, &bob]).await?;
    let muted = ParticipantState { muted: true, ..ParticipantState::default() };
    let recording = ParticipantState { recording: true, ..muted };
    let deafened = ParticipantState { deafened: true, ..ParticipantState::default() };
    alice.sets_muted(true).await?;
    bob.sees(state_of(call, &alice, muted)).await?;
    alice.sets_recording(true).await?;
    bob.sees(state_of(call, &alice, recording)).await?;
    bob.sets_deafened(true).await?;
    alice.sees(state_of(call, &bob, deafened)).await?;
    let stream = bob.shows().await?;
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
    lab.nobody_sees_anything_more().await
}

async fn leave_and_rejoin(lab: &mut Lab) -> Result {
    let [alice, bob, carol] = lab.participants().await?;
    let everybody = [&alice, &bob, &carol];
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
        hear_each_other(&everybody).await?;
        lab.nobody_sees_anything_more().await?;
    }
    Ok(())
}

async fn add_someone(lab: &mut Lab) -> Result {
    let [alice, bob, carol] = lab.participants().await?;
    let call = alice.calls(&[&bob]).await?;
    bob.adds(&carol).await?;
    // Whoever is in the call may be the first to reach her.
    carol.sees(any_of("incoming_call", call)).await?;
    carol.answers(call).await?;
    carol.sees(call_joined(call)).await?;
    for other in [&alice, &bob] {
        carol.meets(call, other).await?;
        other.meets(call, &carol).await?;
    }
    hear_each_other(&[&alice, &bob, &carol]).await?;
    lab.nobody_sees_anything_more().await
}
