//! Offers and answers.
//!
//! str0m discards a pending local offer with all its content when it accepts a remote one. So the
//! wanted tracks and channels are stored in [`Peer`], and every offer is created from them.

use std::time::Duration;

use blink_api::{Error, ErrorKind, IceState, Result, SessionEvent, TrackKind};
use blink_transport_kit::sdp::{self, Description};
use str0m::RtcError;
use str0m::change::{SdpAnswer, SdpOffer};
use str0m::media::{Direction, MediaKind, Mid};

use crate::codecs::tag;
use crate::peer::{LocalTrack, Peer, PendingOffer};
use crate::sdp_compat::to_str0m;
use crate::shared::SendTarget;

/// Time for which a first connection is checked at the fastest pace.
const FAST_CHECKS: Duration = Duration::from_secs(5);

impl Peer {
    /// Checks that an offer would have content.
    ///
    /// # Errors
    /// [`State`](ErrorKind::State) if there is nothing to offer.
    pub(crate) fn check_offer(&self, ice_restart: bool) -> Result<()> {
        if self.needs_negotiation() || (ice_restart && self.is_negotiated) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::State, "there is nothing to offer"))
    }

    /// Creates an offer of all tracks and channels. Call [`check_offer`](Peer::check_offer) before.
    pub(crate) fn create_offer(&mut self, ice_restart: bool) -> Result<String> {
        let mut planned: Vec<(blink_api::TrackId, Mid)> = Vec::new();
        let mut unplaced = Vec::new();
        for track in self.tracks.iter().filter(|track| track.section.is_none()) {
            let is_free = |mid: &Mid| !planned.iter().any(|(_, planned)| planned == mid) && !self.is_bound(*mid);
            match self.sections.iter().find(|(mid, kind)| *kind == track.kind && is_free(mid)) {
                Some((mid, _)) => planned.push((track.id, *mid)),
                None => unplaced.push((track.id, track.kind)),
            }
        }
        let sections = self.sections.clone();
        let sends = |mid: Mid| self.is_bound(mid) || planned.iter().any(|(_, planned)| *planned == mid);
        let directions: Vec<(Mid, Direction)> = sections
            .iter()
            .map(|(mid, _)| (*mid, if sends(*mid) { Direction::SendRecv } else { Direction::RecvOnly }))
            .collect();
        for (_, mid) in &planned {
            self.renew_stream(*mid);
        }
        let mut changes = self.rtc.sdp_api();
        for (mid, direction) in directions {
            changes.set_direction(mid, direction);
        }
        for (track, kind) in unplaced {
            let kind = match kind {
                TrackKind::Audio => MediaKind::Audio,
                TrackKind::Video => MediaKind::Video,
            };
            planned.push((track, changes.add_media(kind, Direction::SendRecv, None, None, None)));
        }
        for label in &self.wanted_channels {
            changes.add_channel(label.clone());
        }
        // Before the first answer there are no credentials for a restart to replace.
        if ice_restart && self.is_negotiated {
            changes.ice_restart(true);
        }
        let (offer, pending) =
            changes.apply().ok_or_else(|| Error::new(ErrorKind::State, "there is nothing to offer"))?;
        self.offer = Some(PendingOffer { pending, planned, channels: self.wanted_channels.len() });
        Ok(offer.to_sdp_string())
    }

    /// Answers an offer that passed [`Description::parse`] and [`Description::check_audio`],
    /// without the sections rejected in it.
    pub(crate) fn accept_offer(&mut self, sdp: &str, description: &Description) -> Result<String> {
        let mut planned: Vec<(blink_api::TrackId, Mid)> = Vec::new();
        for track in self.tracks.iter().filter(|track| track.section.is_none()) {
            let section = description
                .media(track.kind)
                .filter(|section| section.direction.receives)
                .map(|section| Mid::from(section.mid.as_str()))
                .find(|mid| !self.is_bound(*mid) && !planned.iter().any(|(_, planned)| planned == mid));
            planned.extend(section.map(|mid| (track.id, mid)));
        }
        let sends = |mid: &blink_api::Mid| {
            let mid = Mid::from(mid.as_str());
            self.is_bound(mid) || planned.iter().any(|(_, planned)| *planned == mid)
        };
        let narrowed = sdp::mask_receiving(&sdp::apply_rejections(sdp, description), description, sends);
        let offer = SdpOffer::from_sdp_string(&to_str0m(&narrowed)).map_err(|_| unreadable())?;
        for (_, mid) in &planned {
            self.renew_stream(*mid);
        }
        self.offer = None;
        let answer = self.rtc.sdp_api().accept_offer(offer).map_err(refused)?;
        self.bind(&planned);
        self.apply_negotiated(description);
        if self.needs_negotiation() {
            self.events.send(SessionEvent::NegotiationNeeded);
        }
        Ok(answer.to_sdp_string())
    }

    /// Applies an answer that passed [`Description::parse`] and [`Description::check_audio`].
    pub(crate) fn accept_answer(&mut self, sdp: &str, description: &Description) -> Result<()> {
        // str0m requires a direction in rejected sections too, where it has no meaning (RFC 8829
        // §5.3.1).
        let sdp = sdp::apply_rejections(sdp, description);
        let answer = SdpAnswer::from_sdp_string(&to_str0m(&sdp)).map_err(|_| unreadable())?;
        let open = self.offer.take().ok_or_else(|| Error::new(ErrorKind::State, "there is no pending offer"))?;
        self.rtc.sdp_api().accept_answer(open.pending, answer).map_err(refused)?;
        self.wanted_channels.drain(..open.channels.min(self.wanted_channels.len()));
        self.bind(&open.planned);
        self.apply_negotiated(description);
        Ok(())
    }

    /// Returns whether something is wanted that the latest description does not contain.
    fn needs_negotiation(&self) -> bool {
        let stops =
            |mid: Mid| self.rtc.media(mid).is_some_and(|media| media.direction().is_sending()) && !self.is_bound(mid);
        self.tracks.iter().any(|track| track.section.is_none())
            || (!self.wanted_channels.is_empty() && !self.has_data)
            || self.sections.iter().any(|(mid, _)| stops(*mid))
    }

    fn is_bound(&self, mid: Mid) -> bool {
        self.tracks.iter().any(|track| track.section == Some(mid))
    }

    fn bind(&mut self, planned: &[(blink_api::TrackId, Mid)]) {
        for (id, mid) in planned {
            // A track may have been removed while its offer was pending.
            if let Some(track) = self.tracks.iter_mut().find(|track| track.id == *id) {
                track.section = Some(*mid);
            } else {
                self.used_streams.insert(*mid);
            }
        }
    }

    /// Gives a section's stream a new SSRC, since a new track starts with its own sequence number
    /// and SRTP must not use an index twice (RFC 3711 §3.3.1).
    fn renew_stream(&mut self, mid: Mid) {
        if !self.used_streams.remove(&mid) {
            return;
        }
        let mut direct = self.rtc.direct_api();
        let Some(stream) = direct.stream_tx_by_mid(mid, None) else { return };
        let (old, has_resends) = (stream.ssrc(), stream.rtx().is_some());
        direct.remove_stream_tx(old);
        let new = direct.new_ssrc();
        let resends = has_resends.then(|| direct.new_ssrc());
        direct.declare_stream_tx(new, resends, mid, None);
    }

    /// Applies the result of a negotiation.
    fn apply_negotiated(&mut self, description: &Description) {
        if !std::mem::replace(&mut self.is_negotiated, true) {
            self.reporter.set_ice(IceState::Checking, &self.events);
        }
        self.fast_checks_until.get_or_insert(self.clock.now() + FAST_CHECKS);
        self.has_data = description.has_data();
        self.sections = [TrackKind::Audio, TrackKind::Video]
            .into_iter()
            .flat_map(|kind| description.media(kind).map(move |section| (Mid::from(section.mid.as_str()), kind)))
            .collect();
        self.publish_tracks();
        self.report_remote_tracks();
        if self.has_data {
            self.open_wanted_channels();
        }
        self.remote_ufrag = Some(description.ice_ufrag.clone());
    }

    fn publish_tracks(&mut self) {
        let mut shared = self.shared.lock();
        for LocalTrack { id, section, .. } in &self.tracks {
            let usable = section.filter(|mid| self.sections.iter().any(|(usable, _)| usable == mid));
            let target =
                usable.map(|mid| SendTarget { section: tag(mid), codecs: self.codecs.negotiated(&self.rtc, mid) });
            shared.tracks.insert(*id, target);
        }
    }

    fn report_remote_tracks(&mut self) {
        let comes_in = |mid: Mid| self.rtc.media(mid).is_some_and(|media| media.direction().is_receiving());
        let now: Vec<_> =
            self.sections.iter().filter(|(mid, _)| comes_in(*mid)).map(|(mid, kind)| (tag(*mid), *kind)).collect();
        let mut shared = self.shared.lock();
        let ended: Vec<_> =
            shared.receiving.iter().filter(|mid| !now.iter().any(|(still, _)| still == *mid)).cloned().collect();
        for mid in ended {
            shared.receiving.remove(&mid);
            self.events.send(SessionEvent::TrackEnded { mid });
        }
        for (mid, kind) in now {
            if shared.receiving.insert(mid.clone()) {
                self.events.send(SessionEvent::TrackStarted { mid, kind });
            }
        }
    }

    /// Opens further channels, which need no negotiation once there is a data section.
    pub(crate) fn open_wanted_channels(&mut self) {
        if self.wanted_channels.is_empty() {
            return;
        }
        let mut changes = self.rtc.sdp_api();
        for label in self.wanted_channels.drain(..) {
            changes.add_channel(label);
        }
        let left_over = changes.apply();
        debug_assert!(left_over.is_none(), "a further channel needs no offer");
    }
}

fn unreadable() -> Error {
    Error::new(ErrorKind::Invalid, "the description cannot be parsed")
}

fn refused(error: RtcError) -> Error {
    Error::new(ErrorKind::Invalid, "the description does not fit the session").source(error)
}
