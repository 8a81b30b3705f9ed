//! Offers, answers, candidates, and the tracks that take part.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use blink_api::{Candidate, Error, ErrorKind, Mid, Result, SessionEvent, TrackId, TrackKind};
use blink_transport_kit::candidate::{self, Use};
use blink_transport_kit::remote_candidates::RemoteCandidates;
use blink_transport_kit::sdp::{self, Description, Places, Section};
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

/// How long a description waits for the candidates of the own addresses.
const HOSTS_TAKE: Duration = Duration::from_millis(50);

/// The state of offer and answer; its methods are called one after the other.
pub(crate) struct Negotiation {
    connection: Arc<dyn PeerConnection>,
    shared: Arc<Shared>,
    /// The addresses to expect host candidates of.
    hosts: Vec<IpAddr>,
    has_gathered: bool,
    has_channel: bool,
    offer: Option<OpenOffer>,
    is_negotiated: bool,
    /// Media sections by their place, with those that the stack does not see.
    places: Places,
    remote: RemoteCandidates,
    /// The peer's ICE user name.
    remote_user: Option<String>,
}

/// An own offer without an answer yet.
enum OpenOffer {
    Applied,
    /// The stack gives up its path when an ICE restart is applied. So it is applied together with
    /// its answer, and media goes on until then.
    Held(Box<RTCSessionDescription>),
}

impl Negotiation {
    pub(crate) fn new(
        connection: Arc<dyn PeerConnection>,
        shared: Arc<Shared>,
        hosts: Vec<IpAddr>,
        remote: RemoteCandidates,
    ) -> Self {
        Self {
            connection,
            shared,
            hosts,
            has_gathered: false,
            has_channel: false,
            offer: None,
            is_negotiated: false,
            places: Places::default(),
            remote,
            remote_user: None,
        }
    }

    pub(crate) async fn create_offer(&mut self, ice_restart: bool) -> Result<String> {
        let has_tracks = !self.shared.lock().tracks.is_empty();
        if !(has_tracks || self.has_channel || self.is_negotiated) {
            return Err(Error::new(ErrorKind::State, "there is nothing to offer"));
        }
        // Before the first answer there are no credentials that a restart could replace.
        let ice_restart = ice_restart && self.is_negotiated;
        let options = RTCOfferOptions { ice_restart };
        let offer = self.connection.create_offer(Some(options)).await.map_err(stack::fault)?;
        if ice_restart {
            let sdp = self.shared.lock().disclosure.description(&offer.sdp);
            self.offer = Some(OpenOffer::Held(Box::new(offer)));
            return Ok(self.restore(&sdp));
        }
        let sdp = self.apply(offer).await?;
        self.offer = Some(OpenOffer::Applied);
        Ok(self.restore(&sdp))
    }

    /// An own description with the sections that the stack does not see.
    fn restore(&mut self, sdp: &str) -> String {
        let (sdp, places) = self.places.restore(sdp);
        self.places = places;
        sdp
    }

    /// Answers an offer. Candidates with names come back, to be resolved.
    pub(crate) async fn accept_offer(&mut self, sdp: &str) -> Result<(String, Vec<Candidate>)> {
        let mut remote = self.remote.clone();
        let (shown, places) = self.places.show(sdp)?;
        let admitted = remote.description(&shown);
        let sdp = &admitted.sdp;
        let mut description = Description::parse(sdp)?;
        description.check_audio(&self.shared.audio)?;
        description.refuse_video(&self.shared.video);
        let offer = RTCSessionDescription::offer(sdp::without_refused(sdp, &description)).map_err(refused)?;
        if let Some(OpenOffer::Applied) = self.offer.take() {
            let rollback = RTCSessionDescription::rollback(None).map_err(stack::fault)?;
            self.connection.set_local_description(rollback).await.map_err(stack::fault)?;
        }
        let restarts = self.remote_user.as_ref().is_some_and(|user| *user != description.ice_user);
        self.connection.set_remote_description(offer).await.map_err(refused)?;
        self.remote = remote;
        self.places = places;
        let named = self.add_admitted(admitted.candidates).await;
        let answer = self.connection.create_answer(None).await.map_err(stack::fault)?;
        self.settle(&description, &Description::parse(&answer.sdp)?).await?;
        if self.shared.lock().tracks.values().any(|track| track.section.is_none()) {
            self.ask_for_negotiation();
        }
        if restarts {
            self.shared.begin_gathering();
        }
        let answer = self.apply(answer).await?;
        Ok((self.restore(&answer), named))
    }

    /// Applies an own description and gives it the candidates of the own addresses, which are there
    /// at once: fewer messages to send.
    async fn apply(&mut self, description: RTCSessionDescription) -> Result<String> {
        self.shared.lock().held = Some(Vec::new());
        let bare = description.sdp.clone();
        if !self.has_gathered {
            self.shared.name_hosts(&self.hosts);
            self.shared.begin_gathering();
        }
        let applied = self.connection.set_local_description(description).await;
        if applied.is_ok() {
            // Where the addresses take longer, their candidates follow as events.
            let _ = tokio::time::timeout(HOSTS_TAKE, self.until_hosts_gathered()).await;
        }
        let sdp = self.connection.local_description().await.map_or(bare, |description| description.sdp);
        let held = self.shared.lock().held.take().unwrap_or_default();
        for gathered in held {
            if !matches!(&gathered, Gathered::Candidate(candidate) if sdp.contains(&candidate.attribute)) {
                self.shared.tell_gathered(gathered);
            }
        }
        applied.map_err(stack::fault)?;
        Ok(self.shared.lock().disclosure.description(&sdp))
    }

