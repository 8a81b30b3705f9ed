//! A session as media sees it: its media sections in both directions, and what is known of its
//! network.
//!
//! All sections are negotiated with the session, some of each kind. A sender of a stream picks one
//! that it sends nothing on, and announces that on the data channel.

use std::collections::{BTreeMap, VecDeque};
use web_time::{Duration, Instant};

use blink_api::{CodecName, Endpoint, Mid, QualitySettings, RtpIn, StreamId, TrackId, TrackKind, TrackSource};

use super::command::{AnnouncedSection, NegotiatedSection};
use super::output::{MediaEvent, MediaOutput};
use super::path_feedback::PathFeedback;
use super::path_quality::{Frames, PathCounts, PathQuality};
use super::section_report::SectionReport;
use super::send_track::SendTrack;
use super::video_receiver::VideoReceiver;
use crate::quality_monitor::QualityChange;
use crate::rate::AudioDemand;
use crate::statistics::{AudioStatistics, ReceivedVideo};
use crate::unwrap::SequenceUnwrapper;

/// Packets that are held until the path is verified (640 ms of audio), so that the first word is
/// not lost. The oldest are dropped.
const MAX_HELD: usize = 32;
/// Packets that are held until their section is announced, so that the start of a stream is not
/// lost. The oldest are dropped.
const MAX_UNANNOUNCED: usize = 128;
/// Sections that the other side can announce.
const MAX_SECTIONS: usize = 8;
/// The longest identification tag of a section, in bytes.
const MAX_MID: usize = 16;
/// Shortest time between two changes of a sender's codec; packets in another codec that come
/// sooner are not decoded.
const CODEC_CHANGE: Duration = Duration::from_secs(1);

/// The media state of one session.
pub(super) struct Path {
    pub(super) remote: Endpoint,
    pub(super) microphone: Outgoing,
    pub(super) outgoing: Vec<Outgoing>,
    incoming: BTreeMap<Mid, Incoming>,
    pub(super) receivers: BTreeMap<StreamId, Receiver>,
    /// The codec that the microphone is sent with; `None` before it is.
    pub(super) sent_with: Option<CodecName>,
    /// The codec that each audio track is decoded with, and the time of its last change.
    decoded_with: BTreeMap<TrackSource, (CodecName, Option<Instant>)>,
    /// Packets from before the path was verified; `None` once it is.
    held: Option<VecDeque<RtpIn>>,
    unannounced: VecDeque<RtpIn>,
    /// The other end was told when the first of what is sent was captured.
    pub(super) captures_told: bool,
    pub(super) feedback: PathFeedback,
    pub(super) quality: PathQuality,
}

/// A media section as this side sends on it.
pub(super) struct Outgoing {
    kind: TrackKind,
    pub(super) track: SendTrack,
    /// `None` while it is not negotiated, or where the other side refused it.
    pub(super) mid: Option<Mid>,
    pub(super) codecs: Vec<CodecName>,
    pub(super) sending: Option<StreamId>,
}

impl Outgoing {
    fn new(track: TrackId, kind: TrackKind, first_sequence: u16) -> Self {
        Self { kind, track: SendTrack::new(track, first_sequence), mid: None, codecs: Vec::new(), sending: None }
    }

    /// Whether packets may carry copies of earlier ones (RFC 2198): both sides understand them.
    pub(super) fn has_copies(&self) -> bool {
        self.codecs.iter().any(CodecName::is_red)
    }
}

/// A media section as the other side sends on it.
struct Incoming {
    stream: StreamId,
    first: i64,
    numbers: SequenceUnwrapper,
}

impl Incoming {
    fn new(stream: StreamId, first_sequence: u16) -> Self {
        let numbers = SequenceUnwrapper::new(first_sequence);
        Self { stream, first: numbers.highest(), numbers }
    }

    /// Whether a packet is of this stream, and not of the one before it on the section.
    fn has(&mut self, sequence: u16) -> bool {
        self.numbers.advance(sequence) >= self.first
    }
}

/// The receiver of a stream.
pub(super) enum Receiver {
    Audio,
    Video(Box<VideoReceiver>),
}

/// A packet and where it belongs.
pub(super) enum Routed {
    Audio(TrackSource, RtpIn),
    Video(StreamId, RtpIn),
}

