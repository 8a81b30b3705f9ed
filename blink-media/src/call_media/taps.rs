//! Taps: recorders and analyzers that listen to all tracks of a call, sent and received.

use blink_api::{AudioFormat, AudioLevel, CallTime, CodecName, RtpIn, RtpOut, RtpTime, TrackKey};
use bytes::Bytes;

/// A listener to all tracks of a call. Add one with
/// [`MediaCommand::AddTap`](super::MediaCommand::AddTap).
///
/// It is called on the media thread: it neither blocks nor waits for a lock. A recorder hands what
/// it gets to a thread of its own through a bounded queue.
pub trait Tap: Send {
    /// Takes a packet: a received one when it is read from the queue, a sent one before it is
    /// sent, once for each codec whatever the number of receivers.
    fn on_packet(&mut self, track: &TrackKey, at: CallTime, packet: &TappedPacket<'_>) {
        let _ = (track, at, packet);
    }

    /// Takes 10 ms of audio in the order of its timestamps: what is sent after the processors, what
    /// is received after the jitter buffer and decoder, before its volume.
    fn on_samples(&mut self, track: &TrackKey, at: CallTime, format: AudioFormat, samples: &[f32]) {
        let _ = (track, at, format, samples);
    }
}

/// Whether a packet is sent or received.
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
    /// The codec of the payload.
    pub codec: &'a CodecName,
    /// The sequence number: of the wire for received packets, of the encoder for sent ones, which
    /// have one on each path.
    pub sequence: u16,
    /// The timestamp in the codec's clock rate.
    pub timestamp: RtpTime,
    /// The marker bit.
    pub marker: bool,
    /// The audio level (RFC 6464).
    pub level: Option<AudioLevel>,
    /// The payload; empty for padding.
    pub payload: &'a Bytes,
}

impl<'a> From<&'a RtpIn> for TappedPacket<'a> {
    fn from(packet: &'a RtpIn) -> Self {
        let RtpIn { codec, sequence, timestamp, marker, level, payload, .. } = packet;
        let (sequence, timestamp, marker, level) = (*sequence, *timestamp, *marker, *level);
        Self { direction: PacketDirection::Received, codec, sequence, timestamp, marker, level, payload }
    }
}

impl<'a> From<&'a RtpOut> for TappedPacket<'a> {
    fn from(packet: &'a RtpOut) -> Self {
        let RtpOut { codec, sequence, timestamp, marker, level, payload } = packet;
        let (sequence, timestamp, marker, level) = (*sequence, *timestamp, *marker, *level);
        Self { direction: PacketDirection::Sent, codec, sequence, timestamp, marker, level, payload }
    }
}

/// The taps of a call.
#[derive(Default)]
pub(super) struct Taps {
    taps: Vec<Box<dyn Tap>>,
}

impl Taps {
    pub(super) fn add(&mut self, tap: Box<dyn Tap>) {
        self.taps.push(tap);
    }

    /// Whether nothing is to be done for taps.
    pub(super) fn is_empty(&self) -> bool {
        self.taps.is_empty()
    }

    pub(super) fn on_packet(&mut self, track: &TrackKey, at: CallTime, packet: &TappedPacket<'_>) {
        self.taps.iter_mut().for_each(|tap| tap.on_packet(track, at, packet));
    }

    pub(super) fn on_samples(&mut self, track: &TrackKey, at: CallTime, format: AudioFormat, samples: &[f32]) {
        self.taps.iter_mut().for_each(|tap| tap.on_samples(track, at, format, samples));
    }
}
