//! The configuration of calls and streams that are offered.

use std::time::Duration;

use blink_api::TrackKind;

use crate::driver::frames::Frames;

/// The configuration of a call that is offered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallConfig {
    /// The integrator's own bytes, at most 1 KiB: shown to all who are invited, in `IncomingCall`
    /// and in snapshots.
    pub conversation: Vec<u8>,
    /// How this device's audio is sent in the call. The others choose for theirs.
    pub audio: AudioConfig,
}

/// How audio is sent. Fields that are not set are as configured (`codec` and `[call.audio]`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AudioConfig {
    /// Codecs that may be used, by their names in SDP, the preferred one first: some of those
    /// configured. Empty: all of those. Each participant is sent the first that it has too.
    pub codecs: Vec<String>,
    /// Audio in each packet: 10, 20, 40 or 60 ms.
    pub frame: Option<Duration>,
    /// Channels that are captured, sent and played: 1 or 2.
    pub channels: Option<u16>,
    /// Most bits per second to send with, before redundancy, for codecs that can choose.
    pub bitrate: Option<u32>,
}

/// A stream to offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamConfig {
    /// Audio or video.
    pub kind: TrackKind,
    /// Its source: one of a media host, such as `clip:vp8` or `wav:PATH`.
    pub source: String,
    /// Its name for users, such as `screen`; at most 64 bytes.
    pub name: String,
}

/// A stream that was requested.
#[derive(Debug)]
pub enum RequestedStream {
    /// Audio: it is played with the participants' voices, at its participant's volume.
    Audio,
    /// Video, encoded.
    Video(Frames),
}
