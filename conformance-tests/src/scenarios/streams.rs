//! Video streams, and speech detection.

use super::{Ability, Scenario};
use crate::lab::{
    Command, EventMutation, Fault, Lab, Result, any_of, joined, speaking_started, speaking_stopped, stream_ended,
    stream_offered, video_started,
};
use blink_api::ErrorKind;
use blink_engine::StreamEndReason;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        number: 39,
        name: "speaking",
        verifies: "The beginning and end of speech, but not of a tone, are reported once per utterance, to the speaker and to all others; who speaks while muted is told so, and no one else.",
        faults: &[
            Fault::MutatesEvents(|event| EventMutation::suppress(event, "speaking_stopped")),
            Fault::MutatesEvents(|event| EventMutation::duplicate(event, "speaking_started")),
            Fault::MutatesEvents(|event| EventMutation::duplicate(event, "speaking_while_muted")),
        ],
        run: |lab| Box::pin(speaking(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 41,
        name: "offer-request-close",
        verifies: "An offered stream starts when it is requested, stops when it is closed, and starts again.",
        abilities: &[Ability::Video],
        faults: &[
            Fault::DropsVideo,
            Fault::IgnoresCommand(Command::Close),
            Fault::MutatesEvents(|event| EventMutation::suppress(event, "stream_offered")),
        ],
        run: |lab| Box::pin(offer_request_close(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 42,
        name: "revoke",
        verifies: "A revoked stream ends once for every viewer, and none of its packets is sent afterwards.",
        abilities: &[Ability::Video],
        faults: &[
            Fault::IgnoresCommand(Command::Revoke),
            Fault::MutatesEvents(|event| EventMutation::duplicate(event, "stream_ended")),
            Fault::MutatesEvents(|event| EventMutation::suppress(event, "stream_ended")),
        ],
        run: |lab| Box::pin(revoke(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 43,
        name: "video-in-mid-call",
        verifies: "Video that starts and stops during a call interrupts no audio.",
        quiet_machine: true,
        abilities: &[Ability::Video],
        faults: &[Fault::VideoInterruptsAudio, Fault::DropsVideo],
        run: |lab| Box::pin(video_in_mid_call(lab)),
        ..Scenario::DEFAULT
    },
];

async fn speaking(lab: &mut Lab) -> Result {
    let [alice, bob, carol] = lab.participants().await?;
    let everyone = [&alice, &bob, &carol];
    for participant in everyone {
        participant.sets_muted(true).await?;
    }
    let call = alice.calls_silently(&[&bob, &carol]).await?;
    for round in 1..=2 {
        alice.sets_muted(false).await?;
        // A tone is no voice.
        lab.passes(std::time::Duration::from_secs(2)).await;
        for participant in everyone {
            participant.saw_exactly(round - 1, any_of("speaking_started", call))?;
        }
        alice.speaks(true);
        for participant in everyone {
            participant.sees(speaking_started(call, &alice)).await?;
        }
        lab.passes(std::time::Duration::from_secs(3)).await;
        alice.sets_muted(true).await?;
        alice.speaks(false);
        for participant in everyone {
            participant.sees(speaking_stopped(call, &alice)).await?;
            participant.saw_exactly(round, any_of("speaking_started", call))?;
            participant.saw_exactly(round, any_of("speaking_stopped", call))?;
        }
        // Longer than a pause within an utterance.
        lab.passes(std::time::Duration::from_secs(3)).await;
    }
    alice.speaks(true);
    alice.sees(any_of("speaking_while_muted", call)).await?;
    lab.passes(std::time::Duration::from_secs(2)).await;
    alice.saw_once("speaking_while_muted", call)?;
    for participant in everyone {
        participant.saw_exactly(2, any_of("speaking_started", call))?;
    }
    for participant in [&bob, &carol] {
        participant.saw_exactly(0, any_of("speaking_while_muted", call))?;
    }
    Ok(())
}

async fn offer_request_close(lab: &mut Lab) -> Result {
    let [alice, bob, carol] = lab.participants().await?;
    let call = alice.calls(&[&bob, &carol]).await?;
    let stream = alice.offers_video().await?;
    for other in [&bob, &carol] {
        other.sees(stream_offered(call, &alice, stream)).await?;
    }
    for _ in 0..2 {
        let screen = bob.requests_video(&alice, stream).await?;
        bob.sees(video_started(call, &alice, stream)).await?;
        bob.receives_video_of(&alice, &screen).await?;
        bob.closes_stream(&alice, stream).await?;
        bob.video_has_ended(&screen).await?;
    }
    let again = bob.tries_to_request_video(&alice, stream).await?;
    bob.must(again.is_ok(), "could not ask a third time")?;
    carol.never_saw(video_started(call, &alice, stream))?;
    bob.sees(video_started(call, &alice, stream)).await?;
    lab.no_unexpected_events().await
}

async fn revoke(lab: &mut Lab) -> Result {
    let [alice, bob, carol] = lab.participants().await?;
    let call = alice.calls(&[&bob, &carol]).await?;
    let stream = alice.offers_video().await?;
    let mut screens = Vec::new();
    for viewer in [&bob, &carol] {
        viewer.sees(stream_offered(call, &alice, stream)).await?;
        let screen = viewer.requests_video(&alice, stream).await?;
        viewer.sees(video_started(call, &alice, stream)).await?;
        viewer.receives_video_of(&alice, &screen).await?;
        screens.push(screen);
    }
    alice.revokes_stream(stream).await?;
    for (viewer, screen) in [&bob, &carol].into_iter().zip(&screens) {
        viewer.sees(stream_ended(call, &alice, stream, StreamEndReason::Revoked)).await?;
        viewer.video_has_ended(screen).await?;
        viewer.saw_once("stream_ended", call)?;
        let again = viewer.tries_to_request_video(&alice, stream).await?;
        crate::lab::expect_error(viewer, ErrorKind::NotFound, "asking for what was revoked", again)?;
        viewer.hears(&alice).await?;
    }
    alice.sets_muted(true).await?;
    alice.sends_no_media().await?;
    for viewer in [&bob, &carol] {
        viewer.sees(any_of("participant_state_changed", call)).await?;
    }
    lab.no_unexpected_events().await
}

async fn video_in_mid_call(lab: &mut Lab) -> Result {
    let [alice, bob, carol] = lab.participants().await?;
    let call = alice.calls(&[&bob, &carol]).await?;
    lab.passes(std::time::Duration::from_secs(1)).await;
    let before = lab.now();
    let (of_alice, of_bob) = (alice.offers_video().await?, bob.offers_video().await?);
    bob.sees(stream_offered(call, &alice, of_alice)).await?;
    alice.sees(stream_offered(call, &bob, of_bob)).await?;
    let (seen_by_bob, seen_by_alice) =
        (bob.requests_video(&alice, of_alice).await?, alice.requests_video(&bob, of_bob).await?);
    bob.sees(video_started(call, &alice, of_alice)).await?;
    alice.sees(video_started(call, &bob, of_bob)).await?;
    bob.receives_video_of(&alice, &seen_by_bob).await?;
    alice.receives_video_of(&bob, &seen_by_alice).await?;
    alice.revokes_stream(of_alice).await?;
    bob.video_has_ended(&seen_by_bob).await?;
    for (listener, talker) in [(&alice, &bob), (&bob, &alice), (&carol, &alice), (&carol, &bob), (&alice, &carol)] {
        listener.heard_throughout(talker, before)?;
    }
    carol.saw_exactly(2, any_of("stream_offered", call))?;
    carol.saw_exactly(2, any_of("participant_joined", call))?;
    // All other events have been claimed: no participant left or rejoined because of the video.
    bob.never_saw(crate::lab::reconnecting(call, &alice))?;
    bob.saw_exactly(1, joined(call, &alice))
}
