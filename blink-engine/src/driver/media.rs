//! Microphone and speaker: opened when the gate opens, worked by one capture and one playout worker
//! for each engine.
//!
//! A worker is a loop around a pipeline that is driven by ticks of 10 ms. It runs on a thread for
//! media, since sound must not wait for other tasks, or as a task where a test's clock decides.

mod capture;
mod playout;
pub(super) mod stream;
pub(super) mod threads;
mod video;
pub(super) mod voice;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use blink_api::{
    AudioSink, AudioSource, CallId, CodecName, Endpoint, Error, ErrorKind, MediaHost, OpenRequest, Preference, Result,
    RtpIn, Settings,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::{CallAudio, Command, Parts, Report};
use blink_media::{AudioStatistics, Capture, Network, NullSink, ReceiveConfig, TICK};
use blink_proto::call::{Event, SessionId};
use capture::{CaptureCommand, CaptureWorker};
use playout::{PlayoutCommand, PlayoutWorker};
use threads::{MediaThread, MediaThreads};
use voice::{SendTrack, Voice};

/// Commands that wait for a worker. Those of control wait with them, packets are dropped.
const QUEUE: usize = 512;

/// Played sound that waits to be seen by the processors. What finds no room they never see.
const FAR_END: Duration = Duration::from_millis(100);

/// How long a shutdown waits for a device that is being opened.
const OPENING: Duration = Duration::from_secs(1);

/// How an engine's media workers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pacing {
    /// On threads for media ([`MediaThreads`](crate::MediaThreads)): sound does not wait for other
    /// tasks.
    #[default]
    Threads,
    /// As tasks of the runtime the engine was started on, so that its clock decides, such as a
    /// paused one in a test.
    Tasks,
}

/// The driver's end of the media.
pub(super) struct Media {
    handle: MediaHandle,
    host: Arc<dyn MediaHost>,
    parts: Parts,
    reports: mpsc::Sender<Report>,
    /// A microphone opened before the call was accepted, because a call without one is refused.
    prepared: Option<Box<dyn AudioSource>>,
    /// Counts openings: what was opened for one that is over is closed again.
    epoch: u64,
    /// The same, for who opens devices.
    shared_epoch: Arc<AtomicU64>,
    is_open: bool,
    opening: Option<JoinHandle<()>>,
}

/// What sessions need of the media.
#[derive(Clone)]
pub(super) struct MediaHandle {
    capture: mpsc::Sender<CaptureCommand>,
    playout: mpsc::Sender<PlayoutCommand>,
    /// Read with each tick; nobody is woken for them.
    packets: mpsc::Sender<(Voice, RtpIn)>,
    /// Of the call that goes on, or the next one.
    audio: CallAudio,
    prefer: Preference,
}

impl Media {
    pub(super) fn start(parts: &Parts, reports: mpsc::Sender<Report>) -> Self {
        let (capture, capture_queue) = mpsc::channel(QUEUE);
        let (playout, playout_queue) = mpsc::channel(QUEUE);
        let (packets, packet_queue) = mpsc::channel(QUEUE);
        parts.place.put(parts, CaptureWorker::new(parts, reports.clone()), capture_queue);
        parts.place.put(parts, PlayoutWorker::new(parts, reports.clone(), packet_queue), playout_queue);
        Self {
            handle: MediaHandle {
                capture,
                playout,
                packets,
                audio: parts.audio.clone(),
                prefer: parts.settings.quality.prefer,
            },
            host: parts.media_host.clone(),
            parts: parts.clone(),
            reports,
            prepared: None,
            epoch: 0,
            shared_epoch: Arc::new(AtomicU64::new(0)),
            is_open: false,
            opening: None,
        }
    }

    pub(super) fn handle(&self) -> MediaHandle {
        self.handle.clone()
    }

    /// How the call that goes on sounds.
    pub(super) fn audio(&self) -> &CallAudio {
        &self.handle.audio
    }

    /// Whether a call is not to be offered or answered without a microphone.
    pub(super) fn requires_microphone(&self) -> bool {
        self.parts.settings.call.require_microphone
    }

