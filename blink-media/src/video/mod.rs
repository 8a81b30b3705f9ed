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
mod limits;
mod packetizer;
mod payload_formats;
mod registration;
mod rtc_packetizer;
#[cfg(test)]
mod tests;
mod video_statistics;
mod vp8;

pub use assembler::{AssemblerConfig, FrameAssembler, ReceivedFrame};
pub use limits::{CLOCK_RATE, MAX_PAYLOAD};
pub use packetizer::{Packetizer, VideoClock};
pub use payload_formats::PayloadFormats;
pub use video_statistics::VideoStatistics;
