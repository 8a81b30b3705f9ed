//! What calls and streams are offered with.

use std::time::Duration;

use blink_api::TrackKind;

use crate::driver::frames::Frames;

/// What a call is offered with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallConfig {
    /// The integrator's own bytes, at most 1 KiB: shown to everybody invited, in `IncomingCall` and
    /// in snapshots.
    pub conversation: Vec<u8>,
    /// How this device's sound is sent in the call. The others choose for theirs.
    pub audio: AudioConfig,
}

/// How sound is sent; what is left out is as configured (`codec` and `[call.audio]`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AudioConfig {
    /// Codecs that may be used, by their names in SDP, the preferred one first: some of those
    /// configured. Empty: all of those. Each participant is sent the first that it has too.
    pub codecs: Vec<String>,
    /// Sound in each packet: 10, 20, 40 or 60 ms.
    pub frame: Option<Duration>,
    /// Channels that are captured, sent and played: 1 or 2.
    pub channels: Option<u16>,
    /// Most bits per second to send with, before redundancy, for codecs that can choose.
    pub bitrate: Option<u32>,
}

/// A stream to offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamConfig {
    /// Sound or pictures.
    pub kind: TrackKind,
    /// What it is read from: a source of the media host, such as `clip:vp8` or `wav:PATH`.
    pub source: String,
    /// For people, such as `screen`; at most 64 bytes.
    pub name: String,
}

/// A stream that was asked for.
#[derive(Debug)]
pub enum RequestedStream {
    /// Sound: it is played with the participants' voices, at its participant's volume.
    Audio,
    /// Pictures, encoded.
    Video(Frames),
}
