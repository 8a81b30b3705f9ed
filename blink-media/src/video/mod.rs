//! Video: encoded frames to packets and back. Pure machines without IO or clock.
//!
//! ```text
//!  VideoSource ──► Packetizer ──► send(RtpOut), on every receiver's track
//!                  VideoClock
//!
//!  push(RtpIn) ──► FrameAssembler, one for each stream ──► ReceivedFrame
//!                        └──► wants_keyframe
//! ```
//!
//! Frames stay as their encoder made them: VP8 (RFC 7741) and H.264 (RFC 6184, packetization mode
//! 1).

mod assembler;
mod h264;
mod packetizer;
mod payload;
#[cfg(test)]
mod tests;
mod video_statistics;
mod vp8;

use blink_api::{CodecName, RtpCodec};

pub use assembler::{AssemblerConfig, FrameAssembler, ReceivedFrame};
pub use packetizer::{Packetizer, VideoClock};
pub use video_statistics::VideoStatistics;

/// Video codecs that are carried, as sessions negotiate them: VP8 first, which is free of patent
/// claims.
pub fn codecs() -> Vec<RtpCodec> {
    let codec = |name, fmtp: &str| RtpCodec {
        name: CodecName::new(name),
        clock_rate: CLOCK_RATE,
        channels: 0,
        fmtp: fmtp.to_owned(),
    };
    let h264 = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";
    vec![codec("VP8", ""), codec("H264", h264)]
}

/// RTP ticks per second of every video codec (RFC 7741 §4.1, RFC 6184 §5.1).
pub const CLOCK_RATE: u32 = 90_000;

/// Most bytes of payload in a packet.
pub const MAX_PAYLOAD: usize = 1_200;
