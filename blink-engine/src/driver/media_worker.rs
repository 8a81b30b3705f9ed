//! The media worker: runs the [`CallMedia`] of the call that this device is in, and carries out its
//! outputs.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use blink_api::{Clock, Endpoint, RtpIn, Session, StreamId, TrackKey};
use tokio::sync::{mpsc, oneshot};

use super::device_disposal::close_devices;
use super::epoch::Epoch;
use super::level_channel::LevelWriter;
use super::parts::Parts;
use super::report::Report;
use super::report_messages::report_message;
use super::send_rtp::send;
use super::session_command::SessionCommand;
use super::video_port::VideoPort;
use super::video_worker::VideoWorkerCommand;
use super::worker::Worker;
use super::worker_host::WorkerHost;
use blink_media::{
    AudioStatistics, CallMedia, MediaCommand, MediaOutput, OfferedStreams, PathId, PathStatistics, RetiredDevice,
    VideoCommand,
};
use blink_proto::call::{SessionId, SessionInput};
use blink_proto::wire::ChannelMessage;

/// Reports that wait for a driver whose queue is full. Further ones are dropped; the log has what
/// matters.
const MAX_REPORTS: usize = 256;

/// A command for the media worker.
pub(super) enum MediaWorkerCommand {
    /// This device is in a call with this media. Where it was in another one, that call's media
    /// ends and its offered streams go on in this one; the devices of the former are to be closed.
    Open { epoch: Epoch, media: Box<CallMedia>, done: oneshot::Sender<Vec<RetiredDevice>> },
    /// The call is over. Its devices are to be closed.
    Close { done: oneshot::Sender<Vec<RetiredDevice>> },
    /// A command for the media of the call; without effect when it is another one by now.
    Media(Epoch, MediaCommand),
    /// A session, and how it is reached.
    AddSession { id: SessionId, port: SessionPort, command: MediaCommand },
    /// A session that ends.
    RemoveSession(SessionId),
    /// A command of a session's task.
    OfSession(MediaCommand),
    /// A video stream is offered, by the worker that these commands go to.
    OfferVideo(Epoch, StreamId, mpsc::Sender<VideoWorkerCommand>),
    /// A stream is no longer offered.
    RevokeStream(StreamId),
    /// Mutes or unmutes, for this call and the next ones.
    SetMuted { muted: bool, done: oneshot::Sender<()> },
    /// Silences the speaker or ends that, for this call and the next ones.
    SetDeafened(bool),
    /// Sets a participant's volume, for this call and the next ones.
    SetVolume(Endpoint, f32),
    /// Statistics of what is received of a track and what is sent on a path.
    Statistics(TrackKey, SessionId, oneshot::Sender<MediaStatistics>),
}

/// Statistics of one participant.
#[derive(Debug, Default)]
pub(super) struct MediaStatistics {
    pub(super) audio: AudioStatistics,
    /// `None` for a path without media.
    pub(super) path: Option<PathStatistics>,
}

/// A session as the media worker reaches it.
pub(super) struct SessionPort {
    pub(super) session: Arc<dyn Session>,
    /// Weak: a session's task ends when its handles are dropped.
    pub(super) commands: mpsc::WeakSender<SessionCommand>,
}

/// Settings of the user that hold for the next call too.
#[derive(Debug, Clone, Copy, Default)]
struct Switches {
    muted: bool,
    deafened: bool,
}

pub(super) struct MediaWorker {
    clock: Arc<dyn Clock>,
    workers: WorkerHost,
    reports: mpsc::Sender<Report>,
    levels: LevelWriter,
    /// Packets that arrived since the last tick. Read with each tick: they wake nothing.
    packets: mpsc::Receiver<(PathId, RtpIn)>,
    media: Option<(Epoch, Box<CallMedia>)>,
    sessions: BTreeMap<PathId, SessionPort>,
    video: BTreeMap<StreamId, VideoPort>,
    next_call: Switches,
    volumes: BTreeMap<Endpoint, f32>,
    /// Reports that the driver's queue had no room for.
    waiting: VecDeque<Report>,
}

impl MediaWorker {
    pub(super) fn new(
        parts: &Parts,
        reports: mpsc::Sender<Report>,
        packets: mpsc::Receiver<(PathId, RtpIn)>,
        levels: LevelWriter,
    ) -> Self {
        Self {
            clock: parts.clock.clone(),
            workers: parts.workers.clone(),
            reports,
            levels,
            packets,
            media: None,
            sessions: BTreeMap::new(),
            video: BTreeMap::new(),
            next_call: Switches::default(),
            volumes: BTreeMap::new(),
            waiting: VecDeque::new(),
        }
    }

