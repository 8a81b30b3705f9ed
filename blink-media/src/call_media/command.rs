//! Inputs of [`CallMedia`](super::CallMedia).

use blink_api::{AudioSink, AudioSource, CodecName, Endpoint, Mid, StreamId, TrackId, TrackKind, TrackSource};
use std::fmt;
use web_time::Duration;

use super::path_id::PathId;
use super::section_report::SectionReport;
use super::taps::{Tap, TapId};
use super::video_receiver::FrameSink;
use crate::call_clock::{RtpStamp, SyncRound};
use crate::device_manager::OpenId;
use crate::processors::Processors;

/// A command to the media of a call, by who gives it.
pub enum MediaCommand {
    // Devices.
    /// Processes the microphone with these, in place of those before. Send it before the microphone
    /// that must not be sent without them.
    SetProcessors(Processors),
    /// Captures from this microphone, in place of the one before.
    SetMicrophone {
        /// The microphone.
        source: Box<dyn AudioSource>,
        /// Whether a hardware clock paces it. Such a microphone is read from now on, so that the
        /// first receiver gets at once what was said last; any other is read from the first
        /// receiver on, so that the beginning of a file is received.
        hardware_clock: bool,
        /// The opening that it came from, for [`MediaEvent::DeviceLost`](super::MediaEvent).
        id: OpenId,
    },
    /// Captures silence: there is no microphone any longer.
    RemoveMicrophone,
    /// Plays to this speaker, in place of the one before. Audio that arrives before the first one
    /// waits for it.
    SetSpeaker {
        /// The speaker.
        sink: Box<dyn AudioSink>,
        /// Whether it is played by a hardware clock; otherwise its ticks follow the audio.
        hardware_clock: bool,
        /// The opening that it came from, for [`MediaEvent::DeviceLost`](super::MediaEvent).
        id: OpenId,
    },
    /// Discards what is received: there is no speaker, and processors see no far end.
    RemoveSpeaker,

    // The user.
    /// Mutes or unmutes the microphone.
    SetMuted(bool),
    /// Silences the speaker, or ends that.
    SetDeafened(bool),
    /// Sets the volume of a participant: 0.0 to 4.0, with 1.0 for as sent.
    SetVolume(Endpoint, f32),
    /// Offers an audio stream that is read from this source.
    OfferAudio(StreamId, Box<dyn AudioSource>),
    /// Offers a video stream. Its source is with a [`VideoSender`](super::VideoSender), which gets
    /// [`MediaOutput::Video`](super::MediaOutput::Video).
    OfferVideo(StreamId),
    /// Ends an offered stream for all receivers.
    RevokeStream(StreamId),
    /// Shows a tap all tracks from now on.
    AddTap(TapId, Box<dyn Tap>),
    /// Drops a tap.
    RemoveTap(TapId),

    // Sessions.
    /// A session has these tracks. The first of audio is the microphone's.
    AddPath(PathId, Endpoint, Vec<(TrackId, TrackKind)>),
    /// Media sections were negotiated.
    Negotiated(PathId, Vec<NegotiatedSection>),
    /// The path is verified: media flows on it in both directions.
    Admit(PathId),
    /// The other side announces what it sends on a media section, from this sequence number on.
    Announced(PathId, AnnouncedSection),
    /// The other side reports how what is sent arrives there.
    Reported(PathId, Duration, Vec<SectionReport>),
    /// The other side reports capture times of what it sends.
    CapturesReported(PathId, Vec<ReportedCapture>),
    /// The transport estimates what the path carries, in bits per second.
    BandwidthEstimate(PathId, u64),
    /// The other side needs a key frame of what is sent on a media section.
    KeyframeRequested(PathId, Mid),
    /// The session ends.
    RemovePath(PathId),

    // The call machine.
    /// Sends an offered stream on a path.
    StartSending(PathId, StreamId),
    /// Ends sending it there.
    StopSending(PathId, StreamId),
    /// Receives a stream of the other side.
    StartReceiving(PathId, StreamId, StreamSink),
    /// Ends receiving it.
    StopReceiving(PathId, StreamId),
    /// A round of the time sync with an endpoint.
    ClockSynced(Endpoint, SyncRound),
}

impl fmt::Debug for MediaCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MediaCommand").finish_non_exhaustive()
    }
}

/// A media section as this side sends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NegotiatedSection {
    /// The track.
    pub track: TrackId,
    /// Its media section.
    pub mid: Mid,
    /// Codecs that both sides have, the preferred one first.
    pub codecs: Vec<CodecName>,
}

/// An announcement of what is sent on a media section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnouncedSection {
    /// The media section.
    pub mid: String,
    /// The stream; `None` where its sender stopped.
    pub stream: Option<StreamId>,
    /// The sequence number of its first packet.
    pub first_sequence: u16,
}

/// A report of an endpoint: what has this timestamp was captured at this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportedCapture {
    /// The source, of the endpoint.
    pub source: TrackSource,
    /// The timestamp.
    pub stamp: RtpStamp,
    /// Microseconds on the endpoint's clock of the time sync.
    pub captured_us: u64,
}

/// The destination of a received stream.
pub enum StreamSink {
    /// The speaker.
    Audio,
    /// The frames of a video stream.
    Video {
        /// The codec of the frames.
        codec: CodecName,
        /// Where they go.
        frames: Box<dyn FrameSink>,
    },
}

impl fmt::Debug for StreamSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamSink").finish_non_exhaustive()
    }
}
