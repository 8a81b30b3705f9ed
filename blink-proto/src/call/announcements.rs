//! Events about what participants announce: speech, state and streams; and about their quality.

use blink_api::{Endpoint, QualityReason};

use super::event::Event;
use super::shared::Shared;
use super::state::Call;

impl Call {
    /// Handles a change of voice activity.
    pub(super) fn set_voice_detected(&mut self, endpoint: Endpoint, detected: bool, shared: &mut Shared) {
        if endpoint == shared.own {
            shared.voice.set_detected(detected);
        } else if let Some(peer) = self.peers.get_mut(&endpoint) {
            peer.voice.set_detected(detected);
        }
        self.update_speaking(endpoint, shared);
    }

    /// Reports whether an endpoint speaks: voice activity of a participant that is announced and
    /// not muted.
    pub(super) fn update_speaking(&mut self, endpoint: Endpoint, shared: &mut Shared) {
        let (call, now, current) = (self.id(), shared.mono(), self.is_current());
        let voice = if endpoint == shared.own {
            let speaks = shared.voice.is_detected() && current && !shared.muted;
            Some((&mut shared.voice, speaks))
        } else if let Some(peer) = self.peers.get_mut(&endpoint) {
            let speaks = peer.voice.is_detected() && current && peer.announced && !peer.state.is_silent();
            let admitted = peer.throttle.admit_speech(now, peer.voice.is_speaking(), speaks);
            admitted.then_some((&mut peer.voice, speaks))
        } else {
            None
        };
        let Some((voice, speaks)) = voice else { return };
        if voice.is_speaking() == speaks {
            return;
        }
        voice.set_speaking(speaks);
        shared.emit(match speaks {
            true => Event::SpeakingStarted { call, participant: endpoint },
            false => Event::SpeakingStopped { call, participant: endpoint },
        });
    }

    /// Reports that a participant's media is degraded for one more reason, or for none any more.
    /// Media may measure a path that is not announced yet, or that of a participant that has left.
    pub(super) fn set_quality(&mut self, endpoint: Endpoint, degraded: Option<QualityReason>, shared: &mut Shared) {
        let (call, current) = (self.id(), self.takes_part());
        let Some(peer) = self.peers.get_mut(&endpoint).filter(|peer| current && peer.announced) else { return };
        match degraded {
            Some(reason) => {
                peer.degraded = true;
                shared.emit(Event::QualityDegraded { call, participant: endpoint, reason });
            }
            None if std::mem::take(&mut peer.degraded) => {
                shared.emit(Event::QualityRecovered { call, participant: endpoint });
            }
            None => {}
        }
    }

    /// Reports changes of a participant's state and streams, as far as their rate allows.
    pub(super) fn emit_state_changes(&mut self, participant: Endpoint, shared: &mut Shared) {
        let (call, now, current) = (self.id(), shared.mono(), self.takes_part());
        let Some(peer) = self.peers.get_mut(&participant).filter(|_| current) else { return };
        for change in peer.throttle.changes(now, peer.state, &peer.streams) {
            shared.emit(change.into_event(call, participant));
        }
    }

    /// Reports deferred changes that are due.
    pub(super) fn emit_deferred(&mut self, shared: &mut Shared) {
        let now = shared.mono();
        let due = self.peers.iter().filter(|(_, peer)| peer.throttle.due().is_some_and(|at| now >= at));
        for endpoint in due.map(|(endpoint, _)| *endpoint).collect::<Vec<_>>() {
            self.emit_state_changes(endpoint, shared);
            self.update_speaking(endpoint, shared);
        }
    }
}
