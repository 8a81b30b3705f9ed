//! The Blink call engine: encrypted group calls over any transport and any signaling, without a
//! server.
//!
//! Integrators use [`Blink`]. It is started from a [`Configuration`](blink_api::Configuration),
//! which names the backends, and reports one sequence of [`Event`]s:
//!
//! ```no_run
//! use blink_api::{Configuration, Registry};
//! use blink_engine::{Blink, CallConfig, Event, EventItem};
//!
//! # async fn run() -> blink_api::Result<()> {
//! let registry = Registry::discovered()?;
//! let configuration = Configuration::builder(&registry).file("blink.toml".as_ref()).environment().build()?;
//! let blink = Blink::start(&configuration).await?;
//! let events = blink.events();
//! let call = blink.offer_call(&["did:key:z6Mk…".parse()?], CallConfig::default()).await?;
//! // Events of this call, under every id that it has, up to its last event.
//! let mut events = events.of(&call);
//! while let Some(item) = events.next().await {
//!     match item {
//!         EventItem::Event(Event::ParticipantJoined { participant, .. }) => println!("{participant} joined"),
//!         EventItem::Event(Event::CallEnded { reason, .. }) => println!("ended: {reason}"),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Structure
//!
//! * `blink-proto`: the call machine, envelopes and wire format, without IO or clock.
//! * `blink-media`: capture, jitter buffer, playout, rate control and video packets, driven by
//!   ticks.
//! * `driver`: the only place with tasks.
//!
//! The protocol is specified in `docs/protocol.md`.

mod ask;
mod audio_frames;
mod blink;
mod builder;
mod call_config;
mod driver;
mod event_sender;
mod events;
mod handle;
mod levels;
mod metric_list;
mod microphone;
mod recording_request;
mod runtime_check;
mod statistics;
mod store;

pub use audio_frames::{AudioFrame, AudioFrames};
pub use blink::Blink;
pub use blink_media::video::ReceivedFrame;
pub use blink_media::video::VideoStatistics;
pub use blink_media::{AudioStatistics, ReceivedVideo, TrackSelection};
pub use blink_proto::call::{
    CallDirection, CallOutcome, CallSnapshot, CallState, CancelledReason, ClockSync, Device, DeviceChangeReason,
    EndReason, Event, HistoryEntry, LeftReason, MessageId, ParticipantSnapshot, ParticipantState, ParticipantStatus,
    Presence, Snapshot, StreamEndReason, StreamInfo,
};
pub use blink_proto::secure::{Identity, SecurityCounters};
pub use builder::BlinkBuilder;
pub use call_config::{AudioConfig, CallConfig, RequestedStream, StreamConfig};
pub use driver::{Frames, MediaThreads, Pacing};
pub use events::{CallEvents, EventItem, Events};
pub use handle::Call;
pub use levels::Levels;
pub use metric_list::{METRICS, Metric, MetricKind, describe_metrics};
pub use microphone::Microphone;
pub use recording_request::RecordingRequest;
pub use statistics::{ParticipantStatistics, SendingStatistics};
#[doc(hidden)]
pub use store::fuzzing;
pub use store::{DataDirectory, Repair};
