//! The Blink call engine: encrypted group calls over any transport and any signaling, without a server.
//!
//! [`Blink`] is what an integrator uses. It is made from a [`Configuration`](blink_api::Configuration), which names the parts, and
//! tells what happens through one stream of [`Event`]s:
//!
//! ```no_run
//! use blink_api::{Configuration, Registry};
//! use blink_engine::{Blink, CallConfig, Event, StreamItem};
//!
//! # async fn run() -> blink_api::Result<()> {
//! let registry = Registry::discovered()?;
//! let configuration = Configuration::builder(&registry).file("blink.toml".as_ref()).environment().build()?;
//! let blink = Blink::start(&configuration).await?;
//! let mut events = blink.events();
//! let call = blink.offer_call(&["did:key:z6Mk…".parse()?], CallConfig::default()).await?;
//! while let Some(StreamItem::Event(event)) = events.next().await {
//!     match event {
//!         Event::ParticipantJoined { participant, .. } => println!("talking to {participant}"),
//!         Event::CallEnded { call: ended, reason } if ended == call => println!("over: {reason:?}"),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Where things are
//!
//! * [`call`]: the call machine; everything that participants must agree on, without IO or clock.
//! * [`secure`]: identity, envelopes, replay windows, rate limits.
//! * [`wire`]: what devices say to each other, as values and bytes.
//! * [`media`]: capture, jitter buffer, playout, driven by ticks; video frames to packets and back.
//! * `driver`: the only place with tasks.
//!
//! The protocol is written down in `docs/protocol.md`.

mod blink;
mod builder;
pub mod call;
mod driver;
pub mod media;
pub mod secure;
mod shares;
mod statistics;
mod store;
pub mod wire;

pub use blink::{AudioConfig, Blink, CallConfig, EventStream, RequestedStream, StreamConfig, StreamItem};
pub use builder::BlinkBuilder;
pub use call::{
    CallDirection, CallOutcome, CallSnapshot, CallState, CancelledReason, ClockSync, EndReason, Event, HistoryEntry,
    LeftReason, ParticipantSnapshot, ParticipantState, ParticipantStatus, Presence, Snapshot, StreamEndReason,
    StreamInfo,
};
pub use driver::{Frames, MediaThreads, Pacing};
pub use media::AudioStatistics;
pub use media::video::ReceivedFrame;
pub use secure::{Identity, SecurityCounters};
pub use statistics::{ParticipantStatistics, SendingStatistics};
pub use store::DataDirectory;
