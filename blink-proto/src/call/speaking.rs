//! Who speaks: told by the media, for whom is in the call and not muted.

use blink_api::Endpoint;

use super::event::Event;
use super::lifecycle::Call;
use super::shared::Shared;

/// A voice, as the media hears it and as the user is told.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Voice {
    /// The media hears it.
    heard: bool,
    /// Its owner speaks, as far as the user knows.
    pub(super) speaking: bool,
}

impl Call {
    /// A voice is heard from now on, or no more.
    pub(super) fn hear_voice(&mut self, endpoint: Endpoint, heard: bool, shared: &mut Shared) {
        if endpoint == shared.own {
            shared.voice.heard = heard;
        } else if let Some(peer) = self.peers.get_mut(&endpoint) {
            peer.voice.heard = heard;
        }
        self.tell_speaking(endpoint, shared);
    }

    /// Whoever is heard, in the call and not muted speaks.
    pub(super) fn tell_speaking(&mut self, endpoint: Endpoint, shared: &mut Shared) {
        let now = shared.mono();
        let (voice, may_speak, told) = match self.peers.get_mut(&endpoint) {
            _ if endpoint == shared.own => (&mut shared.voice, self.phase.is_current() && !shared.muted, None),
            Some(peer) => {
                let may_speak = self.phase.is_current() && peer.announced && !peer.state.muted;
                (&mut peer.voice, may_speak, Some(&mut peer.told))
            }
            None => return,
        };
        let speaks = voice.heard && may_speak;
        if let Some(told) = told {
            let changes = voice.speaking != speaks;
            told.speech_waits = if changes && speaks { told.waits_until(now) } else { None };
            if told.speech_waits.is_some() {
                return;
            }
            if changes {
                told.note(now);
            }
        }
        if std::mem::replace(&mut voice.speaking, speaks) == speaks {
            return;
        }
        let (call, participant) = (self.id(), endpoint);
        shared.emit(match speaks {
            true => Event::SpeakingStarted { call, participant },
            false => Event::SpeakingStopped { call, participant },
        });
    }

    /// Nothing is heard any more of somebody who leaves.
    pub(super) fn silence(&mut self, endpoint: Endpoint, shared: &mut Shared) {
        self.hear_voice(endpoint, false, shared);
    }
}
