//! State of a session: tracks, sections, candidates and path.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use blink_api::{
    Candidate, ChannelId, Clock, CodecName, Error, ErrorKind, Mid, Result, RtpCodec, RtpSink, SessionConfig,
    SessionEvent, TrackId, TrackKind,
};
use blink_transport_kit::candidate;
use blink_transport_kit::sdp::SectionMap;
use blink_transport_kit::traffic::TrafficCounters;
use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::hub::{SessionNumber, TransportId};
use crate::outbox::Outbox;
use crate::sdp::{Format, Section};

/// Limit of ICE username fragments with candidates; the oldest are dropped.
const MAX_CANDIDATES: usize = 64;
/// Host name in this transport's candidates.
const ADDRESS: &str = "memory.invalid";

/// State of one session, held by the hub.
pub(crate) struct Peer {
    pub(crate) number: SessionNumber,
    pub(crate) transport: TransportId,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) outbox: Outbox,
    pub(crate) rtp: Arc<dyn RtpSink>,
    pub(crate) traffic: TrafficCounters,
    /// Configured codecs with the payload types for local offers.
    pub(crate) audio: Vec<Format>,
    pub(crate) video: Vec<Format>,

    pub(crate) tracks: BTreeMap<TrackId, Track>,
    next_track: u32,
    /// Sections of the latest description applied.
    pub(crate) sections: Vec<Section>,
    pub(crate) offer: Option<PendingOffer>,
    pub(crate) versions: u64,
    /// Media sections by index, including hidden ones.
    pub(crate) section_map: SectionMap,

    /// Current generation of ICE credentials; `None` before the first negotiation.
    pub(crate) generation: Option<u32>,
    pub(crate) next_generation: u32,
    pub(crate) remote: Option<Remote>,
    /// ICE username fragments of received candidates.
    candidates: VecDeque<String>,
    /// Path to the peer, with the credentials of both that it was established with.
    pub(crate) path: Option<Path>,

    /// Labels of channels to open once there is a path.
    pub(crate) wanted: VecDeque<String>,
    /// Open channels, with the peer's id of each.
    pub(crate) channels: BTreeMap<ChannelId, ChannelId>,
    next_channel: u32,
    /// Messages queued for a cut path, with the peer's channel ids.
    pub(crate) unsent: VecDeque<(ChannelId, Bytes)>,
}

/// Sent track.
pub(crate) struct Track {
    pub(crate) kind: TrackKind,
    /// Section of the track, once negotiated.
    pub(crate) mid: Option<Mid>,
}

/// Local offer without an answer.
pub(crate) struct PendingOffer {
    pub(crate) generation: u32,
    pub(crate) planned: Vec<(TrackId, Mid)>,
    pub(crate) sections: Vec<Section>,
}

/// Identity of the peer in its latest description.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Remote {
    pub(crate) user: String,
    pub(crate) fingerprint: String,
}

/// Path to another session.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) to: SessionNumber,
    pub(crate) local_user: String,
    pub(crate) remote_ufrag: String,
}

impl Peer {
    pub(crate) fn new(number: SessionNumber, transport: TransportId, config: SessionConfig, outbox: Outbox) -> Self {
        Self {
            number,
            transport,
            clock: config.clock,
            outbox,
            rtp: config.rtp,
            traffic: TrafficCounters::default(),
            audio: Format::assign(&config.audio, 96),
            // Above the payload types of audio, since bundled sections share one payload type
            // space.
            video: Format::assign(&config.video, 96 + config.audio.len().min(31) as u8),
            tracks: BTreeMap::new(),
            next_track: 0,
            sections: Vec::new(),
            offer: None,
            versions: 0,
            section_map: SectionMap::default(),
            generation: None,
            next_generation: 0,
            remote: None,
            candidates: VecDeque::new(),
            path: None,
            wanted: VecDeque::new(),
            channels: BTreeMap::new(),
            next_channel: 0,
            unsent: VecDeque::new(),
        }
    }

    pub(crate) fn formats(&self, kind: TrackKind) -> &[Format] {
        match kind {
            TrackKind::Audio => &self.audio,
            TrackKind::Video => &self.video,
        }
    }

    pub(crate) fn add_track(&mut self, kind: TrackKind) -> Result<TrackId> {
        if self.formats(kind).is_empty() {
            return Err(Error::new(ErrorKind::Unsupported, "no codec is configured for this kind of track"));
        }
        self.next_track += 1;
        let id = TrackId(self.next_track);
        self.tracks.insert(id, Track { kind, mid: None });
        self.request_negotiation();
        Ok(id)
    }

    pub(crate) fn remove_track(&mut self, id: TrackId) -> Result<()> {
        let removed =
            self.tracks.remove(&id).ok_or_else(|| Error::new(ErrorKind::NotFound, "there is no such track"))?;
        if removed.mid.is_some() {
            self.request_negotiation();
        }
        Ok(())
    }

