//! Devices that are lost and come back during a call.

use blink_api::DeviceDirection;
use blink_engine::DeviceChangeReason::{FellBack, Returned};

use super::Scenario;
use crate::lab::{
    EventMutation, Fault, Lab, Participant, Profile, Result, Unplugging, device_changed, device_lost, state_of,
};
use blink_engine::ParticipantState;
use std::time::Duration;

pub(super) const ALL: &[Scenario] = &[Scenario {
    number: 44,
    name: "device-lost",
    verifies: "A headset that is unplugged, with errors or silently, is replaced by the default devices and used again once it is back; the call goes on, and a muted participant stays muted.",
    faults: &[
        Fault::LosesDevicesSilently,
        Fault::MutatesEvents(|event| EventMutation::suppress(event, "device_changed")),
        Fault::MutatesEvents(|event| EventMutation::duplicate(event, "device_lost")),
    ],
    run: |lab| Box::pin(device_lost_and_found(lab)),
    ..Scenario::DEFAULT
}];

const MUTED: ParticipantState = ParticipantState { muted: true, deafened: false, recording: false, held: false };
const UNMUTED: ParticipantState = ParticipantState { muted: false, ..MUTED };

async fn device_lost_and_found(lab: &mut Lab) -> Result {
    let [alice] = lab.participants().await?;
    let bob = lab.participant(Profile::new("bob").with_headset()).await?;
    let call = alice.calls(&[&bob]).await?;
    for unplugging in [Unplugging::Fails, Unplugging::MovesSilently] {
        bob.unplugs_headset(unplugging)?;
        for _ in 0..2 {
            bob.sees(device_lost("headset")).await?;
        }
        changes(&bob, "lab/default", FellBack).await?;
        lab.passes(Duration::from_secs(2)).await;
        alice.hears(&bob).await?;
        bob.hears(&alice).await?;

        bob.plugs_headset_in()?;
        changes(&bob, "headset", Returned).await?;
        lab.passes(Duration::from_secs(2)).await;
        alice.hears(&bob).await?;
        bob.hears(&alice).await?;
    }

    bob.sets_muted(true).await?;
    alice.sees(state_of(call, &bob, MUTED)).await?;
    bob.unplugs_headset(Unplugging::Fails)?;
    for _ in 0..2 {
        bob.sees(device_lost("headset")).await?;
    }
    changes(&bob, "lab/default", FellBack).await?;
    alice.hears_nothing_of(&bob).await?;
    bob.hears(&alice).await?;
    bob.sets_muted(false).await?;
    alice.sees(state_of(call, &bob, UNMUTED)).await?;
    alice.hears(&bob).await?;
    lab.no_unexpected_events().await
}

/// Microphone and speaker change to a device.
async fn changes(who: &Participant, to: &'static str, reason: blink_engine::DeviceChangeReason) -> Result {
    for direction in [DeviceDirection::Source, DeviceDirection::Sink] {
        who.sees(device_changed(direction, to, reason)).await?;
    }
    Ok(())
}
