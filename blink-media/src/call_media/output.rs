//! Outputs of [`CallMedia`](super::CallMedia).

use blink_api::{Endpoint, Error, Mid, QualityReason, RtpOut, StreamId, TrackId, TrackKey};
use web_time::Duration;

use super::path_id::PathId;
use super::retired_device::RetiredDevice;
use super::section_report::SectionReport;
use super::video_sender::VideoCommand;
use crate::call_clock::CapturePoint;
use crate::device_manager::OpenId;

/// An output of the media of a call, for its driver to carry out.
#[derive(Debug)]
pub enum MediaOutput {
    /// Send a packet on a track of a session.
    Send {
        /// The session.
        path: PathId,
        /// The track.
        track: TrackId,
        /// The packet, with the track's own sequence number.
        packet: RtpOut,
    },
    /// Request a key frame of what the other side sends on a media section.
    RequestKeyframe {
        /// The session.
        path: PathId,
        /// The media section.
        mid: Mid,
    },
    /// Tell the other side what this side sends on a media section from now on.
    Announce {
        /// The session.
        path: PathId,
        /// The media section.
        mid: Mid,
        /// The stream; `None` for nothing.
        stream: Option<StreamId>,
        /// The sequence number of its first packet.
        first_sequence: u16,
    },
    /// Report to the other side how what it sends arrives, and when what it is sent was captured.
    Report {
        /// The session.
        path: PathId,
        /// Time that the report is about.
        interval: Duration,
        /// The media sections.
        sections: Vec<SectionReport>,
        /// Capture times of the audio tracks that are sent on this path, muted and silent ones too.
        captures: Vec<CapturePoint>,
    },
    /// No media section is free for a stream on this path.
    Unsendable {
        /// The session.
        path: PathId,
        /// The stream.
        stream: StreamId,
    },
    /// The first frame of a received video stream is whole.
    FirstFrame {
        /// The session.
        path: PathId,
        /// The stream.
        stream: StreamId,
    },
    /// A command for the sender of an offered video stream.
    Video {
        /// The stream.
        stream: StreamId,
        /// The command.
        command: VideoCommand,
    },
    /// Close a device that is no longer in use, on a thread that may block.
    Retired(RetiredDevice),
    /// An event for the user or the call machine.
    Event(MediaEvent),
}

/// An event of a call's media.
#[derive(Debug)]
pub enum MediaEvent {
    /// The first packet of a received audio track is played.
    Started(TrackKey),
    /// An utterance begins (`true`) or ends in a track: a participant's, or this device's own.
    Speaking(TrackKey, bool),
    /// A participant's media is degraded for one more reason.
    QualityDegraded(Endpoint, QualityReason),
    /// A participant's media is not degraded any more, or its path is gone.
    QualityRecovered(Endpoint),
    /// An utterance begins in the microphone while it is muted.
    SpeakingWhileMuted,
    /// The microphone cannot be used: it does not fit the call.
    MicrophoneUnusable(Error),
    /// The microphone or speaker of this opening failed. Silence takes its place.
    DeviceLost(OpenId, Error),
    /// The source of the microphone or of an offered stream came to its end: silence follows.
    SourceEnded(TrackKey),
    /// The source of an offered stream failed.
    SourceLost(StreamId, Error),
}
