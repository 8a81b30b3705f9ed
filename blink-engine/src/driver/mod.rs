//! The only place with tasks: moves values between the call machine, the door, signaling, sessions and media, and decides nothing.
//!
//! ```text
//!   Blink ──commands──▶ ┌────────┐ ──publish──▶ publisher ──▶ Signaling
//!   subscriptions ────▶ │ Driver │ ◀─────────── deliveries
//!   sessions ─────────▶ │        │ ──steps────▶ session task (one each) ◀──▶ Session
//!   timer ────────────▶ └────────┘ ──gate─────▶ capture and playout workers
//! ```
//!
//! The driver waits for no session, no device that opens and no message to be sent: it hands over and goes on. What it does wait for is short: a worker that mutes or
//! closes (so that what the user asked is done when the command returns), and the signaling backend's word that it subscribed. All queues are bounded; each says below what
//! happens when it is full.

mod command;
mod driver_loop;
mod media;
mod publisher;
mod session;
mod subscriptions;

use std::sync::Arc;

use blink_api::{
    AudioProcessorFactory, Clock, Codec, Delivery, MediaHost, MediaSource, Result, Settings, Signaling, Topic,
    Transport,
};

use crate::call::{Event, SessionId, SessionInput};

pub(crate) use command::Command;
use driver_loop::sleep_until;
pub(crate) use driver_loop::{Driver, closed};
pub use media::Pacing;

/// The parts an engine is made of.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) signaling: Arc<dyn Signaling>,
    pub(crate) codec: Arc<dyn Codec>,
    pub(crate) media_host: Arc<dyn MediaHost>,
    pub(crate) processors: Vec<Arc<dyn AudioProcessorFactory>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: Settings,
    pub(crate) pacing: Pacing,
}

/// What reaches the driver beside commands. 1,024 wait; those who report wait with them.
pub(crate) enum Report {
    /// A message came in.
    Delivery(Topic, Delivery),
    /// A subscription lost this many messages.
    Lagged(u64),
    /// A session reports.
    Session(SessionId, SessionInput),
    /// A session received bytes that are no message.
    Malformed,
    /// Something of the media for the user; of no interest once the call it is about is over.
    Media(u64, Event),
    /// The microphone that a command asked for before it is carried out.
    Microphone(Result<Box<dyn MediaSource>>, Box<Command>),
}
