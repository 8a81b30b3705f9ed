//! Decoded audio of the current call.

use blink_api::{Result, TrackKey};

use super::Blink;
use crate::audio_frames::AudioFrames;
use crate::driver::command::Command;

impl Blink {
    /// Decoded audio of one track of the current call, from now on: the microphone of a participant
    /// ([`TrackKey::microphone`]), an audio stream that was requested or is offered
    /// ([`TrackKey::stream`]), or this device's own microphone as it is sent.
    ///
    /// It depends neither on volumes nor on [`set_deafened`](Blink::set_deafened), and goes on
    /// while a path is replaced. Several readers of one track each get all frames.
    ///
    /// # Errors
    /// [`State`](blink_api::ErrorKind::State) without a call;
    /// [`NotFound`](blink_api::ErrorKind::NotFound) for a participant that has not joined
    /// ([`ParticipantJoined`](crate::Event::ParticipantJoined)), and for a stream that is not one
    /// of audio, or is neither requested nor offered by this device.
    ///
    /// # Cancellation
    /// As all commands. Where the answer is lost, so are the frames.
    pub async fn audio_frames(&self, track: TrackKey) -> Result<AudioFrames> {
        self.ask(|reply| Command::AudioFrames { track, reply }).await?
    }
}
