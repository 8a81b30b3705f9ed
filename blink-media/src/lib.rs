//! The media pipelines of a call: state machines that are driven by `tick` and read no clock.
//!
//! ```text
//!  AudioSource ──► Capture ──────────────────────────────────► packets, to every session
//!                  10 ms blocks → Processors → mute → frame → encode once per codec
//!                        ▲
//!                        │ far end: what is played, with the time at which it is played
//!                        │
//!  AudioSink ◄──── Playout ◄──────────────────────────────── packets, from every session
//!                  sink ← limit ← mix ← volume ← stretch ← decode ← JitterBuffer, one per track
//! ```
//!
//! [`CallMedia`] has all of them for one call, and is what an engine drives. Video is packetized
//! and assembled, and not decoded: [`video`].
//!
//! They never block and take no locks, and allocate nothing in the steady state, so that a thread
//! of their own can run them, and a test on virtual time.

mod call_audio;
mod call_clock;
mod call_media;
mod capture;
mod comfort;
mod concealer;
mod declick;
mod delay_histogram;
mod device_manager;
mod encoding;
#[cfg(test)]
mod endurance;
/// Fakes for tests, of other crates too.
#[cfg(any(test, feature = "fake"))]
#[doc(hidden)]
#[allow(missing_docs)]
pub mod fake;
mod jitter;
mod latency;
mod loss_estimator;
mod mix;
mod null_sink;
mod null_source;
mod packets;
mod playout;
mod processors;
mod quality_monitor;
pub mod rate;
mod receive_statistics;
mod receive_stream;
mod receiver_reports;
pub mod red;
mod relative_delay;
mod speaking;
#[cfg(test)]
mod speech_tests;
mod statistics;
mod tap_queue;
mod tick_scheduler;
mod time_stretcher;
mod timeline;
mod unwrap;
pub mod video;
mod voice_activity;
mod voice_detector;

pub use call_audio::CallAudio;
pub use call_clock::{CallClock, CapturePoint, ClockBasis, RtpStamp, SyncRound};
pub use call_media::{
    AnnouncedSection, CallMedia, CallMediaConfig, FrameSink, MediaCommand, MediaEvent, MediaOutput, NegotiatedSection,
    OfferedStreams, PacketDirection, ParticipantLevel, PathFeedback, PathId, REPORT_INTERVAL, ReportedCapture,
    RetiredDevice, SectionQuality, SectionReport, SendTrack, StreamSink, Tap, TapId, TappedFrame, TappedPacket,
    TappedSamples, VideoCommand, VideoSender, VideoTap,
};
pub use capture::{Capture, CaptureConfig, CaptureFault, CaptureOutput};
pub use device_manager::{DeviceAction, DeviceEvent, DeviceManager, HostDevice, HostEntry, OpenId};
pub use jitter::{AudioCopy, AudioPacket, DelayRange, JitterBuffer, JitterConfig, PlayoutDecision};
pub use null_sink::NullSink;
pub use playout::{MAX_VOLUME, Playout, PlayoutReport, ReceiveConfig, SampleTap};
pub use processors::Processors;
pub use quality_monitor::{QualityChange, QualityMonitor, QualitySample};
pub use receive_statistics::{ReceiveReport, ReceiveStatistics};
pub use receiver_reports::{PathQuality, ReceiverReports, WorstCasePath};
pub use statistics::{AudioStatistics, PathStatistics, ReceivedVideo};
pub use tap_queue::{QueueTap, QueuedContent, QueuedItem, TapContents, TapQueue, TrackSelection};
pub use tick_scheduler::{FRAME, TICK, TickScheduler};
pub use unwrap::{SequenceUnwrapper, TimestampUnwrapper};
pub use voice_detector::VoiceDetector;
