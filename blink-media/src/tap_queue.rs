//! A bounded queue from the taps of a call to a recorder on a thread of its own.
//!
//! ```text
//!  CallMedia ──► QueueTap ───────────► ┐                 ┌──► recorder
//!                  ▲  spare buffers    │    TapQueue     │
//!                  └────────────────── │  drain(take) ───┘
//!  VideoSender ─► QueueTap, one each ─►┘
//! ```
//!
//! The taps copy what they see into buffers that come back once they are read, so that nothing is
//! allocated in the steady state. They never wait: what the queue has no room for is dropped and
//! counted.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};

use blink_api::{
    AudioFormat, AudioLevel, CallTime, CodecName, EncodedVideoFrame, RtpTime, TrackKey, TrackKind, TrackSource,
};

use crate::call_media::{PacketDirection, Tap, TappedFrame, TappedPacket, TappedSamples};

/// Items of the call's media that wait for the reader: 3 s with 16 participants, packets and
/// samples; more with fewer.
const ITEMS: usize = 8_192;
/// The same of one offered video stream.
const VIDEO_ITEMS: usize = 4_096;
/// Buffers that are kept for reuse, of each kind.
const SPARES: usize = 1_024;
/// Bytes of media that wait for the reader.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Kinds of media that a queue takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TapContents {
    /// Decoded audio.
    pub samples: bool,
    /// Packets of audio.
    pub packets: bool,
    /// Encoded video frames.
    pub frames: bool,
    /// Packets of video, and packets without payload.
    pub wire: bool,
}

/// Tracks that a queue takes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TrackSelection {
    /// All tracks of the call.
    #[default]
    All,
    /// The microphones of all participants, this device's too.
    Microphones,
    /// These tracks.
    Only(Arc<BTreeSet<TrackKey>>),
}

impl TrackSelection {
    /// Whether a track is one of them.
    pub fn contains(&self, track: &TrackKey) -> bool {
        match self {
            Self::All => true,
            Self::Microphones => track.source == TrackSource::Microphone,
            Self::Only(tracks) => tracks.contains(track),
        }
    }
}

/// An item of a queue.
#[derive(Debug)]
pub struct QueuedItem {
    /// The track.
    pub track: TrackKey,
    /// Call time at which its first sample, or its frame, was captured.
    pub at: CallTime,
    /// Its media.
    pub content: QueuedContent,
}

/// Content of a [`QueuedItem`].
#[derive(Debug)]
pub enum QueuedContent {
    /// 10 ms of decoded audio.
    Samples {
        /// Format of the samples.
        format: AudioFormat,
        /// RTP time of the first sample.
        timestamp: RtpTime,
        /// Interleaved samples.
        samples: Vec<f32>,
    },
    /// An RTP packet (RFC 3550 §5.1).
    Packet {
        /// The codec of the payload.
        codec: CodecName,
        /// The payload type on the wire; `None` for sent packets.
        payload_type: Option<u8>,
        /// The sequence number.
        sequence: u16,
        /// The timestamp in the codec's clock rate.
        timestamp: RtpTime,
        /// The marker bit.
        marker: bool,
        /// The audio level (RFC 6464).
        level: Option<AudioLevel>,
        /// Sent or received.
        direction: PacketDirection,
        /// When it arrived or was sent.
        moment: CallTime,
        /// The payload.
        payload: Vec<u8>,
    },
    /// An encoded video frame.
    Frame {
        /// The codec of the frame.
        codec: CodecName,
        /// Capture time in 90,000 ticks a second.
        timestamp: RtpTime,
        /// The frame.
        frame: EncodedVideoFrame,
    },
}

impl QueuedContent {
    fn bytes(&self) -> usize {
        match self {
            Self::Samples { samples, .. } => size_of_val(&samples[..]),
            Self::Packet { payload, .. } => payload.len(),
            Self::Frame { frame, .. } => frame.data.len(),
        }
    }
}

/// Totals of all ends of one queue.
#[derive(Debug, Default)]
struct Totals {
    dropped: AtomicU64,
    bytes: AtomicUsize,
}

/// The end of a queue that a call's media fills.
pub struct QueueTap {
    contents: TapContents,
    selection: TrackSelection,
    items: SyncSender<QueuedItem>,
    spare_samples: Receiver<Vec<f32>>,
    spare_payloads: Receiver<Vec<u8>>,
    totals: Arc<Totals>,
    /// Tracks of which a frame was dropped: they go on with a key frame.
    broken: Vec<TrackKey>,
    /// Where the reader learns of further ends.
    ends: Sender<End>,
}

/// The reader's side of one tap.
struct End {
    items: Receiver<QueuedItem>,
    spare_samples: SyncSender<Vec<f32>>,
    spare_payloads: SyncSender<Vec<u8>>,
}

impl QueueTap {
    fn new(
        contents: TapContents,
        selection: TrackSelection,
        capacity: usize,
        totals: Arc<Totals>,
        ends: Sender<End>,
    ) -> Self {
        let (items, filled) = sync_channel(capacity);
        let (samples, spare_samples) = sync_channel(SPARES);
        let (payloads, spare_payloads) = sync_channel(SPARES);
        // A reader that is gone reads no end.
        ends.send(End { items: filled, spare_samples: samples, spare_payloads: payloads }).ok();
        Self { contents, selection, items, spare_samples, spare_payloads, totals, broken: Vec::new(), ends }
    }

