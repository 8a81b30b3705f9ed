//! Recordings of the call: started, attached to its media, and finished.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use blink_api::{
    CallId, CallTime, Error, ErrorKind, RecorderCapabilities, RecorderReport, Recording, RecordingConfig, RecordingId,
    RecordingReport, Result,
};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::driver_loop::{Driver, now};
use super::epoch::Epoch;
use super::parts::{NamedRecorder, Parts, RandomUse};
use super::recorder_start::{Started, chosen, complete_unused, create_directory, start};
use super::recorder_worker::{NoticeKind, RecordedCall, RecorderCommand, RecorderNotice, RecorderWorker};
use crate::recording_request::RecordingRequest;
use blink_media::{MediaCommand, QueueTap, TapContents, TapId, TapQueue, TrackSelection};
use blink_proto::call::Event;

/// How long a shutdown waits for the files of recordings.
const FINISHING: Duration = Duration::from_secs(10);

/// The recording of the call, and those that are being started or finished.
pub(super) struct Recordings {
    current: Option<ActiveRecording>,
    /// Recorders are being started.
    is_starting: bool,
    /// The user has a recorder of their own.
    announced: bool,
    running: JoinSet<RecordingProgress>,
    next_tap: u64,
    random: ChaCha8Rng,
}

/// A recording that goes on.
struct ActiveRecording {
    id: RecordingId,
    call: CallId,
    writers: Vec<Writer>,
}

/// The driver's end of a recorder worker.
struct Writer {
    recorder: String,
    tap: TapId,
    commands: mpsc::Sender<RecorderCommand>,
    has_failed: bool,
}

/// A recording that is being started.
pub(super) struct PendingRecording {
    id: RecordingId,
    call: CallId,
    epoch: Epoch,
    directory: PathBuf,
    request: RecordingRequest,
    /// `None` for an automatic recording.
    reply: Option<oneshot::Sender<Result<RecordingId>>>,
}

/// A step of a recording that took its time.
pub(super) enum RecordingProgress {
    /// The recorders were started.
    Started(PendingRecording, Vec<Started>),
    /// Recorders of a call that was over when they were started have completed their files.
    Discarded,
    /// The files are complete.
    Finished(CallId, RecordingReport, Option<oneshot::Sender<Result<RecordingReport>>>),
}

impl Recordings {
    pub(super) fn new(parts: &Parts) -> Self {
        Self {
            current: None,
            is_starting: false,
            announced: false,
            running: JoinSet::new(),
            next_tap: 0,
            random: parts.random(RandomUse::Recordings),
        }
    }

    /// Id of a further tap.
    pub(super) fn next_tap(&mut self) -> TapId {
        self.next_tap += 1;
        TapId(self.next_tap)
    }

    /// Waits for the next step; `None` without any. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<RecordingProgress> {
        loop {
            match self.running.join_next().await? {
                Ok(progress) => return Some(progress),
                // Recorders are guarded where they are called.
                Err(error) => {
                    self.is_starting = false;
                    tracing::error!(%error, "a step of a recording was not completed");
                }
            }
        }
    }
}

