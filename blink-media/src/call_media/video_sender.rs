//! Sent video: one offered stream, from its source to every path that it is sent on.

use std::fmt;

use blink_api::{
    CallTime, CodecName, EncodedVideoFrame, Error, ErrorKind, Result, RtpOut, RtpTime, StreamId, TrackId, TrackKey,
    TrackKind, VideoFrame, VideoSource,
};
use web_time::{Duration, Instant};

use super::path_id::PathId;
use super::send_track::SendTrack;
use super::taps::{PacketDirection, Tap, TapId, TappedFrame, TappedPacket};
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
    /// Shows a tap what is sent.
    AddTap(TapId, VideoTap),
    /// Drops a tap.
    RemoveTap(TapId),
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
    taps: Vec<(TapId, VideoTap)>,
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
            taps: Vec::new(),
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
            VideoCommand::AddTap(id, tap) => {
                self.taps.push((id, tap));
                // A recording begins with a key frame.
                self.source.request_keyframe();
            }
            VideoCommand::RemoveTap(id) => self.taps.retain(|(known, _)| *known != id),
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
        let timestamp = clock.timestamp(frame.at);
        let codec = self.packetizer.codec();
        self.taps.iter_mut().for_each(|(_, tap)| tap.show_frame(codec, timestamp, frame));
        let packets = match self.packetizer.packetize(frame, timestamp) {
            Ok(packets) => packets,
            Err(error) => {
                // Receivers notice the gap and request a key frame.
                tracing::warn!(%error, "a video frame is not sent");
                return Ok(());
            }
        };
        let mut is_sent = false;
        for VideoReceiverGate { path, track, gate } in &mut self.receivers {
            if gate.admit(now, frame.data.len(), frame.key) {
                is_sent = true;
                packets.iter().for_each(|packet| send(*path, track.track, track.number(packet)));
                track.count_sent_frame();
            } else {
                track.count_dropped_frame();
            }
        }
        if is_sent {
            self.taps.iter_mut().for_each(|(_, tap)| tap.show_packets(now, frame.at, &packets));
        }
        Ok(())
    }
}

/// A tap's end at the sender of a video stream, which has a thread of its own.
pub struct VideoTap {
    tap: Box<dyn Tap>,
    track: TrackKey,
    /// Zero of the call's time.
    start: Instant,
    /// Sequence number of the next packet: frames that no path has room for leave no gap.
    next_sequence: u16,
}

impl VideoTap {
    pub(super) fn new(tap: Box<dyn Tap>, track: TrackKey, start: Instant) -> Self {
        Self { tap, track, start, next_sequence: 0 }
    }

    fn show_frame(&mut self, codec: &CodecName, timestamp: RtpTime, frame: &EncodedVideoFrame) {
        let at = self.call_time_at(frame.at);
        let direction = PacketDirection::Sent;
        self.tap.on_frame(&self.track, at, &TappedFrame { direction, codec, timestamp, frame });
    }

    fn show_packets(&mut self, now: Instant, captured: Instant, packets: &[RtpOut]) {
        let (at, moment) = (self.call_time_at(captured), self.call_time_at(now));
        for packet in packets {
            let mut packet = TappedPacket::sent(TrackKind::Video, packet, moment);
            packet.sequence = self.next_sequence;
            self.next_sequence = self.next_sequence.wrapping_add(1);
            self.tap.on_packet(&self.track, at, &packet);
        }
    }

    fn call_time_at(&self, at: Instant) -> CallTime {
        CallTime(at.saturating_duration_since(self.start))
    }
}

impl fmt::Debug for VideoTap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VideoTap").field("track", &self.track).finish_non_exhaustive()
    }
}

fn raw_frames() -> Error {
    Error::new(ErrorKind::Unsupported, "the video source has raw frames, and there is no video encoder")
}