    /// Queues an item. Returns whether there was room.
    fn push(&self, item: QueuedItem) -> bool {
        let bytes = item.content.bytes();
        // The bytes are counted first: the reader subtracts them as soon as the item is there.
        let waiting = self.totals.bytes.fetch_add(bytes, Ordering::Relaxed);
        let has_room = waiting <= MAX_BYTES && self.items.try_send(item).is_ok();
        if !has_room {
            self.totals.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.totals.dropped.fetch_add(1, Ordering::Relaxed);
        }
        has_room
    }
}

impl fmt::Debug for QueueTap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueTap").field("contents", &self.contents).finish_non_exhaustive()
    }
}

/// A buffer for a copy: one that was read, or a new one.
fn copy<T: Copy>(spare: &Receiver<Vec<T>>, from: &[T]) -> Vec<T> {
    let mut buffer = spare.try_recv().unwrap_or_default();
    buffer.clear();
    buffer.extend_from_slice(from);
    buffer
}

impl Tap for QueueTap {
    fn for_sent_video(&self) -> Option<Box<dyn Tap>> {
        if !(self.contents.frames || self.contents.wire) {
            return None;
        }
        let (selection, totals) = (self.selection.clone(), self.totals.clone());
        Some(Box::new(Self::new(self.contents, selection, VIDEO_ITEMS, totals, self.ends.clone())))
    }

    fn takes_packets(&self) -> bool {
        self.contents.packets || self.contents.wire
    }

    fn on_packet(&mut self, track: &TrackKey, at: CallTime, packet: &TappedPacket<'_>) {
        let is_media = packet.kind == TrackKind::Audio && self.contents.packets && !packet.payload.is_empty();
        if !(is_media || self.contents.wire) || !self.selection.contains(track) {
            return;
        }
        let content = QueuedContent::Packet {
            codec: packet.codec.clone(),
            payload_type: packet.payload_type,
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            marker: packet.marker,
            level: packet.level,
            direction: packet.direction,
            moment: packet.moment,
            payload: copy(&self.spare_payloads, packet.payload),
        };
        self.push(QueuedItem { track: *track, at, content });
    }

    fn on_samples(&mut self, track: &TrackKey, at: CallTime, block: &TappedSamples<'_>) {
        if self.contents.samples && self.selection.contains(track) {
            let TappedSamples { format, timestamp, samples } = *block;
            let samples = copy(&self.spare_samples, samples);
            self.push(QueuedItem { track: *track, at, content: QueuedContent::Samples { format, timestamp, samples } });
        }
    }

    fn on_frame(&mut self, track: &TrackKey, at: CallTime, frame: &TappedFrame<'_>) {
        if self.contents.frames && self.selection.contains(track) {
            let TappedFrame { codec, timestamp, frame, .. } = *frame;
            if self.broken.contains(track) && !frame.key {
                self.totals.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
            self.broken.retain(|broken| broken != track);
            let content = QueuedContent::Frame { codec: codec.clone(), timestamp, frame: frame.clone() };
            if !self.push(QueuedItem { track: *track, at, content }) {
                self.broken.push(*track);
            }
        }
    }
}

/// The end of a queue that a recorder reads.
pub struct TapQueue {
    ends: Vec<End>,
    further: Receiver<End>,
    totals: Arc<Totals>,
}

impl TapQueue {
    /// A queue, and the tap that fills it from one call.
    pub fn new(contents: TapContents, selection: TrackSelection) -> (Self, QueueTap) {
        let totals = Arc::new(Totals::default());
        let (ends, further) = channel();
        let tap = QueueTap::new(contents, selection, ITEMS, totals.clone(), ends);
        (Self { ends: Vec::new(), further, totals }, tap)
    }

    /// Gives everything that waits to `take`; of one track in order. Returns once the queue is
    /// empty, or as much was read as it holds.
    pub fn drain(&mut self, take: &mut dyn FnMut(&QueuedItem)) {
        self.ends.extend(self.further.try_iter());
        self.ends.retain(|end| {
            for _ in 0..ITEMS {
                match end.items.try_recv() {
                    Ok(item) => {
                        self.totals.bytes.fetch_sub(item.content.bytes(), Ordering::Relaxed);
                        take(&item);
                        end.recycle(item);
                    }
                    Err(TryRecvError::Empty) => break,
                    // The stream ended, and with it its tap.
                    Err(TryRecvError::Disconnected) => return false,
                }
            }
            true
        });
    }

    /// Items that were dropped because the queue had no room.
    pub fn dropped(&self) -> u64 {
        self.totals.dropped.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for TapQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TapQueue").field("totals", &self.totals).finish_non_exhaustive()
    }
}

impl End {
    /// Hands the buffer of an item back to its tap. Where that has enough, or is gone, it is freed.
    fn recycle(&self, item: QueuedItem) {
        match item.content {
            QueuedContent::Samples { samples, .. } => drop(self.spare_samples.try_send(samples)),
            QueuedContent::Packet { payload, .. } => drop(self.spare_payloads.try_send(payload)),
            QueuedContent::Frame { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests;
