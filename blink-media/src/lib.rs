//! The paths of sound and pictures: pure machines that are driven by `tick` and read no clock.
//!
//! ```text
//!  AudioSource ──► Capture ─────────────────────────────────► emit(RtpOut), to every session
//!                  10 ms pieces → processors → mute
//!                  → whole frame → encode once
//!                        ▲
//!                        │ far end (what is played, for echo cancelling)
//!                        │
//!  AudioSink ◄──── Playout ◄──────────────────────────────── push(Endpoint, RtpIn), from every session
//!                  sink ← limit ← mix ← volume ← stretch ← decode ← JitterBuffer, one for each participant
//! ```
//!
//! Pictures take another path, with nothing to decode in it: [`video`].
//!
//! [`Capture`] and [`Playout`] do 10 ms of work each time they are called; [`TickScheduler`] says
//! when that is due. They never block and take no locks, and in a steady state they allocate next
//! to nothing, so a thread of their own can run them, and a test can on virtual time.

mod call_clock;
mod capture;
mod comfort;
mod concealer;
mod delay_histogram;
mod device_manager;
mod encoding;
/// Fakes for tests, of other crates too.
#[cfg(any(test, feature = "fake"))]
#[doc(hidden)]
#[allow(missing_docs)]
pub mod fake;
mod jitter;
mod listeners;
mod loss_estimator;
mod mix;
mod null_sink;
mod packets;
mod playout;
pub mod rate;
mod receive_statistics;
pub mod red;
mod relative_delay;
mod speaking;
#[cfg(test)]
mod speech_tests;
mod statistics;
mod stream;
mod tick_scheduler;
mod time_stretcher;
mod timeline;
mod unwrap;
pub mod video;

use web_time::Duration;

pub use call_clock::{CallClock, CapturePoint, ClockBasis, RtpStamp, SyncRound};
pub use capture::{Capture, CaptureConfig, CaptureFault};
pub use device_manager::{DeviceAction, DeviceEvent, DeviceManager, HostDevice, HostEntry, OpenId};
pub use jitter::{AudioCopy, AudioPacket, DelayRange, JitterBuffer, JitterConfig, PlayoutDecision};
pub use listeners::{Listeners, Network};
pub use null_sink::NullSink;
pub use playout::{Playout, PlayoutReport, ReceiveConfig};
pub use receive_statistics::{ReceiveReport, ReceiveStatistics};
pub use statistics::AudioStatistics;
pub use tick_scheduler::TickScheduler;
pub use unwrap::{SequenceUnwrapper, TimestampUnwrapper};

/// How much sound is worked on at a time.
pub const TICK: Duration = Duration::from_millis(10);

/// How much sound a packet holds that is sent.
pub const FRAME: Duration = Duration::from_millis(20);
