//! The configuration of calls and streams that are offered.

use std::time::Duration;

use blink_api::TrackKind;

use crate::driver::frames::Frames;

/// The configuration of a call that is offered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallConfig {
    /// Bytes of the integrator's choice, at most 1 KiB: part of the offer, in `IncomingCall` and in
    /// snapshots.
    pub conversation: Vec<u8>,
    /// Sending of this device's audio in the call. Other participants choose for theirs.
    pub audio: AudioConfig,
}

/// Sending of audio. Fields that are not set are as configured (`codec` and `[call.audio]`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AudioConfig {
    /// Codecs to use, by their names in SDP, the preferred one first: a subset of the configured
    /// ones. Empty: all configured ones. A participant is sent the first that it supports.
    pub codecs: Vec<String>,
    /// Duration of a packet: 10, 20, 40 or 60 ms.
    pub frame: Option<Duration>,
    /// Number of channels that are captured, sent and played: 1 or 2.
    pub channels: Option<u16>,
    /// Maximum bitrate in bits per second before redundancy, for codecs of variable bitrate.
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
#[non_exhaustive]
pub enum RequestedStream {
    /// Audio: it is played with the participants' voices, at its participant's volume.
    Audio,
    /// Video, encoded.
    Video(Frames),
}