    async fn until_hosts_gathered(&mut self) {
        let is_host = |gathered: &Gathered| matches!(gathered, Gathered::Candidate(candidate) if candidate.attribute.contains(" typ host"));
        let is_done = |held: &Vec<Gathered>| {
            let hosts = held.iter().filter(|gathered| is_host(gathered)).count();
            hosts >= self.hosts.len() || held.iter().any(|gathered| matches!(gathered, Gathered::All))
        };
        while !(self.has_gathered || self.shared.lock().held.as_ref().is_none_or(is_done)) {
            self.shared.gathered.notified().await;
        }
        self.has_gathered = true;
    }

    /// Applies an answer. Candidates with names come back, to be resolved.
    pub(crate) async fn accept_answer(&mut self, sdp: &str) -> Result<Vec<Candidate>> {
        let mut remote = self.remote.clone();
        let (shown, places) = self.places.show(sdp)?;
        let admitted = remote.description(&shown);
        let sdp = &admitted.sdp;
        let description = Description::parse(sdp)?;
        if self.offer.is_none() {
            return Err(Error::new(ErrorKind::State, "there is no open offer"));
        }
        description.check_audio(&self.shared.audio)?;
        let answer = RTCSessionDescription::answer(sdp.clone()).map_err(refused)?;
        if let Some(OpenOffer::Held(offer)) = self.offer.replace(OpenOffer::Applied) {
            self.shared.begin_gathering();
            self.connection.set_local_description(*offer).await.map_err(stack::fault)?;
        }
        self.connection.set_remote_description(answer).await.map_err(refused)?;
        self.remote = remote;
        self.places = places;
        self.offer = None;
        self.settle(&description, &description).await?;
        Ok(self.add_admitted(admitted.candidates).await)
    }

    /// Adds those of a description that came beside it. Those with names come back.
    async fn add_admitted(&self, candidates: Vec<(Candidate, Use)>) -> Vec<Candidate> {
        let mut named = Vec::new();
        for (candidate, usable) in candidates {
            match usable {
                Use::Check => {
                    // One that is of no use must not end the call.
                    if let Err(error) = self.give(&candidate).await {
                        tracing::debug!(%error, "a candidate cannot be checked");
                    }
                }
                Use::Resolve(_) => named.push(candidate),
                Use::Ignore => {}
            }
        }
        named
    }

    /// Adds a candidate, and keeps it for the description that may come later. Says whether it has
    /// a name to be resolved.
    pub(crate) async fn add_candidate(&mut self, candidate: &Candidate) -> Result<bool> {
        match self.remote.trickle(candidate)? {
            Use::Check => self.give(candidate).await.map(|()| false),
            Use::Resolve(_) => Ok(true),
            Use::Ignore => Ok(false),
        }
    }

    /// Adds a candidate whose name became an address.
    pub(crate) async fn add_resolved(&mut self, candidate: &Candidate) -> Result<()> {
        match self.remote.admit(&candidate.attribute)? {
            Use::Check => self.give(candidate).await,
            Use::Resolve(_) | Use::Ignore => Ok(()),
        }
    }

    async fn give(&self, candidate: &Candidate) -> Result<()> {
        let init = RTCIceCandidateInit {
            candidate: candidate::bare(&candidate.attribute),
            sdp_mid: candidate.mid.as_ref().map(|mid| mid.as_str().to_owned()),
            sdp_mline_index: Some(0),
            ..RTCIceCandidateInit::default()
        };
        let added = self.connection.add_ice_candidate(init).await;
        added.map_err(|error| Error::new(ErrorKind::Invalid, "this is no ICE candidate").source(error))
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
        self.prefer(&*sender, codecs).await?;
        let id = {
            let mut state = self.shared.lock();
            state.next_track += 1;
            let id = TrackId(state.next_track);
            let track = LocalTrack { kind, local, sender, ssrc, section: None, sequence: SendSequence::default() };
            state.tracks.insert(id, track);
            id
        };
        self.ask_for_negotiation();
        Ok(id)
    }

    /// Has all of these codecs negotiated for a track: the stack would take only the one the track
    /// was made with.
    async fn prefer(&self, sender: &dyn RtpSender, codecs: Vec<RTCRtpCodecParameters>) -> Result<()> {
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
        self.ask_for_negotiation();
        Ok(())
    }

    pub(crate) async fn open_channel(&mut self, label: &str) -> Result<()> {
        let channel = self.connection.create_data_channel(label, None).await.map_err(stack::fault)?;
        channels::run(&self.shared, channel);
        if !std::mem::replace(&mut self.has_channel, true) {
            self.ask_for_negotiation();
        }
        Ok(())
    }

    /// Only changes after the first negotiation are news to the engine.
    fn ask_for_negotiation(&self) {
        if self.is_negotiated || self.offer.is_some() {
            self.shared.events.send(SessionEvent::NegotiationNeeded);
        }
    }

    /// Takes over what a negotiation has settled; codecs and extensions are those of the answer.
    async fn settle(&mut self, remote: &Description, answer: &Description) -> Result<()> {
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
            state.repeats = sections.iter().flat_map(|section| section.retransmissions()).collect();
            for track in state.tracks.values_mut() {
                let mid = bound.iter().find(|(sender, _)| *sender == track.sender.id()).map(|(_, mid)| mid);
                let section = mid.and_then(|mid| sections.iter().find(|section| section.mid == *mid));
                track.section = section.map(|section| (*section).clone());
            }
        }
        self.report_remote_tracks(remote, &sections);
        self.remote_user = Some(remote.ice_user.clone());
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
