//! Offer/answer negotiation (RFC 8829) for a transport without a WebRTC stack: tracks, media
//! sections, codecs and ICE generations, without IO.
//!
//! The transport passes the calls of [`Session`](blink_api::Session) on, and forwards what
//! [`Negotiation::poll_event`] returns after each. It brings packets and messages to the other side
//! by means of its own, between the [`local_ufrag`](Negotiation::local_ufrag) of both.
//!
//! ```
//! use blink_transport_kit::negotiation::{Local, Negotiation};
//! # use blink_api::{CodecName, RtpCodec, TrackKind};
//! # let opus = RtpCodec { name: CodecName::new("opus"), clock_rate: 48_000, channels: 2, fmtp: String::new() };
//! let side = |session| {
//!     let (name, secret) = (format!("s{session}"), "22 characters and more".to_owned());
//!     let hosts = vec![("192.0.2.1".to_owned(), 5_000)];
//!     let fingerprint = ["AB"; 32].join(":");
//!     Negotiation::new(Local { session, ufrag: name, password: secret, fingerprint, hosts }, &[opus.clone()], &[])
//! };
//! let (mut alice, mut bob) = (side(1), side(2));
//! let track = alice.add_track(TrackKind::Audio)?;
//! let answer = bob.accept_offer(&alice.create_offer(false)?)?;
//! alice.accept_answer(&answer)?;
//! assert!(alice.mid(track).is_some());
//! # Ok::<(), blink_api::Error>(())
//! ```

mod description;
mod offer_answer;

use std::collections::{BTreeMap, VecDeque};

use blink_api::{Candidate, CodecName, Error, ErrorKind, Mid, Result, RtpCodec, SessionEvent, TrackId, TrackKind};

use crate::sdp::SectionMap;
use description::{Format, Section};

/// This side of a negotiation.
#[derive(Debug, Clone)]
pub struct Local {
    /// Number of the session in `o=` lines.
    pub session: u64,
    /// ICE username fragment, unique among all sessions that can reach each other; the number of
    /// the ICE generation is appended.
    pub ufrag: String,
    /// ICE password of at least 22 characters; the generation is appended.
    pub password: String,
    /// SHA-256 fingerprint in the form `AA:BB:…`.
    pub fingerprint: String,
    /// Addresses and ports of the host candidates, the preferred one first.
    pub hosts: Vec<(String, u16)>,
}

/// The other side, as in its newest description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// ICE username fragment; a new one means an ICE restart.
    pub ufrag: String,
    /// SHA-256 fingerprint in the form `AA:BB:…`, in capitals.
    pub fingerprint: String,
    /// Values of the candidate lines, beginning with `candidate:`.
    pub candidates: Vec<String>,
}

/// State of a session's negotiations.
#[derive(Debug)]
pub struct Negotiation {
    local: Local,
    /// Configured codecs with the payload types for local offers.
    audio: Vec<Format>,
    video: Vec<Format>,
    tracks: BTreeMap<TrackId, Track>,
    next_track: u32,
    /// Sections of the latest description applied.
    sections: Vec<Section>,
    offer: Option<PendingOffer>,
    versions: u64,
    /// Media sections by index, including hidden ones.
    section_map: SectionMap,
    /// Current generation of ICE credentials; `None` before the first negotiation.
    generation: Option<u32>,
    next_generation: u32,
    remote: Option<Remote>,
    /// Labels of channels to open once there is a path.
    wanted: VecDeque<String>,
    events: VecDeque<SessionEvent>,
}

/// Sent track.
#[derive(Debug)]
struct Track {
    kind: TrackKind,
    /// Section of the track, once negotiated.
    mid: Option<Mid>,
}

/// Local offer without an answer.
#[derive(Debug)]
struct PendingOffer {
    generation: u32,
    planned: Vec<(TrackId, Mid)>,
    sections: Vec<Section>,
}

impl Negotiation {
    /// A session that has negotiated nothing, with the codecs of its configuration.
    pub fn new(local: Local, audio: &[RtpCodec], video: &[RtpCodec]) -> Self {
        Self {
            local,
            audio: Format::assign(audio, 96),
            // Above the payload types of audio, since bundled sections share one payload type
            // space.
            video: Format::assign(video, 96 + audio.len().min(31) as u8),
            tracks: BTreeMap::new(),
            next_track: 0,
            sections: Vec::new(),
            offer: None,
            versions: 0,
            section_map: SectionMap::default(),
            generation: None,
            next_generation: 0,
            remote: None,
            wanted: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// The next event for the session's reader; `None` until another method was called.
    pub fn poll_event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }

    /// This side.
    pub fn local(&self) -> &Local {
        &self.local
    }

    /// The other side; `None` before the first negotiation.
    pub fn remote(&self) -> Option<&Remote> {
        self.remote.as_ref()
    }

    /// ICE username fragment that belongs to the newest applied description.
    pub fn local_ufrag(&self) -> Option<String> {
        self.generation.map(|generation| self.ufrag(generation))
    }

    /// [`Session::add_track`](blink_api::Session::add_track).
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) without a codec of this kind.
    pub fn add_track(&mut self, kind: TrackKind) -> Result<TrackId> {
        if self.formats(kind).is_empty() {
            return Err(Error::new(ErrorKind::Unsupported, "no codec is configured for this kind of track"));
        }
        self.next_track += 1;
        let id = TrackId(self.next_track);
        self.tracks.insert(id, Track { kind, mid: None });
        self.request_negotiation();
        Ok(id)
    }

