//! Offers, answers and candidates, and the tracks in them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use blink_api::{Candidate, Error, ErrorKind, Mid, Result, SessionEvent, TrackId, TrackKind};
use blink_transport_kit::candidate::{self, CandidateUse};
use blink_transport_kit::remote_candidate_filter::RemoteCandidateFilter;
use blink_transport_kit::sdp::{self, Description, Section, SectionMap};
use blink_transport_kit::traffic::SendSequence;
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::RTCOfferOptions;
use rtc::rtp_transceiver::rtp_sender::{RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters};
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::peer_connection::{PeerConnection, RTCIceCandidateInit, RTCSessionDescription};
use webrtc::rtp_transceiver::RtpSender;

use crate::shared::{Gathered, LocalTrack, Shared};
use crate::{NAME, channels, stack};

/// Time for which a description waits for host candidates.
const HOST_GATHERING_TIMEOUT: Duration = Duration::from_millis(50);

/// Offer/answer state. Methods are called one after the other.
pub(crate) struct Negotiation {
    connection: Arc<dyn PeerConnection>,
    shared: Arc<Shared>,
    /// Addresses with expected host candidates.
    host_addresses: Vec<IpAddr>,
    has_gathered: bool,
    has_channel: bool,
    offer: Option<PendingOffer>,
    is_negotiated: bool,
    /// Media sections by index, including those hidden from the stack.
    section_map: SectionMap,
    remote: RemoteCandidateFilter,
    /// ICE username fragment of the peer.
    remote_ufrag: Option<String>,
}

/// Local offer without an answer.
enum PendingOffer {
    Applied,
    /// Offer of an ICE restart. The stack drops its path when the restart is applied, so it is
    /// applied together with its answer, and media continues until then.
    Held(Box<RTCSessionDescription>),
}

impl Negotiation {
    pub(crate) fn new(
        connection: Arc<dyn PeerConnection>,
        shared: Arc<Shared>,
        hosts: Vec<IpAddr>,
        remote: RemoteCandidateFilter,
    ) -> Self {
        Self {
            connection,
            shared,
            host_addresses: hosts,
            has_gathered: false,
            has_channel: false,
            offer: None,
            is_negotiated: false,
            section_map: SectionMap::default(),
            remote,
            remote_ufrag: None,
        }
    }

    pub(crate) async fn create_offer(&mut self, ice_restart: bool) -> Result<String> {
        let has_tracks = !self.shared.lock().tracks.is_empty();
        if !(has_tracks || self.has_channel || self.is_negotiated) {
            return Err(Error::new(ErrorKind::State, "there is nothing to offer"));
        }
        // Before the first answer there are no credentials for a restart to replace.
        let ice_restart = ice_restart && self.is_negotiated;
        let options = RTCOfferOptions { ice_restart };
        let offer = self.connection.create_offer(Some(options)).await.map_err(stack::fault)?;
        if ice_restart {
            let sdp = self.shared.lock().local_candidate_filter.description(&offer.sdp);
            self.offer = Some(PendingOffer::Held(Box::new(offer)));
            return Ok(self.restore(&sdp));
        }
        let sdp = self.apply(offer).await?;
        self.offer = Some(PendingOffer::Applied);
        Ok(self.restore(&sdp))
    }

    /// Adds the sections hidden from the stack to a local description.
    fn restore(&mut self, sdp: &str) -> String {
        let (sdp, section_map) = self.section_map.to_peer(sdp);
        self.section_map = section_map;
        sdp
    }