    /// Opens the microphone ahead of a command that needs it; the report brings both.
    pub(super) fn prepare_microphone(&self, command: Command, audio: CallAudio) {
        let (host, name) = (self.host.clone(), self.parts.settings.microphone.clone());
        let reports = self.reports.clone();
        aside(async move {
            let result = host.open_audio_source(&name, request(&audio)).await;
            // Without a driver nobody waits for the command.
            reports.send(Report::Microphone(result, Box::new(command), audio)).await.ok();
        });
    }

    /// Keeps what the call that opens next is to sound like, and its microphone where that is open
    /// already. Returns what it was to sound like before.
    pub(super) fn prepare(&mut self, audio: CallAudio, source: Option<Box<dyn AudioSource>>) -> CallAudio {
        self.prepared = source;
        std::mem::replace(&mut self.handle.audio, audio)
    }

    /// No call opens any more with what was prepared, or none did: then everything is as it was.
    pub(super) fn settle(&mut self, before: Option<CallAudio>) {
        self.prepared = None;
        if let Some(audio) = before {
            self.handle.audio = audio;
        }
    }

    /// Whether a report is about the call that goes on.
    pub(super) fn is_current(&self, epoch: u64) -> bool {
        epoch == self.epoch && self.is_open
    }

    /// The user accepted a call: microphone and speaker open, in the background, since devices may
    /// be slow.
    pub(super) async fn open(&mut self, call: CallId) {
        self.close().await;
        self.is_open = true;
        self.shared_epoch.store(self.epoch, Ordering::Release);
        let opening = Opening {
            epoch: self.epoch,
            current: self.shared_epoch.clone(),
            call,
            host: self.host.clone(),
            settings: self.parts.settings.clone(),
            prepared: self.prepared.take(),
            parts: self.parts.clone(),
            handle: self.handle.clone(),
            reports: self.reports.clone(),
        };
        self.opening = Some(aside(opening.run()));
    }

    /// The end: what is being opened is waited for, so that no device is open when this returns.
    pub(super) async fn finish(&mut self) {
        self.prepared = None;
        self.close().await;
        if let Some(opening) = self.opening.take()
            && tokio::time::timeout(OPENING, opening).await.is_err()
        {
            tracing::warn!("a device takes long to open; it is closed when it has");
        }
        self.close().await;
    }

    /// The user is in no call: microphone and speaker close, files are complete when this returns.
    pub(super) async fn close(&mut self) {
        self.epoch += 1;
        self.is_open = false;
        self.shared_epoch.store(self.epoch, Ordering::Release);
        let (captured, played) = (oneshot::channel(), oneshot::channel());
        let epoch = self.epoch - 1;
        self.handle.tell_capture(CaptureCommand::Close { epoch, done: captured.0 }).await;
        self.handle.tell_playout(PlayoutCommand::Close { epoch, done: played.0 }).await;
        // A worker that is gone has closed its device.
        captured.1.await.ok();
        played.1.await.ok();
    }

    pub(super) async fn set_muted(&mut self, muted: bool) {
        let (done, heard) = oneshot::channel();
        self.handle.tell_capture(CaptureCommand::Mute { muted, done }).await;
        // As above.
        heard.await.ok();
    }

    pub(super) async fn set_deafened(&mut self, deafened: bool) {
        self.handle.tell_playout(PlayoutCommand::Deafen(deafened)).await;
    }

    pub(super) async fn set_volume(&mut self, participant: Endpoint, volume: f32) {
        self.handle.tell_playout(PlayoutCommand::Volume { participant, volume }).await;
    }
}

impl MediaHandle {
    /// Sound goes to a session, and what comes from its other end is played.
    pub(super) async fn add(&self, id: SessionId, remote: Endpoint, track: Arc<SendTrack>) -> Result<CodecName> {
        let codec = track.codec().unwrap_or_else(|| self.audio.preferred().name);
        self.hear(id, Voice { participant: remote, stream: None }, &codec).await?;
        self.tell_capture(CaptureCommand::Add { id, track, codec: codec.clone() }).await;
        Ok(codec)
    }

