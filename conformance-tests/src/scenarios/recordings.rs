//! Recordings of calls.

use std::time::Duration;

use blink_api::CallId;
use blink_engine::ParticipantState;

use super::Scenario;
use crate::lab::{
    Beep, Command, EventMutation, FULL_RECORDER, Fault, Lab, Participant, RECORDER, Result, any_of, beeps_in,
    incoming_call, joined, state_of,
};

const NONE: ParticipantState = ParticipantState { muted: false, deafened: false, recording: false, held: false };
const RECORDING: ParticipantState = ParticipantState { recording: true, ..NONE };
/// Samples per second of recorded tracks.
const RATE: f64 = 48_000.0;
/// Largest difference between tracks.
const ALIGNED: f64 = 0.020;
/// The same on a network whose messages are late by up to 30 ms: the call clock knows the other
/// side's to half of that at first, and a track follows it by half a frame.
const ALIGNED_BY_LATE_MESSAGES: f64 = 0.021;
/// Most that a kill may cost.
const LOST: f64 = 1.0;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        number: 58,
        name: "record-stop-record",
        verifies: "All others see each time that a participant starts and stops recording, and the files of each recording have all tracks.",
        faults: &[
            Fault::IgnoresCommand(Command::Record),
            Fault::MutatesEvents(|event| EventMutation::suppress(event, "participant_state_changed")),
            Fault::MutatesEvents(|event| EventMutation::duplicate(event, "participant_state_changed")),
        ],
        run: |lab| Box::pin(record_stop_record(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 59,
        name: "aligned-recordings",
        verifies: "After a late join, a mute and losses all recorded tracks are within 20 ms of each other.",
        quiet_machine: true,
        faults: &[Fault::RecordsLate],
        run: |lab| Box::pin(aligned_recordings(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 60,
        name: "killed-while-recording",
        verifies: "Of a recording whose process is killed, at most the last second is lost.",
        quiet_machine: true,
        faults: &[Fault::RecordsAtTheEnd],
        run: |lab| Box::pin(killed_while_recording(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 61,
        name: "disk-full-while-recording",
        verifies: "A full disk is reported, what was written before is good, and the call and other recorders go on.",
        faults: &[Fault::MutatesEvents(|event| EventMutation::suppress(event, "recording_failed"))],
        run: |lab| Box::pin(disk_full_while_recording(lab)),
        ..Scenario::DEFAULT
    },
];

async fn record_stop_record(lab: &mut Lab) -> Result {
    let [alice, bob, carol] = lab.participants().await?;
    let everyone = [&alice, &bob, &carol];
    let call = alice.calls(&[&bob, &carol]).await?;
    let mut all_files = Vec::new();
    for round in 1..=2 {
        alice.records_with(&[RECORDER]).await?;
        for other in [&bob, &carol] {
            other.sees(state_of(call, &alice, RECORDING)).await?;
        }
        lab.passes(Duration::from_secs(2)).await;
        let report = alice.stops_recording().await?;
        for other in [&bob, &carol] {
            other.sees(state_of(call, &alice, NONE)).await?;
            other.saw_exactly(2 * round, any_of("participant_state_changed", call))?;
        }
        for name in ["recording_started", "recording_stopped"] {
            alice.sees(any_of(name, call)).await?;
        }
        let [recorder] = &report.recorders[..] else { return Err(alice.fails("has no report of its recorder")) };
        alice.must(recorder.error.is_none() && recorder.dropped == 0, format!("recorded with faults: {report:?}"))?;
        for participant in everyone {
            let samples = alice.recorded(&recorder.summary.files, participant)?;
            let audible = samples.iter().filter(|sample| sample.abs() > 0.01).count() as f64 / RATE;
            alice.must(audible > 1.2, format!("recorded {audible:.2} s of {participant}, and not 2 s"))?;
        }
        all_files.extend(recorder.summary.files.clone());
    }
    all_files.sort_unstable();
    all_files.dedup();
    alice.must(all_files.len() == 6, format!("has {} files of two recordings with three tracks", all_files.len()))
}

async fn aligned_recordings(lab: &mut Lab) -> Result {
    let [alice, bob, carol] = lab.participants().await?;
    let call = alice.offers(&[&bob, &carol]).await?;
    joins(&bob, call, &alice, &[&alice]).await?;
    alice.hears(&bob).await?;
    [&alice, &bob, &carol].into_iter().for_each(Participant::beeps);
    alice.records_with(&[RECORDER]).await?;
    lab.passes(Duration::from_secs(3)).await;
    joins(&carol, call, &alice, &[&alice, &bob]).await?;
    lab.passes(Duration::from_secs(3)).await;
    bob.sets_muted(true).await?;
    lab.passes(Duration::from_secs(2)).await;
    bob.sets_muted(false).await?;
    for _ in 0..4 {
        bob.loses_media_path()?;
        lab.passes(Duration::from_millis(170)).await;
        bob.regains_media_path()?;
        lab.passes(Duration::from_millis(1_130)).await;
    }
    lab.passes(Duration::from_secs(3)).await;
    let report = alice.stops_recording().await?;
    let files = &report.recorders[0].summary.files;
    let mut tracks = Vec::new();
    for (participant, least) in [(&alice, 12), (&bob, 6), (&carol, 6)] {
        let beeps: Vec<Beep> =
            beeps_in(&alice.recorded(files, participant)?).into_iter().filter(Beep::is_whole).collect();
        alice.must(beeps.len() >= least, format!("recorded {} whole beeps of {participant}", beeps.len()))?;
        tracks.push((participant, beeps));
    }
    let aligned = if lab.has_late_messages() { ALIGNED_BY_LATE_MESSAGES } else { ALIGNED };
    let (_, own) = &tracks[0];
    for (participant, beeps) in &tracks[1..] {
        let mut compared = 0;
        for beep in beeps {
            let Some(near) = own.iter().find(|own| (own.start - beep.start).abs() < 0.5) else { continue };
            let apart = beep.start - near.start;
            let at = near.start;
            alice.must(
                apart.abs() <= aligned,
                format!("recorded {participant} {:.1} ms off, {at:.1} s after the beginning", apart * 1e3),
            )?;
            compared += 1;
        }
        alice.must(compared >= 5, format!("recorded {compared} beeps at the same time as {participant}"))?;
    }
    Ok(())
}

/// A participant answers, and all see each other.
async fn joins(who: &Participant, call: CallId, caller: &Participant, present: &[&Participant]) -> Result {
    who.sees(incoming_call(call, caller)).await?;
    who.answers(call).await?;
    for other in present {
        other.sees(joined(call, who)).await?;
        who.sees(joined(call, other)).await?;
    }
    Ok(())
}

async fn killed_while_recording(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    let call = alice.calls(&[&bob]).await?;
    alice.records_with(&[RECORDER]).await?;
    let began = lab.now();
    bob.sees(state_of(call, &alice, RECORDING)).await?;
    lab.passes(Duration::from_millis(4_321)).await;
    let recorded = lab.now().saturating_sub(began);
    // The files at this moment are what is left: each write has reached the system.
    let copies = alice.copies_recordings("left")?;
    alice.is_killed().await;
    for participant in [&alice, &bob] {
        let left = bob.recorded(&copies, participant)?.len() as f64 / RATE;
        let lost = recorded.as_secs_f64() - left;
        alice.must(lost <= LOST, format!("lost {lost:.2} s of {participant} by being killed"))?;
    }
    Ok(())
}

async fn disk_full_while_recording(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    let call = alice.calls(&[&bob]).await?;
    alice.records_with(&[FULL_RECORDER, RECORDER]).await?;
    bob.sees(state_of(call, &alice, RECORDING)).await?;
    alice.sees_within(Duration::from_secs(20), any_of("recording_failed", call)).await?;
    alice.hears(&bob).await?;
    bob.hears(&alice).await?;
    lab.passes(Duration::from_secs(3)).await;
    let report = alice.stops_recording().await?;
    bob.sees(state_of(call, &alice, NONE)).await?;
    let [full, other] = &report.recorders[..] else { return Err(alice.fails("has no reports of its recorders")) };
    let why = full.error.clone().unwrap_or_default();
    alice.must(why.contains("cannot be written"), format!("reports `{why}` for a full disk"))?;
    alice.must(other.error.is_none(), format!("another recorder failed: {:?}", other.error))?;
    for participant in [&alice, &bob] {
        let (before, whole) =
            (alice.recorded(&full.summary.files, participant)?, alice.recorded(&other.summary.files, participant)?);
        let (before, whole) = (before.len() as f64 / RATE, whole.len() as f64 / RATE);
        alice.must(before > 0.5, format!("lost what was written of {participant}: {before:.2} s are left"))?;
        alice.must(whole > before + 2.0, format!("recorded {whole:.2} s of {participant} after {before:.2} s"))?;
    }
    Ok(())
}
