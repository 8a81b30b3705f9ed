//! The media worker: runs the [`CallMedia`] of the calls that this device is in, and carries out
//! their outputs.
//!
//! One of them is the current call, with microphone, speaker and streams. The others are held: they
//! have no devices, and are run so that they resume at once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use blink_api::{Clock, Endpoint, RtpIn, StreamId, TrackKey};
use tokio::sync::{mpsc, oneshot};

use super::device_disposal::close_devices;
use super::epoch::Epoch;
use super::level_channel::LevelWriter;
use super::media_worker_command::{MediaStatistics, MediaWorkerCommand, SessionPort};
use super::parts::Parts;
use super::report::Report;
use super::report_messages::report_message;
use super::send_rtp::send;
use super::session_command::SessionCommand;
use super::video_port::VideoPort;
use super::video_worker::VideoWorkerCommand;
use super::worker::Worker;
use super::worker_host::WorkerHost;
use blink_media::{CallMedia, MediaCommand, MediaOutput, OfferedStreams, PathId, RetiredDevice, VideoCommand};
use blink_proto::call::{SessionId, SessionInput};
use blink_proto::wire::ChannelMessage;

/// Reports that wait for a driver whose queue is full. Further ones are dropped; the log has what
/// matters.
const MAX_REPORTS: usize = 256;