    /// What comes of one voice with this codec is played, and with no other.
    pub(super) async fn hear(&self, id: SessionId, voice: Voice, codec: &CodecName) -> Result<()> {
        let Some((codec, decoder)) = self.audio.decoder(codec)? else {
            return Err(Error::new(ErrorKind::Incompatible, "this codec was not offered").with("codec", codec));
        };
        let config = ReceiveConfig::new(&codec).preferring(self.prefer);
        self.tell_playout(PlayoutCommand::Add { id, voice, config, decoder }).await;
        Ok(())
    }

    /// The other end of a session tells of the path to it.
    pub(super) async fn adapt(&self, id: SessionId, network: Network) {
        self.tell_capture(CaptureCommand::Network { id, network }).await;
    }

    /// How the call sounds.
    pub(super) fn audio(&self) -> &CallAudio {
        &self.audio
    }

    /// One voice is played no more.
    pub(super) async fn ignore(&self, id: SessionId, voice: Voice) {
        self.tell_playout(PlayoutCommand::Remove { id, voice }).await;
    }

    pub(super) async fn remove(&self, id: SessionId, remote: Endpoint) {
        self.tell_capture(CaptureCommand::Remove { id }).await;
        self.ignore(id, Voice { participant: remote, stream: None }).await;
    }

    /// Hands a packet to playout; where that does not keep up it is dropped, as the network might
    /// have.
    pub(super) fn push(&self, from: Voice, packet: RtpIn) {
        if self.packets.try_send((from, packet)).is_err() {
            tracing::debug!("playout does not keep up; a packet is dropped");
        }
    }

    pub(super) async fn statistics(&self, participant: Endpoint) -> AudioStatistics {
        let (reply, statistics) = oneshot::channel();
        self.tell_playout(PlayoutCommand::Statistics { participant, reply }).await;
        statistics.await.unwrap_or_default()
    }

    // The workers end when the engine does; then there is nothing to tell them.

    async fn tell_capture(&self, command: CaptureCommand) {
        self.capture.send(command).await.ok();
    }

    async fn tell_playout(&self, command: PlayoutCommand) {
        self.playout.send(command).await.ok();
    }
}

/// The opening of the devices for one call.
struct Opening {
    epoch: u64,
    /// Which opening is wanted now.
    current: Arc<AtomicU64>,
    call: CallId,
    host: Arc<dyn MediaHost>,
    settings: Settings,
    prepared: Option<Box<dyn AudioSource>>,
    parts: Parts,
    handle: MediaHandle,
    reports: mpsc::Sender<Report>,
}

impl Opening {
    async fn run(mut self) {
        if self.is_over() {
            return;
        }
        let format = self.handle.audio.format();
        // Only processors want to know what is played.
        let ring = || rtrb::RingBuffer::new(format.samples_in(FAR_END));
        let (played, far_end) = (!self.parts.processors.is_empty()).then(ring).unzip();
        let sink = self.sink().await.unwrap_or_else(|| Box::new(NullSink::new(format)));
        self.handle.tell_playout(PlayoutCommand::Open { epoch: self.epoch, call: self.call, sink, played }).await;
        if self.is_over() {
            return;
        }
        match self.capture().await {
            Ok(Some(capture)) => {
                let capture = Box::new(capture);
                self.handle.tell_capture(CaptureCommand::Open { epoch: self.epoch, capture, far_end }).await;
            }
            Ok(None) => {}
            Err(error) => {
                let event = Event::NoMicrophone { call: self.call, error: error.to_string() };
                self.report(event).await;
            }
        }
    }

    /// Whether the call ended meanwhile.
    fn is_over(&self) -> bool {
        self.current.load(Ordering::Acquire) != self.epoch
    }

    async fn report(&mut self, event: Event) {
        // Without a driver nobody is left to tell.
        self.reports.send(Report::Media(self.epoch, event)).await.ok();
    }

