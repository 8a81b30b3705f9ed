//! The path of sound: pure machines that are driven by `tick` and read no clock.
//!
//! ```text
//!  MediaSource ──► Capture ─────────────────────────────────► emit(RtpOut), to every session
//!                  10 ms pieces → processors → mute
//!                  → whole frame → encode once
//!                        ▲
//!                        │ far end (what is played, for echo cancelling)
//!                        │
//!  MediaSink ◄──── Playout ◄──────────────────────────────── push(Endpoint, RtpIn), from every session
//!                  sink ← limit ← mix ← volume ← decode ← JitterBuffer, one for each participant
//! ```
//!
//! [`Capture`] and [`Playout`] do 10 ms of work each time they are called; [`Pacer`] says when that is due. They never block and take no
//! locks, and in a steady state they allocate next to nothing, so a thread of their own can run them, and a test can on virtual time.

mod capture;
mod jitter;
mod mix;
mod pace;
mod playout;
mod statistics;
mod stream;
mod timeline;
mod transit;

pub use capture::{Capture, CaptureConfig, CaptureFault};
pub use jitter::{AudioPacket, Due, JitterBuffer, JitterConfig};
pub use pace::Pacer;
pub use playout::{Playout, PlayoutEvent, StreamConfig};
pub use statistics::AudioStatistics;
