//! Networks that fail and come back.

use std::time::Duration;

use blink_api::{CallId, ErrorKind, IceServer};
use blink_engine::{CallState, EndReason, Event, LeftReason, ParticipantState};

use super::Scenario;
use crate::lab::{
    Fault, Lab, Needs, Participant, Profile, Result, Telling, any, call_ended, call_joined, hear_each_other,
    incoming_call, left, reconnected, reconnecting, ringing, state_of,
};
use crate::transport::relays::relays_alone;

const BLACKOUT: Needs = Needs { blackout: true, ..Needs::NOTHING };

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        number: 45,
        name: "blackout-of-5-s",
        verifies: "After 5 s without any network both hear each other again within 2 s, and nobody was said to have left.",
        needs: BLACKOUT,
        faults: &[Fault::HealsLate],
        run: |lab| Box::pin(blackout_of_5_s(lab)),
        ..Scenario::USUAL
    },
    Scenario {
        number: 46,
        name: "blackout-of-20-s",
        verifies: "After 20 s without any network and restarts of ICE both hear each other within 5 s, and there is one of each.",
        needs: BLACKOUT,
        faults: &[
            Fault::HealsLate,
            Fault::Tells(|event| match event {
                Event::ParticipantReconnecting { call, participant } => Telling::Also(Event::ParticipantLeft {
                    call: *call,
                    participant: *participant,
                    reason: LeftReason::TimedOut,
                }),
                _ => Telling::Truth,
            }),
        ],
        run: |lab| Box::pin(blackout_of_20_s(lab)),
        ..Scenario::USUAL
    },
    Scenario {
        number: 47,
        name: "blackout-for-good",
        verifies: "Whoever does not come back is said to have left within 35 s, and a call of two is over then.",
        needs: BLACKOUT,
        faults: &[Fault::Tells(|event| Telling::nothing_of(event, "call_ended"))],
        run: |lab| Box::pin(blackout_for_good(lab)),
        ..Scenario::USUAL
    },
    Scenario {
        number: 48,
        name: "address-changes",
        verifies: "A device that gets another address is found again in the same call.",
        needs: Needs { address_change: true, ..Needs::NOTHING },
        faults: &[Fault::IgnoresRestarts],
        run: |lab| Box::pin(address_changes(lab)),
        ..Scenario::USUAL
    },
    Scenario {
        number: 49,
        name: "relay-only",
        verifies: "With relays only nobody is told another address; where a transport cannot keep to that, the engine does not start.",
        faults: &[Fault::ForgetsSettings],
        run: |lab| Box::pin(relay_only(lab)),
        ..Scenario::USUAL
    },
    Scenario {
        number: 50,
        name: "signaling-gone",
        verifies: "Without signaling a call goes on, and state travels on the data channel; afterwards everybody agrees.",
        needs: BLACKOUT,
        quiet_machine: true,
        faults: &[Fault::ChannelsOverSignaling],
        run: |lab| Box::pin(signaling_gone(lab)),
        limit: Duration::from_secs(180),
        ..Scenario::USUAL
    },
    Scenario {
        number: 50,
        name: "media-gone",
        verifies: "Without a path and with signaling a call of two looks for one, finds it again, or ends after a minute.",
        needs: BLACKOUT,
        faults: &[Fault::Tells(|event| Telling::nothing_of(event, "call_ended")), Fault::HealsLate],
        run: |lab| Box::pin(media_gone(lab)),
        limit: Duration::from_secs(180),
        ..Scenario::USUAL
    },
    Scenario {
        number: 54,
        name: "no-common-codec",
        verifies: "Two sides without a common codec are both told that the call failed, and nothing is left of it.",
        needs: Needs { strange_codec: true, ..Needs::NOTHING },
        faults: &[Fault::Tells(|event| Telling::nothing_of(event, "call_ended"))],
        run: |lab| Box::pin(no_common_codec(lab)),
        ..Scenario::USUAL
    },
];

