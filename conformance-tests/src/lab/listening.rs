//! What a participant hears: whose tone its loudspeaker plays.

use std::ops::Range;
use std::time::Duration;

use blink_api::CallId;

use super::failure::Result;
use super::participant::Participant;
use super::sight::{call_joined, incoming_call, joined, media_started, ringing};
use super::sound::{AMPLITUDE, STORE, tone_of};

/// How long a tone must be there to be heard.
const LISTENING: Duration = Duration::from_millis(300);
/// The share of that time.
const MOST: f32 = 0.8;
/// How often somebody who waits for a tone listens.
const AGAIN: Duration = Duration::from_millis(20);
/// What was sent before a change is played within this time.
const PLAYED_OUT: Duration = Duration::from_millis(400);
/// How long silence is listened to.
const SILENCE: Duration = Duration::from_secs(1);
/// The share of that time in which something may seem to be there: beginnings and ends of other
/// tones.
const LEAST: f32 = 0.05;
/// The longest pause of a tone that counts as uninterrupted: one lost packet, and a block at each
/// end.
const INTERRUPTION: Duration = Duration::from_millis(45);

impl Participant {
    /// Hears somebody's tone within 5 s; on a network that loses, within 30 s.
    pub async fn hears(&self, talker: &Participant) -> Result<()> {
        self.hears_within(self.core.stage.patience(), talker).await
    }

    /// Hears somebody's tone within a time.
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

    /// Hears nothing of somebody for a second.
    pub async fn hears_nothing_of(&self, talker: &Participant) -> Result<()> {
        tokio::time::sleep(PLAYED_OUT).await;
        let from = self.core.clock.elapsed();
        tokio::time::sleep(SILENCE).await;
        self.heard_nothing_since(talker, from)
    }

    /// Heard nothing of somebody since a time.
    pub fn heard_nothing_since(&self, talker: &Participant, since: Duration) -> Result<()> {
        let now = self.core.clock.elapsed();
        let share = self.person.devices.ear.share(tone_of(talker.number()), since, now);
        let percent = share * 100.0;
        self.must(share <= LEAST, format!("heard {talker} for {percent:.0} % of {:?}", now.saturating_sub(since)))
    }

    /// Heard somebody without a pause since a time. What the machine stood still meanwhile is no
    /// pause.
    pub fn heard_throughout(&self, talker: &Participant, since: Duration) -> Result<()> {
        let now = self.core.clock.elapsed();
        let gaps = self.person.devices.ear.gaps(tone_of(talker.number()), since, now);
        // Sound that comes late was late before its time, and is heard from the store after it.
        let around = |gap: &Range<Duration>| gap.start.saturating_sub(STORE)..gap.end + STORE;
        let mut lasting = gaps.iter().map(|gap| (gap.end - gap.start, self.core.stood_still(&around(gap))));
        match lasting.find(|(gap, still)| gap.saturating_sub(*still) > INTERRUPTION) {
            None => Ok(()),
            Some((gap, still)) => {
                let why = format!(
                    "did not hear {talker} for {gap:?} at a stretch, of which the machine stood still for {still:?}"
                );
                Err(self.fails(why))
            }
        }
    }

    /// How loud it hears somebody, as a multiple of how loud everybody talks.
    pub async fn loudness_of(&self, talker: &Participant) -> f32 {
        tokio::time::sleep(PLAYED_OUT).await;
        let from = self.core.clock.elapsed();
        tokio::time::sleep(SILENCE).await;
        let now = self.core.clock.elapsed();
        self.person.devices.ear.loudness(tone_of(talker.number()), from, now) / AMPLITUDE
    }

    /// Sends no packet of media for a second.
    pub async fn sends_no_media(&self) -> Result<()> {
        // The last frames and the silence after them are on their way.
        tokio::time::sleep(PLAYED_OUT).await;
        let before = self.packets_sent()?;
        tokio::time::sleep(SILENCE).await;
        let sent = self.packets_sent()? - before;
        self.must(sent == 0, format!("sent {sent} packets, and should be silent"))
    }

    /// May be told that somebody's sound begins, in a call too short to be sure.
    pub fn may_hear(&self, call: CallId, other: &Participant) {
        self.may_have_seen(media_started(call, other));
    }

    /// Sees somebody join, and hears it.
    pub async fn meets(&self, call: CallId, other: &Participant) -> Result<()> {
        self.sees(joined(call, other)).await?;
        self.sees(media_started(call, other)).await?;
        self.hears(other).await
    }

    /// Calls people, who answer one after the other: all are in the call, and hear each other.
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
    /// Calls people, who answer one after the other; everybody is muted, so that nobody is heard.
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

/// All of them hear each other.
pub async fn hear_each_other(people: &[&Participant]) -> Result<()> {
    for listener in people {
        for talker in people.iter().filter(|talker| talker.number() != listener.number()) {
            listener.hears(talker).await?;
        }
    }
    Ok(())
}

/// Each meets each: sees it join, and hears it.
pub async fn meet(call: CallId, people: &[&Participant]) -> Result<()> {
    for one in people {
        for other in people.iter().filter(|other| other.number() != one.number()) {
            one.meets(call, other).await?;
        }
    }
    Ok(())
}