    /// [`Session::remove_track`](blink_api::Session::remove_track).
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for an unknown track.
    pub fn remove_track(&mut self, id: TrackId) -> Result<()> {
        let removed = self.tracks.remove(&id).ok_or_else(no_track)?;
        if removed.mid.is_some() {
            self.request_negotiation();
        }
        Ok(())
    }

    /// [`Session::mid`](blink_api::Session::mid).
    pub fn mid(&self, id: TrackId) -> Option<Mid> {
        let mid = self.tracks.get(&id)?.mid.as_ref()?;
        let section = self.sections.iter().find(|section| section.mid == *mid);
        section.filter(|section| !section.is_rejected).map(|section| section.mid.clone())
    }

    /// [`Session::codecs`](blink_api::Session::codecs).
    pub fn codecs(&self, id: TrackId) -> Vec<CodecName> {
        let Some((track, mid)) = self.tracks.get(&id).zip(self.mid(id)) else { return Vec::new() };
        let section = self.sections.iter().find(|section| section.mid == mid);
        let negotiated = section.map(|section| &section.formats[..]).unwrap_or_default();
        let own = self.formats(track.kind).iter().filter(|format| find(negotiated, &format.codec).is_some());
        own.map(|format| format.codec.name.clone()).collect()
    }

    /// Section and payload type of a packet to send; `None` where it is dropped without an error,
    /// before the negotiation and on rejected sections.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for an unknown track,
    /// [`Incompatible`](ErrorKind::Incompatible) for a codec that was not negotiated.
    pub fn outgoing(&self, id: TrackId, codec: &CodecName) -> Result<Option<(Mid, u8)>> {
        let mid = self.tracks.get(&id).ok_or_else(no_track)?.mid.as_ref();
        let section = self.sections.iter().find(|section| Some(&section.mid) == mid);
        let Some(section) = section.filter(|section| !section.is_rejected) else { return Ok(None) };
        let Some(format) = section.formats.iter().find(|format| format.codec.name == *codec) else {
            let error = Error::new(ErrorKind::Incompatible, "this codec was not negotiated");
            return Err(error.with("codec", codec));
        };
        Ok(section.sends.then(|| (section.mid.clone(), format.payload_type)))
    }

    /// Codec of a received packet; `None` where no such packet was negotiated.
    pub fn incoming(&self, mid: &Mid, payload_type: u8) -> Option<CodecName> {
        let section = self.sections.iter().find(|section| section.mid == *mid && section.receives)?;
        let format = section.formats.iter().find(|format| format.payload_type == payload_type)?;
        Some(format.codec.name.clone())
    }

    /// Whether a track is received on this section.
    pub fn receives(&self, mid: &Mid) -> bool {
        self.sections.iter().any(|section| section.mid == *mid && section.receives)
    }

    /// [`Session::open_channel`](blink_api::Session::open_channel).
    pub fn open_channel(&mut self, label: &str) {
        self.wanted.push_back(label.to_owned());
        if !self.has_data() {
            self.request_negotiation();
        }
    }

    /// Takes the label of a channel that waits for a path, if data channels were negotiated.
    pub fn next_channel(&mut self) -> Option<String> {
        if self.has_data() { self.wanted.pop_front() } else { None }
    }

    /// Whether data channels were negotiated.
    pub fn has_data(&self) -> bool {
        self.sections.iter().any(|section| section.kind.is_none() && !section.is_rejected)
    }

    fn formats(&self, kind: TrackKind) -> &[Format] {
        match kind {
            TrackKind::Audio => &self.audio,
            TrackKind::Video => &self.video,
        }
    }

    /// Requests a negotiation, except before the first one, which the engine starts itself.
    fn request_negotiation(&mut self) {
        if self.generation.is_some() || self.offer.is_some() {
            self.events.push_back(SessionEvent::NegotiationNeeded);
        }
    }

    /// Reports the local candidates of a negotiation, if the credentials are new.
    fn gather(&mut self, generation: u32) {
        if generation >= self.next_generation {
            self.next_generation = generation + 1;
            let ufrag = self.ufrag(generation);
            for (number, (host, port)) in (1u32..).zip(&self.local.hosts) {
                // RFC 8445 §5.1.2.1 for host candidates of component 1.
                let priority = (126 << 24) | (u32::from(u16::MAX).saturating_sub(number - 1) << 8) | 255;
                let attribute = format!("candidate:{number} 1 udp {priority} {host} {port} typ host ufrag {ufrag}");
                self.events.push_back(SessionEvent::LocalCandidate(Candidate { attribute, mid: None }));
            }
        }
        self.events.push_back(SessionEvent::CandidatesDone);
    }

    fn ufrag(&self, generation: u32) -> String {
        format!("{}g{generation}", self.local.ufrag)
    }

    fn password(&self, generation: u32) -> String {
        format!("{}{generation}", self.local.password)
    }
}

/// First format of a codec.
fn find<'a>(formats: &'a [Format], codec: &RtpCodec) -> Option<&'a Format> {
    formats.iter().find(|format| format.matches(codec))
}

fn no_track() -> Error {
    Error::new(ErrorKind::NotFound, "there is no such track")
}
