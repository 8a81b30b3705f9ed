//! The driver's end of the media: one worker that runs the media of the calls that this device is
//! in, and what sessions need to reach it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use blink_api::{CallId, Clock, Endpoint, RtpIn, RtpSink, StreamId, TrackKey};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tokio::sync::{mpsc, oneshot};

use super::device_disposal::close_devices;
use super::epoch::Epoch;
use super::level_channel::LevelWriter;
use super::media_worker::MediaWorker;
use super::media_worker_command::{MediaStatistics, MediaWorkerCommand, SessionPort};
use super::openings::PreparedMicrophone;
use super::parts::{Parts, RandomUse};
use super::report::Report;
use super::rtp_input::{Liveness, RtpInput};
use super::video_worker::VideoWorkerCommand;
use blink_media::video::PayloadFormats;
use blink_media::{CallAudio, CallClock, CallMedia, CallMediaConfig, MediaCommand, PathId, Processors, RetiredDevice};
use blink_proto::call::SessionId;

/// Commands that wait for the worker; those who give more wait with them.
const QUEUE: usize = 512;
/// Packets that wait for the next tick, of all sessions; further ones are dropped.
const PACKETS: usize = 1_024;

/// The driver's end of the media.
pub(super) struct Media {
    /// The media of the current call; that of the last or the next one where there is none.
    handle: MediaHandle,
    parts: Parts,
    local: Endpoint,
    /// A microphone that was opened before the call was accepted, because a call without one is
    /// refused.
    prepared: Option<PreparedMicrophone>,
    is_open: bool,
    held: BTreeMap<CallId, MediaHandle>,
    last_epoch: Epoch,
    /// Seeds of the media of each call.
    random: ChaCha8Rng,
}

/// The media of one call, as its sessions reach it.
#[derive(Clone)]
pub(super) struct MediaHandle {
    commands: mpsc::Sender<MediaWorkerCommand>,
    packets: mpsc::Sender<(PathId, RtpIn)>,
    epoch: Epoch,
    /// Zero of the time of the call.
    started: Instant,
    audio: CallAudio,
    payload_formats: PayloadFormats,
}

impl Media {
    pub(super) fn start(parts: &Parts, local: Endpoint, reports: mpsc::Sender<Report>, levels: LevelWriter) -> Self {
        let (commands, queue) = mpsc::channel(QUEUE);
        let (packets, packet_queue) = mpsc::channel(PACKETS);
        let worker = MediaWorker::new(parts, reports, packet_queue, levels);
        parts.workers.add_worker(worker, queue, parts.clock.clone());
        Self {
            handle: MediaHandle {
                commands,
                packets,
                epoch: Epoch::default(),
                started: parts.clock.now(),
                audio: parts.audio.clone(),
                payload_formats: parts.payload_formats.clone(),
            },
            parts: parts.clone(),
            local,
            prepared: None,
            is_open: false,
            held: BTreeMap::new(),
            last_epoch: Epoch::default(),
            random: parts.random(RandomUse::Media),
        }
    }

    /// The media of a call that this device is in, held or not.
    pub(super) fn of_call(&self, call: CallId) -> MediaHandle {
        self.held.get(&call).unwrap_or(&self.handle).clone()
    }

    /// The audio of the current call, or of the next one.
    pub(super) fn audio(&self) -> &CallAudio {
        &self.handle.audio
    }

    /// The current call; no other one's media is affected by what is made for it.
    pub(super) fn epoch(&self) -> Epoch {
        self.handle.epoch
    }

    /// Zero of the time of the current call.
    pub(super) fn started(&self) -> Instant {
        self.handle.started
    }

    /// Whether something is about the current call.
    pub(super) fn is_current(&self, epoch: Epoch) -> bool {
        epoch == self.handle.epoch && self.is_open
    }

    /// The held call that something is about.
    pub(super) fn held_call(&self, epoch: Epoch) -> Option<CallId> {
        self.held.iter().find(|(_, media)| media.epoch == epoch).map(|(call, _)| *call)
    }