    fn command(&mut self, command: MediaCommand) {
        let now = self.clock.now();
        if let Some((_, media)) = &mut self.media {
            media.handle(now, command);
        }
    }

    fn is_current(&self, epoch: Epoch) -> bool {
        self.media.as_ref().is_some_and(|(current, _)| *current == epoch)
    }

    /// Returns the devices of the call before.
    fn open(&mut self, epoch: Epoch, mut media: Box<CallMedia>) -> Vec<RetiredDevice> {
        let streams = self.take_streams();
        let video = std::mem::take(&mut self.video);
        let devices = self.close();
        media.offer_streams(streams);
        self.video = video;
        self.media = Some((epoch, media));
        let Switches { muted, deafened } = self.next_call;
        self.command(MediaCommand::SetMuted(muted));
        self.command(MediaCommand::SetDeafened(deafened));
        for (participant, volume) in self.volumes.clone() {
            self.command(MediaCommand::SetVolume(participant, volume));
        }
        devices
    }

    /// The streams that go on in the next call. The paths of this one end, which the senders of
    /// video are told.
    fn take_streams(&mut self) -> OfferedStreams {
        let now = self.clock.now();
        let streams = self.media.as_mut().map(|(_, media)| media.take_streams(now));
        self.flush();
        streams.unwrap_or_default()
    }

    /// Ends the media of the call. Returns its devices.
    fn close(&mut self) -> Vec<RetiredDevice> {
        let mut devices = self.media.take().map(|(_, media)| media.finish()).unwrap_or_default();
        // Those that the driver has not taken yet, too.
        for report in std::mem::take(&mut self.waiting) {
            match report {
                Report::Retired(device) => devices.push(device),
                other => self.waiting.push_back(other),
            }
        }
        self.video.clear();
        while self.packets.try_recv().is_ok() {}
        self.levels.clear();
        devices
    }

    /// Hands over devices; closes them where the caller has stopped waiting.
    fn answer(&self, done: oneshot::Sender<Vec<RetiredDevice>>, devices: Vec<RetiredDevice>) {
        if let Err(devices) = done.send(devices) {
            drop(close_devices(&self.workers, devices));
        }
    }

    fn statistics(&self, track: TrackKey, session: SessionId) -> MediaStatistics {
        let Some((_, media)) = &self.media else { return MediaStatistics::default() };
        MediaStatistics {
            audio: media.audio_statistics(&track).unwrap_or_default(),
            path: media.path_statistics(self.clock.now(), PathId(session.0)),
        }
    }

    fn carry_out(&mut self, epoch: Epoch, output: MediaOutput) {
        match output {
            MediaOutput::Send { path, track, packet } => {
                if let Some(port) = self.sessions.get(&path) {
                    send(&*port.session, track, packet);
                }
            }
            MediaOutput::RequestKeyframe { path, mid } => {
                if let Some(port) = self.sessions.get(&path) {
                    // The request is repeated as long as it is needed.
                    port.session.request_keyframe(&mid).ok();
                }
            }
            MediaOutput::Announce { path, mid, stream, first_sequence } => {
                let stream = stream.map(|stream| (*stream.as_bytes()).into());
                let mid = mid.as_str().to_owned();
                self.send_message(path, ChannelMessage::Section { mid, stream, sequence: first_sequence });
            }
            MediaOutput::Report { path, interval, sections, captures } => {
                self.send_message(path, report_message(interval, &sections, &captures));
            }
            MediaOutput::Unsendable { path, stream } => self.report_session(path, SessionInput::StreamRefused(stream)),
            MediaOutput::FirstFrame { path, stream } => self.report_session(path, SessionInput::FirstFrame(stream)),
            MediaOutput::Video { stream, command } => self.command_video(stream, command),
            // Never left out: the device would be dropped here.
            MediaOutput::Retired(device) => self.waiting.push_back(Report::Retired(device)),
            MediaOutput::Event(event) => self.report(Report::Media(epoch, event)),
        }
    }

