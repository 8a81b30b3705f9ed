//! What a session knows: tracks, sections, candidates, its path.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use blink_api::{
    Candidate, ChannelId, Clock, CodecName, Error, ErrorKind, Mid, Result, RtpCodec, RtpSink, SessionConfig,
    SessionEvent, TrackId, TrackKind,
};
use blink_transport_kit::candidate;
use blink_transport_kit::sdp::Places;
use blink_transport_kit::traffic::Traffic;
use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::hub::{SessionNumber, TransportId};
use crate::outbox::Outbox;
use crate::sdp::{Format, Section};

/// Remote candidates kept, by user name; the oldest go.
const MOST_CANDIDATES: usize = 64;
/// Where candidates of this transport point to.
const ADDRESS: &str = "memory.invalid";

/// One session's state; the hub holds those of all sessions.
pub(crate) struct Peer {
    pub(crate) number: SessionNumber,
    pub(crate) transport: TransportId,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) outbox: Outbox,
    pub(crate) rtp: Arc<dyn RtpSink>,
    pub(crate) traffic: Traffic,
    /// What is negotiated: the configured codecs with the payload types this side would give them.
    pub(crate) audio: Vec<Format>,
    pub(crate) video: Vec<Format>,

    pub(crate) tracks: BTreeMap<TrackId, Track>,
    next_track: u32,
    /// As the newest description applied has them.
    pub(crate) sections: Vec<Section>,
    pub(crate) offer: Option<OpenOffer>,
    pub(crate) versions: u64,
    /// Media sections by their place, with those that were hidden.
    pub(crate) places: Places,

    /// Which credentials are in force; `None` before the first negotiation.
    pub(crate) generation: Option<u32>,
    pub(crate) next_generation: u32,
    pub(crate) remote: Option<Remote>,
    /// User names that candidates came for.
    candidates: VecDeque<String>,
    /// The other end, and the credentials of both that the path was found with.
    pub(crate) path: Option<Path>,

    /// Labels of channels to open as soon as there is a path.
    pub(crate) wanted: VecDeque<String>,
    /// Channels that are open, with their numbers at the other end.
    pub(crate) channels: BTreeMap<ChannelId, ChannelId>,
    next_channel: u32,
    /// Messages that wait for a cut path, with their channels at the other end.
    pub(crate) unsent: VecDeque<(ChannelId, Bytes)>,
}

/// A track this side sends.
pub(crate) struct Track {
    pub(crate) kind: TrackKind,
    /// The section it is sent on, once negotiated.
    pub(crate) mid: Option<Mid>,
}

/// An own offer without an answer.
pub(crate) struct OpenOffer {
    pub(crate) generation: u32,
    pub(crate) planned: Vec<(TrackId, Mid)>,
    pub(crate) sections: Vec<Section>,
}

/// What the newest remote description says of its author.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Remote {
    pub(crate) user: String,
    pub(crate) fingerprint: String,
}

/// A path to another session.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) to: SessionNumber,
    pub(crate) local_user: String,
    pub(crate) remote_user: String,
}

impl Peer {
    pub(crate) fn new(number: SessionNumber, transport: TransportId, config: SessionConfig, outbox: Outbox) -> Self {
        Self {
            number,
            transport,
            clock: config.clock,
            outbox,
            rtp: config.rtp,
            traffic: Traffic::default(),
            audio: Format::assign(&config.audio, 96),
            // Above what audio may have taken: the sections are bundled, and a payload type means
            // one thing in all of them.
            video: Format::assign(&config.video, 96 + config.audio.len().min(31) as u8),
            tracks: BTreeMap::new(),
            next_track: 0,
            sections: Vec::new(),
            offer: None,
            versions: 0,
            places: Places::default(),
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
            return Err(Error::new(ErrorKind::Unsupported, "no codec is configured for this kind of media"));
        }
        self.next_track += 1;
        let id = TrackId(self.next_track);
        self.tracks.insert(id, Track { kind, mid: None });
        self.ask_for_negotiation();
        Ok(id)
    }

