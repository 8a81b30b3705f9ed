//! The media sections of one session: which of them carries the microphones, and which streams are
//! on the others.
//!
//! All sections are negotiated with the session, some of each kind. Whoever sends a stream picks
//! one that it sends nothing on, and says so on the data channel.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use blink_api::{CodecName, Endpoint, Error, ErrorKind, Mid, Result, RtpIn, Session, StreamId, TrackKind};

use super::feedback::Told;
use super::frames::VideoReceiver;
use super::media::MediaHandle;
use super::media::stream::OfferedStream;
use super::media::voice::{SendTrack, Voice};
use super::streams::StreamSink;
use blink_media::rate::{Allocation, AudioDemand};
use blink_media::{Network, SequenceUnwrapper};
use blink_proto::call::{STREAM_SECTIONS, SessionId};
use blink_proto::wire::ChannelMessage;

/// Packets kept that came before the word what they are, so that a stream's beginning is not lost.
const EARLY: usize = 128;
/// Sections the other side can say something of.
const MAX_SECTIONS: usize = 8;
/// Ticks per second of every video codec here (RFC 3551 §5).
const VIDEO_CLOCK: u32 = 90_000;
/// A sender's codec may change so often; what comes in another one sooner is not played.
const CODEC_CHANGE: Duration = Duration::from_secs(1);
/// The longest identification tag of a section, in bytes.
const MAX_MID: usize = 16;

pub(super) struct Sections {
    id: SessionId,
    remote: Endpoint,
    session: Arc<dyn Session>,
    media: MediaHandle,
    microphone: Arc<SendTrack>,
    /// The section of the microphones, once negotiated.
    microphone_mid: Option<Mid>,
    outgoing: Vec<Outgoing>,
    incoming: BTreeMap<Mid, Incoming>,
    receivers: BTreeMap<StreamId, Receiver>,
    sent_with: Option<CodecName>,
    /// The codec that the microphone (`None`) and each stream of sound is decoded with, and when
    /// that changed.
    heard_with: BTreeMap<Option<StreamId>, (CodecName, Option<Instant>)>,
    early: VecDeque<RtpIn>,
}

/// A section beside the microphone's, as this side sends on it.
struct Outgoing {
    kind: TrackKind,
    track: Arc<SendTrack>,
    sending: Option<(StreamId, OfferedStream)>,
}

/// What the other side sends on a section.
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

enum Receiver {
    Audio,
    Video(Box<VideoReceiver>),
}