    /// Answers an offer. Returns the answer, and candidates with names to be resolved.
    pub(crate) async fn accept_offer(&mut self, sdp: &str) -> Result<(String, Vec<Candidate>)> {
        let mut remote = self.remote.clone();
        let (shown, section_map) = self.section_map.to_stack(sdp)?;
        let admitted = remote.description(&shown);
        self.shared.packet_filter.note_relays(candidate::relays_in(&admitted.sdp));
        let sdp = &admitted.sdp;
        let mut description = Description::parse(sdp)?;
        description.check_audio(&self.shared.audio)?;
        description.reject_video(&self.shared.video);
        let offer = RTCSessionDescription::offer(sdp::apply_rejections(sdp, &description)).map_err(refused)?;
        if let Some(PendingOffer::Applied) = self.offer.take() {
            let rollback = RTCSessionDescription::rollback(None).map_err(stack::fault)?;
            self.connection.set_local_description(rollback).await.map_err(stack::fault)?;
        }
        let restarts = self.remote_ufrag.as_ref().is_some_and(|user| *user != description.ice_ufrag);
        self.connection.set_remote_description(offer).await.map_err(refused)?;
        self.remote = remote;
        self.section_map = section_map;
        let named = self.add_admitted(admitted.candidates).await;
        let answer = self.connection.create_answer(None).await.map_err(stack::fault)?;
        self.apply_negotiated(&description, &Description::parse(&answer.sdp)?).await?;
        if self.shared.lock().tracks.values().any(|track| track.section.is_none()) {
            self.request_negotiation();
        }
        if restarts {
            self.shared.begin_gathering();
        }
        let answer = self.apply(answer).await?;
        Ok((self.restore(&answer), named))
    }

    /// Applies a local description and adds the host candidates, which are available at once and
    /// need no trickling.
    async fn apply(&mut self, description: RTCSessionDescription) -> Result<String> {
        self.shared.lock().deferred = Some(Vec::new());
        let bare = description.sdp.clone();
        if !self.has_gathered {
            self.shared.announce_mdns_names(&self.host_addresses);
            self.shared.begin_gathering();
        }
        let applied = self.connection.set_local_description(description).await;
        if applied.is_ok() {
            // On a timeout, late host candidates are trickled.
            let _ = tokio::time::timeout(HOST_GATHERING_TIMEOUT, self.until_hosts_gathered()).await;
        }
        let sdp = self.connection.local_description().await.map_or(bare, |description| description.sdp);
        let deferred = self.shared.lock().deferred.take().unwrap_or_default();
        for gathered in deferred {
            if !matches!(&gathered, Gathered::Candidate(candidate) if sdp.contains(&candidate.attribute)) {
                self.shared.emit_gathered(gathered);
            }
        }
        applied.map_err(stack::fault)?;
        Ok(self.shared.lock().local_candidate_filter.description(&sdp))
    }

    async fn until_hosts_gathered(&mut self) {
        let is_host = |gathered: &Gathered| matches!(gathered, Gathered::Candidate(candidate) if candidate.attribute.contains(" typ host"));
        let is_done = |deferred: &Vec<Gathered>| {
            let hosts = deferred.iter().filter(|gathered| is_host(gathered)).count();
            hosts >= self.host_addresses.len()
                || deferred.iter().any(|gathered| matches!(gathered, Gathered::EndOfCandidates))
        };
        while !(self.has_gathered || self.shared.lock().deferred.as_ref().is_none_or(is_done)) {
            self.shared.gathered.notified().await;
        }
        self.has_gathered = true;
    }

    /// Applies an answer. Returns candidates with names to be resolved.
    pub(crate) async fn accept_answer(&mut self, sdp: &str) -> Result<Vec<Candidate>> {
        let mut remote = self.remote.clone();
        let (shown, section_map) = self.section_map.to_stack(sdp)?;
        let admitted = remote.description(&shown);
        self.shared.packet_filter.note_relays(candidate::relays_in(&admitted.sdp));
        let sdp = &admitted.sdp;
        let description = Description::parse(sdp)?;
        if self.offer.is_none() {
            return Err(Error::new(ErrorKind::State, "there is no pending offer"));
        }
        description.check_audio(&self.shared.audio)?;
        let answer = RTCSessionDescription::answer(sdp.clone()).map_err(refused)?;
        if let Some(PendingOffer::Held(offer)) = self.offer.replace(PendingOffer::Applied) {
            self.shared.begin_gathering();
            self.connection.set_local_description(*offer).await.map_err(stack::fault)?;
        }
        self.connection.set_remote_description(answer).await.map_err(refused)?;
        self.remote = remote;
        self.section_map = section_map;
        self.offer = None;
        self.apply_negotiated(&description, &description).await?;
        Ok(self.add_admitted(admitted.candidates).await)
    }

