//! The only place with tasks: moves values between the call machine, the door, signaling, sessions
//! and media, and decides nothing.
//!
//! ```text
//!   Blink ──commands──▶ ┌────────┐ ──publish──▶ publisher ──▶ Signaling
//!   subscriptions ────▶ │ Driver │ ◀─────────── deliveries
//!   sessions ─────────▶ │        │ ──steps────▶ session task (one each) ◀──▶ Session
//!   timer ────────────▶ └────────┘ ──gate─────▶ capture and playout workers
//!                                  ──memos────▶ keeper ──▶ data_dir
//! ```
//!
//! The driver waits for no session, no device that opens and no message to be sent: it hands over
//! and goes on. What it does wait for is short: a worker that mutes or closes (so that what the
//! user asked is done when the command returns), and the signaling backend's word that it
//! subscribed. All queues are bounded; each says below what happens when it is full.

mod alarm;
mod audio;
mod command;
mod driver_loop;
#[cfg(test)]
mod endurance;
mod feedback;
mod frames;
mod keeper;
mod media;
mod publisher;
mod sections;
mod session;
mod streams;
mod subscriptions;

use std::sync::Arc;

use blink_api::{
    AudioCodec, AudioProcessorFactory, AudioSource, Clock, Delivery, Endpoint, MediaHost, Result, Settings, Signaling,
    StreamId, Topic, Transport,
};

use blink_proto::call::{Event, SessionId, SessionInput};

pub(crate) use audio::CallAudio;
pub(crate) use command::Command;
use driver_loop::sleep_until;
pub(crate) use driver_loop::{Driver, closed};
pub use frames::Frames;
pub use media::Pacing;
pub(crate) use media::Place;
use media::stream::OpenedSource;
pub use media::threads::MediaThreads;

/// The parts an engine is made of.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) signaling: Arc<dyn Signaling>,
    /// The preferred one first.
    pub(crate) codecs: Vec<Arc<dyn AudioCodec>>,
    /// How sound is sent and received unless a call says otherwise.
    pub(crate) audio: CallAudio,
    pub(crate) media_host: Arc<dyn MediaHost>,
    pub(crate) processors: Vec<Arc<dyn AudioProcessorFactory>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: Settings,
    pub(crate) place: Place,
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
    /// A session received so many messages more than its other end may send.
    Flooded(u32),
    /// Something of the media for the user; of no interest once the call it is about is over.
    Media(u64, Event),
    /// A voice is heard from now on or no more: a participant's, or where there is none this
    /// device's.
    Speaking(u64, Option<Endpoint>, bool),
    /// The source of an offered stream failed for good.
    SourceLost(StreamId),
    /// The source of a stream that a command asked for.
    Source(Result<OpenedSource>, Box<Command>),
    /// The microphone that a command asked for before it is carried out.
    Microphone(Result<Box<dyn AudioSource>>, Box<Command>, CallAudio),
}
