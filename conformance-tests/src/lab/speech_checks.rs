//! Checks of real speech: how a participant hears another one. Both need
//! [`Profile::with_speech`](super::profile::Profile::with_speech).

use std::time::Duration;

use blink_api::CallId;

use super::expected_event::{call_joined, incoming_call, joined, media_started, ringing};
use super::failure::Result;
use super::participant::Participant;
use super::speech::{self, LONGEST_DELAY, SpeechRecording};

impl Participant {
    /// Holds all packets and messages that arrive, as a network without connection to its base
    /// station does.
    pub fn stalls(&self) -> Result<()> {
        self.log_action("stalls");
        self.core.set_stalled(&*self.link()?, true);
        Ok(())
    }

    /// Delivers all at once that was held.
    pub fn resumes(&self) -> Result<()> {
        self.log_action("resumes");
        self.core.set_stalled(&*self.link()?, false);
        Ok(())
    }

    /// Calls a participant, and waits until both receive audio.
    pub async fn talks_to(&self, other: &Participant) -> Result<CallId> {
        let call = self.offers(&[other]).await?;
        other.sees(incoming_call(call, self)).await?;
        self.sees(ringing(call, other)).await?;
        other.answers(call).await?;
        for (one, other) in [(self, other), (other, self)] {
            one.sees(call_joined(call)).await?;
            one.sees(joined(call, other)).await?;
            one.sees(media_started(call, other)).await?;
        }
        Ok(call)
    }

    /// Time from the microphone of a talker to the own loudspeaker, of speech that was captured in
    /// a time range.
    ///
    /// # Errors
    /// The speech is not recognized, or comes later than after 1.5 s.
    pub fn speech_delay_of(&self, talker: &Participant, from: Duration, length: Duration) -> Result<Duration> {
        let (said, heard) = self.speech_of(talker)?;
        let delay = speech::delay(said, heard, from, length);
        let why =
            || self.fails(format!("did not recognize what {talker} said from {from:?} on within {LONGEST_DELAY:?}"));
        delay.ok_or_else(why)
    }

    /// PESQ-WB score of speech that a talker's microphone captured in a time range.
    ///
    /// # Errors
    /// There is nothing to score.
    pub fn speech_score_of(&self, talker: &Participant, from: Duration, length: Duration) -> Result<f32> {
        let (said, heard) = self.speech_of(talker)?;
        let score = speech::pesq_wb(said, heard, from, length);
        let score = score.ok_or_else(|| self.fails(format!("heard nothing that {talker} said from {from:?} on")))?;
        self.log_action(format!("hears {talker} with a PESQ-WB score of {score:.2}"));
        Ok(score)
    }

    /// Recordings of a talker and of the own loudspeaker.
    fn speech_of<'a>(&'a self, talker: &'a Participant) -> Result<(&'a SpeechRecording, &'a SpeechRecording)> {
        match (&talker.inner.devices.speech, &self.inner.devices.speech) {
            (Some([said, _]), Some([_, heard])) => Ok((said, heard)),
            _ => Err(self.fails("has no recording of speech")),
        }
    }
}
