//! Speech and quality events on networks that lose, delay and hold packets.

use std::time::Duration;

use blink_api::QualityReason;
use blink_engine::Event;

use super::Scenario;
use crate::impaired::Impairments;
use crate::lab::{
    EventMutation, Fault, Lab, Participant, Profile, Result, quality_degraded, quality_recovered, reconnected,
    reconnecting,
};

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        number: 51,
        name: "loss-and-jitter",
        verifies: "With 10 % loss and 100 ms jitter speech stays intelligible and its delay bounded, and afterwards the delay comes back down.",
        quiet_machine: true,
        faults: &[
            Fault::DropsEverySecondPacket,
            Fault::KeepsDelay,
            Fault::MutatesEvents(|event| EventMutation::suppress(event, "quality_degraded")),
        ],
        run: |lab| Box::pin(loss_and_jitter(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 52,
        name: "burst-after-a-stall",
        verifies: "After a stall of 2 s whose packets arrive all at once, speech has the delay from before.",
        quiet_machine: true,
        faults: &[Fault::KeepsDelay],
        run: |lab| Box::pin(burst_after_a_stall(lab)),
        ..Scenario::DEFAULT
    },
    Scenario {
        number: 53,
        name: "long-round-trip",
        verifies: "A round trip of over 300 ms is reported once with its value, and so is its end; a shorter one is not.",
        faults: &[
            Fault::MutatesEvents(|event| EventMutation::suppress(event, "quality_degraded")),
            Fault::MutatesEvents(|event| EventMutation::suppress(event, "quality_recovered")),
            Fault::MutatesEvents(|event| EventMutation::duplicate(event, "quality_degraded")),
        ],
        run: |lab| Box::pin(long_round_trip(lab)),
        ..Scenario::DEFAULT
    },
];

/// Speech whose delay is measured.
const WINDOW: Duration = Duration::from_secs(3);
/// Speech that is scored. PESQ needs 8 s.
const SCORED: Duration = Duration::from_secs(8);
/// Score of intelligible speech. Opus with redundancy has 2.2 to 3.2 on this network, and 1.4 to
/// 1.6 where every second packet is lost as well.
const LEAST_SCORE: f32 = 1.8;
/// The lab's own codec plays silence for every lost packet, which halves the score.
const LEAST_SCORE_OF_LAB_CODEC: f32 = 1.2;
/// Growth of the delay that counts as bounded: three times the jitter.
const BOUND: Duration = Duration::from_millis(300);
/// Time in which the jitter buffer forgets a bad network: its histogram has a time constant of
/// 10 s, and the latest of 100 packets decides, which takes 46 s.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// Longest delay that is measured, after which speech was heard.
const PLAYED_OUT: Duration = Duration::from_millis(1_500);
/// Growth of the delay that counts as none: as much jitter as a machine with much else to do has.
const NO_GROWTH: Duration = Duration::from_millis(60);

async fn loss_and_jitter(lab: &mut Lab) -> Result {
    let (alice, bob) = speakers(lab).await?;
    let call = alice.talks_to(&bob).await?;
    let before = delays(lab, &alice, &bob, Duration::from_secs(4)).await?;

    lab.impairs(Impairments { loss: 0.1, jitter: Duration::from_millis(100), ..Impairments::NONE });
    // The first reports of the loss cause redundancy, and the jitter buffers grow.
    lab.passes(Duration::from_secs(4)).await;
    let from = lab.now();
    for ((one, other), before) in [(&alice, &bob), (&bob, &alice)].into_iter().zip(before) {
        stays_intelligible(lab, one, other, from, before).await?;
        one.sees_within(Duration::from_secs(10), quality_degraded(call, other, "loss")).await?;
    }

    lab.impairs(Impairments::NONE);
    delays_come_back(lab, &alice, &bob, before, FORGOTTEN).await?;
    for (one, other) in [(&alice, &bob), (&bob, &alice)] {
        one.sees_within(Duration::from_secs(20), quality_recovered(call, other)).await?;
    }
    lab.no_unexpected_events().await
}

async fn burst_after_a_stall(lab: &mut Lab) -> Result {
    let (alice, bob) = speakers(lab).await?;
    let call = alice.talks_to(&bob).await?;
    let before = delays(lab, &alice, &bob, Duration::from_secs(4)).await?;

    bob.stalls()?;
    lab.passes(Duration::from_secs(2)).await;
    bob.resumes()?;
    delays_come_back(lab, &alice, &bob, before, Duration::from_secs(30)).await?;
    // A path counts as silent after 2.5 s, which a busy machine may exceed.
    for (one, other) in [(&alice, &bob), (&bob, &alice)] {
        if one.may_have_seen(reconnecting(call, other)) {
            one.sees(reconnected(call, other)).await?;
        }
    }
    lab.no_unexpected_events().await
}