    fn command_video(&mut self, stream: StreamId, command: VideoCommand) {
        let Some(port) = self.video.get_mut(&stream) else { return };
        let session = match &command {
            VideoCommand::AddReceiver(path, _) => self.sessions.get(path).map(|port| port.session.clone()),
            _ => None,
        };
        // A full queue means that the source has blocked its thread for long.
        if !port.send(VideoWorkerCommand { command, session }) {
            tracing::debug!(%stream, "the sender of a video stream does not keep up");
        }
    }

    fn send_message(&self, path: PathId, message: ChannelMessage) {
        let commands = self.sessions.get(&path).and_then(|port| port.commands.upgrade());
        if commands.is_some_and(|commands| commands.try_send(SessionCommand::Send(message)).is_err()) {
            tracing::warn!("a session does not keep up; a message of its media is dropped");
        }
    }

    fn report_session(&mut self, path: PathId, input: SessionInput) {
        self.report(Report::Session(SessionId(path.0), input));
    }

    fn report(&mut self, report: Report) {
        if self.waiting.len() >= MAX_REPORTS {
            tracing::error!("the driver does not keep up; a report of the media is dropped");
        } else {
            self.waiting.push_back(report);
        }
    }
}

impl Worker for MediaWorker {
    type Command = MediaWorkerCommand;

    fn next(&self) -> Option<Instant> {
        self.media.as_ref().and_then(|(_, media)| media.deadline())
    }

    fn handle(&mut self, command: MediaWorkerCommand) {
        match command {
            MediaWorkerCommand::Open { epoch, media, done } => {
                let devices = self.open(epoch, media);
                self.answer(done, devices);
            }
            MediaWorkerCommand::Close { done } => {
                let devices = self.close();
                self.answer(done, devices);
            }
            MediaWorkerCommand::Media(epoch, command) => {
                if self.is_current(epoch) {
                    self.command(command);
                }
            }
            MediaWorkerCommand::AddSession { id, port, command } => {
                self.sessions.insert(PathId(id.0), port);
                self.command(command);
            }
            MediaWorkerCommand::RemoveSession(id) => {
                self.command(MediaCommand::RemovePath(PathId(id.0)));
                self.flush();
                self.sessions.remove(&PathId(id.0));
            }
            MediaWorkerCommand::OfSession(command) => self.command(command),
            MediaWorkerCommand::OfferVideo(epoch, stream, commands) => {
                if self.is_current(epoch) {
                    self.video.insert(stream, VideoPort::new(commands));
                    self.command(MediaCommand::OfferVideo(stream));
                }
            }
            MediaWorkerCommand::RevokeStream(stream) => {
                self.command(MediaCommand::RevokeStream(stream));
                self.video.remove(&stream);
            }
            MediaWorkerCommand::SetMuted { muted, done } => {
                self.next_call.muted = muted;
                self.command(MediaCommand::SetMuted(muted));
                // The caller may have stopped waiting.
                done.send(()).ok();
            }
            MediaWorkerCommand::SetDeafened(deafened) => {
                self.next_call.deafened = deafened;
                self.command(MediaCommand::SetDeafened(deafened));
            }
            MediaWorkerCommand::SetVolume(participant, volume) => {
                self.volumes.insert(participant, volume);
                self.command(MediaCommand::SetVolume(participant, volume));
            }
            MediaWorkerCommand::Statistics(track, session, reply) => {
                // As above.
                reply.send(self.statistics(track, session)).ok();
            }
        }
    }

    fn tick(&mut self) {
        let now = self.clock.now();
        let Some((_, media)) = &mut self.media else { return };
        while let Ok((path, packet)) = self.packets.try_recv() {
            media.push(now, path, packet);
        }
        media.tick(now);
        self.levels.tick(now, media);
    }

    fn flush(&mut self) {
        while let Some((epoch, media)) = &mut self.media {
            let epoch = *epoch;
            let Some(output) = media.poll() else { break };
            self.carry_out(epoch, output);
        }
        self.video.values_mut().for_each(VideoPort::flush);
        while let Some(report) = self.waiting.pop_front() {
            match self.reports.try_send(report) {
                Err(mpsc::error::TrySendError::Full(report)) => {
                    self.waiting.push_front(report);
                    break;
                }
                Err(mpsc::error::TrySendError::Closed(Report::Retired(device))) => {
                    drop(close_devices(&self.workers, [device]));
                }
                // Or the driver, which would read it, has ended.
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
            }
        }
    }

    fn finish(&mut self) {
        let devices = self.close();
        // The driver, which would wait for it, has ended.
        drop(close_devices(&self.workers, devices));
    }
}
