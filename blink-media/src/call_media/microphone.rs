//! The microphone of a call: where its source is opened and replaced. It is sent by an
//! [`AudioSender`](super::audio_sender::AudioSender), as offered audio streams are.

use blink_api::AudioSource;
use web_time::Instant;

use super::CallMedia;
use super::output::{MediaEvent, MediaOutput};
use crate::null_source::NullSource;

impl CallMedia {
    /// Captures from this source. What processors learned about the one before is wrong now.
    pub(super) fn set_microphone(&mut self, now: Instant, source: Box<dyn AudioSource>) {
        self.processors.reset();
        if let Err(error) = self.microphone.set_source(&self.audio, source, &mut self.random) {
            self.outputs.push_back(MediaOutput::Event(MediaEvent::MicrophoneUnusable(error)));
        }
        self.start_captures(now);
    }

    /// Captures silence from now on, where there was a microphone.
    pub(super) fn remove_microphone(&mut self, now: Instant) {
        if self.microphone.has_source() {
            self.set_microphone(now, Box::new(NullSource::new(self.audio.format())));
        }
    }
}
