//! Offers and answers.
//!
//! str0m drops an own open offer, with everything in it, when it accepts another. So what is wanted
//! (tracks, channels) lives in [`Peer`] and every offer is made from it afresh.

use std::time::Duration;

use blink_api::{Error, ErrorKind, Result, SessionEvent, TrackKind};
use blink_transport_kit::sdp::{self, Description};
use str0m::RtcError;
use str0m::change::{SdpAnswer, SdpOffer};
use str0m::media::{Direction, MediaKind, Mid};

use crate::codecs::tag;
use crate::dialect::readable;
use crate::peer::{LocalTrack, OpenOffer, Peer};
use crate::shared::Place;

/// How long a first connection is looked for at the fastest pace.
const HURRY: Duration = Duration::from_secs(5);

impl Peer {
    /// Checks that an offer would have content.
    ///
    /// # Errors
    /// [`State`](ErrorKind::State) where there is nothing to offer.
    pub(crate) fn check_offer(&self, ice_restart: bool) -> Result<()> {
        if self.needs_negotiation() || (ice_restart && self.is_negotiated) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::State, "there is nothing to offer"))
    }

    /// Offers all tracks and channels. Call [`check_offer`](Peer::check_offer) before.
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
        // Before the first answer there are no credentials that a restart could replace.
        if ice_restart && self.is_negotiated {
            changes.ice_restart(true);
        }
        let (offer, pending) =
            changes.apply().ok_or_else(|| Error::new(ErrorKind::State, "there is nothing to offer"))?;
        self.offer = Some(OpenOffer { pending, planned, channels: self.wanted_channels.len() });
        Ok(offer.to_sdp_string())
    }

    /// Answers an offer that [`Description::parse`] and [`Description::check_audio`] let pass,
    /// without the sections that are refused in it.
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
        let narrowed = sdp::without_reception(&sdp::without_refused(sdp, description), description, sends);
        let offer = SdpOffer::from_sdp_string(&readable(&narrowed)).map_err(|_| unreadable())?;
        for (_, mid) in &planned {
            self.renew_stream(*mid);
        }
        self.offer = None;
        let answer = self.rtc.sdp_api().accept_offer(offer).map_err(refused)?;
        self.bind(&planned);
        self.settle(description);
        if self.needs_negotiation() {
            self.events.send(SessionEvent::NegotiationNeeded);
        }
        Ok(answer.to_sdp_string())
    }

    /// Applies an answer that [`Description::parse`] and [`Description::check_audio`] let pass.
    pub(crate) fn accept_answer(&mut self, sdp: &str, description: &Description) -> Result<()> {
        // str0m wants a direction in refused sections too, where it means nothing (RFC 8829
        // §5.3.1).
        let sdp = sdp::without_refused(sdp, description);
        let answer = SdpAnswer::from_sdp_string(&readable(&sdp)).map_err(|_| unreadable())?;
        let open = self.offer.take().ok_or_else(|| Error::new(ErrorKind::State, "there is no open offer"))?;
        self.rtc.sdp_api().accept_answer(open.pending, answer).map_err(refused)?;
        self.wanted_channels.drain(..open.channels.min(self.wanted_channels.len()));
        self.bind(&open.planned);
        self.settle(description);
        Ok(())
    }

    /// Whether something is wanted that the newest description does not have.
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
            // A track may have been removed while its offer was open.
            if let Some(track) = self.tracks.iter_mut().find(|track| track.id == *id) {
                track.section = Some(*mid);
            } else {
                self.spent.insert(*mid);
            }
        }
    }

    /// A new track begins with a sequence number of its own, and so needs a source of its own: SRTP
    /// must not use a number twice.
    fn renew_stream(&mut self, mid: Mid) {
        if !self.spent.remove(&mid) {
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

    /// Takes over what a negotiation has settled.
    fn settle(&mut self, description: &Description) {
        self.is_negotiated = true;
        self.hurry_until.get_or_insert(self.clock.now() + HURRY);
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
        self.remote_user = Some(description.ice_user.clone());
    }

    fn publish_tracks(&mut self) {
        let mut shared = self.shared.lock();
        for LocalTrack { id, section, .. } in &self.tracks {
            let usable = section.filter(|mid| self.sections.iter().any(|(usable, _)| usable == mid));
            let place = usable.map(|mid| Place { section: tag(mid), codecs: self.codecs.negotiated(&self.rtc, mid) });
            shared.tracks.insert(*id, place);
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

    /// Once there is a section for data, further channels need no negotiation.
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
    Error::new(ErrorKind::Invalid, "the description cannot be read")
}

fn refused(error: RtcError) -> Error {
    Error::new(ErrorKind::Invalid, "the description does not fit the session").source(error)
}
