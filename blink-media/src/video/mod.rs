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
mod payload_formats;
mod registration;
#[cfg(test)]
mod tests;
mod video_statistics;
mod vp8;

pub use assembler::{AssemblerConfig, FrameAssembler, ReceivedFrame};
pub use packetizer::{Packetizer, VideoClock};
pub use payload_formats::PayloadFormats;
pub use video_statistics::VideoStatistics;

/// RTP ticks per second of every video codec (RFC 7741 §4.1, RFC 6184 §5.1).
pub const CLOCK_RATE: u32 = 90_000;

/// Most bytes of payload in a packet.
pub const MAX_PAYLOAD: usize = 1_200;
