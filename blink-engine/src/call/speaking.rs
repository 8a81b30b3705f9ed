//! Who speaks: told by the media, for whom is in the call and not muted.

use blink_api::Endpoint;

use super::event::Event;
use super::lifecycle::Call;
use super::shared::Shared;

impl Call {
    /// A voice is heard from now on, or no more.
    pub(super) fn set_speaking(&mut self, endpoint: Endpoint, speaking: bool, shared: &mut Shared) {
        let is = match self.peers.get_mut(&endpoint) {
            _ if endpoint == shared.own => &mut shared.speaking,
            Some(peer) if peer.announced => &mut peer.speaking,
            _ => return,
        };
        if std::mem::replace(is, speaking) == speaking {
            return;
        }
        let (call, participant) = (self.id(), endpoint);
        shared.emit(match speaking {
            true => Event::SpeakingStarted { call, participant },
            false => Event::SpeakingStopped { call, participant },
        });
    }

    /// Whoever is muted or gone does not speak.
    pub(super) fn stop_speaking(&mut self, endpoint: Endpoint, shared: &mut Shared) {
        self.set_speaking(endpoint, false, shared);
    }
}
