//! What an offered stream is read from, and the worker that sends it.

use blink_api::{
    AudioProcessor, AudioSource, CodecName, Error, ErrorKind, Result, RtpTime, StreamId, TrackKind, VideoSource,
};
use rand::Rng;
use tokio::sync::mpsc;

use super::super::{CallAudio, Parts, Report};
use super::capture::{CaptureCommand, CaptureWorker};
use super::video::{VideoCommand, VideoWorker};
use super::voice::SendTrack;
use super::{QUEUE, request};
use crate::blink::StreamConfig;
use blink_media::{Capture, CaptureConfig, Network};
use blink_proto::call::SessionId;
use std::sync::Arc;

/// A stream's source that is to be opened.
pub(in crate::driver) struct StreamOpening {
    parts: Parts,
    audio: CallAudio,
    kind: TrackKind,
    name: String,
}

/// A stream's source.
pub(crate) enum OpenedSource {
    Audio(Box<dyn AudioSource>),
    Video(Box<dyn VideoSource>),
}

/// The worker that sends a stream. It ends, and its source closes, with the last of these.
#[derive(Clone)]
pub(in crate::driver) enum OfferedStream {
    Audio(mpsc::Sender<CaptureCommand>),
    Video(mpsc::Sender<VideoCommand>),
}

impl StreamOpening {
    pub(in crate::driver) fn new(parts: &Parts, audio: &CallAudio, config: &StreamConfig) -> Self {
        Self { parts: parts.clone(), audio: audio.clone(), kind: config.kind, name: config.source.clone() }
    }

    pub(in crate::driver) async fn run(self) -> Result<OpenedSource> {
        let host = &self.parts.media_host;
        Ok(match self.kind {
            TrackKind::Audio => OpenedSource::Audio(host.open_audio_source(&self.name, request(&self.audio)).await?),
            TrackKind::Video => OpenedSource::Video(host.open_video_source(&self.name).await?),
        })
    }
}

impl OpenedSource {
    /// What it is sent as; sound to those who have the preferred codec.
    pub(in crate::driver) fn codec(&self, audio: &CallAudio) -> Result<CodecName> {
        Ok(match self {
            Self::Audio(_) => audio.preferred().name,
            Self::Video(source) => super::video::encoded(source.as_ref())?.name,
        })
    }

    /// Starts the worker that sends it.
    pub(in crate::driver) fn start(
        self,
        stream: StreamId,
        parts: &Parts,
        audio: &CallAudio,
        reports: mpsc::Sender<Report>,
    ) -> Result<OfferedStream> {
        match self {
            Self::Audio(source) => {
                let (commands, queue) = mpsc::channel(QUEUE);
                // Sound as it is, without the processors that are for voices.
                let capture = capture(audio, source, Vec::new())?;
                parts.place.put(parts, CaptureWorker::of_stream(parts, reports, capture, stream), queue);
                Ok(OfferedStream::Audio(commands))
            }
            Self::Video(source) => {
                let (commands, queue) = mpsc::channel(QUEUE);
                let worker = VideoWorker::new(parts.clock.clone(), reports, stream, source)?;
                parts.place.apart("blink-video")?.put(parts, worker, queue);
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
            Self::Audio(worker) => {
                // Where nothing was negotiated there is nothing to send with.
                let Some(codec) = track.codec() else { return };
                worker.send(CaptureCommand::Add { id, track, codec }).await.ok();
            }
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

    /// How the path of a session is, and how much of it this stream may take.
    pub(in crate::driver) async fn adapt(&self, id: SessionId, network: Option<Network>, video: Option<u32>) {
        match (self, network) {
            (Self::Audio(worker), Some(network)) => {
                worker.send(CaptureCommand::Network { id, network }).await.ok();
            }
            (Self::Audio(_), None) => {}
            (Self::Video(worker), _) => drop(worker.send(VideoCommand::Room { id, rate: video }).await),
        }
    }

    /// A receiver needs a key frame.
    pub(in crate::driver) async fn request_keyframe(&self) {
        if let Self::Video(worker) = self {
            worker.send(VideoCommand::Keyframe).await.ok();
        }
    }
}

/// Captures a source for a call; its numbers begin anywhere.
pub(super) fn capture(
    audio: &CallAudio,
    source: Box<dyn AudioSource>,
    processors: Vec<Box<dyn AudioProcessor>>,
) -> Result<Capture> {
    let mut encoders = audio.encoders()?.into_iter();
    let none = || Error::new(ErrorKind::Invalid, "a call needs a codec");
    let (codec, encoder) = encoders.next().ok_or_else(none)?;
    let mut random = rand::rng();
    let config = CaptureConfig {
        format: audio.format(),
        codec,
        frame: audio.frame(),
        first_sequence: random.next_u32() as u16,
        first_timestamp: RtpTime(random.next_u32()),
    };
    let mut capture = Capture::new(config, source, processors, encoder)?;
    encoders.try_for_each(|(codec, encoder)| capture.add_encoder(codec, encoder))?;
    Ok(capture)
}
