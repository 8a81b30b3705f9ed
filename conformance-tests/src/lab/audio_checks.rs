//! Audio checks: whose tone a participant's loudspeaker plays.

use std::ops::Range;
use std::time::Duration;

use blink_api::CallId;

use super::expected_event::{call_joined, incoming_call, joined, media_started, ringing};
use super::failure::Result;
use super::participant::Participant;
use super::playback::{AMPLITUDE, BUFFERED, tone_of};

/// Window in which a tone must be audible to count as heard.
const TONE_WINDOW: Duration = Duration::from_millis(300);
/// Share of [`TONE_WINDOW`] in which it must be audible.
const MIN_TONE_SHARE: f32 = 0.8;
/// Polling interval of the checks.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Time in which audio sent before a change is played out.
const PLAYED_OUT: Duration = Duration::from_millis(400);
/// Window of a check for silence.
const SILENCE_WINDOW: Duration = Duration::from_secs(1);
/// Share of [`SILENCE_WINDOW`] in which a tone may seem audible: onsets and ends of other tones
/// overlap it in the frequency domain.
const MAX_SILENT_SHARE: f32 = 0.05;
/// Longest gap that counts as uninterrupted: one lost packet, and a partial block at each end.
const MAX_GAP: Duration = Duration::from_millis(45);

impl Participant {
    /// Waits up to 5 s, or 30 s on a lossy network, until it hears a participant's tone.
    pub async fn hears(&self, talker: &Participant) -> Result<()> {
        self.hears_within(self.core.config.event_timeout(), talker).await
    }

    /// Waits up to a limit until it hears a participant's tone.
    pub async fn hears_within(&self, limit: Duration, talker: &Participant) -> Result<()> {
        let end = self.core.clock.elapsed() + limit;
        let hertz = tone_of(talker.number());
        loop {
            let now = self.core.clock.elapsed();
            let from = now.saturating_sub(TONE_WINDOW);
            if self.inner.devices.recording.share(hertz, from, now) >= MIN_TONE_SHARE {
                return Ok(());
            }
            if now >= end {
                return Err(self.fails(format!("did not hear {talker} within {limit:?}")));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Verifies that a participant is not heard for a second.
    pub async fn hears_nothing_of(&self, talker: &Participant) -> Result<()> {
        tokio::time::sleep(PLAYED_OUT).await;
        let from = self.core.clock.elapsed();
        tokio::time::sleep(SILENCE_WINDOW).await;
        self.heard_nothing_since(talker, from)
    }

    /// Verifies that a participant was not heard since a time.
    pub fn heard_nothing_since(&self, talker: &Participant, since: Duration) -> Result<()> {
        let now = self.core.clock.elapsed();
        let share = self.inner.devices.recording.share(tone_of(talker.number()), since, now);
        let percent = share * 100.0;
        self.must(
            share <= MAX_SILENT_SHARE,
            format!("heard {talker} for {percent:.0} % of {:?}", now.saturating_sub(since)),
        )
    }

    /// Verifies that a participant was heard without interruption since a time. Stalls of the
    /// machine are not counted.
    pub fn heard_throughout(&self, talker: &Participant, since: Duration) -> Result<()> {
        let now = self.core.clock.elapsed();
        let gaps = self.inner.devices.recording.gaps(tone_of(talker.number()), since, now);
        // A late block was delayed before its time and is played from the buffer after it, so that
        // stalls on both sides of the gap may explain it.
        let around = |gap: &Range<Duration>| gap.start.saturating_sub(BUFFERED)..gap.end + BUFFERED;
        let mut lasting = gaps.iter().map(|gap| (gap.end - gap.start, self.core.stall_time(&around(gap))));
        match lasting.find(|(gap, still)| gap.saturating_sub(*still) > MAX_GAP) {
            None => Ok(()),
            Some((gap, still)) => {
                let why =
                    format!("did not hear {talker} for {gap:?}, during {still:?} of which the machine was stalled");
                Err(self.fails(why))
            }
        }
    }

    /// Level at which it hears a participant, as a multiple of the level sent.
    pub async fn relative_amplitude_of(&self, talker: &Participant) -> f32 {
        tokio::time::sleep(PLAYED_OUT).await;
        let from = self.core.clock.elapsed();
        tokio::time::sleep(SILENCE_WINDOW).await;
        let now = self.core.clock.elapsed();
        self.inner.devices.recording.mean_amplitude(tone_of(talker.number()), from, now) / AMPLITUDE
    }

    /// Verifies that it sends no media packet for a second.
    pub async fn sends_no_media(&self) -> Result<()> {
        // The last frames and the trailing silence are still being sent.
        tokio::time::sleep(PLAYED_OUT).await;
        let before = self.packets_sent()?;
        tokio::time::sleep(SILENCE_WINDOW).await;
        let sent = self.packets_sent()? - before;
        self.must(sent == 0, format!("sent {sent} packets, expected none"))
    }

    /// Claims the event that a participant's audio started, if it occurred: the call may be too
    /// short for it.
    pub fn may_have_heard(&self, call: CallId, other: &Participant) {
        self.may_have_seen(media_started(call, other));
    }

    /// Waits until a participant has joined and is heard.
    pub async fn meets(&self, call: CallId, other: &Participant) -> Result<()> {
        self.sees(joined(call, other)).await?;
        self.sees(media_started(call, other)).await?;
        self.hears(other).await
    }

    /// Calls participants, who answer one after the other, and waits until all hear each other.
    pub async fn calls(&self, participants: &[&Participant]) -> Result<CallId> {
        let call = self.offers(participants).await?;
        for participant in participants {
            participant.sees(incoming_call(call, self)).await?;
            self.sees(ringing(call, participant)).await?;
        }
        let mut present = vec![self];
        for (number, participant) in participants.iter().enumerate() {
            participant.answers(call).await?;
            participant.sees(call_joined(call)).await?;
            if number == 0 {
                self.sees(call_joined(call)).await?;
            }
            for other in &present {
                other.sees(joined(call, participant)).await?;
                participant.sees(joined(call, other)).await?;
            }
            for other in &present {
                other.sees(media_started(call, participant)).await?;
                participant.sees(media_started(call, other)).await?;
                other.hears(participant).await?;
                participant.hears(other).await?;
            }
            present.push(participant);
        }
        Ok(call)
    }
}

impl Participant {
    /// Calls muted participants, who answer one after the other, and waits until all have joined.
    pub async fn calls_silently(&self, participants: &[&Participant]) -> Result<CallId> {
        let call = self.offers(participants).await?;
        let mut present = vec![self];
        for participant in participants {
            participant.sees(incoming_call(call, self)).await?;
            participant.answers(call).await?;
            for other in &present {
                other.sees(joined(call, participant)).await?;
                participant.sees(joined(call, other)).await?;
            }
            present.push(participant);
        }
        Ok(call)
    }
}

/// Waits until all participants hear each other.
pub async fn all_hear_each_other(participants: &[&Participant]) -> Result<()> {
    for listener in participants {
        for talker in participants.iter().filter(|talker| talker.number() != listener.number()) {
            listener.hears(talker).await?;
        }
    }
    Ok(())
}

/// Waits until all participants have seen each other join, and hear each other.
pub async fn all_meet(call: CallId, participants: &[&Participant]) -> Result<()> {
    for one in participants {
        for other in participants.iter().filter(|other| other.number() != one.number()) {
            one.meets(call, other).await?;
        }
    }
    Ok(())
}
