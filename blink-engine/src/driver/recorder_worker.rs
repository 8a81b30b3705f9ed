//! The recorder worker: writes what the taps of a call queued with one recorder, on a thread of its
//! own.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use blink_api::{
    CallTime, Clock, CodecName, Did, Endpoint, Error, ErrorKind, RecordedTrack, RecorderReport, Recording, RecordingId,
    RecordingSummary, Result, RtpCodec, RtpSample, Sample, TrackFormat, TrackKey,
};
use tokio::sync::{mpsc, oneshot};

use super::report::Report;
use super::worker::Worker;
use blink_media::video::PayloadFormats;
use blink_media::{CallAudio, QueuedContent, QueuedItem, TapQueue};

/// Interval at which a recorder writes.
const INTERVAL: Duration = Duration::from_millis(100);
/// Shortest interval of reports that the disk does not keep up.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// A command for a recorder worker.
pub(super) enum RecorderCommand {
    /// Complete the files.
    Finish(oneshot::Sender<RecorderReport>),
}

/// A report of a recorder worker to the driver.
#[derive(Debug)]
pub(crate) struct RecorderNotice {
    pub(crate) recording: RecordingId,
    pub(crate) recorder: String,
    pub(crate) kind: NoticeKind,
}

/// Content of a [`RecorderNotice`].
#[derive(Debug)]
pub(crate) enum NoticeKind {
    /// The recorder failed, and records no longer.
    Failed(Error),
    /// The disk does not keep up; so much was dropped.
    Incomplete(u64),
}

/// Properties of the call that recorder workers use.
#[derive(Clone)]
pub(super) struct RecordedCall {
    pub(super) recording: RecordingId,
    pub(super) local: Endpoint,
    pub(super) audio: CallAudio,
    pub(super) payload_formats: PayloadFormats,
    pub(super) names: BTreeMap<Did, String>,
    pub(super) clock: Arc<dyn Clock>,
    /// Zero of the call's time.
    pub(super) start: Instant,
}

pub(super) struct RecorderWorker {
    recorder: String,
    call: RecordedCall,
    queue: TapQueue,
    reports: mpsc::Sender<Report>,
    /// `None` once it is finished or has failed.
    writer: Option<TrackWriter>,
    next: Instant,
    /// Result of a recorder that has ended.
    summary: RecordingSummary,
    error: Option<Error>,
    /// A notice that the driver's queue had no room for.
    unsent: Option<NoticeKind>,
    /// Number of dropped items that was reported last, and when.
    reported: (u64, Option<Instant>),
}

impl RecorderWorker {
    pub(super) fn new(
        recorder: String,
        recording: Box<dyn Recording>,
        queue: TapQueue,
        call: RecordedCall,
        reports: mpsc::Sender<Report>,
    ) -> Self {
        let mut codecs = call.audio.rtp();
        codecs.extend(call.payload_formats.codecs());
        let writer = TrackWriter { recording, tracks: BTreeMap::new(), codecs, call: call.clone() };
        Self {
            recorder,
            next: call.clock.now(),
            call,
            queue,
            reports,
            writer: Some(writer),
            summary: RecordingSummary::default(),
            error: None,
            unsent: None,
            reported: (0, None),
        }
    }

    /// Writes everything that is queued.
    fn write(&mut self) {
        let now = CallTime(self.call.clock.now().saturating_duration_since(self.call.start));
        let Self { queue, writer, .. } = self;
        let Some(writer) = writer else { return queue.drain(&mut |_| ()) };
        let result = guarded(|| {
            let mut result = Ok(());
            queue.drain(&mut |item| {
                if result.is_ok() {
                    result = writer.push(item);
                }
            });
            result.and_then(|()| writer.recording.tick(now))
        });
        if let Err(error) = result {
            self.fail(error);
        }
    }

    /// The recorder records no longer: what it wrote is completed as far as that goes.
    fn fail(&mut self, error: Error) {
        tracing::error!(recorder = self.recorder, %error, "a recorder failed");
        self.end();
        self.notify(NoticeKind::Failed(error.clone()));
        self.error = Some(error);
    }

    /// Completes the files.
    fn end(&mut self) {
        let Some(writer) = self.writer.take() else { return };
        match guarded(|| writer.recording.finish()) {
            Ok(summary) => self.summary = summary,
            Err(error) => {
                tracing::error!(recorder = self.recorder, %error, "a recording cannot be completed");
                self.error.get_or_insert(error);
            }
        }
    }

    fn report(&self) -> RecorderReport {
        let error = self.error.as_ref().map(ToString::to_string);
        RecorderReport::new(self.recorder.clone(), self.summary.clone()).dropped(self.queue.dropped()).failed(error)
    }

