//! Streams beside the microphone, as the driver keeps them: the sources of those offered, and where
//! those asked for go.

use std::collections::BTreeMap;

use blink_api::{CodecName, Endpoint, Result, StreamId, TrackKind};
use tokio::sync::mpsc;

use super::media::stream::{OfferedStream, OpenedSource, StreamOpening};
use super::{CallAudio, Command, Parts, Report};
use crate::blink::StreamConfig;
use blink_media::video::ReceivedFrame;
use blink_proto::call::StreamInfo;

/// All streams of the call this device is in.
pub(super) struct Streams {
    parts: Parts,
    reports: mpsc::Sender<Report>,
    offered: BTreeMap<StreamId, (String, OfferedStream)>,
    requested: BTreeMap<(Endpoint, StreamId), StreamSink>,
}

/// Where a stream that was asked for goes.
#[derive(Clone)]
pub(super) enum StreamSink {
    /// To the speaker.
    Audio,
    /// To whoever asked for it.
    Video {
        /// What it is encoded with.
        codec: CodecName,
        /// Whole frames.
        frames: mpsc::Sender<ReceivedFrame>,
    },
}

impl Streams {
    pub(super) fn new(parts: Parts, reports: mpsc::Sender<Report>) -> Self {
        Self { parts, reports, offered: BTreeMap::new(), requested: BTreeMap::new() }
    }

    /// Opens the source of a stream, in the background; the report brings it with the command that
    /// asked for it.
    pub(super) fn open(&self, audio: &CallAudio, config: &StreamConfig, command: Command) {
        let opening = StreamOpening::new(&self.parts, audio, config);
        let reports = self.reports.clone();
        super::media::aside(async move {
            let result = opening.run().await;
            // Without a driver nobody waits for the command.
            reports.send(Report::Source(result, Box::new(command))).await.ok();
        });
    }

    /// Starts what a stream is sent by; it waits for those who ask for it.
    ///
    /// # Errors
    /// [`Unsupported`](blink_api::ErrorKind::Unsupported) for a codec that cannot be carried.
    pub(super) fn prepare(
        &self,
        source: OpenedSource,
        audio: &CallAudio,
        config: &StreamConfig,
    ) -> Result<(StreamInfo, OfferedStream)> {
        let stream = StreamId::from_random(rand::random());
        let codec = source.codec(audio)?;
        let offered = source.start(stream, &self.parts, audio, self.reports.clone())?;
        let codec = codec.as_str().to_owned();
        Ok((StreamInfo { stream, kind: config.kind, codec, name: config.name.clone() }, offered))
    }

    pub(super) fn keep_offered(&mut self, stream: StreamId, source: String, offered: OfferedStream) {
        self.offered.insert(stream, (source, offered));
    }

    /// A stream is taken back; its source closes. Returns the source's name.
    pub(super) fn drop_offered(&mut self, stream: &StreamId) -> Option<String> {
        self.offered.remove(stream).map(|(source, _)| source)
    }

    pub(super) fn offered(&self, stream: &StreamId) -> Option<OfferedStream> {
        self.offered.get(stream).map(|(_, offered)| offered.clone())
    }

    /// A stream was asked for: its frames arrive at the receiver, if it is one of video.
    pub(super) fn request(&mut self, from: Endpoint, info: &StreamInfo) -> Option<mpsc::Receiver<ReceivedFrame>> {
        let (sink, receiver) = match info.kind {
            TrackKind::Audio => (StreamSink::Audio, None),
            TrackKind::Video => {
                let (frames, receiver) = mpsc::channel(super::frames::WAITING);
                (StreamSink::Video { codec: CodecName::new(&info.codec), frames }, Some(receiver))
            }
        };
        self.requested.insert((from, info.stream), sink);
        receiver
    }

    pub(super) fn requested(&self, from: Endpoint, stream: StreamId) -> Option<StreamSink> {
        self.requested.get(&(from, stream)).cloned()
    }

    pub(super) fn drop_requested(&mut self, from: Endpoint, stream: StreamId) {
        self.requested.remove(&(from, stream));
    }

    /// The call is over: sources close, receivers end.
    pub(super) fn clear(&mut self) {
        self.offered.clear();
        self.requested.clear();
    }
}
