//! Audio checks: whose tone a participant's loudspeaker plays.

use std::ops::Range;
use std::time::Duration;

use blink_api::CallId;

use super::failure::Result;
use super::participant::Participant;
use super::sight::{call_joined, incoming_call, joined, media_started, ringing};
use super::sound::{AMPLITUDE, STORE, tone_of};

/// Window in which a tone must be audible to count as heard.
const LISTENING: Duration = Duration::from_millis(300);
/// Share of [`LISTENING`] in which it must be audible.
const MOST: f32 = 0.8;
/// Polling interval of the checks.
const AGAIN: Duration = Duration::from_millis(20);
/// Time in which audio sent before a change is played out.
const PLAYED_OUT: Duration = Duration::from_millis(400);
/// Window of a check for silence.
const SILENCE: Duration = Duration::from_secs(1);
/// Share of [`SILENCE`] in which a tone may seem audible: onsets and ends of other tones overlap it
/// in the frequency domain.
const LEAST: f32 = 0.05;
/// Longest gap that counts as uninterrupted: one lost packet, and a partial block at each end.
const INTERRUPTION: Duration = Duration::from_millis(45);

impl Participant {
    /// Waits up to 5 s, or 30 s on a lossy network, until it hears a participant's tone.
    pub async fn hears(&self, talker: &Participant) -> Result<()> {
        self.hears_within(self.core.stage.patience(), talker).await
    }

    /// Waits up to a limit until it hears a participant's tone.
    pub async fn hears_within(&self, limit: Duration, talker: &Participant) -> Result<()> {
        let end = self.core.clock.elapsed() + limit;
        let hertz = tone_of(talker.number());
        loop {
            let now = self.core.clock.elapsed();
            let from = now.saturating_sub(LISTENING);
            if self.person.devices.ear.share(hertz, from, now) >= MOST {
                return Ok(());
            }
            if now >= end {
                return Err(self.fails(format!("did not hear {talker} within {limit:?}")));
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Verifies that a participant is not heard for a second.
    pub async fn hears_nothing_of(&self, talker: &Participant) -> Result<()> {
        tokio::time::sleep(PLAYED_OUT).await;
        let from = self.core.clock.elapsed();
        tokio::time::sleep(SILENCE).await;
        self.heard_nothing_since(talker, from)
    }

    /// Verifies that a participant was not heard since a time.
    pub fn heard_nothing_since(&self, talker: &Participant, since: Duration) -> Result<()> {
        let now = self.core.clock.elapsed();
        let share = self.person.devices.ear.share(tone_of(talker.number()), since, now);
        let percent = share * 100.0;
        self.must(share <= LEAST, format!("heard {talker} for {percent:.0} % of {:?}", now.saturating_sub(since)))
    }

    /// Verifies that a participant was heard without interruption since a time. Stalls of the
    /// machine are not counted.
    pub fn heard_throughout(&self, talker: &Participant, since: Duration) -> Result<()> {
        let now = self.core.clock.elapsed();
        let gaps = self.person.devices.ear.gaps(tone_of(talker.number()), since, now);
        // A late block was delayed before its time and is played from the buffer after it, so that
        // stalls on both sides of the gap may explain it.
        let around = |gap: &Range<Duration>| gap.start.saturating_sub(STORE)..gap.end + STORE;
        let mut lasting = gaps.iter().map(|gap| (gap.end - gap.start, self.core.stood_still(&around(gap))));
        match lasting.find(|(gap, still)| gap.saturating_sub(*still) > INTERRUPTION) {
            None => Ok(()),
            Some((gap, still)) => {
                let why = format!(
                    "did not hear {talker} for {gap:?}, during {still:?} of which the machine was stalled"
                );
                Err(self.fails(why))
            }
        }
    }

    /// Level at which it hears a participant, as a multiple of the level sent.
    pub async fn loudness_of(&self, talker: &Participant) -> f32 {
        tokio::time::sleep(PLAYED_OUT).await;
        let from = self.core.clock.elapsed();
        tokio::time::sleep(SILENCE).await;
        let now = self.core.clock.elapsed();
        self.person.devices.ear.loudness(tone_of(talker.number()), from, now) / AMPLITUDE
    }

    /// Verifies that it sends no media packet for a second.
    pub async fn sends_no_media(&self) -> Result<()> {
        // The last frames and the trailing silence are still being sent.
        tokio::time::sleep(PLAYED_OUT).await;
        let before = self.packets_sent()?;
        tokio::time::sleep(SILENCE).await;
        let sent = self.packets_sent()? - before;
        self.must(sent == 0, format!("sent {sent} packets, expected none"))
    }

    /// Claims the event that a participant's audio started, if it occurred: the call may be too
    /// short for it.
    pub fn may_hear(&self, call: CallId, other: &Participant) {
        self.may_have_seen(media_started(call, other));
    }

    /// Waits until a participant has joined and is heard.
    pub async fn meets(&self, call: CallId, other: &Participant) -> Result<()> {
        self.sees(joined(call, other)).await?;
        self.sees(media_started(call, other)).await?;
        self.hears(other).await
    }

    /// Calls participants, who answer one after the other, and waits until all hear each other.
    pub async fn calls(&self, people: &[&Participant]) -> Result<CallId> {
        let call = self.offers(people).await?;
        for person in people {
            person.sees(incoming_call(call, self)).await?;
            self.sees(ringing(call, person)).await?;
        }
        let mut present = vec![self];
        for (number, person) in people.iter().enumerate() {
            person.answers(call).await?;
            person.sees(call_joined(call)).await?;
            if number == 0 {
                self.sees(call_joined(call)).await?;
            }
            for other in &present {
                other.sees(joined(call, person)).await?;
                person.sees(joined(call, other)).await?;
            }
            for other in &present {
                other.sees(media_started(call, person)).await?;
                person.sees(media_started(call, other)).await?;
                other.hears(person).await?;
                person.hears(other).await?;
            }
            present.push(person);
        }
        Ok(call)
    }
}

impl Participant {
    /// Calls muted participants, who answer one after the other, and waits until all have joined.
    pub async fn calls_silently(&self, people: &[&Participant]) -> Result<CallId> {
        let call = self.offers(people).await?;
        let mut present = vec![self];
        for person in people {
            person.sees(incoming_call(call, self)).await?;
            person.answers(call).await?;
            for other in &present {
                other.sees(joined(call, person)).await?;
                person.sees(joined(call, other)).await?;
            }
            present.push(person);
        }
        Ok(call)
    }
}

/// Waits until all participants hear each other.
pub async fn hear_each_other(people: &[&Participant]) -> Result<()> {
    for listener in people {
        for talker in people.iter().filter(|talker| talker.number() != listener.number()) {
            listener.hears(talker).await?;
        }
    }
    Ok(())
}

/// Waits until all participants have seen each other join, and hear each other.
pub async fn meet(call: CallId, people: &[&Participant]) -> Result<()> {
    for one in people {
        for other in people.iter().filter(|other| other.number() != one.number()) {
            one.meets(call, other).await?;
        }
    }
    Ok(())
}