impl Path {
    /// The path of a session with these tracks; `None` without a track of audio.
    pub(super) fn new(
        remote: Endpoint,
        tracks: &[(TrackId, TrackKind)],
        mut first_sequence: impl FnMut() -> u16,
        quality: QualitySettings,
        now: Instant,
    ) -> Option<Self> {
        let mut tracks: Vec<_> =
            tracks.iter().map(|(track, kind)| Outgoing::new(*track, *kind, first_sequence())).collect();
        let microphone = tracks.iter().position(|section| section.kind == TrackKind::Audio)?;
        Some(Self {
            remote,
            microphone: tracks.remove(microphone),
            outgoing: tracks,
            incoming: BTreeMap::new(),
            receivers: BTreeMap::new(),
            sent_with: None,
            decoded_with: BTreeMap::new(),
            held: Some(VecDeque::new()),
            unannounced: VecDeque::new(),
            captures_told: false,
            feedback: PathFeedback::new(now),
            quality: PathQuality::new(quality),
        })
    }

    pub(super) fn set_negotiated(&mut self, sections: Vec<NegotiatedSection>) {
        for NegotiatedSection { track, mid, codecs } in sections {
            let own = std::iter::once(&mut self.microphone).chain(&mut self.outgoing);
            if let Some(section) = own.into_iter().find(|section| section.track.track == track) {
                (section.mid, section.codecs) = (Some(mid), codecs);
            }
        }
    }

    /// Whether the path is verified.
    pub(super) fn is_admitted(&self) -> bool {
        self.held.is_none()
    }

    /// Verifies the path. Returns the packets that were held; `None` where it was verified before.
    pub(super) fn admit(&mut self) -> Option<VecDeque<RtpIn>> {
        self.held.take()
    }

    /// Takes a packet that arrived before the path was verified. Returns it where it is.
    pub(super) fn hold(&mut self, packet: RtpIn) -> Option<RtpIn> {
        let Some(held) = &mut self.held else { return Some(packet) };
        if held.len() == MAX_HELD {
            held.pop_front();
        }
        held.push_back(packet);
        None
    }

    /// Finds the track of a packet. Holds one whose section is not announced yet; drops one that
    /// is not received.
    pub(super) fn route(&mut self, packet: RtpIn) -> Option<Routed> {
        if self.is_microphone(&packet.mid) {
            return Some(Routed::Audio(TrackSource::Microphone, packet));
        }
        let Some(incoming) = self.incoming.get_mut(&packet.mid) else {
            if self.unannounced.len() == MAX_UNANNOUNCED {
                self.unannounced.pop_front();
            }
            self.unannounced.push_back(packet);
            return None;
        };
        if !incoming.has(packet.sequence) {
            return None;
        }
        let stream = incoming.stream;
        Some(match self.receivers.get(&stream)? {
            Receiver::Audio => Routed::Audio(TrackSource::Stream(stream), packet),
            Receiver::Video(_) => Routed::Video(stream, packet),
        })
    }

    /// The other side announces a section. Returns the packets that waited for an announcement, to
    /// be routed again.
    pub(super) fn announce(&mut self, announced: AnnouncedSection) -> VecDeque<RtpIn> {
        let AnnouncedSection { mid, stream, first_sequence } = announced;
        let mid_is_long = mid.len() > MAX_MID;
        let mid = Mid::new(&mid);
        let is_known = self.incoming.len() < MAX_SECTIONS || self.incoming.contains_key(&mid);
        if mid_is_long || !is_known || self.is_microphone(&mid) {
            return VecDeque::new();
        }
        match stream {
            Some(stream) => drop(self.incoming.insert(mid, Incoming::new(stream, first_sequence))),
            None => drop(self.incoming.remove(&mid)),
        }
        std::mem::take(&mut self.unannounced)
    }

    /// A negotiated section of a kind that nothing is sent on.
    pub(super) fn free_section(&mut self, kind: TrackKind) -> Option<&mut Outgoing> {
        let free = |section: &&mut Outgoing| section.kind == kind && section.sending.is_none() && section.mid.is_some();
        self.outgoing.iter_mut().find(free)
    }

    /// The section that a stream is sent on.
    pub(super) fn section_of(&mut self, stream: StreamId) -> Option<&mut Outgoing> {
        self.outgoing.iter_mut().find(|section| section.sending == Some(stream))
    }

    /// The stream that is sent on a section.
    pub(super) fn sent_on(&self, mid: &Mid) -> Option<StreamId> {
        self.outgoing.iter().find(|section| section.mid.as_ref() == Some(mid))?.sending
    }

    /// Whether a source of this device is sent.
    pub(super) fn sends(&self, source: TrackSource) -> bool {
        match source {
            TrackSource::Microphone => self.sent_with.is_some(),
            TrackSource::Stream(stream) => self.outgoing.iter().any(|section| section.sending == Some(stream)),
        }
    }

    /// Number of streams of a kind that are sent.
    pub(super) fn sending(&self, kind: TrackKind) -> u32 {
        let sending = |section: &&Outgoing| section.kind == kind && section.sending.is_some();
        self.outgoing.iter().filter(sending).count() as u32
    }

