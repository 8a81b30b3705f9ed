//! What participants show each other beside their microphones, and who speaks.

use super::{Ability, Scenario};
use crate::lab::{
    Deed, Fault, Lab, Result, Telling, any_of, joined, speaking_started, speaking_stopped, stream_ended,
    stream_offered, video_started,
};
use blink_api::ErrorKind;
use blink_engine::StreamEndReason;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        number: 39,
        name: "speaking",
        verifies: "Who speaks is told once an utterance, to the speaker and to everybody else; so is the end.",
        faults: &[
            Fault::Tells(|event| Telling::nothing_of(event, "speaking_stopped")),
            Fault::Tells(|event| Telling::twice(event, "speaking_started")),
        ],
        run: |lab| Box::pin(speaking(lab)),
        ..Scenario::USUAL
    },
    Scenario {
        number: 41,
        name: "offer-request-close",
        verifies: "A stream that is offered starts when it is asked for, stops when it is closed, and starts again.",
        abilities: &[Ability::Video],
        faults: &[
            Fault::NoVideo,
            Fault::Neglects(Deed::Close),
            Fault::Tells(|event| Telling::nothing_of(event, "stream_offered")),
        ],
        run: |lab| Box::pin(offer_request_close(lab)),
        ..Scenario::USUAL
    },
    Scenario {
        number: 42,
        name: "revoke",
        verifies: "A stream that is revoked ends once for everybody who watched it, and nothing of it is sent any more.",
        abilities: &[Ability::Video],
        faults: &[
            Fault::Neglects(Deed::Revoke),
            Fault::Tells(|event| Telling::twice(event, "stream_ended")),
            Fault::Tells(|event| Telling::nothing_of(event, "stream_ended")),
        ],
        run: |lab| Box::pin(revoke(lab)),
        ..Scenario::USUAL
    },
    Scenario {
        number: 43,
        name: "video-in-mid-call",
        verifies: "Video that begins and ends in a call interrupts nobody's sound.",
        quiet_machine: true,
        abilities: &[Ability::Video],
        faults: &[Fault::VideoInterruptsSound, Fault::NoVideo],
        run: |lab| Box::pin(video_in_mid_call(lab)),
        ..Scenario::USUAL
    },
];

async fn speaking(lab: &mut Lab) -> Result {
    let [alice, bob, carol] = lab.participants().await?;
    let everybody = [&alice, &bob, &carol];
    for person in everybody {
        person.sets_muted(true).await?;
    }
    let call = alice.calls_silently(&[&bob, &carol]).await?;
    for round in 1..=2 {
        alice.sets_muted(false).await?;
        for person in everybody {
            person.sees(speaking_started(call, &alice)).await?;
        }
        lab.passes(std::time::Duration::from_secs(3)).await;
        alice.sets_muted(true).await?;
        for person in everybody {
            person.sees(speaking_stopped(call, &alice)).await?;
            person.saw_exactly(round, any_of("speaking_started", call))?;
            person.saw_exactly(round, any_of("speaking_stopped", call))?;
        }
    }
    Ok(())
}

async fn offer_request_close(lab: &mut Lab) -> Result {
    let [alice, bob, carol] = lab.participants().await?;
    let call = alice.calls(&[&bob, &carol]).await?;
    let stream = alice.shows().await?;
    for other in [&bob, &carol] {
        other.sees(stream_offered(call, &alice, stream)).await?;
    }
    for _ in 0..2 {
        let screen = bob.watches(&alice, stream).await?;
        bob.sees(video_started(call, &alice, stream)).await?;
        bob.sees_pictures_of(&alice, &screen).await?;
        bob.closes(&alice, stream).await?;
        bob.has_stopped_watching(&screen).await?;
    }
    let again = bob.tries_to_watch(&alice, stream).await?;
    bob.must(again.is_ok(), "could not ask a third time")?;
    carol.never_saw(video_started(call, &alice, stream))?;
    bob.sees(video_started(call, &alice, stream)).await?;
    lab.nobody_sees_anything_more().await
}

async fn revoke(lab: &mut Lab) -> Result {
    let [alice, bob, carol] = lab.participants().await?;
    let call = alice.calls(&[&bob, &carol]).await?;
    let stream = alice.shows().await?;
    let mut screens = Vec::new();
    for viewer in [&bob, &carol] {
        viewer.sees(stream_offered(call, &alice, stream)).await?;
        let screen = viewer.watches(&alice, stream).await?;
        viewer.sees(video_started(call, &alice, stream)).await?;
        viewer.sees_pictures_of(&alice, &screen).await?;
        screens.push(screen);
    }
    alice.revokes(stream).await?;
    for (viewer, screen) in [&bob, &carol].into_iter().zip(&screens) {
        viewer.sees(stream_ended(call, &alice, stream, StreamEndReason::Revoked)).await?;
        viewer.has_stopped_watching(screen).await?;
        viewer.saw_once("stream_ended", call)?;
        let again = viewer.tries_to_watch(&alice, stream).await?;
        crate::lab::refused(viewer, ErrorKind::NotFound, "asking for what was revoked", again)?;
        viewer.hears(&alice).await?;
    }
    alice.sets_muted(true).await?;
    alice.sends_no_media().await?;
    for viewer in [&bob, &carol] {
        viewer.sees(any_of("participant_state_changed", call)).await?;
    }
    lab.nobody_sees_anything_more().await
}

async fn video_in_mid_call(lab: &mut Lab) -> Result {
    let [alice, bob, carol] = lab.participants().await?;
    let call = alice.calls(&[&bob, &carol]).await?;
    lab.passes(std::time::Duration::from_secs(1)).await;
    let before = lab.now();
    let (of_alice, of_bob) = (alice.shows().await?, bob.shows().await?);
    bob.sees(stream_offered(call, &alice, of_alice)).await?;
    alice.sees(stream_offered(call, &bob, of_bob)).await?;
    let (seen_by_bob, seen_by_alice) = (bob.watches(&alice, of_alice).await?, alice.watches(&bob, of_bob).await?);
    bob.sees(video_started(call, &alice, of_alice)).await?;
    alice.sees(video_started(call, &bob, of_bob)).await?;
    bob.sees_pictures_of(&alice, &seen_by_bob).await?;
    alice.sees_pictures_of(&bob, &seen_by_alice).await?;
    alice.revokes(of_alice).await?;
    bob.has_stopped_watching(&seen_by_bob).await?;
    for (listener, talker) in [(&alice, &bob), (&bob, &alice), (&carol, &alice), (&carol, &bob), (&alice, &carol)] {
        listener.heard_throughout(talker, before)?;
    }
    carol.saw_exactly(2, any_of("stream_offered", call))?;
    carol.saw_exactly(2, any_of("participant_joined", call))?;
    // Everything else was seen, once: nobody joined or left again for it.
    bob.never_saw(crate::lab::reconnecting(call, &alice))?;
    bob.saw_exactly(1, joined(call, &alice))
}
