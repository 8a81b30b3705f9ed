//! Streams beside the microphone: commands of the user, and outputs of the machine.

use blink_api::{Endpoint, Error, ErrorKind, MediaHost, Result, RtpTime, StreamId, TrackKey, TrackKind};
use rand::RngExt;
use tokio::sync::{mpsc, oneshot};

use super::super::openings::{Opened, PendingStream, StreamSource};
use super::super::report::Report;
use super::super::video_worker::VideoWorker;
use super::{Driver, now, path_of};
use crate::call_config::{RequestedStream, StreamConfig};
use blink_media::{MediaCommand, RetiredDevice, TICK, VideoSender};
use blink_proto::call::{Event, SessionId, StreamDirection, StreamInfo};

/// Commands that wait for a video worker.
const VIDEO_QUEUE: usize = 512;

impl Driver {
    /// A stream is to be offered: its source is opened first, which may take its time.
    pub(super) fn open_stream(&mut self, config: StreamConfig, reply: oneshot::Sender<Result<StreamId>>) {
        if let Err(error) = self.check_stream(&config) {
            // A reply that no one waits for is no failure, as with every command.
            return drop(reply.send(Err(error)));
        }
        let hosts = self.parts.media_hosts.clone();
        let request = blink_api::OpenRequest::new(self.media.audio().format(), TICK);
        let call = self.streams.call();
        self.openings.spawn_device_open(&self.parts.workers, async move {
            let result = open_source(&hosts, &config, request).await;
            Opened::Stream(result, PendingStream { config, call, reply })
        });
    }

    fn check_stream(&self, config: &StreamConfig) -> Result<()> {
        self.machine.check_stream(&config.name)?;
        if config.kind == TrackKind::Video && !self.parts.transport.capabilities().video {
            return Err(Error::unsupported("transport", "offer_stream").with("kind", "video"));
        }
        Ok(())
    }

    /// The opening of a stream's source ended. A source that was opened for an earlier call closes.
    pub(super) async fn handle_stream_opened(&mut self, result: Result<StreamSource>, pending: PendingStream) {
        let PendingStream { config, call, reply } = pending;
        let result = match result {
            Ok(source) if call != self.streams.call() => {
                self.close_source(source);
                Err(Error::new(ErrorKind::State, "the call that the stream was to be offered in is over"))
            }
            Ok(source) => self.offer_stream(source, &config).await,
            Err(error) => Err(error),
        };
        // A reply that no one waits for is no failure, as with every command.
        reply.send(result).ok();
    }

    /// Closes a source that is not used: an audio system may hang then.
    fn close_source(&self, source: StreamSource) {
        match source {
            StreamSource::Audio(source) => self.dispose(RetiredDevice::Source(source)),
            StreamSource::Video(source) => drop(source),
        }
    }

    /// The source is open.
    async fn offer_stream(&mut self, source: StreamSource, config: &StreamConfig) -> Result<StreamId> {
        let stream = StreamId::from_random(self.random.random());
        let codec = self.start_stream(stream, source).await?;
        self.streams.add_offered(stream, config.source.clone());
        let info = StreamInfo { stream, kind: config.kind, codec, name: config.name.clone() };
        if let Err(error) = self.machine.offer_stream(now(&self.parts), info) {
            self.end_stream(stream).await;
            return Err(error);
        }
        Ok(stream)
    }

    /// Starts to send a stream to those who request it. Returns its codec.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) for a codec without a payload format,
    /// [`Invalid`](ErrorKind::Invalid) for audio in another format than the call's.
    async fn start_stream(&mut self, stream: StreamId, source: StreamSource) -> Result<String> {
        match source {
            StreamSource::Audio(source) => {
                if source.format() != self.media.audio().format() {
                    self.dispose(RetiredDevice::Source(source));
                    return Err(Error::new(ErrorKind::Invalid, "the source has another format than the call"));
                }
                // Receivers with another preferred codec get theirs.
                let codec = self.media.audio().preferred().name;
                self.media.send_command(MediaCommand::OfferAudio(stream, source)).await;
                Ok(codec.as_str().to_owned())
            }
            StreamSource::Video(source) => {
                let codec = source.codec().map(|codec| codec.name.as_str().to_owned()).unwrap_or_default();
                let clock = self.parts.clock.clone();
                let sender = VideoSender::new(
                    stream,
                    source,
                    &self.parts.payload_formats,
                    RtpTime(self.random.random()),
                    clock.now(),
                )?;
                let (commands, queue) = mpsc::channel(VIDEO_QUEUE);
                let worker = VideoWorker::new(clock.clone(), self.reports.clone(), self.media.epoch(), sender);
                self.parts.workers.spawn_dedicated("blink-video", worker, queue, clock)?;
                self.media.offer_video(stream, commands).await;
                Ok(codec)
            }
        }
    }

