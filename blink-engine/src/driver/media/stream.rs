//! What an offered stream is read from, and the worker that sends it.

use blink_api::{
    AudioFormat, CodecName, EncoderConfig, MediaSource, Result, RtpTime, StreamId, TrackKind, VideoSource,
};
use rand::Rng;
use tokio::sync::mpsc;

use super::super::{Parts, Report};
use super::capture::{CaptureCommand, CaptureWorker};
use super::video::{VideoCommand, VideoWorker};
use super::voice::SendTrack;
use super::{QUEUE, request, run, spawn};
use crate::blink::StreamConfig;
use crate::call::SessionId;
use crate::media::{Capture, CaptureConfig, FRAME};
use std::sync::Arc;

/// A stream's source that is to be opened.
pub(in crate::driver) struct StreamOpening {
    parts: Parts,
    kind: TrackKind,
    name: String,
}

/// A stream's source.
pub(crate) enum OpenedSource {
    Audio(Box<dyn MediaSource>),
    Video(Box<dyn VideoSource>),
}

/// The worker that sends a stream. It ends, and its source closes, with the last of these.
#[derive(Clone)]
pub(in crate::driver) enum OfferedStream {
    Audio(mpsc::Sender<CaptureCommand>),
    Video(mpsc::Sender<VideoCommand>),
}

impl StreamOpening {
    pub(in crate::driver) fn new(parts: &Parts, config: &StreamConfig) -> Self {
        Self { parts: parts.clone(), kind: config.kind, name: config.source.clone() }
    }

    pub(in crate::driver) async fn run(self) -> Result<OpenedSource> {
        let host = &self.parts.media_host;
        Ok(match self.kind {
            TrackKind::Audio => OpenedSource::Audio(host.open_source(&self.name, request()).await?),
            TrackKind::Video => OpenedSource::Video(host.open_video(&self.name).await?),
        })
    }
}

impl OpenedSource {
    /// What it is sent as.
    pub(in crate::driver) fn codec(&self, parts: &Parts) -> CodecName {
        match self {
            Self::Audio(_) => parts.codec.rtp().name,
            Self::Video(source) => source.codec().name,
        }
    }

    /// Starts the worker that sends it.
    pub(in crate::driver) fn start(
        self,
        stream: StreamId,
        parts: &Parts,
        reports: mpsc::Sender<Report>,
    ) -> Result<OfferedStream> {
        let clock = parts.clock.clone();
        match self {
            Self::Audio(source) => {
                let (commands, queue) = mpsc::channel(QUEUE);
                let capture = capture(source, parts)?;
                spawn(
                    parts.pacing,
                    "blink-stream",
                    run(CaptureWorker::of_stream(clock, reports, capture, stream), queue),
                )?;
                Ok(OfferedStream::Audio(commands))
            }
            Self::Video(source) => {
                let (commands, queue) = mpsc::channel(QUEUE);
                spawn(parts.pacing, "blink-video", run(VideoWorker::new(clock, reports, stream, source)?, queue))?;
                Ok(OfferedStream::Video(commands))
            }
        }
    }
}

impl OfferedStream {
    pub(in crate::driver) fn kind(&self) -> TrackKind {
        match self {
            Self::Audio(_) => TrackKind::Audio,
            Self::Video(_) => TrackKind::Video,
        }
    }

    // A worker that is gone has lost its source; the stream is being taken back.

    /// The stream goes to a session too.
    pub(in crate::driver) async fn add(&self, id: SessionId, track: Arc<SendTrack>) {
        match self {
            Self::Audio(worker) => drop(worker.send(CaptureCommand::Add { id, track }).await),
            Self::Video(worker) => drop(worker.send(VideoCommand::Add { id, track }).await),
        }
    }

    /// The stream goes to a session no more.
    pub(in crate::driver) async fn remove(&self, id: SessionId) {
        match self {
            Self::Audio(worker) => drop(worker.send(CaptureCommand::Remove { id }).await),
            Self::Video(worker) => drop(worker.send(VideoCommand::Remove { id }).await),
        }
    }

    /// A receiver needs a key frame.
    pub(in crate::driver) async fn request_keyframe(&self) {
        if let Self::Video(worker) = self {
            worker.send(VideoCommand::Keyframe).await.ok();
        }
    }
}

/// Sound as it is, without the processors that are for voices.
fn capture(source: Box<dyn MediaSource>, parts: &Parts) -> Result<Capture> {
    let encoder = parts.codec.encoder(EncoderConfig { format: AudioFormat::CALL, frame: FRAME, bitrate: None })?;
    Capture::new(capture_config(parts), source, Vec::new(), encoder)
}

/// How sound is sent; its numbers begin anywhere.
pub(super) fn capture_config(parts: &Parts) -> CaptureConfig {
    let mut random = rand::rng();
    CaptureConfig {
        format: AudioFormat::CALL,
        codec: parts.codec.rtp(),
        frame: FRAME,
        first_sequence: random.next_u32() as u16,
        first_timestamp: RtpTime(random.next_u32()),
    }
}