    /// Share of the path that all audio asks for, where one voice asks for `one`.
    pub(super) fn demand(&self, one: AudioDemand) -> AudioDemand {
        let voices = 1 + self.sending(TrackKind::Audio);
        // More voices are more packets in the same time.
        AudioDemand { bitrate: one.bitrate.saturating_mul(voices), frame: one.frame / voices }
    }

    /// Video frames that were sent and dropped.
    pub(super) fn frames(&self) -> Frames {
        let sent = self.outgoing.iter().map(|section| section.track.frames_sent()).sum();
        Frames { sent, dropped: self.frames_dropped() }
    }

    /// Video frames that were not sent because the path had no room for them.
    pub(super) fn frames_dropped(&self) -> u64 {
        self.outgoing.iter().map(|section| section.track.frames_dropped()).sum()
    }

    /// Takes the statistics of an interval, and reports where the quality changes.
    pub(super) fn observe_quality(
        &mut self,
        now: Instant,
        interval: Duration,
        sections: &[SectionReport],
        audio: AudioStatistics,
        outputs: &mut VecDeque<MediaOutput>,
    ) {
        let (remote, frames) = (self.remote, self.frames());
        let counts = PathCounts { sections, microphone: self.microphone.mid.as_ref(), audio, frames };
        self.quality.observe(now, interval, &counts, |change| {
            outputs.push_back(MediaOutput::Event(match change {
                QualityChange::Degraded(reason) => MediaEvent::QualityDegraded(remote, reason),
                QualityChange::Recovered => MediaEvent::QualityRecovered(remote),
            }));
        });
    }

    /// Sets the codec that a track is decoded with.
    pub(super) fn set_decoded_with(&mut self, source: TrackSource, codec: CodecName) {
        self.decoded_with.insert(source, (codec, None));
    }

    pub(super) fn forget_decoded_with(&mut self, source: TrackSource) {
        self.decoded_with.remove(&source);
    }

    /// Whether a packet with audio in this codec needs another decoder than the ones before it; if
    /// so, that decoder counts as the track's from now on.
    pub(super) fn changes_codec(&mut self, source: TrackSource, codec: &CodecName, now: Instant) -> bool {
        let Some((known, changed)) = self.decoded_with.get_mut(&source) else { return false };
        if known == codec || changed.is_some_and(|changed| now < changed + CODEC_CHANGE) {
            return false;
        }
        (*known, *changed) = (codec.clone(), Some(now));
        true
    }

    /// Sections on which video arrives, with their receivers.
    pub(super) fn video_receivers(&mut self) -> impl Iterator<Item = (&Mid, StreamId, &mut VideoReceiver)> {
        // A stream is announced on one section; of a sender that announces it on several, the
        // first counts.
        let mids = &self.incoming;
        self.receivers.iter_mut().filter_map(move |(stream, receiver)| {
            let Receiver::Video(receiver) = receiver else { return None };
            let (mid, _) = mids.iter().find(|(_, incoming)| incoming.stream == *stream)?;
            Some((mid, *stream, &mut **receiver))
        })
    }

    /// Interarrival jitter of the participant's microphone; `None` before its first packet.
    pub(super) fn microphone_jitter(&self) -> Option<Duration> {
        self.feedback.jitter(self.microphone.mid.as_ref()?)
    }

    /// Statistics of the received video streams.
    pub(super) fn received_video(&self) -> Vec<ReceivedVideo> {
        let video = self.receivers.iter().filter_map(|(stream, receiver)| {
            let Receiver::Video(receiver) = receiver else { return None };
            let mid = self.incoming.iter().find(|(_, incoming)| incoming.stream == *stream).map(|(mid, _)| mid);
            Some(ReceivedVideo {
                stream: *stream,
                codec: receiver.codec().clone(),
                jitter: mid.and_then(|mid| self.feedback.jitter(mid)),
                counts: receiver.statistics(),
            })
        });
        video.collect()
    }

    fn is_microphone(&self, mid: &Mid) -> bool {
        self.microphone.mid.as_ref() == Some(mid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream of audio has 2¹⁵ packets in 11 minutes: those after them are its packets too, and
    /// those before its first never are.
    #[test]
    fn a_stream_is_received_for_any_number_of_packets() {
        for first in [0, 1, 30_000, 32_768, 65_535] {
            let mut incoming = Incoming::new(StreamId::from_bytes([1; 16]), first);
            for before in 1..1_000 {
                assert!(!incoming.has(first.wrapping_sub(before)), "{before} before {first}");
            }
            for n in 0..300_000_u32 {
                assert!(incoming.has(first.wrapping_add(n as u16)), "{n} after {first}");
            }
        }
    }
}