async fn long_round_trip(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    let call = alice.calls(&[&bob]).await?;
    lab.impairs(Impairments::delayed(Duration::from_millis(100)));
    lab.passes(Duration::from_secs(10)).await;
    for (one, other) in [(&alice, &bob), (&bob, &alice)] {
        one.never_saw(quality_degraded(call, other, "round_trip"))?;
    }

    lab.impairs(Impairments::delayed(Duration::from_millis(200)));
    // Pings are sent every 2.5 s, and the shortest round trip of 5 s counts.
    for (one, other) in [(&alice, &bob), (&bob, &alice)] {
        let seen = one.sees_within(Duration::from_secs(15), quality_degraded(call, other, "round_trip")).await?;
        let Event::QualityDegraded { reason: QualityReason::RoundTrip { measured, threshold }, .. } = seen.event else {
            return Err(one.fails("saw another reason"));
        };
        one.must(
            measured >= Duration::from_millis(400) && threshold == Duration::from_millis(300),
            format!("saw {measured:?} over {threshold:?} on a path of 400 ms"),
        )?;
        one.hears(other).await?;
    }

    lab.impairs(Impairments::NONE);
    for (one, other) in [(&alice, &bob), (&bob, &alice)] {
        one.sees_within(Duration::from_secs(25), quality_recovered(call, other)).await?;
        one.saw_exactly(1, quality_degraded(call, other, "round_trip"))?;
    }
    lab.no_unexpected_events().await
}

/// Two participants with real speech.
async fn speakers(lab: &mut Lab) -> Result<(Participant, Participant)> {
    let alice = lab.participant(Profile::new("alice").with_speech()).await?;
    let bob = lab.participant(Profile::new("bob").with_speech()).await?;
    Ok((alice, bob))
}

/// Delays at which both hear each other after some time: at the first, and at the second.
async fn delays(lab: &Lab, alice: &Participant, bob: &Participant, after: Duration) -> Result<[Duration; 2]> {
    lab.passes(after).await;
    let from = lab.now();
    lab.passes(WINDOW + PLAYED_OUT).await;
    Ok([alice.speech_delay_of(bob, from, WINDOW)?, bob.speech_delay_of(alice, from, WINDOW)?])
}

/// Verifies score and delay of 8 s of speech from a time on. A machine with much else to do
/// interrupts speech too: of three times in a row, once is enough.
async fn stays_intelligible(
    lab: &Lab,
    one: &Participant,
    other: &Participant,
    from: Duration,
    before: Duration,
) -> Result {
    let least = if lab.has_speech_codec() { LEAST_SCORE } else { LEAST_SCORE_OF_LAB_CODEC };
    let check = |from: Duration| {
        let score = one.speech_score_of(other, from, SCORED)?;
        one.must(score >= least, format!("heard {other} with a PESQ-WB score of {score:.2}"))?;
        for start in [from, from + WINDOW] {
            let (delay, limit) = (one.speech_delay_of(other, start, WINDOW)?, before + BOUND);
            one.must(delay <= limit, format!("heard {other} after {delay:?}, more than {limit:?}"))?;
        }
        Ok(())
    };
    let mut outcome = Ok(());
    for from in [from, from + SCORED, from + SCORED * 2] {
        lab.passes((from + SCORED + PLAYED_OUT).saturating_sub(lab.now())).await;
        outcome = check(from);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// Waits until each hears the other with the delay from before. A machine with much else to do
/// delays packets too: once is enough.
async fn delays_come_back(
    lab: &Lab,
    alice: &Participant,
    bob: &Participant,
    before: [Duration; 2],
    limit: Duration,
) -> Result {
    let began = lab.now();
    for ((one, other), before) in [(alice, bob), (bob, alice)].into_iter().zip(before) {
        let mut from = began;
        loop {
            lab.passes((from + WINDOW + PLAYED_OUT).saturating_sub(lab.now())).await;
            let delay = one.speech_delay_of(other, from, WINDOW);
            if delay.as_ref().is_ok_and(|delay| *delay <= before + NO_GROWTH) {
                break;
            }
            from += Duration::from_secs(1);
            if from > began + limit {
                let delay = delay?;
                return Err(one.fails(format!("heard {other} after {delay:?} in the end, and after {before:?} before")));
            }
        }
    }
    Ok(())
}