    /// Adds candidates that were separated from a description; returns those with names.
    async fn add_admitted(&self, candidates: Vec<(Candidate, CandidateUse)>) -> Vec<Candidate> {
        let mut named = Vec::new();
        for (candidate, usable) in candidates {
            match usable {
                CandidateUse::Check => {
                    // An unusable candidate must not end the call.
                    if let Err(error) = self.add_to_stack(&candidate).await {
                        tracing::debug!(%error, "remote candidate ignored");
                    }
                }
                CandidateUse::Resolve(_) => named.push(candidate),
                CandidateUse::Ignore => {}
            }
        }
        named
    }

    /// Adds a trickled candidate, and keeps it for a description that it may have overtaken.
    /// Returns whether it has a name to be resolved.
    pub(crate) async fn add_candidate(&mut self, candidate: &Candidate) -> Result<bool> {
        match self.remote.trickle(candidate)? {
            CandidateUse::Check => self.add_to_stack(candidate).await.map(|()| false),
            CandidateUse::Resolve(_) => Ok(true),
            CandidateUse::Ignore => Ok(false),
        }
    }

    /// Adds a candidate whose name was resolved.
    pub(crate) async fn add_resolved(&mut self, candidate: &Candidate) -> Result<()> {
        match self.remote.admit(&candidate.attribute)? {
            CandidateUse::Check => self.add_to_stack(candidate).await,
            CandidateUse::Resolve(_) | CandidateUse::Ignore => Ok(()),
        }
    }

    async fn add_to_stack(&self, candidate: &Candidate) -> Result<()> {
        self.shared.packet_filter.note_relays(candidate::relay(&candidate.attribute));
        let init = RTCIceCandidateInit {
            candidate: candidate::without_extensions(&candidate.attribute),
            sdp_mid: candidate.mid.as_ref().map(|mid| mid.as_str().to_owned()),
            sdp_mline_index: Some(0),
            ..RTCIceCandidateInit::default()
        };
        let added = self.connection.add_ice_candidate(init).await;
        added.map_err(|error| Error::new(ErrorKind::Invalid, "this is not an ICE candidate").source(error))
    }

