//! What participants announce about themselves, and what they make audible.

use std::time::Duration;

use blink_api::CallId;
use blink_engine::{EndReason, LeftReason, ParticipantState};

use super::Scenario;
use crate::lab::{
    Deed, Fault, Handling, Lab, Needs, Participant, Result, Telling, any_of, call_ended, call_joined, incoming_call,
    joined, left, media_started, ringing, state_of,
};

const NOTHING: ParticipantState = ParticipantState { muted: false, deafened: false, recording: false };
const MUTED: ParticipantState = ParticipantState { muted: true, ..NOTHING };
const DEAFENED: ParticipantState = ParticipantState { deafened: true, ..NOTHING };

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        number: 35,
        name: "mute",
        verifies: "Muting is told once, and no packet of sound leaves; unmuting brings it back.",
        faults: &[
            Fault::MutesForShow,
            Fault::Neglects(Deed::Mute),
            Fault::Tells(|event| Telling::twice(event, "participant_state_changed")),
        ],
        run: |lab| Box::pin(mute(lab)),
        ..Scenario::USUAL
    },
    Scenario {
        number: 36,
        name: "deafen-before-the-first-track",
        verifies: "Whoever is deaf before the first track comes stays so when it does.",
        faults: &[Fault::MutesForShow, Fault::Neglects(Deed::Deafen)],
        run: |lab| Box::pin(deafen_before_the_first_track(lab)),
        ..Scenario::USUAL
    },
    Scenario {
        number: 37,
        name: "muted-with-another-microphone",
        verifies: "Whoever is muted stays so when a microphone is opened anew.",
        faults: &[Fault::UnmutesOnAnswer],
        run: |lab| Box::pin(muted_with_another_microphone(lab)),
        ..Scenario::USUAL
    },
    Scenario {
        number: 38,
        name: "stale-state",
        verifies: "Announcements that come late, twice and out of order change nothing back.",
        needs: Needs { letters: true, ..Needs::NOTHING },
        faults: &[Fault::Tells(|event| Telling::twice(event, "participant_state_changed")), Fault::BelievesEverything],
        run: |lab| Box::pin(stale_state(lab)),
        ..Scenario::USUAL
    },
    Scenario {
        number: 40,
        name: "volume-for-one",
        verifies: "The volume of one participant changes for that one only, and is kept when it leaves and joins again.",
        faults: &[Fault::TurnsEverybody, Fault::Neglects(Deed::SetVolume)],
        run: |lab| Box::pin(volume_for_one(lab)),
        ..Scenario::USUAL
    },
];

async fn mute(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    let call = alice.calls(&[&bob]).await?;
    alice.sets_muted(true).await?;
    bob.sees(state_of(call, &alice, MUTED)).await?;
    alice.sends_no_media().await?;
    bob.hears_nothing_of(&alice).await?;
    alice.hears(&bob).await?;
    bob.saw_once("participant_state_changed", call)?;
    alice.sets_muted(false).await?;
    bob.sees(state_of(call, &alice, NOTHING)).await?;
    bob.hears(&alice).await?;
    lab.nobody_sees_anything_more().await
}

async fn deafen_before_the_first_track(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    let call = alice.offers(&[&bob]).await?;
    bob.sees(incoming_call(call, &alice)).await?;
    alice.sees(ringing(call, &bob)).await?;
    bob.sets_deafened(true).await?;
    let before = lab.now();
    bob.answers(call).await?;
    alice.sees(call_joined(call)).await?;
    bob.sees(call_joined(call)).await?;
    alice.sees(state_of(call, &bob, DEAFENED)).await?;
    alice.meets(call, &bob).await?;
    bob.sees(joined(call, &alice)).await?;
    bob.sees(media_started(call, &alice)).await?;
    bob.hears_nothing_of(&alice).await?;
    bob.heard_nothing_since(&alice, before)?;
    bob.sets_deafened(false).await?;
    alice.sees(state_of(call, &bob, NOTHING)).await?;
    bob.hears(&alice).await?;
    lab.nobody_sees_anything_more().await
}

