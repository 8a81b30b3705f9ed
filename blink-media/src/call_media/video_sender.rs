//! Sent video: one offered stream, from its source to every path that it is sent on.

use blink_api::{Error, ErrorKind, Result, RtpOut, RtpTime, StreamId, TrackId, VideoFrame, VideoSource};
use std::fmt;
use web_time::{Duration, Instant};

use super::path_id::PathId;
use super::send_track::SendTrack;
use crate::rate::VideoRateGate;
use crate::video::{Packetizer, PayloadFormats, VideoClock};

/// Longest interval at which a source is asked for due frames.
const MAX_PAUSE: Duration = Duration::from_millis(20);

/// Interval at which a source is asked for a key frame because a path has room again.
const KEYFRAME_INTERVAL: Duration = Duration::from_secs(1);

/// A command for a [`VideoSender`].
#[derive(Debug)]
pub enum VideoCommand {
    /// Sends frames on a path too, from the next key frame on.
    AddReceiver(PathId, SendTrack),
    /// Ends sending on a path.
    RemoveReceiver(PathId),
    /// A receiver needs a key frame.
    RequestKeyframe,
    /// Limits the bits per second on a path; `None` for no limit.
    SetRate(PathId, Option<u32>),
}

/// Reads a video source and sends its frames on every path, as far as each has room.
///
/// A source may take long for a frame. Hence each sender runs on a thread of its own, beside
/// [`CallMedia`](super::CallMedia), which decides about receivers and rates.
pub struct VideoSender {
    stream: StreamId,
    source: Box<dyn VideoSource>,
    packetizer: Packetizer,
    receivers: Vec<VideoReceiverGate>,
    /// Time of the last request for a key frame because a path has room again.
    requested: Option<Instant>,
    /// Begins with the first frame.
    clock: Option<VideoClock>,
    first_timestamp: RtpTime,
    next: Instant,
    pause: Duration,
}

impl fmt::Debug for VideoSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VideoSender").finish_non_exhaustive()
    }
}

/// A path that frames are sent on, as far as there is room.
struct VideoReceiverGate {
    path: PathId,
    track: SendTrack,
    gate: VideoRateGate,
}

impl VideoSender {
    /// A sender without receivers. The first timestamp is random (RFC 3550 §5.1).
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) for a codec without a payload format, and for a
    /// source of raw frames.
    pub fn new(
        stream: StreamId,
        source: Box<dyn VideoSource>,
        formats: &PayloadFormats,
        first_timestamp: RtpTime,
        now: Instant,
    ) -> Result<Self> {
        // The place for a video encoder: raw frames need one before they can be packetized.
        let codec = source.codec().ok_or_else(raw_frames)?;
        // Each track numbers its packets itself.
        let packetizer = Packetizer::new(&*formats.of(&codec.name)?, 0);
        let frame = Duration::from_secs_f32(1.0 / source.format().frame_rate.clamp(1.0, 240.0));
        Ok(Self {
            stream,
            source,
            packetizer,
            receivers: Vec::new(),
            requested: None,
            clock: None,
            first_timestamp,
            next: now,
            pause: (frame / 4).min(MAX_PAUSE),
        })
    }

    /// The stream that it sends.
    pub fn stream(&self) -> StreamId {
        self.stream
    }

    /// Carries out a command.
    pub fn handle(&mut self, now: Instant, command: VideoCommand) {
        match command {
            VideoCommand::AddReceiver(path, track) => {
                self.receivers.push(VideoReceiverGate { path, track, gate: VideoRateGate::default() });
                self.source.request_keyframe();
            }
            VideoCommand::RemoveReceiver(path) => self.receivers.retain(|receiver| receiver.path != path),
            VideoCommand::SetRate(path, rate) => {
                let receivers = self.receivers.iter_mut().filter(|receiver| receiver.path == path);
                receivers.for_each(|receiver| receiver.gate.set_rate(now, rate));
            }
            VideoCommand::RequestKeyframe => self.source.request_keyframe(),
        }
    }

    /// Time of the next tick; `None` without receivers.
    pub fn deadline(&self) -> Option<Instant> {
        (!self.receivers.is_empty()).then_some(self.next)
    }

    /// Sends all frames that are due.
    ///
    /// # Errors
    /// That of the source, which is lost for good.
    pub fn tick(&mut self, now: Instant, send: &mut dyn FnMut(PathId, TrackId, RtpOut)) -> Result<()> {
        self.next = now + self.pause;
        let wants_keyframe = self.receivers.iter_mut().any(|receiver| receiver.gate.wants_key_frame(now));
        if wants_keyframe && self.requested.is_none_or(|requested| now >= requested + KEYFRAME_INTERVAL) {
            self.requested = Some(now);
            self.source.request_keyframe();
        }
        while let Some(frame) = self.source.read_frame(now)? {
            self.send_frame(now, &frame, send)?;
        }
        Ok(())
    }

    fn send_frame(
        &mut self,
        now: Instant,
        frame: &VideoFrame,
        send: &mut dyn FnMut(PathId, TrackId, RtpOut),
    ) -> Result<()> {
        let VideoFrame::Encoded(frame) = frame else { return Err(raw_frames()) };
        let first = self.first_timestamp;
        let clock = self.clock.get_or_insert_with(|| VideoClock::new(frame.at, first));
        let packets = match self.packetizer.packetize(frame, clock.timestamp(frame.at)) {
            Ok(packets) => packets,
            Err(error) => {
                // Receivers notice the gap and request a key frame.
                tracing::warn!(%error, "a video frame is not sent");
                return Ok(());
            }
        };
        for VideoReceiverGate { path, track, gate } in &mut self.receivers {
            if gate.admit(now, frame.data.len(), frame.key) {
                packets.iter().for_each(|packet| send(*path, track.track, track.number(packet)));
                track.count_sent_frame();
            } else {
                track.count_dropped_frame();
            }
        }
        Ok(())
    }
}

fn raw_frames() -> Error {
    Error::new(ErrorKind::Unsupported, "the video source has raw frames, and there is no video encoder")
}