    async fn sink(&mut self) -> Option<Box<dyn AudioSink>> {
        let name = self.settings.speaker.clone();
        if name == "none" {
            return None;
        }
        match self.host.open_audio_sink(&name, request(&self.handle.audio)).await {
            Ok(sink) => Some(sink),
            Err(error) => {
                tracing::error!(%error, "the speaker cannot be opened");
                self.report(Event::DeviceLost { name: name.clone() }).await;
                None
            }
        }
    }

    async fn capture(&mut self) -> Result<Option<Capture>> {
        let name = &self.settings.microphone;
        let source = match self.prepared.take() {
            Some(source) => source,
            None if name == "none" => return Ok(None),
            None => self.host.open_audio_source(name, request(&self.handle.audio)).await?,
        };
        let audio = &self.handle.audio;
        let processors: Result<Vec<_>, Error> =
            self.parts.processors.iter().map(|factory| factory.processor(audio.format())).collect();
        stream::capture(audio, source, processors?).map(Some)
    }
}

/// Runs what may take its time, such as a device's opening, where it keeps no other task from
/// running.
pub(super) fn aside(work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || runtime.block_on(work))
}

fn request(audio: &CallAudio) -> OpenRequest {
    OpenRequest::new(audio.format(), TICK)
}

/// A pipeline with what it is told.
trait Worker {
    type Command;

    /// When its next tick is due; `None` while it is closed.
    fn next(&self) -> Option<Instant>;

    /// Does the ticks that are due.
    fn work(&mut self);

    /// Sends what they made, where that is not done at once.
    fn send(&mut self) {}

    fn handle(&mut self, command: Self::Command);

    /// Nobody can give commands any more.
    fn finish(&mut self);
}

/// A worker's loop as a task. Commands come first: one that does not keep up with its ticks must
/// still hear that it should stop.
async fn run<W: Worker>(mut worker: W, mut commands: mpsc::Receiver<W::Command>) {
    loop {
        match commands.try_recv() {
            Ok(command) => {
                worker.handle(command);
                continue;
            }
            Err(mpsc::error::TryRecvError::Disconnected) => return worker.finish(),
            Err(mpsc::error::TryRecvError::Empty) => {}
        }
        tokio::select! {
            biased;
            () = super::sleep_until(worker.next()) => {
                worker.work();
                worker.send();
            }
            command = commands.recv() => match command {
                Some(command) => worker.handle(command),
                None => return worker.finish(),
            },
        }
    }
}

/// Where workers run.
#[derive(Clone)]
pub(crate) enum Place {
    Thread(MediaThread),
    Tasks,
}

impl Place {
    /// # Errors
    /// [`Io`](ErrorKind::Io) where the system starts no thread.
    pub(crate) fn new(pacing: Pacing, shared: Option<&MediaThreads>) -> Result<Self> {
        Ok(match (pacing, shared) {
            (Pacing::Tasks, _) => Self::Tasks,
            (Pacing::Threads, Some(shared)) => Self::Thread(shared.next()),
            (Pacing::Threads, None) => Self::Thread(MediaThread::alone("blink-media")?),
        })
    }

    /// The same for what sound is not to wait for.
    fn apart(&self, name: &str) -> Result<Self> {
        Ok(match self {
            Self::Thread(_) => Self::Thread(MediaThread::alone(name)?),
            Self::Tasks => Self::Tasks,
        })
    }

    /// Runs a worker's loop.
    fn put<W>(&self, parts: &Parts, worker: W, commands: mpsc::Receiver<W::Command>)
    where
        W: Worker + Send + 'static,
        W::Command: Send,
    {
        match self {
            Self::Thread(thread) => thread.put(worker, commands, parts.clock.clone()),
            Self::Tasks => drop(tokio::spawn(run(worker, commands))),
        }
    }

    /// When ticks begin that could begin at `now`.
    fn align(&self, now: Instant) -> Instant {
        match self {
            Self::Thread(thread) => thread.align(now),
            Self::Tasks => now,
        }
    }
}
