//! The video worker: one offered stream, from its source to everybody who asked for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use blink_api::{Clock, Error, ErrorKind, Result, RtpCodec, RtpTime, StreamId, VideoSource};
use tokio::sync::mpsc;

use super::super::Report;
use super::Worker;
use super::voice::SendTrack;
use blink_media::rate::VideoRateGate;
use blink_media::video::{Packetizer, VideoClock};
use blink_proto::call::SessionId;

/// A source is asked for what is due at least so often.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// How often a source is asked for a key frame because there is room again.
const ASKING: Duration = Duration::from_secs(1);

/// What a video worker is told. It ends when nobody can tell it more.
pub(in crate::driver) enum VideoCommand {
    /// Frames go to this session too, beginning with a key frame.
    Add { id: SessionId, track: Arc<SendTrack> },
    /// Frames go to this session no more.
    Remove { id: SessionId },
    /// A receiver cannot go on without a key frame.
    Keyframe,
    /// So many bits per second may go to this session; `None` for as many as there are.
    Room { id: SessionId, rate: Option<u32> },
}

/// A session that frames go to, as far as there is room.
struct Listener {
    id: SessionId,
    track: Arc<SendTrack>,
    room: VideoRateGate,
}

pub(super) struct VideoWorker {
    clock: Arc<dyn Clock>,
    reports: mpsc::Sender<Report>,
    stream: StreamId,
    source: Option<Box<dyn VideoSource>>,
    packetizer: Packetizer,
    listeners: Vec<Listener>,
    /// When the source was asked for a key frame because of somebody who has room again.
    asked: Option<Instant>,
    /// Begins with the first frame.
    timestamps: Option<VideoClock>,
    next: Instant,
    pause: Duration,
}

impl VideoWorker {
    /// # Errors
    /// [`Unsupported`](blink_api::ErrorKind::Unsupported) for a codec that is not carried.
    pub(super) fn new(
        clock: Arc<dyn Clock>,
        reports: mpsc::Sender<Report>,
        stream: StreamId,
        source: Box<dyn VideoSource>,
    ) -> Result<Self> {
        // Each listener's track numbers the packets for itself.
        let packetizer = Packetizer::new(encoded(source.as_ref())?.name, 0)?;
        let frame = Duration::from_secs_f32(1.0 / source.format().frame_rate.clamp(1.0, 240.0));
        let next = clock.now();
        Ok(Self {
            clock,
            reports,
            stream,
            source: Some(source),
            packetizer,
            listeners: Vec::new(),
            asked: None,
            timestamps: None,
            next,
            pause: (frame / 4).min(LONGEST_PAUSE),
        })
    }

    fn request_keyframe(&mut self) {
        if let Some(source) = &mut self.source {
            source.request_keyframe();
        }
    }

    /// Sends all frames that are due.
    fn send_due(&mut self, now: Instant) -> Result<()> {
        let Some(source) = &mut self.source else { return Ok(()) };
        while let Some(frame) = source.read_frame(now)? {
            let Some(frame) = frame.into_encoded() else { continue };
            let clock = self.timestamps.get_or_insert_with(|| VideoClock::new(frame.at, RtpTime(rand::random())));
            match self.packetizer.packetize(&frame, clock.timestamp(frame.at)) {
                Ok(packets) => {
                    for Listener { track, room, .. } in &mut self.listeners {
                        if room.admit(now, frame.data.len(), frame.key) {
                            packets.iter().for_each(|packet| track.send(packet));
                        } else {
                            track.leave_out();
                        }
                    }
                }
                // The receivers find out, and ask for a key frame.
                Err(error) => tracing::warn!(%error, "a frame is not sent"),
            }
        }
        Ok(())
    }
}

/// The codec of a source.
///
/// # Errors
/// [`Unsupported`](ErrorKind::Unsupported) for one of raw frames.
pub(super) fn encoded(source: &dyn VideoSource) -> Result<RtpCodec> {
    let why = "raw video cannot be sent without a video codec";
    source.codec().ok_or_else(|| Error::new(ErrorKind::Unsupported, why))
}

impl Worker for VideoWorker {
    type Command = VideoCommand;

    fn next(&self) -> Option<Instant> {
        (!self.listeners.is_empty() && self.source.is_some()).then_some(self.next)
    }

    fn handle(&mut self, command: VideoCommand) {
        match command {
            VideoCommand::Add { id, track } => {
                self.listeners.push(Listener { id, track, room: VideoRateGate::default() });
                self.request_keyframe();
            }
            VideoCommand::Remove { id } => self.listeners.retain(|listener| listener.id != id),
            VideoCommand::Room { id, rate } => {
                let now = self.clock.now();
                let listening = self.listeners.iter_mut().filter(|listener| listener.id == id);
                listening.for_each(|listener| listener.room.set_rate(now, rate));
            }
            VideoCommand::Keyframe => self.request_keyframe(),
        }
    }

    fn work(&mut self) {
        let now = self.clock.now();
        self.next = now + self.pause;
        let wanted = self.listeners.iter_mut().any(|listener| listener.room.wants_key_frame(now));
        if wanted && self.asked.is_none_or(|asked| now >= asked + ASKING) {
            self.asked = Some(now);
            self.request_keyframe();
        }
        if let Err(error) = self.send_due(now) {
            tracing::error!(%error, "a video source is lost");
            self.source = None;
            // A full queue means that the driver is far behind; the log has it.
            self.reports.try_send(Report::SourceLost(self.stream)).ok();
        }
    }

    fn finish(&mut self) {
        self.source = None;
    }
}
