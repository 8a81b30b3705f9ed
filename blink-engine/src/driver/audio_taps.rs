//! Decoded audio for the user, by tracks, and the ends of own sources.

use std::sync::Weak;

use blink_api::{CallId, DeviceDirection, Error, ErrorKind, Result, TrackKey, TrackSource};
use blink_media::MediaCommand;
use blink_proto::call::{Event, ParticipantStatus};

use super::driver_loop::Driver;
use crate::audio_frames::{AudioFrames, Shared};

/// The frames that the user reads. Their taps end with the media of the call, and by themselves
/// once their reader is gone.
#[derive(Default)]
pub(super) struct AudioTaps {
    open: Vec<(TrackKey, Weak<Shared>)>,
}

impl AudioTaps {
    fn add(&mut self, frames: &AudioFrames) {
        self.open.retain(|(_, shared)| shared.strong_count() > 0);
        self.open.push((frames.track(), frames.shared()));
    }

    /// Ends the frames of some tracks.
    pub(super) fn end(&mut self, is_over: impl Fn(&TrackKey) -> bool) {
        self.open.retain(|(track, shared)| {
            let Some(shared) = shared.upgrade() else { return false };
            let ends = is_over(track);
            if ends {
                shared.end();
            }
            !ends
        });
    }
}

impl Driver {
    pub(super) async fn open_audio_frames(&mut self, track: TrackKey) -> Result<AudioFrames> {
        self.check_track(&track)?;
        let (frames, tap) = AudioFrames::new(track);
        self.audio_taps.add(&frames);
        let id = self.recordings.next_tap();
        self.media.send_command(MediaCommand::AddTap(id, Box::new(tap))).await;
        Ok(frames)
    }

    /// Checks that a track has audio that this device receives or sends.
    fn check_track(&self, track: &TrackKey) -> Result<()> {
        let call = self.active.ok_or_else(|| Error::new(ErrorKind::State, "not in a call"))?;
        let own = track.endpoint == self.machine.own();
        let is_there = match track.source {
            TrackSource::Microphone if own => true,
            TrackSource::Microphone => self.has_joined(call, track),
            TrackSource::Stream(stream) if own => self.streams.source_of(&stream).is_some(),
            TrackSource::Stream(stream) => self.streams.has_requested_audio(track.endpoint, stream),
        };
        match (is_there, track.source) {
            (true, _) => Ok(()),
            (false, TrackSource::Microphone) => {
                let error = Error::new(ErrorKind::NotFound, "the participant has not joined the call");
                Err(error.with("participant", track.endpoint))
            }
            (false, TrackSource::Stream(stream)) => {
                let error = Error::new(ErrorKind::NotFound, "the audio stream is neither requested nor offered here");
                Err(error.with("stream", stream))
            }
        }
    }

    /// Whether the event `ParticipantJoined` was delivered, and no `ParticipantLeft` since.
    fn has_joined(&self, call: CallId, track: &TrackKey) -> bool {
        let snapshot = self.machine.snapshot();
        let participants = snapshot.calls.iter().filter(|known| known.call == call).flat_map(|call| &call.participants);
        participants.filter(|participant| participant.endpoint == Some(track.endpoint)).any(|participant| {
            use ParticipantStatus::{Connected, Reconnecting, Unreachable};
            matches!(participant.status, Connected | Reconnecting | Unreachable)
        })
    }

    /// The microphone or an offered stream came to its end.
    pub(super) fn handle_source_ended(&mut self, call: CallId, track: TrackKey) {
        let name = match track.source {
            TrackSource::Microphone => Some(self.setting(DeviceDirection::Source)),
            TrackSource::Stream(stream) => self.streams.source_of(&stream).map(str::to_owned),
        };
        // A stream that was revoked meanwhile has no source any more.
        if let Some(name) = name {
            self.emit(Event::SourceEnded { call, track, name });
        }
    }
}
