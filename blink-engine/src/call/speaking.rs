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
        let (voice, may_speak) = match self.peers.get_mut(&endpoint) {
            _ if endpoint == shared.own => (&mut shared.voice, self.phase.is_current() && !shared.muted),
            Some(peer) => (&mut peer.voice, self.phase.is_current() && peer.announced && !peer.state.muted),
            None => return,
        };
        let speaks = voice.heard && may_speak;
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