    /// Whether a call must not be offered or answered without a microphone.
    pub(super) fn requires_microphone(&self) -> bool {
        self.parts.settings.call.require_microphone
    }

    /// Sets the audio of the call that opens next, and its microphone where that is open already.
    /// Returns the audio that was set before.
    pub(super) fn prepare(&mut self, audio: CallAudio, microphone: Option<PreparedMicrophone>) -> CallAudio {
        self.drop_prepared();
        self.prepared = microphone;
        std::mem::replace(&mut self.handle.audio, audio)
    }

    /// The call opened with what was prepared; where none did, the audio is as before. A microphone
    /// that waits for processors stays.
    pub(super) fn settle(&mut self, before: Option<CallAudio>) {
        if before.is_some() || self.parts.processors.is_empty() {
            self.drop_prepared();
        }
        if let Some(audio) = before {
            self.handle.audio = audio;
        }
    }

    /// Closes a microphone that was opened ahead of a call and is not used.
    pub(super) fn drop_prepared(&mut self) {
        if let Some((_, microphone)) = self.prepared.take() {
            // Nothing waits for it.
            drop(close_devices(&self.parts.workers, [RetiredDevice::Source(microphone)]));
        }
    }

    /// The microphone that was opened ahead of the call.
    pub(super) fn take_prepared(&mut self) -> Option<PreparedMicrophone> {
        self.prepared.take()
    }

    /// Puts the microphone back that was opened ahead of the call.
    pub(super) fn keep_prepared(&mut self, microphone: PreparedMicrophone) {
        self.prepared = Some(microphone);
    }

    /// The user accepted a call: its media begins, without devices. `clock_epoch` is the zero of
    /// the time sync with others.
    ///
    /// Where another call is the current one, this one continues in its place (glare): offered
    /// streams go on.
    ///
    /// Returns the devices of that other call, to be closed.
    pub(super) async fn open(&mut self, clock_epoch: Instant) -> Vec<RetiredDevice> {
        self.last_epoch.0 += 1;
        self.is_open = true;
        let now = self.parts.clock.now();
        self.handle.epoch = self.last_epoch;
        self.handle.started = now;
        let config = CallMediaConfig {
            local: self.local,
            audio: self.handle.audio.clone(),
            quality: self.parts.settings.quality,
            processors: Processors::default(),
            clock: CallClock::new(clock_epoch, now),
            tick_grid: self.parts.workers.tick_grid(),
            payload_formats: self.parts.payload_formats.clone(),
            seed: self.random.random(),
        };
        let media = Box::new(CallMedia::new(config, now));
        let (done, opened) = oneshot::channel();
        self.handle.send_command(MediaWorkerCommand::Open { epoch: self.handle.epoch, media, done }).await;
        // A worker that is gone has closed the devices of the call before.
        opened.await.unwrap_or_default()
    }

    /// The current call is over. Returns its devices, to be closed.
    pub(super) async fn close(&mut self) -> Vec<RetiredDevice> {
        self.is_open = false;
        self.handle.close().await
    }

    /// Keeps the media of the current call, whose devices and streams have been removed. Returns
    /// the devices, to be closed.
    pub(super) async fn hold(&mut self, call: CallId) -> Vec<RetiredDevice> {
        self.is_open = false;
        self.held.insert(call, self.handle.clone());
        let (done, held) = oneshot::channel();
        self.handle.send_command(MediaWorkerCommand::Hold { done }).await;
        // A worker that is gone has closed its devices.
        held.await.unwrap_or_default()
    }

    /// A held call is the current one, where it is known.
    pub(super) async fn resume(&mut self, call: CallId) {
        let Some(media) = self.held.remove(&call) else { return };
        self.is_open = true;
        self.handle = media;
        self.handle.send_command(MediaWorkerCommand::Resume(self.handle.epoch)).await;
    }