    /// Ends an offered stream; its source closes. Returns the name of the source.
    async fn end_stream(&mut self, stream: StreamId) -> Option<String> {
        let source = self.streams.remove_offered(&stream)?;
        let own = TrackKey::stream(self.machine.own(), stream);
        self.audio_taps.end(|track| *track == own);
        self.media.revoke_stream(stream).await;
        Some(source)
    }

    /// Ends all offered streams, and what was requested.
    pub(in crate::driver) async fn end_all_streams(&mut self) {
        for stream in self.streams.offered() {
            self.end_stream(stream).await;
        }
        self.streams.clear();
    }

    pub(super) async fn revoke_stream(&mut self, stream: StreamId) -> Result<()> {
        self.machine.revoke_stream(now(&self.parts), stream)?;
        self.end_stream(stream).await;
        Ok(())
    }

    pub(super) async fn handle_source_lost(&mut self, stream: StreamId) {
        if let Some(name) = self.end_stream(stream).await {
            // The call that it was offered in may be over by now.
            self.machine.revoke_stream(now(&self.parts), stream).ok();
            self.emit(Event::DeviceLost { name });
        }
    }

    pub(super) fn request_stream(&mut self, participant: Endpoint, stream: StreamId) -> Result<RequestedStream> {
        let info = self.machine.request_stream(now(&self.parts), participant, stream)?;
        Ok(match self.streams.request(participant, &info) {
            Some((frames, dropped)) => {
                let reports = self.reports.clone();
                tokio::spawn(async move {
                    // Ends with an error when the sender in the frames is dropped.
                    dropped.await.ok();
                    // Without a driver there is nothing to close.
                    reports.send(Report::FramesDropped(participant, stream)).await.ok();
                });
                RequestedStream::Video(frames)
            }
            None => RequestedStream::Audio,
        })
    }

    /// Closes a stream whose frames were dropped, unless it was requested again since.
    pub(super) fn close_unread(&mut self, participant: Endpoint, stream: StreamId) {
        if self.streams.is_unread(participant, stream) {
            // The call may be over, and the stream with it.
            self.machine.close_stream(now(&self.parts), participant, stream).ok();
        }
    }

    /// A stream begins or ends to flow on a session.
    pub(super) async fn change_stream(
        &mut self,
        session: SessionId,
        stream: StreamId,
        direction: StreamDirection,
        on: bool,
    ) {
        let Some(handle) = self.sessions.get(&session) else { return };
        let path = path_of(session);
        let command = match (direction, on) {
            (StreamDirection::Send, true) => Some(MediaCommand::StartSending(path, stream)),
            (StreamDirection::Send, false) => Some(MediaCommand::StopSending(path, stream)),
            (StreamDirection::Receive, true) => {
                let sink = self.streams.sink(handle.remote, stream);
                sink.map(|sink| MediaCommand::StartReceiving(path, stream, sink))
            }
            (StreamDirection::Receive, false) => Some(MediaCommand::StopReceiving(path, stream)),
        };
        if let Some(command) = command {
            self.media.send_command(command).await;
        }
    }
}

/// Opens the source of a stream with the first media host that has it.
async fn open_source(
    hosts: &[(String, std::sync::Arc<dyn MediaHost>)],
    config: &StreamConfig,
    request: blink_api::OpenRequest,
) -> Result<StreamSource> {
    let mut first = None;
    for (_, host, name) in super::super::opened_devices::candidates(hosts, &config.source) {
        let result = match config.kind {
            TrackKind::Audio => host.open_audio_source(name, request).await.map(StreamSource::Audio),
            TrackKind::Video => host.open_video_source(name).await.map(StreamSource::Video),
        };
        match result {
            Ok(source) => return Ok(source),
            Err(error) => drop(first.get_or_insert(error)),
        }
    }
    Err(first.unwrap_or_else(|| Error::new(ErrorKind::NotFound, "no media host has this source")))
}
