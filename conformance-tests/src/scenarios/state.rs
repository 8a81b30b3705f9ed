//! Announced state of participants, and its effect on audio.

use std::time::Duration;

use blink_api::CallId;
use blink_engine::{EndReason, LeftReason, ParticipantState};

use super::Scenario;
use crate::lab::{
    Command, EventMutation, Fault, Lab, MessageAction, Participant, Requirements, Result, any_of, call_ended,
    call_joined, incoming_call, joined, left, media_started, ringing, state_of,
};

const NONE: ParticipantState = ParticipantState { muted: false, deafened: false, recording: false, held: false };
const MUTED: ParticipantState = ParticipantState { muted: true, ..NONE };
const DEAFENED: ParticipantState = ParticipantState { deafened: true, ..NONE };

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        number: 35,
        name: "mute",
        verifies: "Muting is announced once, and no audio packet is sent; unmuting restores the audio.",
        faults: &[
            Fault::OnlyAnnouncesMute,
            Fault::IgnoresCommand(Command::Mute),
            Fault::MutatesEvents(|event| EventMutation::duplicate(event, "participant_state_changed")),
        ],
        run: |lab| Box::pin(mute(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 36,
        name: "deafen-before-the-first-track",
        verifies: "A participant that is deafened before the first track arrives stays deafened when it does.",
        faults: &[Fault::OnlyAnnouncesMute, Fault::IgnoresCommand(Command::Deafen)],
        run: |lab| Box::pin(deafen_before_the_first_track(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 37,
        name: "muted-with-another-microphone",
        verifies: "A muted participant stays muted when a microphone is opened again.",
        faults: &[Fault::UnmutesOnAnswer],
        run: |lab| Box::pin(muted_with_another_microphone(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 38,
        name: "stale-state",
        verifies: "Announcements that arrive late, repeated and out of order do not restore an old state.",
        needs: Requirements { messages: true, ..Requirements::NONE },
        faults: &[
            Fault::MutatesEvents(|event| EventMutation::duplicate(event, "participant_state_changed")),
            Fault::AcceptsForgedMessages,
        ],
        run: |lab| Box::pin(stale_state(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 40,
        name: "volume-for-one",
        verifies: "The volume of one participant changes for that one only, and persists when it leaves and rejoins.",
        faults: &[Fault::SetsVolumeOfAll, Fault::IgnoresCommand(Command::SetVolume)],
        run: |lab| Box::pin(volume_for_one(lab)),
        ..Scenario::DEFAULT
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
    bob.sees(state_of(call, &alice, NONE)).await?;
    bob.hears(&alice).await?;
    lab.no_unexpected_events().await
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
    alice.sees(state_of(call, &bob, NONE)).await?;
    bob.hears(&alice).await?;
    lab.no_unexpected_events().await
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
    alice.sees(state_of(call, &bob, NONE)).await?;
    alice.hears(&bob).await?;
    // Whether the silence before counted as the first audio depends on the codec.
    alice.may_have_seen(media_started(call, &bob));
    lab.no_unexpected_events().await
}

async fn stale_state(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    let call = alice.calls(&[&bob]).await?;
    let mut number = 0;
    lab.set_message_rule(move |message| {
        number += 1;
        match number % 3 {
            0 => MessageAction::Deliver,
            _ if message.inbox_of.is_some() => MessageAction::Deliver,
            1 => MessageAction::Delay(Duration::from_millis(3_300)),
            _ => MessageAction::Duplicate(2),
        }
    });
    for round in 0..4 {
        for (muted, state) in [(true, MUTED), (false, NONE)] {
            alice.sets_muted(muted).await?;
            bob.sees(state_of(call, &alice, state)).await?;
            lab.passes(Duration::from_millis(500 + 100 * round)).await;
        }
    }
    for message in lab.published().iter().filter(|message| !lab.is_inbox(&message.topic)) {
        lab.inject_message(message.topic, &message.message);
        lab.passes(Duration::from_millis(20)).await;
    }
    lab.passes(Duration::from_secs(5)).await;
    bob.saw_exactly(8, any_of("participant_state_changed", call))?;
    bob.hears(&alice).await?;
    lab.no_unexpected_events().await
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
    lab.no_unexpected_events().await
}

async fn has_volumes(listener: &Participant, expected: &[(&Participant, f32)]) -> Result {
    for (talker, volume) in expected {
        let heard = listener.relative_amplitude_of(talker).await;
        let fits = (heard - volume).abs() < 0.1;
        listener.must(fits, format!("hears {talker} at {heard:.2} times the sent level, expected {volume}"))?;
    }
    Ok(())
}

async fn rejoins(call: CallId, participant: &Participant, others: &[&Participant]) -> Result {
    participant.leaves().await?;
    participant.sees(call_ended(call, EndReason::Left)).await?;
    for other in others {
        other.sees(left(call, participant, LeftReason::Left)).await?;
    }
    participant.answers(call).await?;
    participant.sees(call_joined(call)).await?;
    for other in others {
        participant.meets(call, other).await?;
        other.meets(call, participant).await?;
    }
    Ok(())
}