    /// A held call is over. Returns devices that were not closed yet.
    pub(super) async fn close_held(&mut self, call: CallId) -> Vec<RetiredDevice> {
        match self.held.remove(&call) {
            Some(media) => media.close().await,
            None => Vec::new(),
        }
    }

    /// A command for the media of the current call.
    pub(super) async fn send_command(&mut self, command: MediaCommand) {
        self.handle.send(command).await;
    }

    pub(super) async fn offer_video(&mut self, stream: StreamId, commands: mpsc::Sender<VideoWorkerCommand>) {
        self.handle.send_command(MediaWorkerCommand::OfferVideo(self.handle.epoch, stream, commands)).await;
    }

    pub(super) async fn revoke_stream(&mut self, stream: StreamId) {
        self.handle.send_command(MediaWorkerCommand::RevokeStream(stream)).await;
    }

    /// Returns when the microphone is muted or unmuted.
    pub(super) async fn set_muted(&mut self, muted: bool) {
        let (done, is_done) = oneshot::channel();
        self.handle.send_command(MediaWorkerCommand::SetMuted { muted, done }).await;
        // A worker that is gone sends nothing.
        is_done.await.ok();
    }

    pub(super) async fn set_deafened(&mut self, deafened: bool) {
        self.handle.send_command(MediaWorkerCommand::SetDeafened(deafened)).await;
    }

    pub(super) async fn set_volume(&mut self, participant: Endpoint, volume: f32) {
        self.handle.send_command(MediaWorkerCommand::SetVolume(participant, volume)).await;
    }
}

impl MediaHandle {
    /// Payload formats of video.
    pub(super) fn payload_formats(&self) -> &PayloadFormats {
        &self.payload_formats
    }

    /// A handle whose other ends are with a test.
    #[cfg(test)]
    pub(super) fn to(
        commands: mpsc::Sender<MediaWorkerCommand>,
        packets: mpsc::Sender<(PathId, RtpIn)>,
        audio: CallAudio,
    ) -> Self {
        let (epoch, started) = (Epoch::default(), Instant::now());
        Self { commands, packets, epoch, started, audio, payload_formats: PayloadFormats::default() }
    }

    /// The audio of the call.
    pub(super) fn audio(&self) -> &CallAudio {
        &self.audio
    }

    /// The receiver of a session's packets.
    pub(super) fn rtp_sink(&self, id: SessionId, clock: Arc<dyn Clock>, liveness: Arc<Liveness>) -> Arc<dyn RtpSink> {
        Arc::new(RtpInput::new(id, self.packets.clone(), clock, liveness))
    }

    /// A session begins; `command` adds its path.
    pub(super) async fn add_session(&self, id: SessionId, port: SessionPort, command: MediaCommand) {
        self.send_command(MediaWorkerCommand::AddSession { epoch: self.epoch, id, port, command }).await;
    }

    pub(super) async fn remove_session(&self, id: SessionId) {
        self.send_command(MediaWorkerCommand::RemoveSession(id)).await;
    }

    /// A command for the media of the call; without effect when that is over.
    pub(super) async fn send(&self, command: MediaCommand) {
        self.send_command(MediaWorkerCommand::Media(self.epoch, command)).await;
    }

    /// Ends the media of the call. Returns its devices, to be closed.
    async fn close(&self) -> Vec<RetiredDevice> {
        let (done, closed) = oneshot::channel();
        self.send_command(MediaWorkerCommand::Close { epoch: self.epoch, done }).await;
        // A worker that is gone has closed its devices.
        closed.await.unwrap_or_default()
    }

    pub(super) async fn statistics(&self, participant: Endpoint, session: SessionId) -> MediaStatistics {
        let (reply, statistics) = oneshot::channel();
        let track = TrackKey::microphone(participant);
        self.send_command(MediaWorkerCommand::Statistics(track, session, reply)).await;
        statistics.await.unwrap_or_default()
    }

    async fn send_command(&self, command: MediaWorkerCommand) {
        // The worker ends when the engine does; then there is no media to command.
        self.commands.send(command).await.ok();
    }
}