    /// Section of a local track, once negotiated and unless rejected.
    pub(crate) fn mid(&self, id: TrackId) -> Option<Mid> {
        let mid = self.tracks.get(&id)?.mid.as_ref()?;
        let section = self.sections.iter().find(|section| section.mid == *mid);
        section.filter(|section| !section.is_rejected).map(|section| section.mid.clone())
    }

    /// Codecs that a track may be sent with, in order of preference.
    pub(crate) fn codecs(&self, id: TrackId) -> Vec<CodecName> {
        let Some((track, mid)) = self.tracks.get(&id).zip(self.mid(id)) else { return Vec::new() };
        let section = self.sections.iter().find(|section| section.mid == mid);
        let negotiated = section.map(|section| &section.formats[..]).unwrap_or_default();
        let own = self.formats(track.kind).iter().filter(|format| find(negotiated, &format.codec).is_some());
        own.map(|format| format.codec.name.clone()).collect()
    }

    pub(crate) fn want_channel(&mut self, label: &str) {
        self.wanted.push_back(label.to_owned());
        if !self.has_data() {
            self.request_negotiation();
        }
    }

    /// Requests a negotiation, except before the first one, which the engine starts itself.
    fn request_negotiation(&mut self) {
        if self.generation.is_some() || self.offer.is_some() {
            self.outbox.send(SessionEvent::NegotiationNeeded);
        }
    }

    /// Allocates the id of a new channel.
    pub(crate) fn next_channel(&mut self) -> ChannelId {
        self.next_channel += 1;
        ChannelId(self.next_channel)
    }

    pub(crate) fn has_data(&self) -> bool {
        self.sections.iter().any(|section| section.kind.is_none() && !section.is_rejected)
    }

    /// Section that a track is received on.
    pub(crate) fn incoming(&self, mid: &Mid) -> Option<&Section> {
        self.sections.iter().find(|section| section.mid == *mid && section.receives)
    }

    /// Records the username fragment of a candidate. Candidates of other transports are ignored.
    pub(crate) fn add_candidate(&mut self, candidate: &Candidate) -> Result<()> {
        // Other transports classify the host name in this transport's candidates as well formed but
        // unusable.
        candidate::classify(&candidate.attribute)?;
        let fields: Vec<&str> = candidate.attribute.split_whitespace().collect();
        let user = fields.windows(2).find(|two| two[0] == "ufrag").map(|two| two[1]);
        let (Some(&ADDRESS), Some(user)) = (fields.get(4), user) else { return Ok(()) };
        if !self.candidates.iter().any(|known| known == user) {
            if self.candidates.len() == MAX_CANDIDATES {
                self.candidates.pop_front();
            }
            self.candidates.push_back(user.to_owned());
        }
        Ok(())
    }

    /// Reports the local candidates of a negotiation: one if the credentials are new.
    pub(crate) fn gather(&mut self, generation: u32) {
        if generation >= self.next_generation {
            self.next_generation = generation + 1;
            let user = self.user(generation);
            let attribute = format!("candidate:1 1 udp 2130706431 {ADDRESS} 9 typ host ufrag {user}");
            self.outbox.send(SessionEvent::LocalCandidate(Candidate { attribute, mid: None }));
        }
        self.outbox.send(SessionEvent::CandidatesDone);
    }

    /// ICE username fragment, which encodes session and generation.
    pub(crate) fn user(&self, generation: u32) -> String {
        format!("s{}g{generation}", self.number.0)
    }

    pub(crate) fn local_user(&self) -> Option<String> {
        self.generation.map(|generation| self.user(generation))
    }

    pub(crate) fn password(&self, generation: u32) -> String {
        let mut random = ChaCha8Rng::seed_from_u64(self.number.0);
        random.set_stream(u64::from(generation) + 1);
        (0..3).map(|_| format!("{:08x}", random.next_u32())).collect()
    }

    /// Fingerprint in the form of a certificate's, derived from the session's number.
    pub(crate) fn fingerprint(&self) -> String {
        let mut bytes = [0; 32];
        ChaCha8Rng::seed_from_u64(self.number.0).fill_bytes(&mut bytes);
        bytes.map(|byte| format!("{byte:02X}")).join(":")
    }

    /// Returns whether the path was established with the latest descriptions.
    pub(crate) fn has_newest_path(&self) -> bool {
        let Some(path) = &self.path else { return false };
        Some(&path.local_user) == self.local_user().as_ref()
            && self.remote.as_ref().is_some_and(|remote| remote.user == path.remote_ufrag)
    }

    /// Returns whether this side can reach the other: it has its current description and a
    /// candidate.
    pub(crate) fn knows(&self, other: &Self) -> bool {
        let Some(remote) = &self.remote else { return false };
        other.local_user().as_ref() == Some(&remote.user)
            && other.fingerprint() == remote.fingerprint
            && self.candidates.contains(&remote.user)
    }
}

/// First format of a codec.
pub(crate) fn find<'a>(formats: &'a [Format], codec: &RtpCodec) -> Option<&'a Format> {
    formats.iter().find(|format| format.matches(codec))
}