    /// Reports now and then that the disk does not keep up.
    fn report_dropped(&mut self) {
        let (dropped, now) = (self.queue.dropped(), self.call.clock.now());
        let (reported, at) = self.reported;
        // One that has failed has said so, which this must not replace.
        let is_running = self.writer.is_some();
        if is_running && dropped > reported && at.is_none_or(|at| now >= at + REPORT_INTERVAL) {
            self.reported = (dropped, Some(now));
            self.notify(NoticeKind::Incomplete(dropped));
        }
    }

    fn notify(&mut self, kind: NoticeKind) {
        let (recording, recorder) = (self.call.recording, self.recorder.clone());
        let notice = Report::Recorder(RecorderNotice { recording, recorder, kind });
        if let Err(mpsc::error::TrySendError::Full(Report::Recorder(notice))) = self.reports.try_send(notice) {
            // The driver is far behind: it is told with the next tick.
            self.unsent = Some(notice.kind);
        }
    }
}

impl Worker for RecorderWorker {
    type Command = RecorderCommand;

    fn next(&self) -> Option<Instant> {
        Some(self.next)
    }

    fn tick(&mut self) {
        self.next = self.call.clock.now() + INTERVAL;
        if let Some(kind) = self.unsent.take() {
            self.notify(kind);
        }
        self.write();
        self.report_dropped();
    }

    fn handle(&mut self, command: RecorderCommand) {
        let RecorderCommand::Finish(reply) = command;
        self.finish();
        // The engine may have stopped waiting.
        reply.send(self.report()).ok();
    }

    fn finish(&mut self) {
        self.write();
        self.end();
    }
}

/// A recording with the tracks that it has so far.
struct TrackWriter {
    recording: Box<dyn Recording>,
    /// Whether each track is recorded; otherwise the recorder does not support its format.
    tracks: BTreeMap<TrackKey, bool>,
    codecs: Vec<RtpCodec>,
    call: RecordedCall,
}

impl TrackWriter {
    /// Records an item. What the recorder does not support is skipped.
    fn push(&mut self, item: &QueuedItem) -> Result<()> {
        let QueuedItem { track, at, content } = item;
        if !self.has_track(track, content)? {
            return Ok(());
        }
        let sample = match content {
            QueuedContent::Samples { timestamp, samples, .. } => Sample::Audio { timestamp: *timestamp, samples },
            QueuedContent::Frame { timestamp, frame, .. } => Sample::Video { timestamp: *timestamp, frame },
            QueuedContent::Packet {
                codec, sequence, timestamp, marker, level, moment, payload, payload_type, ..
            } => {
                let packet = RtpSample::new(codec, *sequence, *timestamp, payload).arrived(*moment, *level);
                let payload_type = payload_type.unwrap_or_else(|| usual_payload_type(codec));
                Sample::Rtp(packet.header(payload_type, *marker))
            }
        };
        match self.recording.push(track, *at, sample) {
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(()),
            result => result,
        }
    }

    /// Whether a track is recorded. Adds it with its first item, and again where it was refused in
    /// another format.
    fn has_track(&mut self, key: &TrackKey, content: &QueuedContent) -> Result<bool> {
        if self.tracks.get(key) == Some(&true) {
            return Ok(true);
        }
        let Some(format) = self.format(content) else { return Ok(false) };
        let mut track = RecordedTrack::new(*key, format);
        if let Some(name) = self.call.names.get(&key.endpoint.did) {
            track = track.named(name.clone());
        }
        if key.endpoint == self.call.local {
            track = track.local();
        }
        let added = match self.recording.add_track(track) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                if self.tracks.insert(*key, false).is_none() {
                    tracing::warn!(track = %key, %error, "a track is not recorded");
                }
                false
            }
            Err(error) => return Err(error),
        };
        self.tracks.insert(*key, added);
        Ok(added)
    }

    fn format(&self, content: &QueuedContent) -> Option<TrackFormat> {
        let codec = match content {
            QueuedContent::Samples { format, .. } => return Some(TrackFormat::Samples(*format)),
            QueuedContent::Packet { codec, .. } => self.call.audio.codec_within(codec),
            QueuedContent::Frame { codec, .. } => codec,
        };
        self.codecs.iter().find(|known| known.name == *codec).cloned().map(TrackFormat::Encoded)
    }
}

/// Calls a recorder, which is foreign code.
fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Error::new(ErrorKind::Unexpected, "the recorder panicked")))
}

/// Payload type for sent packets, which have one on each path: the assigned one (RFC 3551 §6), or
/// one that is usual for the codec.
fn usual_payload_type(codec: &CodecName) -> u8 {
    match codec.as_str().to_ascii_lowercase().as_str() {
        "pcmu" => 0,
        "pcma" => 8,
        "opus" => 111,
        "red" => 63,
        "h264" => 102,
        _ => 96,
    }
}
