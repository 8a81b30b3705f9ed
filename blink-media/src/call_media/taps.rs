//! Taps: recorders and analyzers that listen to all tracks of a call, sent and received.

use blink_api::{
    AudioFormat, AudioLevel, CallTime, CodecName, EncodedVideoFrame, RtpIn, RtpOut, RtpTime, TrackKey, TrackKind,
};
use bytes::Bytes;

/// A listener to all tracks of a call. Add one with
/// [`MediaCommand::AddTap`](super::MediaCommand::AddTap).
///
/// It is called on the media thread: it neither blocks nor waits for a lock. A recorder hands what
/// it gets to a thread of its own through a bounded queue, such as a
/// [`QueueTap`](crate::QueueTap).
pub trait Tap: Send {
    /// A tap of the same listener for an offered video stream, which is sent by a thread of its
    /// own; `None` for a listener that takes no sent video.
    fn for_sent_video(&self) -> Option<Box<dyn Tap>> {
        None
    }

    /// Whether it takes packets of audio. Then what this device captures is encoded even while all
    /// receivers are gone.
    fn takes_packets(&self) -> bool {
        false
    }

    /// Whether the listener is gone. Such a tap is removed with the next tick.
    fn is_closed(&self) -> bool {
        false
    }

    /// Takes a packet: a received one when it is read from the queue, a sent one before it is
    /// sent, once for each codec whatever the number of receivers.
    ///
    /// `at` is when its first sample or its frame was captured.
    fn on_packet(&mut self, track: &TrackKey, at: CallTime, packet: &TappedPacket<'_>) {
        let _ = (track, at, packet);
    }

    /// Takes 10 ms of audio in the order of its timestamps: what is sent after the processors, what
    /// is received after the jitter buffer and decoder, before its volume.
    fn on_samples(&mut self, track: &TrackKey, at: CallTime, block: &TappedSamples<'_>) {
        let _ = (track, at, block);
    }

    /// Takes a complete encoded video frame, in decoding order: a sent one whether or not a path
    /// has room for it, a received one whether or not its reader keeps up.
    fn on_frame(&mut self, track: &TrackKey, at: CallTime, frame: &TappedFrame<'_>) {
        let _ = (track, at, frame);
    }
}

/// Identifies a tap of a call, for its removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TapId(pub u64);

/// Direction of a packet or frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketDirection {
    /// Sent by this device.
    Sent,
    /// Received from another one.
    Received,
}

/// A packet as a tap sees it (RFC 3550 §5.1).
#[derive(Debug, Clone, Copy)]
pub struct TappedPacket<'a> {
    /// Sent or received.
    pub direction: PacketDirection,
    /// Audio or video.
    pub kind: TrackKind,
    /// The codec of the payload.
    pub codec: &'a CodecName,
    /// The payload type on the wire; `None` for sent packets, which have one on each path.
    pub payload_type: Option<u8>,
    /// The sequence number: of the wire for received packets, of the encoder for sent ones, which
    /// have one on each path.
    pub sequence: u16,
    /// The timestamp in the codec's clock rate.
    pub timestamp: RtpTime,
    /// The marker bit.
    pub marker: bool,
    /// The audio level (RFC 6464).
    pub level: Option<AudioLevel>,
    /// When it arrived or was sent.
    pub moment: CallTime,
    /// The payload; empty for padding.
    pub payload: &'a Bytes,
}

impl<'a> TappedPacket<'a> {
    /// A packet that arrived at `moment`.
    pub(super) fn received(kind: TrackKind, packet: &'a RtpIn, moment: CallTime) -> Self {
        Self {
            direction: PacketDirection::Received,
            kind,
            codec: &packet.codec,
            payload_type: Some(packet.payload_type),
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            marker: packet.marker,
            level: packet.level,
            moment,
            payload: &packet.payload,
        }
    }

    /// A packet that is sent at `moment`.
    pub(super) fn sent(kind: TrackKind, packet: &'a RtpOut, moment: CallTime) -> Self {
        Self {
            direction: PacketDirection::Sent,
            kind,
            codec: &packet.codec,
            payload_type: None,
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            marker: packet.marker,
            level: packet.level,
            moment,
            payload: &packet.payload,
        }
    }
}

/// Decoded audio as a tap sees it.
#[derive(Debug, Clone, Copy)]
pub struct TappedSamples<'a> {
    /// Format of the samples.
    pub format: AudioFormat,
    /// RTP time of the first sample: of the received codec, or of the preferred one that is sent.
    pub timestamp: RtpTime,
    /// Interleaved samples.
    pub samples: &'a [f32],
}

/// A video frame as a tap sees it.
#[derive(Debug, Clone, Copy)]
pub struct TappedFrame<'a> {
    /// Sent or received.
    pub direction: PacketDirection,
    /// The codec of the frame.
    pub codec: &'a CodecName,
    /// Capture time in 90,000 ticks a second.
    pub timestamp: RtpTime,
    /// The frame.
    pub frame: &'a EncodedVideoFrame,
}

/// The taps of a call, or of one offered video stream.
#[derive(Default)]
pub(super) struct Taps {
    taps: Vec<(TapId, Box<dyn Tap>)>,
}

impl Taps {
    pub(super) fn add(&mut self, id: TapId, tap: Box<dyn Tap>) {
        self.taps.push((id, tap));
    }

    pub(super) fn remove(&mut self, id: TapId) {
        self.taps.retain(|(known, _)| *known != id);
    }

    /// Removes the taps whose listeners are gone. Returns whether there were any.
    pub(super) fn remove_closed(&mut self) -> bool {
        let before = self.taps.len();
        self.taps.retain(|(_, tap)| !tap.is_closed());
        self.taps.len() < before
    }

    /// Whether there are no taps.
    pub(super) fn is_empty(&self) -> bool {
        self.taps.is_empty()
    }

    /// Whether a tap takes packets of audio.
    pub(super) fn take_packets(&self) -> bool {
        self.taps.iter().any(|(_, tap)| tap.takes_packets())
    }

    /// Ids of all taps.
    pub(super) fn ids(&self) -> impl Iterator<Item = TapId> + '_ {
        self.taps.iter().map(|(id, _)| *id)
    }

    /// The taps of an offered video stream.
    pub(super) fn for_sent_video(&self) -> impl Iterator<Item = (TapId, Box<dyn Tap>)> + '_ {
        self.taps.iter().filter_map(|(id, tap)| Some((*id, tap.for_sent_video()?)))
    }

    pub(super) fn on_packet(&mut self, track: &TrackKey, at: CallTime, packet: &TappedPacket<'_>) {
        self.taps.iter_mut().for_each(|(_, tap)| tap.on_packet(track, at, packet));
    }

    pub(super) fn on_samples(&mut self, track: &TrackKey, at: CallTime, block: &TappedSamples<'_>) {
        self.taps.iter_mut().for_each(|(_, tap)| tap.on_samples(track, at, block));
    }

    pub(super) fn on_frame(&mut self, track: &TrackKey, at: CallTime, frame: &TappedFrame<'_>) {
        self.taps.iter_mut().for_each(|(_, tap)| tap.on_frame(track, at, frame));
    }
}