    pub(crate) fn remove_track(&mut self, id: TrackId) -> Result<()> {
        let removed =
            self.tracks.remove(&id).ok_or_else(|| Error::new(ErrorKind::NotFound, "there is no such track"))?;
        if removed.mid.is_some() {
            self.ask_for_negotiation();
        }
        Ok(())
    }

    /// The section of an own track, once negotiated and where the other side did not refuse it.
    pub(crate) fn mid(&self, id: TrackId) -> Option<Mid> {
        let mid = self.tracks.get(&id)?.mid.as_ref()?;
        let section = self.sections.iter().find(|section| section.mid == *mid);
        section.filter(|section| !section.is_rejected).map(|section| section.mid.clone())
    }

    /// The codecs that a track may be sent with, in the order of the configuration.
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
            self.ask_for_negotiation();
        }
    }

    /// Only changes after the first negotiation are news to the engine.
    fn ask_for_negotiation(&mut self) {
        if self.generation.is_some() || self.offer.is_some() {
            self.outbox.send(SessionEvent::NegotiationNeeded);
        }
    }

    /// A channel is open from now on.
    pub(crate) fn next_channel(&mut self) -> ChannelId {
        self.next_channel += 1;
        ChannelId(self.next_channel)
    }

    pub(crate) fn has_data(&self) -> bool {
        self.sections.iter().any(|section| section.kind.is_none() && !section.is_rejected)
    }

    /// The section that media comes in on.
    pub(crate) fn incoming(&self, mid: &Mid) -> Option<&Section> {
        self.sections.iter().find(|section| section.mid == *mid && section.receives)
    }

    /// Remembers the user name a candidate is for. Candidates that lead elsewhere are ignored.
    pub(crate) fn add_candidate(&mut self, candidate: &Candidate) -> Result<()> {
        // This transport's own candidates have a host name: to others they are well formed and of
        // no use.
        candidate::judge(&candidate.attribute)?;
        let fields: Vec<&str> = candidate.attribute.split_whitespace().collect();
        let user = fields.windows(2).find(|two| two[0] == "ufrag").map(|two| two[1]);
        let (Some(&ADDRESS), Some(user)) = (fields.get(4), user) else { return Ok(()) };
        if !self.candidates.iter().any(|known| known == user) {
            if self.candidates.len() == MOST_CANDIDATES {
                self.candidates.pop_front();
            }
            self.candidates.push_back(user.to_owned());
        }
        Ok(())
    }

    /// Reports the candidates of a negotiation: one where the credentials are new.
    pub(crate) fn gather(&mut self, generation: u32) {
        if generation >= self.next_generation {
            self.next_generation = generation + 1;
            let user = self.user(generation);
            let attribute = format!("candidate:1 1 udp 2130706431 {ADDRESS} 9 typ host ufrag {user}");
            self.outbox.send(SessionEvent::LocalCandidate(Candidate { attribute, mid: None }));
        }
        self.outbox.send(SessionEvent::CandidatesDone);
    }

    /// The ICE user name of a generation: it names session and generation.
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

    /// Looks like that of a certificate, and follows from the session's number.
    pub(crate) fn fingerprint(&self) -> String {
        let mut bytes = [0; 32];
        ChaCha8Rng::seed_from_u64(self.number.0).fill_bytes(&mut bytes);
        bytes.map(|byte| format!("{byte:02X}")).join(":")
    }

    /// Whether there is a path, found with the newest descriptions.
    pub(crate) fn has_newest_path(&self) -> bool {
        let Some(path) = &self.path else { return false };
        Some(&path.local_user) == self.local_user().as_ref()
            && self.remote.as_ref().is_some_and(|remote| remote.user == path.remote_user)
    }

    /// Whether this side can reach the other with what it was told: the description of it as it is,
    /// and a candidate.
    pub(crate) fn knows(&self, other: &Self) -> bool {
        let Some(remote) = &self.remote else { return false };
        other.local_user().as_ref() == Some(&remote.user)
            && other.fingerprint() == remote.fingerprint
            && self.candidates.contains(&remote.user)
    }
}

/// The first of these formats that stands for a codec.
pub(crate) fn find<'a>(formats: &'a [Format], codec: &RtpCodec) -> Option<&'a Format> {
    formats.iter().find(|format| format.matches(codec))
}
