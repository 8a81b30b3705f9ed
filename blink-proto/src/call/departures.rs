//! Endpoints that are gone: they left, timed out, restarted or were removed.

use blink_api::Endpoint;
use web_time::Instant;

use super::event::Event;
use super::participant::ParticipantState;
use super::peer::Peer;
use super::person::PersonState;
use super::reason::{EndReason, LeftReason};
use super::shared::Shared;
use super::state::{Call, Phase};

impl Call {
    /// Handles that another endpoint is no longer in the call.
    pub(super) fn handle_gone(&mut self, endpoint: Endpoint, reason: LeftReason, shared: &mut Shared) {
        let call = self.id();
        let now = shared.mono();
        let Some(peer) = self.peers.get_mut(&endpoint) else { return };
        peer.set_gone(reason == LeftReason::TimedOut, now);
        Self::close_link(peer, shared);
        self.set_voice_detected(endpoint, false, shared);
        self.end_streams_of(endpoint, shared);
        self.lose_messages(endpoint, shared);
        let Some(peer) = self.peers.get_mut(&endpoint) else { return };
        let announced = std::mem::take(&mut peer.announced) | std::mem::take(&mut peer.unreachable_announced);
        peer.degraded = false;
        if announced {
            // If it returns, its state is announced like that of a new participant.
            peer.state = ParticipantState::default();
            peer.throttle.forget_state();
            shared.emit(Event::ParticipantLeft { call, participant: endpoint, reason });
        }
        let person_present = self.present().any(|(other, _)| other.did == endpoint.did);
        if !person_present {
            self.set_person(&endpoint.did, PersonState::Gone);
        }
        self.after_departure(reason, shared);
    }

    /// Ends or continues the call after a departure.
    fn after_departure(&mut self, reason: LeftReason, shared: &mut Shared) {
        let deserted = self.is_deserted();
        let end = if reason == LeftReason::TimedOut { EndReason::TimedOut } else { EndReason::RemoteLeft };
        match self.phase() {
            Phase::In if deserted => self.end_cancelled(shared),
            Phase::Joining if deserted => self.end(EndReason::Gone, shared),
            Phase::Active | Phase::Joining if !self.roster.is_group() && deserted => self.end(end, shared),
            Phase::Active => self.announce(shared, false),
            Phase::Open if deserted => self.enter(Phase::Over, shared),
            _ => {}
        }
    }

    /// Removes members whose lease is over, and forgets old hints.
    pub(super) fn time_out_peers(&mut self, shared: &mut Shared) {
        let (now, lease) = (shared.mono(), shared.timers().left);
        self.peers.retain(|_, peer| peer.hint_end(lease).is_none_or(|end| now < end));
        let gone = self.peers.iter().filter(|(_, peer)| self.lease_end(peer, shared).is_some_and(|end| now >= end));
        for endpoint in gone.map(|(endpoint, _)| *endpoint).collect::<Vec<_>>() {
            self.handle_gone(endpoint, LeftReason::TimedOut, shared);
        }
    }

    /// Time at which a member counts as gone: it was not heard, or has not heard this endpoint, for
    /// a lease. Only while this endpoint is active, and not before it has been for as long.
    pub(super) fn lease_end(&self, peer: &Peer, shared: &Shared) -> Option<Instant> {
        if self.phase() != Phase::Active || !peer.is_present() {
            return None;
        }
        let since = self.since();
        let sign = peer.last_sign().map_or(since, |sign| sign.max(since));
        Some(sign.min(peer.last_listed_us.max(since)) + shared.timers().left)
    }
}