async fn muted_with_another_microphone(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    let call = alice.calls(&[&bob]).await?;
    bob.sets_muted(true).await?;
    alice.sees(state_of(call, &bob, MUTED)).await?;
    bob.leaves().await?;
    bob.sees(call_ended(call, EndReason::Left)).await?;
    alice.sees(left(call, &bob, LeftReason::Left)).await?;
    alice.sees(call_ended(call, EndReason::RemoteLeft)).await?;

    let call = alice.offers(&[&bob]).await?;
    bob.sees(incoming_call(call, &alice)).await?;
    alice.sees(ringing(call, &bob)).await?;
    let opened = bob.microphones_opened();
    bob.answers(call).await?;
    bob.sees(call_joined(call)).await?;
    alice.sees(call_joined(call)).await?;
    bob.meets(call, &alice).await?;
    alice.sees(joined(call, &bob)).await?;
    bob.must(bob.microphones_opened() == opened + 1, "did not open its microphone anew")?;
    alice.sees(state_of(call, &bob, MUTED)).await?;
    bob.sends_no_media().await?;
    alice.hears_nothing_of(&bob).await?;
    bob.sets_muted(false).await?;
    alice.sees(state_of(call, &bob, NOTHING)).await?;
    alice.hears(&bob).await?;
    // Whether the silence before counted as the first sound is the codec's affair.
    alice.may_have_seen(media_started(call, &bob));
    lab.nobody_sees_anything_more().await
}

async fn stale_state(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    let call = alice.calls(&[&bob]).await?;
    let mut number = 0;
    lab.handles_letters(move |letter| {
        number += 1;
        match number % 3 {
            0 => Handling::Deliver,
            _ if letter.inbox_of.is_some() => Handling::Deliver,
            1 => Handling::Delay(Duration::from_millis(3_300)),
            _ => Handling::Repeat(2),
        }
    });
    for round in 0..4 {
        for (muted, state) in [(true, MUTED), (false, NOTHING)] {
            alice.sets_muted(muted).await?;
            bob.sees(state_of(call, &alice, state)).await?;
            lab.passes(Duration::from_millis(500 + 100 * round)).await;
        }
    }
    for letter in lab.published().iter().filter(|letter| !lab.is_inbox(&letter.topic)) {
        lab.delivers(letter.topic, &letter.message);
        lab.passes(Duration::from_millis(20)).await;
    }
    lab.passes(Duration::from_secs(5)).await;
    bob.saw_exactly(8, any_of("participant_state_changed", call))?;
    bob.hears(&alice).await?;
    lab.nobody_sees_anything_more().await
}

async fn volume_for_one(lab: &mut Lab) -> Result {
    let [alice, bob, carol] = lab.participants().await?;
    let call = alice.calls(&[&bob, &carol]).await?;
    alice.sets_volume(&bob, 0.5).await?;
    has_volumes(&alice, &[(&bob, 0.5), (&carol, 1.0)]).await?;
    carol.hears(&bob).await?;
    rejoins(call, &bob, &[&alice, &carol]).await?;
    has_volumes(&alice, &[(&bob, 0.5), (&carol, 1.0)]).await?;
    alice.sets_volume(&bob, 1.0).await?;
    has_volumes(&alice, &[(&bob, 1.0), (&carol, 1.0)]).await?;
    lab.nobody_sees_anything_more().await
}

async fn has_volumes(listener: &Participant, expected: &[(&Participant, f32)]) -> Result {
    for (talker, volume) in expected {
        let heard = listener.loudness_of(talker).await;
        let fits = (heard - volume).abs() < 0.1;
        listener.must(fits, format!("hears {talker} {heard:.2} times as loud as sent, instead of {volume}"))?;
    }
    Ok(())
}

async fn rejoins(call: CallId, person: &Participant, others: &[&Participant]) -> Result {
    person.leaves().await?;
    person.sees(call_ended(call, EndReason::Left)).await?;
    for other in others {
        other.sees(left(call, person, LeftReason::Left)).await?;
    }
    person.answers(call).await?;
    person.sees(call_joined(call)).await?;
    for other in others {
        person.meets(call, other).await?;
        other.meets(call, person).await?;
    }
    Ok(())
}