async fn blackout_of_5_s(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    let call = alice.calls(&[&bob]).await?;
    bob.goes_dark()?;
    look_for_each_other(call, &alice, &bob).await?;
    lab.passes(Duration::from_millis(2_500)).await;
    bob.is_back()?;
    find_each_other(lab, call, &alice, &bob, Duration::from_secs(2)).await
}

async fn blackout_of_20_s(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    let call = alice.calls(&[&bob]).await?;
    bob.goes_dark()?;
    look_for_each_other(call, &alice, &bob).await?;
    lab.passes(Duration::from_millis(17_500)).await;
    bob.is_back()?;
    find_each_other(lab, call, &alice, &bob, Duration::from_secs(5)).await?;
    alice.must(alice.ice_restarts()? + bob.ice_restarts()? > 0, "nobody restarted ICE")
}

async fn blackout_for_good(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    let call = alice.calls(&[&bob]).await?;
    let dark_since = lab.now();
    bob.goes_dark()?;
    look_for_each_other(call, &alice, &bob).await?;
    for (one, other) in [(&alice, &bob), (&bob, &alice)] {
        let limit = (dark_since + Duration::from_secs(35)).saturating_sub(lab.now());
        one.sees_within(limit, left(call, other, LeftReason::TimedOut)).await?;
        one.sees(call_ended(call, EndReason::TimedOut)).await?;
    }
    lab.nobody_sees_anything_more().await?;
    bob.is_back()?;
    lab.passes(Duration::from_secs(20)).await;
    alice.has_no_call().await?;
    bob.has_no_call().await?;
    lab.nobody_sees_anything_more().await
}

async fn address_changes(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    let call = alice.calls(&[&bob]).await?;
    for mover in [&alice, &bob] {
        mover.changes_its_address()?;
        lab.passes(Duration::from_secs(3)).await;
        let mut noticed = 0;
        for (one, other) in [(&alice, &bob), (&bob, &alice)] {
            one.hears(other).await?;
            // Whoever notices first may have mended it before the other does.
            if one.may_have_seen(reconnecting(call, other)) {
                one.sees(reconnected(call, other)).await?;
                noticed += 1;
            }
        }
        mover.must(noticed > 0, "has another address, and nobody noticed")?;
        hear_each_other(&[&alice, &bob]).await?;
        lab.nobody_sees_anything_more().await?;
        alice.has_call(call, CallState::Active).await?;
        bob.has_call(call, CallState::Active).await?;
    }
    alice.must(alice.ice_restarts()? + bob.ice_restarts()? > 0, "nobody restarted ICE")
}

async fn relay_only(lab: &mut Lab) -> Result {
    let server = lab.turn_server().await?;
    let IceServer { url, username, credential } = server.ice_server();
    let servers = format!("ice.servers=[{{url={url:?},username={username:?},credential={credential:?}}}]");
    let mut people = Vec::new();
    for (transport, name) in lab.transports()?.into_iter().zip(["alice", "bob"]) {
        let secretive = Profile::new(name).setting(&servers).setting("ice.relay_only=true");
        match (transport.relay, lab.tries_to_start(secretive).await) {
            (true, Ok(person)) => people.push(person),
            (false, Err(error)) if error.kind() == ErrorKind::Unsupported => {}
            (_, Ok(person)) => return Err(person.fails("keeps nothing secret, and started")),
            (_, Err(error)) => return Err(lab.fails(&format!("{name} did not start: {error}"))),
        }
    }
    let [alice, bob] = people.as_slice() else { return Ok(()) };
    let call = alice.calls(&[bob]).await?;
    hear_each_other(&[alice, bob]).await?;
    for person in [alice, bob] {
        let told = relays_alone(&person.addresses_told()?, &server.figures().relayed);
        let relays = told.map_err(|leak| person.fails(leak))?;
        person.must(relays > 0, "told no candidate at all")?;
        person.has_call(call, CallState::Active).await?;
    }
    alice.must(server.figures().to_peers > 0, "was heard, and not through the relay")
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
    bob.finds_signaling()?;
    alice.sets_muted(false).await?;
    bob.sees(state_of(call, &alice, ParticipantState::default())).await?;
    lab.passes(Duration::from_secs(10)).await;
    hear_each_other(&[&alice, &bob]).await?;
    alice.heard_throughout(&bob, gone_since)?;
    bob.saw_exactly(2, any("participant_state_changed"))?;
    lab.nobody_sees_anything_more().await
}

