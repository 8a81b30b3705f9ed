//! Streams beside the microphone, as the driver keeps them: the names of those offered, and where
//! those requested go.

use std::collections::BTreeMap;

use blink_api::{CodecName, Endpoint, StreamId, TrackKey, TrackKind, TrackSource};
use tokio::sync::{mpsc, oneshot};

use super::frames::{FrameQueue, Frames, MAX_FRAMES};
use blink_media::StreamSink;
use blink_proto::call::StreamInfo;

/// All streams of the call that this device is in.
#[derive(Default)]
pub(super) struct Streams {
    /// The names of the sources.
    offered: BTreeMap<StreamId, String>,
    requested: BTreeMap<(Endpoint, StreamId), RequestedSink>,
    /// Number of the call. A call that continues another one (glare) has the same.
    call: u64,
}

/// Where a requested stream goes.
enum RequestedSink {
    Audio,
    Video(CodecName, FrameQueue),
}

impl Streams {
    /// Number of the call that streams are offered in, to tell it from later ones.
    pub(super) fn call(&self) -> u64 {
        self.call
    }

    /// A stream is offered that is read from this source.
    pub(super) fn add_offered(&mut self, stream: StreamId, source: String) {
        self.offered.insert(stream, source);
    }

    /// The streams that are offered.
    pub(super) fn offered(&self) -> Vec<StreamId> {
        self.offered.keys().copied().collect()
    }

    /// A stream is no longer offered. Returns the name of its source.
    pub(super) fn remove_offered(&mut self, stream: &StreamId) -> Option<String> {
        self.offered.remove(stream)
    }

    /// Requests a stream. Returns its frames, if it is one of video, and what ends when the user
    /// drops them.
    pub(super) fn request(&mut self, from: Endpoint, info: &StreamInfo) -> Option<(Frames, oneshot::Receiver<()>)> {
        let (sink, frames) = match info.kind {
            TrackKind::Audio => (RequestedSink::Audio, None),
            TrackKind::Video => {
                let (queue, receiver) = mpsc::channel(MAX_FRAMES);
                let sink = RequestedSink::Video(CodecName::new(&info.codec), FrameQueue(queue));
                (sink, Some(Frames::new(receiver)))
            }
        };
        self.requested.insert((from, info.stream), sink);
        frames
    }

    /// Whether a stream is requested whose frames no one reads any longer.
    pub(super) fn is_unread(&self, from: Endpoint, stream: StreamId) -> bool {
        match self.requested.get(&(from, stream)) {
            Some(RequestedSink::Video(_, frames)) => frames.0.is_closed(),
            _ => false,
        }
    }

    /// The sink of a requested stream, for one session that it is received on.
    pub(super) fn sink(&self, from: Endpoint, stream: StreamId) -> Option<StreamSink> {
        Some(match self.requested.get(&(from, stream))? {
            RequestedSink::Audio => StreamSink::Audio,
            RequestedSink::Video(codec, frames) => {
                StreamSink::Video { codec: codec.clone(), frames: Box::new(frames.clone()) }
            }
        })
    }

    /// Name of the source of an offered stream.
    pub(super) fn source_of(&self, stream: &StreamId) -> Option<&str> {
        self.offered.get(stream).map(String::as_str)
    }

    /// Whether an audio stream of a participant is requested.
    pub(super) fn has_requested_audio(&self, from: Endpoint, stream: StreamId) -> bool {
        matches!(self.requested.get(&(from, stream)), Some(RequestedSink::Audio))
    }

    /// A stream is no longer requested; its frames end.
    pub(super) fn remove_requested(&mut self, track: TrackKey) {
        if let TrackSource::Stream(stream) = track.source {
            self.requested.remove(&(track.endpoint, stream));
        }
    }

    /// The call is over, or held: all streams end.
    pub(super) fn clear(&mut self) {
        self.call += 1;
        self.offered.clear();
        self.requested.clear();
    }
}
