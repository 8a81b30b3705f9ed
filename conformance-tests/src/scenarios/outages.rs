//! Network outages and recovery.

use std::time::Duration;

use blink_api::{CallId, ErrorKind, FailureReason, IceServer};
use blink_engine::{CallState, EndReason, Event, LeftReason, ParticipantState};

use super::Scenario;
use crate::lab::{
    EventMutation, Fault, Lab, Participant, Profile, Requirements, Result, all_hear_each_other, any, call_ended,
    call_failed, call_joined, incoming_call, left, reconnected, reconnecting, ringing, state_of,
};
use crate::transport::relays::only_relays;

const BLACKOUT: Requirements = Requirements { blackout: true, ..Requirements::NONE };

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        number: 45,
        name: "blackout-of-5-s",
        verifies: "After a network outage of 5 s both hear each other again within 2 s, and neither was reported to have left.",
        needs: BLACKOUT,
        faults: &[Fault::ReconnectsLate],
        run: |lab| Box::pin(blackout_of_5_s(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 46,
        name: "blackout-of-20-s",
        verifies: "After a network outage of 20 s with ICE restarts both hear each other within 5 s, and each sees exactly one participant.",
        needs: BLACKOUT,
        faults: &[
            Fault::ReconnectsLate,
            Fault::MutatesEvents(|event| match event {
                Event::ParticipantReconnecting { call, participant } => EventMutation::Append(Event::ParticipantLeft {
                    call: *call,
                    participant: *participant,
                    reason: LeftReason::TimedOut,
                }),
                _ => EventMutation::Unchanged,
            }),
        ],
        run: |lab| Box::pin(blackout_of_20_s(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 47,
        name: "blackout-for-good",
        verifies: "A participant that does not come back is reported to have left within 35 s, which ends a call of two.",
        needs: BLACKOUT,
        faults: &[Fault::MutatesEvents(|event| EventMutation::suppress(event, "call_ended"))],
        run: |lab| Box::pin(blackout_for_good(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 48,
        name: "address-changes",
        verifies: "A device that changes its address is reconnected in the same call.",
        needs: Requirements { address_change: true, ..Requirements::NONE },
        faults: &[Fault::IgnoresIceRestarts],
        run: |lab| Box::pin(address_changes(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 49,
        name: "relay-only",
        verifies: "With relayed candidates only, no other address is disclosed; the engine refuses to start if a transport cannot guarantee that.",
        faults: &[Fault::IgnoresSettings],
        run: |lab| Box::pin(relay_only(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 50,
        name: "signaling-gone",
        verifies: "Without signaling a call continues and state travels on the data channel; afterwards all participants agree.",
        needs: BLACKOUT,
        quiet_machine: true,
        faults: &[Fault::SendsDataOverSignaling],
        run: |lab| Box::pin(signaling_gone(lab)),
        limit: Duration::from_secs(180),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 50,
        name: "media-gone",
        verifies: "With signaling but without a packet path a call of two reconnects when the path returns, or ends after a minute.",
        needs: BLACKOUT,
        faults: &[Fault::MutatesEvents(|event| EventMutation::suppress(event, "call_ended")), Fault::ReconnectsLate],
        run: |lab| Box::pin(media_gone(lab)),
        limit: Duration::from_secs(180),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 54,
        name: "no-common-codec",
        verifies: "Without a common codec the call fails on both sides, and no session or device remains.",
        needs: Requirements { unshared_codec: true, ..Requirements::NONE },
        faults: &[Fault::MutatesEvents(|event| EventMutation::suppress(event, "call_ended"))],
        run: |lab| Box::pin(no_common_codec(lab)),
        ..Scenario::DEFAULT
    },
];

async fn blackout_of_5_s(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    let call = alice.calls(&[&bob]).await?;
    bob.loses_network()?;
    look_for_each_other(call, &alice, &bob).await?;
    lab.passes(Duration::from_millis(2_500)).await;
    bob.regains_network()?;
    find_each_other(lab, call, &alice, &bob, Duration::from_secs(2)).await
}

async fn blackout_of_20_s(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    let call = alice.calls(&[&bob]).await?;
    bob.loses_network()?;
    look_for_each_other(call, &alice, &bob).await?;
    lab.passes(Duration::from_millis(17_500)).await;
    bob.regains_network()?;
    find_each_other(lab, call, &alice, &bob, Duration::from_secs(5)).await?;
    alice.must(alice.ice_restarts()? + bob.ice_restarts()? > 0, "neither side restarted ICE")
}

async fn blackout_for_good(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    let call = alice.calls(&[&bob]).await?;
    let dark_since = lab.now();
    bob.loses_network()?;
    look_for_each_other(call, &alice, &bob).await?;
    for (one, other) in [(&alice, &bob), (&bob, &alice)] {
        let limit = (dark_since + Duration::from_secs(35)).saturating_sub(lab.now());
        one.sees_within(limit, left(call, other, LeftReason::TimedOut)).await?;
        one.sees(call_ended(call, EndReason::TimedOut)).await?;
    }
    lab.no_unexpected_events().await?;
    bob.regains_network()?;
    lab.passes(Duration::from_secs(20)).await;
    alice.has_no_call().await?;
    bob.has_no_call().await?;
    lab.no_unexpected_events().await
}

async fn address_changes(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    let call = alice.calls(&[&bob]).await?;
    for mover in [&alice, &bob] {
        mover.changes_address()?;
        lab.passes(Duration::from_secs(3)).await;
        let mut noticed = 0;
        for (one, other) in [(&alice, &bob), (&bob, &alice)] {
            one.hears(other).await?;
            // The side that detects the change first may have recovered before the other one
            // detects it.
            if one.may_have_seen(reconnecting(call, other)) {
                one.sees(reconnected(call, other)).await?;
                noticed += 1;
            }
        }
        mover.must(noticed > 0, "changed its address undetected")?;
        all_hear_each_other(&[&alice, &bob]).await?;
        lab.no_unexpected_events().await?;
        alice.has_call(call, CallState::Active).await?;
        bob.has_call(call, CallState::Active).await?;
    }
    alice.must(alice.ice_restarts()? + bob.ice_restarts()? > 0, "neither side restarted ICE")
}

async fn relay_only(lab: &mut Lab) -> Result {
    let server = lab.turn_server().await?;
    let IceServer { url, username, credential } = server.ice_server();
    let servers = format!("ice.servers=[{{url={url:?},username={username:?},credential={credential:?}}}]");
    let mut participants = Vec::new();
    for (transport, name) in lab.transports()?.into_iter().zip(["alice", "bob"]) {
        let relay_only = Profile::new(name).setting(&servers).setting("ice.relay_only=true");
        match (transport.relay, lab.tries_to_start(relay_only).await) {
            (true, Ok(participant)) => participants.push(participant),
            (false, Err(error)) if error.kind() == ErrorKind::Unsupported => {}
            (_, Ok(participant)) => {
                return Err(participant.fails("started without a transport that supports relay_only"));
            }
            (_, Err(error)) => return Err(lab.fails(&format!("{name} did not start: {error}"))),
        }
    }
    let [alice, bob] = participants.as_slice() else { return Ok(()) };
    let call = alice.calls(&[bob]).await?;
    all_hear_each_other(&[alice, bob]).await?;
    for participant in [alice, bob] {
        let disclosed = only_relays(&participant.signaled_addresses()?, &server.counters().relayed);
        let relays = disclosed.map_err(|leak| participant.fails(leak))?;
        participant.must(relays > 0, "disclosed no candidate")?;
        participant.has_call(call, CallState::Active).await?;
    }
    alice.must(server.counters().to_peers > 0, "was heard, but not through the relay")
}

async fn signaling_gone(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    let call = alice.calls(&[&bob]).await?;
    let gone_since = lab.now();
    bob.loses_signaling()?;
    lab.passes(Duration::from_secs(40)).await;
    let muted = ParticipantState { muted: true, ..ParticipantState::default() };
    alice.sets_muted(true).await?;
    bob.sees_within(Duration::from_secs(1), state_of(call, &alice, muted)).await?;
    alice.heard_throughout(&bob, gone_since)?;
    bob.hears_nothing_of(&alice).await?;
    bob.regains_signaling()?;
    alice.sets_muted(false).await?;
    bob.sees(state_of(call, &alice, ParticipantState::default())).await?;
    lab.passes(Duration::from_secs(10)).await;
    all_hear_each_other(&[&alice, &bob]).await?;
    alice.heard_throughout(&bob, gone_since)?;
    bob.saw_exactly(2, any("participant_state_changed"))?;
    lab.no_unexpected_events().await
}

async fn media_gone(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    let call = alice.calls(&[&bob]).await?;
    bob.loses_media_path()?;
    look_for_each_other(call, &alice, &bob).await?;
    lab.passes(Duration::from_secs(30)).await;
    bob.regains_media_path()?;
    find_each_other(lab, call, &alice, &bob, Duration::from_secs(5)).await?;
    alice.must(alice.ice_restarts()? + bob.ice_restarts()? > 0, "neither side restarted ICE")?;

    bob.loses_media_path()?;
    look_for_each_other(call, &alice, &bob).await?;
    lab.passes(Duration::from_secs(55)).await;
    lab.no_unexpected_events().await?;
    let mut informed = 0;
    for (one, other) in [(&alice, &bob), (&bob, &alice)] {
        lab.passes(Duration::from_secs(3)).await;
        // The side whose minute ends first announces that it leaves, which the other may receive
        // before its own minute ends.
        let failed = one.sees_within(Duration::from_secs(3), call_ended(call, EndReason::Failed)).await;
        informed += usize::from(failed.is_ok());
        if failed.is_err() {
            one.sees(left(call, other, LeftReason::Left)).await?;
            one.sees(call_ended(call, EndReason::RemoteLeft)).await?;
        }
    }
    alice.must(informed > 0, "and bob were not informed that the path failed")?;
    alice.has_no_call().await?;
    bob.has_no_call().await?;
    lab.no_unexpected_events().await
}

async fn no_common_codec(lab: &mut Lab) -> Result {
    let [alice] = lab.participants().await?;
    let bob = lab.participant(Profile::new("bob").with_unshared_codec()).await?;
    let call = alice.offers(&[&bob]).await?;
    bob.sees(incoming_call(call, &alice)).await?;
    alice.sees(ringing(call, &bob)).await?;
    bob.answers(call).await?;
    for participant in [&alice, &bob] {
        participant.sees(call_joined(call)).await?;
        participant.sees(call_failed(call, FailureReason::NoCommonCodec)).await?;
        participant.never_saw(any("participant_joined"))?;
    }
    lab.passes(Duration::from_secs(15)).await;
    for participant in [&alice, &bob] {
        participant.has_no_call().await?;
        participant.must(participant.open_sessions()? == 0, "has an open session outside a call")?;
        participant.must(participant.open_devices() == 0, "has an open device outside a call")?;
    }
    lab.no_unexpected_events().await
}

/// Waits until both report that the path is interrupted.
async fn look_for_each_other(call: CallId, alice: &Participant, bob: &Participant) -> Result {
    alice.sees(reconnecting(call, bob)).await?;
    bob.sees(reconnecting(call, alice)).await.map(drop)
}

/// Waits until both hear each other again within a time limit, and verifies that nothing else
/// happened.
async fn find_each_other(lab: &Lab, call: CallId, alice: &Participant, bob: &Participant, limit: Duration) -> Result {
    let end = lab.now() + limit;
    for (one, other) in [(alice, bob), (bob, alice)] {
        one.sees_within(end.saturating_sub(lab.now()), reconnected(call, other)).await?;
        one.hears_within(end.saturating_sub(lab.now()), other).await?;
    }
    lab.no_unexpected_events().await?;
    for participant in [alice, bob] {
        let participants = participant.has_call(call, CallState::Active).await?.participants.len();
        participant.must(participants == 1, format!("has {participants} others in a call of two"))?;
    }
    Ok(())
}