    pub(crate) async fn add_track(&mut self, kind: TrackKind) -> Result<TrackId> {
        let codecs = stack::codecs(&self.shared.audio, &self.shared.video).into_iter();
        let codecs: Vec<_> = codecs.filter(|(other, _)| *other == kind).map(|(_, codec)| codec).collect();
        let preferred = codecs.first().ok_or_else(|| Error::unsupported(NAME, "add_track"))?;
        let ssrc = rand::random();
        let encoding = RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(ssrc), ..RTCRtpCodingParameters::default() },
            codec: preferred.rtp_codec.clone(),
            ..RTCRtpEncodingParameters::default()
        };
        let (stream, name) = ("blink".to_owned(), format!("{ssrc:08x}"));
        let track = MediaStreamTrack::new(stream, name, String::new(), stack::codec_kind(kind), vec![encoding]);
        let local = Arc::new(TrackLocalStaticRTP::new(track));
        let sender =
            self.connection.add_track(Arc::clone(&local) as Arc<dyn TrackLocal>).await.map_err(stack::fault)?;
        self.set_codec_preferences(&*sender, codecs).await?;
        let id = {
            let mut state = self.shared.lock();
            state.next_track += 1;
            let id = TrackId(state.next_track);
            let track = LocalTrack { kind, local, sender, ssrc, section: None, sequence: SendSequence::default() };
            state.tracks.insert(id, track);
            id
        };
        self.request_negotiation();
        Ok(id)
    }

    /// Negotiates all of these codecs for a track; by default, the stack negotiates only the one
    /// the track was created with.
    async fn set_codec_preferences(&self, sender: &dyn RtpSender, codecs: Vec<RTCRtpCodecParameters>) -> Result<()> {
        for transceiver in self.connection.get_transceivers().await {
            if let Ok(Some(own)) = transceiver.sender().await
                && own.id() == sender.id()
            {
                return transceiver.set_codec_preferences(codecs).await.map_err(stack::fault);
            }
        }
        Ok(())
    }

    pub(crate) async fn remove_track(&mut self, id: TrackId) -> Result<()> {
        let removed = self.shared.lock().tracks.remove(&id);
        let removed = removed.ok_or_else(|| Error::new(ErrorKind::NotFound, "there is no such track"))?;
        self.connection.remove_track(&removed.sender).await.map_err(stack::fault)?;
        self.request_negotiation();
        Ok(())
    }

    pub(crate) async fn open_channel(&mut self, label: &str) -> Result<()> {
        let channel = self.connection.create_data_channel(label, None).await.map_err(stack::fault)?;
        channels::run(&self.shared, channel);
        if !std::mem::replace(&mut self.has_channel, true) {
            self.request_negotiation();
        }
        Ok(())
    }

    /// Requests a negotiation, except before the first one, which the engine starts itself.
    fn request_negotiation(&self) {
        if self.is_negotiated || self.offer.is_some() {
            self.shared.events.send(SessionEvent::NegotiationNeeded);
        }
    }

    /// Applies the result of a negotiation; codecs and extensions are those of the answer.
    async fn apply_negotiated(&mut self, remote: &Description, answer: &Description) -> Result<()> {
        self.is_negotiated = true;
        self.has_channel |= answer.has_data();
        let mut bound = Vec::new();
        for transceiver in self.connection.get_transceivers().await {
            if let (Ok(Some(mid)), Ok(Some(sender))) = (transceiver.mid().await, transceiver.sender().await) {
                bound.push((sender.id(), Mid::new(&mid)));
            }
        }
        let sections = [TrackKind::Audio, TrackKind::Video].into_iter().flat_map(|kind| answer.media(kind));
        let sections: Vec<&Section> = sections.collect();
        {
            let mut state = self.shared.lock();
            state.rtx_payload_types = sections.iter().flat_map(|section| section.rtx_payload_types()).collect();
            for track in state.tracks.values_mut() {
                let mid = bound.iter().find(|(sender, _)| *sender == track.sender.id()).map(|(_, mid)| mid);
                let section = mid.and_then(|mid| sections.iter().find(|section| section.mid == *mid));
                track.section = section.map(|section| (*section).clone());
            }
        }
        self.report_remote_tracks(remote, &sections);
        self.remote_ufrag = Some(remote.ice_ufrag.clone());
        Ok(())
    }

    fn report_remote_tracks(&self, remote: &Description, answer: &[&Section]) {
        let mut state = self.shared.lock();
        let sends = |mid: &Mid| {
            let section = remote.sections.iter().find(|section| section.mid == *mid);
            section.is_some_and(|section| section.direction.sends && !section.is_rejected)
        };
        let now: Vec<&&Section> = answer.iter().filter(|section| sends(&section.mid)).collect();
        let ended: Vec<Mid> =
            state.receiving.keys().filter(|mid| !now.iter().any(|still| still.mid == **mid)).cloned().collect();
        for mid in ended {
            state.receiving.remove(&mid);
            self.shared.events.send(SessionEvent::TrackEnded { mid });
        }
        for section in now {
            if let (None, Some(kind)) = (state.receiving.insert(section.mid.clone(), (*section).clone()), section.kind)
            {
                self.shared.events.send(SessionEvent::TrackStarted { mid: section.mid.clone(), kind });
            }
        }
    }
}

fn refused(error: webrtc::error::Error) -> Error {
    Error::new(ErrorKind::Invalid, "the description does not fit the session").source(error)
}