/// The media of one call.
struct CallEntry {
    epoch: Epoch,
    media: Box<CallMedia>,
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
    calls: Vec<CallEntry>,
    current: Option<Epoch>,
    /// The sessions of all calls.
    sessions: BTreeMap<PathId, (Epoch, SessionPort)>,
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
            calls: Vec::new(),
            current: None,
            sessions: BTreeMap::new(),
            video: BTreeMap::new(),
            next_call: Switches::default(),
            volumes: BTreeMap::new(),
            waiting: VecDeque::new(),
        }
    }

    /// The media of a call that is not over.
    fn media(&mut self, epoch: Epoch) -> Option<&mut CallMedia> {
        self.calls.iter_mut().find(|call| call.epoch == epoch).map(|call| &mut *call.media)
    }

    fn command(&mut self, epoch: Epoch, command: MediaCommand) {
        let now = self.clock.now();
        if let Some(media) = self.media(epoch) {
            media.handle(now, command);
        }
    }

    fn command_current(&mut self, command: MediaCommand) {
        if let Some(epoch) = self.current {
            self.command(epoch, command);
        }
    }

    /// A command for the media of every call.
    fn command_all(&mut self, command: impl Fn() -> MediaCommand) {
        let now = self.clock.now();
        self.calls.iter_mut().for_each(|call| call.media.handle(now, command()));
    }

    /// Returns the devices of the call before.
    fn open(&mut self, epoch: Epoch, mut media: Box<CallMedia>) -> Vec<RetiredDevice> {
        let mut devices = Vec::new();
        if let Some(before) = self.current {
            media.offer_streams(self.take_streams(before));
            let video = std::mem::take(&mut self.video);
            devices = self.close(before);
            self.video = video;
        }
        self.calls.push(CallEntry { epoch, media });
        self.current = Some(epoch);
        let Switches { muted, deafened } = self.next_call;
        self.command(epoch, MediaCommand::SetMuted(muted));
        self.command(epoch, MediaCommand::SetDeafened(deafened));
        for (participant, volume) in self.volumes.clone() {
            self.command(epoch, MediaCommand::SetVolume(participant, volume));
        }
        devices
    }

    /// The streams that go on in the next call. The paths of this one end, which the senders of
    /// video are told.
    fn take_streams(&mut self, epoch: Epoch) -> OfferedStreams {
        let now = self.clock.now();
        let streams = self.media(epoch).map(|media| media.take_streams(now));
        self.flush();
        streams.unwrap_or_default()
    }

    /// Ends the media of a call. Returns its devices.
    fn close(&mut self, epoch: Epoch) -> Vec<RetiredDevice> {
        let mut devices = Vec::new();
        for call in self.calls.extract_if(.., |call| call.epoch == epoch) {
            devices.extend(call.media.finish());
        }
        self.take_retired(&mut devices);
        if self.current == Some(epoch) {
            self.current = None;
            self.video.clear();
            self.levels.clear();
        }
        if self.calls.is_empty() {
            while self.packets.try_recv().is_ok() {}
        }
        devices
    }

    /// No call is the current one any more. Returns devices that were in use until now.
    fn hold(&mut self) -> Vec<RetiredDevice> {
        let mut devices = Vec::new();
        // Without a microphone it would send silence.
        self.command_current(MediaCommand::SetMuted(true));
        if let Some(media) = self.current.take().and_then(|epoch| self.media(epoch)) {
            devices = media.finish_switches();
        }
        self.flush();
        self.take_retired(&mut devices);
        self.video.clear();
        self.levels.clear();
        devices
    }

    /// Takes the retired devices that the driver has not taken yet.
    fn take_retired(&mut self, devices: &mut Vec<RetiredDevice>) {
        for report in std::mem::take(&mut self.waiting) {
            match report {
                Report::Retired(device) => devices.push(device),
                other => self.waiting.push_back(other),
            }
        }
    }

    /// Hands over devices; closes them where the caller has stopped waiting.
    fn answer(&self, done: oneshot::Sender<Vec<RetiredDevice>>, devices: Vec<RetiredDevice>) {
        if let Err(devices) = done.send(devices) {
            drop(close_devices(&self.workers, devices));
        }
    }

    fn statistics(&mut self, track: TrackKey, session: SessionId) -> MediaStatistics {
        let (now, path) = (self.clock.now(), PathId(session.0));
        let epoch = self.sessions.get(&path).map(|(epoch, _)| *epoch);
        let Some(media) = epoch.and_then(|epoch| self.media(epoch)) else { return MediaStatistics::default() };
        MediaStatistics {
            audio: media.audio_statistics(&track).unwrap_or_default(),
            path: media.path_statistics(now, path),
        }
    }

    fn session(&self, path: &PathId) -> Option<&SessionPort> {
        self.sessions.get(path).map(|(_, port)| port)
    }

    fn carry_out(&mut self, epoch: Epoch, output: MediaOutput) {
        match output {
            MediaOutput::Send { path, track, packet } => {
                if let Some(port) = self.session(&path) {
                    send(&*port.session, track, packet);
                }
            }
            MediaOutput::RequestKeyframe { path, mid } => {
                if let Some(port) = self.session(&path) {
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
        let session = match &command {
            VideoCommand::AddReceiver(path, _) => self.session(path).map(|port| port.session.clone()),
            _ => None,
        };
        let Some(port) = self.video.get_mut(&stream) else { return };
        // A full queue means that the source has blocked its thread for long.
        if !port.send(VideoWorkerCommand { command, session }) {
            tracing::debug!(%stream, "the sender of a video stream does not keep up");
        }
    }

    fn send_message(&self, path: PathId, message: ChannelMessage) {
        let commands = self.session(&path).and_then(|port| port.commands.upgrade());
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
        self.calls.iter().filter_map(|call| call.media.deadline()).min()
    }

    fn handle(&mut self, command: MediaWorkerCommand) {
        match command {
            MediaWorkerCommand::Open { epoch, media, done } => {
                let devices = self.open(epoch, media);
                self.answer(done, devices);
            }
            MediaWorkerCommand::Close { epoch, done } => {
                let devices = self.close(epoch);
                self.answer(done, devices);
            }
            MediaWorkerCommand::Hold { done } => {
                let devices = self.hold();
                self.answer(done, devices);
            }
            MediaWorkerCommand::Resume(epoch) => {
                self.current = Some(epoch);
                self.command(epoch, MediaCommand::SetMuted(self.next_call.muted));
            }
            MediaWorkerCommand::Media(epoch, command) => self.command(epoch, command),
            MediaWorkerCommand::AddSession { epoch, id, port, command } => {
                self.sessions.insert(PathId(id.0), (epoch, port));
                self.command(epoch, command);
            }
            MediaWorkerCommand::RemoveSession(id) => {
                let path = PathId(id.0);
                if let Some((epoch, _)) = self.sessions.get(&path) {
                    self.command(*epoch, MediaCommand::RemovePath(path));
                }
                self.flush();
                self.sessions.remove(&path);
            }
            MediaWorkerCommand::OfferVideo(epoch, stream, commands) => {
                if self.current == Some(epoch) {
                    self.video.insert(stream, VideoPort::new(commands));
                    self.command(epoch, MediaCommand::OfferVideo(stream));
                }
            }
            MediaWorkerCommand::RevokeStream(stream) => {
                self.command_current(MediaCommand::RevokeStream(stream));
                self.video.remove(&stream);
            }
            MediaWorkerCommand::SetMuted { muted, done } => {
                self.next_call.muted = muted;
                self.command_current(MediaCommand::SetMuted(muted));
                // The caller may have stopped waiting.
                done.send(()).ok();
            }
            MediaWorkerCommand::SetDeafened(deafened) => {
                self.next_call.deafened = deafened;
                self.command_all(|| MediaCommand::SetDeafened(deafened));
            }
            MediaWorkerCommand::SetVolume(participant, volume) => {
                self.volumes.insert(participant, volume);
                self.command_all(|| MediaCommand::SetVolume(participant, volume));
            }
            MediaWorkerCommand::Statistics(track, session, reply) => {
                // As above.
                reply.send(self.statistics(track, session)).ok();
            }
        }
    }

    fn tick(&mut self) {
        let now = self.clock.now();
        if self.calls.is_empty() {
            return;
        }
        while let Ok((path, packet)) = self.packets.try_recv() {
            let epoch = self.sessions.get(&path).map(|(epoch, _)| *epoch);
            if let Some(media) = epoch.and_then(|epoch| self.media(epoch)) {
                media.push(now, path, packet);
            }
        }
        for call in &mut self.calls {
            call.media.tick(now);
            if self.current == Some(call.epoch) {
                self.levels.tick(now, &mut call.media);
            }
        }
    }

    fn flush(&mut self) {
        for index in 0..self.calls.len() {
            let epoch = self.calls[index].epoch;
            while let Some(output) = self.calls[index].media.poll() {
                self.carry_out(epoch, output);
            }
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
        let mut devices = Vec::new();
        while let Some(epoch) = self.calls.first().map(|call| call.epoch) {
            devices.extend(self.close(epoch));
        }
        // The driver, which would wait for it, has ended.
        drop(close_devices(&self.workers, devices));
    }
}