impl Sections {
    /// Adds a session's tracks: the microphone's and those for streams, as far as the transport
    /// carries them.
    pub(super) async fn add(
        id: SessionId,
        remote: Endpoint,
        session: Arc<dyn Session>,
        media: MediaHandle,
        video: bool,
    ) -> Result<Self> {
        let track = async |kind| {
            let track = session.add_track(kind).await?;
            Ok::<_, Error>(Arc::new(SendTrack::new(session.clone(), track, rand::random())))
        };
        let microphone = track(TrackKind::Audio).await?;
        let kinds =
            [(TrackKind::Audio, STREAM_SECTIONS.0), (TrackKind::Video, if video { STREAM_SECTIONS.1 } else { 0 })];
        let mut outgoing = Vec::new();
        for kind in kinds.into_iter().flat_map(|(kind, count)| std::iter::repeat_n(kind, count)) {
            match track(kind).await {
                Ok(track) => outgoing.push(Outgoing { kind, track, sending: None }),
                Err(error) if error.kind() == ErrorKind::Unsupported => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self {
            id,
            remote,
            session,
            media,
            microphone,
            microphone_mid: None,
            outgoing,
            incoming: BTreeMap::new(),
            receivers: BTreeMap::new(),
            sent_with: None,
            heard_with: BTreeMap::new(),
            early: VecDeque::new(),
        })
    }

    /// The path is verified: the microphones are heard.
    pub(super) async fn admit(&mut self) -> Result<()> {
        let codec = self.media.add(self.id, self.remote, self.microphone.clone()).await?;
        self.sent_with = Some(codec.clone());
        self.heard_with.insert(None, (codec, None));
        Ok(())
    }

    /// The codec that the microphone is sent with; `None` before it is.
    pub(super) fn sent_with(&self) -> Option<&CodecName> {
        self.sent_with.as_ref()
    }

    /// The session ends: nothing is sent or played any more.
    pub(super) async fn close(&mut self) {
        self.media.remove(self.id, self.remote).await;
        for (_, offered) in self.outgoing.iter_mut().filter_map(|section| section.sending.take()) {
            offered.remove(self.id).await;
        }
        let streams: Vec<_> = self.receivers.keys().copied().collect();
        for stream in streams {
            self.stop_receiving(stream).await;
        }
    }

    /// Sends a stream. Returns what the other side must be told, or `None` where no section is left
    /// for it.
    pub(super) async fn start_sending(&mut self, stream: StreamId, offered: OfferedStream) -> Option<ChannelMessage> {
        let free = |section: &&mut Outgoing| section.kind == offered.kind() && section.sending.is_none();
        let section = self.outgoing.iter_mut().filter(free).find(|section| section.track.mid().is_some())?;
        let message = announce(&section.track, Some(stream))?;
        offered.add(self.id, section.track.clone()).await;
        section.sending = Some((stream, offered));
        Some(message)
    }

    /// Sends a stream no more. Returns what the other side must be told.
    pub(super) async fn stop_sending(&mut self, stream: StreamId) -> Option<ChannelMessage> {
        let sends = |section: &&mut Outgoing| section.sending.as_ref().is_some_and(|(sent, _)| *sent == stream);
        let section = self.outgoing.iter_mut().find(sends)?;
        let (_, offered) = section.sending.take()?;
        offered.remove(self.id).await;
        announce(&section.track, None)
    }

    /// Hands on what comes of a stream.
    pub(super) async fn start_receiving(&mut self, stream: StreamId, sink: StreamSink) -> Result<()> {
        let receiver = match sink {
            StreamSink::Audio => {
                // Most likely the other side prefers what this side sends with; its first packet
                // tells.
                let codec = self.sent_with.clone().unwrap_or_else(|| self.media.audio().preferred().name);
                self.media.hear(self.id, self.voice(Some(stream)), &codec).await?;
                self.heard_with.insert(Some(stream), (codec, None));
                Receiver::Audio
            }
            StreamSink::Video { codec, frames } => Receiver::Video(Box::new(VideoReceiver::new(codec, frames)?)),
        };
        self.receivers.insert(stream, receiver);
        Ok(())
    }

    /// Drops what comes of a stream.
    pub(super) async fn stop_receiving(&mut self, stream: StreamId) {
        if let Some(Receiver::Audio) = self.receivers.remove(&stream) {
            self.heard_with.remove(&Some(stream));
            self.media.ignore(self.id, self.voice(Some(stream))).await;
        }
    }

    /// The other side says what it sends on a section. Returns the streams whose first frame was
    /// whole by that.
    pub(super) async fn handle_section(
        &mut self,
        mid: &str,
        stream: Option<StreamId>,
        first_sequence: u16,
        now: Instant,
    ) -> Vec<StreamId> {
        let known = self.incoming.len() < MAX_SECTIONS || self.incoming.contains_key(&Mid::new(mid));
        if mid.len() > MAX_MID || !known || self.is_microphone(&Mid::new(mid)) {
            return Vec::new();
        }
        match stream {
            Some(stream) => drop(self.incoming.insert(Mid::new(mid), Incoming::new(stream, first_sequence))),
            None => drop(self.incoming.remove(&Mid::new(mid))),
        }
        let early = std::mem::take(&mut self.early);
        let mut started = Vec::new();
        for packet in early {
            started.extend(self.take(packet, now).await);
        }
        started
    }

    /// Takes a packet to where it belongs. Returns the stream of which it completes the first
    /// frame.
    pub(super) async fn take(&mut self, packet: RtpIn, now: Instant) -> Option<StreamId> {
        if self.is_microphone(&packet.mid) {
            self.hear(None, packet, now).await;
            return None;
        }
        let Some(incoming) = self.incoming.get_mut(&packet.mid) else {
            if self.early.len() == EARLY {
                self.early.pop_front();
            }
            self.early.push_back(packet);
            return None;
        };
        if !incoming.has(packet.sequence) {
            return None;
        }
        let stream = incoming.stream;
        match self.receivers.get_mut(&stream)? {
            Receiver::Audio => {
                self.hear(Some(stream), packet, now).await;
                None
            }
            Receiver::Video(receiver) => receiver.push(packet, now).then_some(stream),
        }
    }

    /// The other side wants a key frame of what is sent on a section.
    pub(super) async fn handle_keyframe_request(&self, mid: &Mid) {
        let section = self.outgoing.iter().find(|section| section.track.mid().as_ref() == Some(mid));
        if let Some((_, offered)) = section.and_then(|section| section.sending.as_ref()) {
            offered.request_keyframe().await;
        }
    }

    /// What all sound that is sent asks of the path.
    pub(super) fn demand(&self) -> AudioDemand {
        let one = self.media.audio().demand();
        let voices = 1 + self.sending(TrackKind::Audio).count() as u32;
        // More voices are more packets in the same time.
        AudioDemand { bitrate: one.bitrate.saturating_mul(voices), frame: one.frame / voices }
    }

    /// The other end told of these sections, and so much may be sent on all of them. Returns what
    /// it told of the microphone's.
    pub(super) async fn adapt(&mut self, told: &[Told], allocation: Allocation) -> Option<Network> {
        let voices = 1 + self.sending(TrackKind::Audio).count() as u32;
        let pictures = (self.sending(TrackKind::Video).count() as u32).max(1);
        let of = |mid: Option<Mid>| {
            let told = told.iter().find(|told| Some(&told.mid) == mid.as_ref())?;
            Some(Network { bitrate: Some(allocation.audio / voices), ..told.network })
        };
        for section in self.outgoing.iter().filter(|section| section.sending.is_some()) {
            if let Some((_, offered)) = &section.sending {
                offered.adapt(self.id, of(section.track.mid()), Some(allocation.video / pictures)).await;
            }
        }
        let microphone = of(self.microphone.mid())?;
        self.media.adapt(self.id, microphone).await;
        Some(microphone)
    }

    fn sending(&self, kind: TrackKind) -> impl Iterator<Item = &Outgoing> {
        self.outgoing.iter().filter(move |section| section.kind == kind && section.sending.is_some())
    }

    /// Frames of pictures that were not sent because there was no room for them.
    pub(super) fn left_out(&self) -> u64 {
        self.outgoing.iter().map(|section| section.track.left_out()).sum()
    }

    /// Ticks per second of a packet's timestamp.
    pub(super) fn clock_rate(&self, packet: &RtpIn) -> u32 {
        self.media.audio().clock_rate(&packet.codec).unwrap_or(VIDEO_CLOCK)
    }

    /// Whether there is video for [`work`](Self::work) to look after.
    pub(super) fn has_video(&self) -> bool {
        self.receivers.values().any(|receiver| matches!(receiver, Receiver::Video(_)))
    }

    /// Does what time demands of the video that comes. Returns the streams whose first frame was
    /// whole by that.
    pub(super) fn work(&mut self, now: Instant) -> Vec<StreamId> {
        let mut first = Vec::new();
        for (mid, incoming) in &self.incoming {
            if let Some(Receiver::Video(receiver)) = self.receivers.get_mut(&incoming.stream)
                && receiver.work(now, &*self.session, mid)
            {
                first.push(incoming.stream);
            }
        }
        first
    }

    fn is_microphone(&mut self, mid: &Mid) -> bool {
        if self.microphone_mid.is_none() {
            self.microphone_mid = self.microphone.mid();
        }
        self.microphone_mid.as_ref() == Some(mid)
    }

    fn voice(&self, stream: Option<StreamId>) -> Voice {
        Voice { participant: self.remote, stream }
    }

    /// Hands a packet of sound on; one in another codec than those before after its decoder.
    async fn hear(&mut self, stream: Option<StreamId>, packet: RtpIn, now: Instant) {
        // One without payload is in no codec, whatever its payload type.
        if !packet.payload.is_empty()
            && let Some((codec, changed)) = self.heard_with.get_mut(&stream)
            && let sound = self.media.audio().sound_of(&packet.codec)
            && codec != sound
            && changed.is_none_or(|changed| now >= changed + CODEC_CHANGE)
        {
            *codec = sound.clone();
            *changed = Some(now);
            let heard = codec.clone();
            if let Err(error) = self.media.hear(self.id, self.voice(stream), &heard).await {
                tracing::warn!(%error, "a participant's sound cannot be decoded");
            }
        }
        self.media.push(self.voice(stream), packet);
    }
}

fn announce(track: &SendTrack, stream: Option<StreamId>) -> Option<ChannelMessage> {
    let mid = track.mid()?.as_str().to_owned();
    let stream = stream.map(|stream| (*stream.as_bytes()).into());
    Some(ChannelMessage::Section { mid, stream, sequence: track.next_sequence() })
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
