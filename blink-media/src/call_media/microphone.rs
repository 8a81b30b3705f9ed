//! The microphone of a call: its opened source, and how that is replaced. It is sent by an
//! [`AudioSender`](super::audio_sender::AudioSender), as offered audio streams are.

use blink_api::AudioSource;
use web_time::Instant;

use super::CallMedia;
use super::output::{MediaEvent, MediaOutput};
use crate::device_manager::OpenId;
use crate::null_source::NullSource;

impl CallMedia {
    /// Captures from this source.
    pub(super) fn set_microphone(
        &mut self,
        now: Instant,
        device: Option<OpenId>,
        (source, hardware_clock): (Box<dyn AudioSource>, bool),
    ) {
        match self.microphone.set_source(&self.audio, (device, source), &mut self.random) {
            Ok(()) => self.microphone.set_hardware_clock(hardware_clock),
            Err(error) => self.outputs.push_back(MediaOutput::Event(MediaEvent::MicrophoneUnusable(error))),
        }
        self.microphone.retire(&mut self.outputs);
        self.start_captures(now);
    }

    /// Captures silence from now on, where there was a microphone.
    pub(super) fn remove_microphone(&mut self, now: Instant) {
        if self.microphone.has_source() {
            self.set_microphone(now, None, (Box::new(NullSource::new(self.audio.format())), false));
        }
    }
}