async fn media_gone(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    let call = alice.calls(&[&bob]).await?;
    bob.loses_its_path()?;
    look_for_each_other(call, &alice, &bob).await?;
    lab.passes(Duration::from_secs(30)).await;
    bob.finds_its_path()?;
    find_each_other(lab, call, &alice, &bob, Duration::from_secs(5)).await?;
    alice.must(alice.ice_restarts()? + bob.ice_restarts()? > 0, "nobody restarted ICE")?;

    bob.loses_its_path()?;
    look_for_each_other(call, &alice, &bob).await?;
    lab.passes(Duration::from_secs(55)).await;
    lab.nobody_sees_anything_more().await?;
    let mut told = 0;
    for (one, other) in [(&alice, &bob), (&bob, &alice)] {
        lab.passes(Duration::from_secs(3)).await;
        // The one whose minute is over first says that it leaves, and the other may hear that
        // before its own is.
        let failed = one.sees_within(Duration::from_secs(3), call_ended(call, EndReason::Failed)).await;
        told += usize::from(failed.is_ok());
        if failed.is_err() {
            one.sees(left(call, other, LeftReason::Left)).await?;
            one.sees(call_ended(call, EndReason::RemoteLeft)).await?;
        }
    }
    alice.must(told > 0, "was not told that the path failed, nor was bob")?;
    alice.has_no_call().await?;
    bob.has_no_call().await?;
    lab.nobody_sees_anything_more().await
}

async fn no_common_codec(lab: &mut Lab) -> Result {
    let [alice] = lab.participants().await?;
    let bob = lab.participant(Profile::new("bob").with_strange_codec()).await?;
    let call = alice.offers(&[&bob]).await?;
    bob.sees(incoming_call(call, &alice)).await?;
    alice.sees(ringing(call, &bob)).await?;
    bob.answers(call).await?;
    for person in [&alice, &bob] {
        person.sees(call_joined(call)).await?;
        person.sees(call_ended(call, EndReason::Failed)).await?;
        person.never_saw(any("participant_joined"))?;
    }
    lab.passes(Duration::from_secs(15)).await;
    for person in [&alice, &bob] {
        person.has_no_call().await?;
        person.must(person.open_sessions()? == 0, "has a session open in no call")?;
        person.must(person.open_devices() == 0, "has a device open in no call")?;
    }
    lab.nobody_sees_anything_more().await
}

/// Both notice that the path is silent.
async fn look_for_each_other(call: CallId, alice: &Participant, bob: &Participant) -> Result {
    alice.sees(reconnecting(call, bob)).await?;
    bob.sees(reconnecting(call, alice)).await.map(drop)
}

/// Both have each other again within a time from now, and nothing else happened.
async fn find_each_other(lab: &Lab, call: CallId, alice: &Participant, bob: &Participant, limit: Duration) -> Result {
    let end = lab.now() + limit;
    for (one, other) in [(alice, bob), (bob, alice)] {
        one.sees_within(end.saturating_sub(lab.now()), reconnected(call, other)).await?;
        one.hears_within(end.saturating_sub(lab.now()), other).await?;
    }
    lab.nobody_sees_anything_more().await?;
    for person in [alice, bob] {
        let participants = person.has_call(call, CallState::Active).await?.participants.len();
        person.must(participants == 1, format!("has {participants} others in a call of two"))?;
    }
    Ok(())
}