impl Driver {
    pub(super) fn start_recording(&mut self, request: RecordingRequest, reply: oneshot::Sender<Result<RecordingId>>) {
        match self.prepare_recording(request) {
            Ok((pending, recorders)) => {
                self.spawn_recorders(PendingRecording { reply: Some(reply), ..pending }, recorders);
            }
            // A reply that no one waits for is no failure, as with every command.
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// The call was joined: it is recorded, where that is configured.
    pub(super) fn start_automatic_recording(&mut self, call: CallId) {
        let is_recorded = self.recordings.is_starting || self.recordings.current.is_some();
        if !self.parts.settings.recording.automatic || is_recorded {
            return;
        }
        match self.prepare_recording(RecordingRequest::default()) {
            Ok((pending, recorders)) => self.spawn_recorders(pending, recorders),
            Err(error) => {
                let recording = RecordingId::from_random(self.recordings.random.random());
                let recorder = self.parts.settings.recorders.join(", ");
                self.emit(Event::RecordingFailed { call, recording, recorder, error: error.to_string() });
            }
        }
    }

    fn prepare_recording(&mut self, request: RecordingRequest) -> Result<(PendingRecording, Vec<NamedRecorder>)> {
        let state = |message: &'static str| Error::new(ErrorKind::State, message);
        let call = self.active.ok_or_else(|| state("not in a call"))?;
        if self.recordings.is_starting || self.recordings.current.is_some() {
            return Err(state("the call is being recorded"));
        }
        let recorders = chosen(&self.parts.recorders, &request.recorders)?;
        let directory = request.directory.clone().or_else(|| self.parts.settings.recording.directory.clone());
        let directory = directory.ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "a recording needs a directory").with("key", "recording.directory")
        })?;
        let id = RecordingId::from_random(self.recordings.random.random());
        let epoch = self.media.epoch();
        Ok((PendingRecording { id, call, epoch, directory, request, reply: None }, recorders))
    }

    /// Starts the recorders where they keep no other task from running.
    fn spawn_recorders(&mut self, pending: PendingRecording, recorders: Vec<NamedRecorder>) {
        let begin = CallTime(self.parts.clock.now().saturating_duration_since(self.media.started()));
        let started = SystemTime::UNIX_EPOCH + Duration::from_millis(self.parts.clock.unix_ms());
        let config =
            RecordingConfig::new(pending.id, pending.directory.clone()).call(pending.call).begin(started, begin);
        self.recordings.is_starting = true;
        self.recordings.running.spawn_blocking(move || {
            let prepared = create_directory(&config.directory);
            let start = |(name, recorder): NamedRecorder| {
                let recording = prepared.clone().and_then(|()| start(&*recorder, config.clone()));
                (name, recorder.capabilities(), recording)
            };
            RecordingProgress::Started(pending, recorders.into_iter().map(start).collect())
        });
    }

    pub(super) async fn handle_recording(&mut self, progress: RecordingProgress) {
        match progress {
            RecordingProgress::Started(mut pending, started) => {
                self.recordings.is_starting = false;
                let reply = pending.reply.take();
                let is_over = !self.media.is_current(pending.epoch);
                let result = self.begin_recording(pending, started).await;
                // The call that was joined meanwhile found the start of this recording under way.
                if is_over && let Some(call) = self.active {
                    self.start_automatic_recording(call);
                }
                // A reply that no one waits for is no failure, as with every command.
                reply.map(|reply| reply.send(result));
            }
            RecordingProgress::Discarded => {}
            RecordingProgress::Finished(call, report, reply) => {
                self.emit(Event::RecordingStopped { call, report: report.clone() });
                // As above.
                reply.map(|reply| reply.send(Ok(report)));
            }
        }
    }

    /// The recorders were started: the media of the call goes to them from now on.
    async fn begin_recording(&mut self, pending: PendingRecording, started: Vec<Started>) -> Result<RecordingId> {
        let PendingRecording { id, call, directory, request, .. } = pending;
        if !self.media.is_current(pending.epoch) {
            self.recordings.running.spawn_blocking(move || {
                complete_unused(started);
                RecordingProgress::Discarded
            });
            return Err(Error::new(ErrorKind::State, "the call that was to be recorded is over"));
        }
        let recorded = RecordedCall {
            recording: id,
            local: self.machine.own(),
            audio: self.media.audio().clone(),
            payload_formats: self.parts.payload_formats.clone(),
            names: request.names.clone(),
            clock: self.parts.clock.clone(),
            start: self.media.started(),
        };
        let (mut writers, mut failed) = (Vec::new(), Vec::new());
        for (recorder, capabilities, recording) in started {
            let selection = request.tracks.clone();
            match recording
                .and_then(|recording| self.start_writer(&recorder, &recorded, capabilities, recording, selection))
            {
                Ok((writer, queue_tap)) => {
                    self.media.send_command(MediaCommand::AddTap(writer.tap, Box::new(queue_tap))).await;
                    writers.push(writer);
                }
                Err(error) => failed.push((recorder, error)),
            }
        }
        for (recorder, error) in &failed {
            let (recorder, error) = (recorder.clone(), error.to_string());
            self.emit(Event::RecordingFailed { call, recording: id, recorder, error });
        }
        if writers.is_empty() {
            let none = Error::new(ErrorKind::Invalid, "there is no recorder");
            return Err(failed.into_iter().next().map_or(none, |(_, error)| error));
        }
        let recorders = writers.iter().map(|writer| writer.recorder.clone()).collect();
        self.recordings.current = Some(ActiveRecording { id, call, writers });
        self.announce_recording();
        self.emit(Event::RecordingStarted { call, recording: id, recorders, directory });
        Ok(id)
    }

    /// Starts the thread of a recorder, and makes the tap that fills its queue.
    fn start_writer(
        &mut self,
        recorder: &str,
        call: &RecordedCall,
        capabilities: RecorderCapabilities,
        recording: Box<dyn Recording>,
        selection: TrackSelection,
    ) -> Result<(Writer, QueueTap)> {
        let RecorderCapabilities { samples, packets, video, wire, .. } = capabilities;
        // A track has one format: packets are what was sent, without decoding, and those of the
        // wire have the frames in them.
        let (samples, frames) = (samples && !packets && !wire, video && !wire);
        let (queue, tap) = TapQueue::new(TapContents { samples, packets, frames, wire }, selection);
        let worker = RecorderWorker::new(recorder.to_owned(), recording, queue, call.clone(), self.reports.clone());
        let (commands, waiting) = mpsc::channel(1);
        self.parts.workers.spawn_dedicated("blink-recorder", worker, waiting, self.parts.clock.clone())?;
        let id = self.recordings.next_tap();
        Ok((Writer { recorder: recorder.to_owned(), tap: id, commands, has_failed: false }, tap))
    }

    pub(super) async fn stop_recording(&mut self, reply: oneshot::Sender<Result<RecordingReport>>) {
        if self.recordings.current.is_some() {
            self.end_recording(Some(reply)).await;
        } else {
            // A reply that no one waits for is no failure, as with every command.
            reply.send(Err(Error::new(ErrorKind::State, "the call is not being recorded"))).ok();
        }
    }

    /// Ends the recording of the call, if there is one. Its files are completed in the background.
    pub(super) async fn end_recording(&mut self, reply: Option<oneshot::Sender<Result<RecordingReport>>>) {
        let Some(ActiveRecording { id, call, writers }) = self.recordings.current.take() else { return };
        for writer in &writers {
            self.media.send_command(MediaCommand::RemoveTap(writer.tap)).await;
        }
        self.announce_recording();
        self.recordings.running.spawn(async move {
            // All of them complete their files at the same time.
            let finishing: Vec<_> = writers.into_iter().map(Writer::finish).collect();
            let mut reports = Vec::new();
            for report in finishing {
                reports.push(report.await);
            }
            RecordingProgress::Finished(call, RecordingReport::new(id, reports), reply)
        });
    }

    /// The user is in no call any longer, or in another one.
    pub(super) async fn leave_recording(&mut self) {
        self.recordings.announced = false;
        self.end_recording(None).await;
    }

    /// The user shows the others that a recorder of their own records, or ends that.
    pub(super) fn set_recording(&mut self, recording: bool) -> Result<()> {
        let shown = recording || self.recordings.current.is_some();
        self.machine.set_recording(now(&self.parts), shown)?;
        self.recordings.announced = recording;
        Ok(())
    }

    /// Shows the others whether this device records.
    fn announce_recording(&mut self) {
        let recording = self.recordings.announced || self.recordings.current.is_some();
        // An error means that the call is over, and the flag with it.
        self.machine.set_recording(now(&self.parts), recording).ok();
    }

    pub(super) async fn handle_recorder_notice(&mut self, notice: RecorderNotice) {
        let RecorderNotice { recording, recorder, kind } = notice;
        let Some(current) = self.recordings.current.as_mut().filter(|current| current.id == recording) else { return };
        let call = current.call;
        match kind {
            NoticeKind::Incomplete(dropped) => {
                self.emit(Event::RecordingIncomplete { call, recording, recorder, dropped });
            }
            NoticeKind::Failed(error) => {
                let writers = current.writers.iter_mut();
                let failed = writers.filter(|writer| writer.recorder == recorder).map(|writer| {
                    writer.has_failed = true;
                    writer.tap
                });
                let taps: Vec<_> = failed.collect();
                let is_over = current.writers.iter().all(|writer| writer.has_failed);
                for tap in taps {
                    self.media.send_command(MediaCommand::RemoveTap(tap)).await;
                }
                self.emit(Event::RecordingFailed { call, recording, recorder, error: error.to_string() });
                if is_over {
                    self.end_recording(None).await;
                }
            }
        }
    }

    /// Waits until the files of all recordings are complete, for a shutdown.
    pub(super) async fn finish_recordings(&mut self) {
        let end = tokio::time::Instant::now() + FINISHING;
        loop {
            match tokio::time::timeout_at(end, self.recordings.next()).await {
                Ok(Some(progress)) => self.handle_recording(progress).await,
                Ok(None) => return,
                Err(_) => return tracing::warn!("the files of a recording were not completed in time"),
            }
        }
    }
}

impl Writer {
    /// Has the recorder complete its files, beginning with the call. The result is its report.
    fn finish(self) -> impl Future<Output = RecorderReport> {
        let (reply, report) = oneshot::channel();
        // The queue has room for the only command that there is. An error means that the worker is
        // gone, as below.
        self.commands.try_send(RecorderCommand::Finish(reply)).ok();
        let recorder = self.recorder;
        async move {
            report.await.unwrap_or_else(|_| {
                let error = Some("the thread of the recorder is gone".to_owned());
                RecorderReport::new(recorder, blink_api::RecordingSummary::default()).failed(error)
            })
        }
    }
}
