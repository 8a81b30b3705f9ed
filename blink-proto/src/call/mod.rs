//! The call machine: everything that participants must agree on, decided without IO, clocks, locks
//! or tasks.
//!
//! # Inputs
//!
//! | from | input | means |
//! |---|---|---|
//! | the user | [`Machine::offer`], [`answer`](Machine::answer), [`reject`](Machine::reject), [`leave`](Machine::leave) | a command; refused with a typed error or obeyed |
//! | the user | [`Machine::set_muted`], [`set_deafened`](Machine::set_deafened), [`set_recording`](Machine::set_recording) | what others are told about this device |
//! | the user | [`Machine::offer_stream`], [`revoke_stream`](Machine::revoke_stream), [`request_stream`](Machine::request_stream), [`close_stream`](Machine::close_stream) | streams beside the microphone |
//! | signaling | [`Input::Signal`] | a message that passed every check of [`crate::secure::EnvelopeCodec`] |
//! | signaling | [`Input::SubscriberJoined`] | somebody listens on a topic: what was said there may be worth saying again |
//! | a session | [`Input::Session`] | a description, a candidate, a connection, a message on the data channel, a packet, a failure |
//! | media | [`Input::Speaking`] | a voice is heard, or no more |
//! | time | [`Machine::handle_timeout`] | [`Machine::deadline`] has come |
//!
//! [`Machine::poll`] then gives [`Output`]s until there are none.
//!
//! # A call, seen from this endpoint
//!
//! ```text
//!          offer                 first member joins
//!   ──────────────▶ Out ──────────────────────────────▶ Active ◀─── a member has heard us ─── Joining
//!                    │ all final, leave, ring time        │  ▲                                 ▲  │ 15 s, all gone
//!                    ▼                                    │  └────────── (rejoin) ─────────────┤  ▼
//!                   Over ◀──────── two people ──── leave, │                                    │  Over / Open
//!                                                  gone   └──── a group ────▶ Open ── answer ──┤
//!          offer with echo                                                     ▲               │
//!   ──────────────▶ In ── reject, ring time, lease (a group) ──────────────────┘               │
//!                    ├──── answer ─────────────────────────────────────────────────────────────┘
//!                    └──── everybody cancelled; reject, ring time, lease (two people) ──▶ Over
//! ```
//!
//! Nothing of media happens in `In`: no session is opened before `Joining` ([`Output::OpenSession`],
//! [`Output::SetActiveCall`]).

mod commands;
mod event;
mod glare;
mod history;
mod incoming;
mod invite;
mod lifecycle;
mod link;
mod linking;
mod machine;
mod member;
mod membership;
mod memory;
mod missed;
mod notice;
mod presence;
mod record;
mod repeat;
mod restoring;
mod roster;
mod rotation;
mod shared;
mod snapshot;
mod speaking;
mod streams;
mod told;

use web_time::Instant;

use blink_api::{CallId, Endpoint, StreamId, Topic};

pub use event::{CancelledReason, EndReason, Event, LeftReason, ParticipantState, StreamEndReason};
pub use history::{CallDirection, CallOutcome, HistoryEntry};
pub use link::{ClockRound, ClockSync};
pub use machine::{Machine, MachineConfig};
pub use memory::{Change, Memory, SavedCall, SavedNotice};
pub use presence::Presence;
pub use snapshot::{CallSnapshot, CallState, ParticipantSnapshot, ParticipantStatus, Snapshot};
pub use streams::STREAM_SECTIONS;
pub use streams::{StreamDirection, StreamInfo};

use crate::secure::{AgreementKey, BootRollback, CallKeys, Channel, Refusal};
use crate::wire::{Body, ChannelMessage};

/// The time of an input.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Monotonic; all timers run on it.
    pub mono: Instant,
    /// Milliseconds since the Unix epoch; told to others for display, compared with nothing.
    pub unix_ms: u64,
}

/// A session, named by the machine before it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// What happens to a machine from outside, beside commands and time.
#[derive(Debug, Clone)]
pub enum Input {
    /// A message.
    Signal(Signal),
    /// A message was refused at the door, because its sender has been heard under a greater boot.
    BootRollback(BootRollback),
    /// Somebody subscribed to a topic.
    SubscriberJoined(Topic),
    /// A participant's voice, or that of this device, is heard from now on or no more.
    Speaking {
        /// Whose.
        endpoint: Endpoint,
        /// Whether it is.
        speaking: bool,
    },
    /// A session reports.
    Session {
        /// Which.
        session: SessionId,
        /// What.
        event: SessionInput,
    },
}

/// A message that was opened and checked.
#[derive(Debug, Clone)]
pub struct Signal {
    /// Where it came in.
    pub channel: Channel,
    /// Who signed it.
    pub from: Endpoint,
    /// Under which boot.
    pub boot: u64,
    /// About which call.
    pub call: CallId,
    /// What it says.
    pub body: Body,
}

/// What a session reports.
#[derive(Clone)]
pub enum SessionInput {
    /// It made the description that [`Negotiation::Offer`] or [`Negotiation::AcceptOffer`] asked
    /// for.
    Described {
        /// Of which generation.
        generation: u32,
        /// The SDP.
        sdp: String,
    },
    /// It found a local candidate.
    Candidate {
        /// Beginning with `candidate:`.
        attribute: String,
    },
    /// ICE and DTLS are up.
    Connected,
    /// The data channel is open.
    ChannelOpen,
    /// A message on the data channel; counts as a packet.
    Channel(ChannelMessage),
    /// The first frame of a stream that was asked for is whole.
    FirstFrame(StreamId),
    /// A stream that the other end wants cannot be sent on this session.
    StreamRefused(StreamId),
    /// Packets came since the last report. At most every 100 ms, but at once after a silence.
    Traffic,
    /// A step could not be done, or the session ended by itself.
    Failed,
}

// Descriptions and candidates hold passwords and addresses: they are shown in no log.

impl std::fmt::Debug for SessionInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::fmt::Debug for Negotiation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Offer { generation, ice_restart } => write!(f, "offer {generation}, ICE restart {ice_restart}"),
            Self::AcceptOffer { generation, .. } => write!(f, "accept offer {generation}"),
            Self::Answer { .. } => f.write_str("accept answer"),
            Self::Candidate { .. } => f.write_str("add candidate"),
        }
    }
}

impl SessionInput {
    /// What it is, without what is in it; for logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Described { .. } => "described",
            Self::Candidate { .. } => "candidate",
            Self::Connected => "connected",
            Self::ChannelOpen => "channel open",
            Self::Channel(_) => "channel message",
            Self::FirstFrame(_) => "first frame",
            Self::StreamRefused(_) => "stream refused",
            Self::Traffic => "traffic",
            Self::Failed => "failed",
        }
    }
}

/// What the machine wants done.
#[derive(Debug, Clone)]
pub enum Output {
    /// Seal and publish a message.
    Send {
        /// Where.
        channel: Channel,
        /// For whose keys.
        recipients: Vec<[u8; 32]>,
        /// About which call.
        call: CallId,
        /// What.
        body: Box<Body>,
    },
    /// Subscribe to a call's topic and read it with this key; again with a new key after rejoining,
    /// and with another topic after a removal: the one before is still read, and nothing more is
    /// said there.
    Subscribe(Box<JoinedTopic>),
    /// Unsubscribe from a topic that a call had before it went to another one.
    RetireTopic(Topic),
    /// Unsubscribe from a call's topic and forget its keys.
    Unsubscribe(CallId),
    /// Open a session towards a device.
    OpenSession {
        /// Its name.
        session: SessionId,
        /// In which call.
        call: CallId,
        /// Towards whom.
        remote: Endpoint,
        /// Whether this side makes the offers and opens the data channel.
        is_offerer: bool,
    },
    /// A step of a session's negotiation, in order.
    Negotiate {
        /// Which session.
        session: SessionId,
        /// What to do.
        step: Negotiation,
    },
    /// Send on a session's data channel.
    SendChannelMessage {
        /// Which session.
        session: SessionId,
        /// What.
        message: ChannelMessage,
    },
    /// A session's path is verified: media may flow on it.
    Admit {
        /// Which session.
        session: SessionId,
    },
    /// A stream flows on a session from now on, or no more. Where it stops for good,
    /// [`Output::EndStream`] says so.
    SetStreamFlow {
        /// Which session; it is admitted.
        session: SessionId,
        /// Which stream: an own one to send, one of the other end's to receive.
        stream: StreamId,
        /// Which way.
        direction: StreamDirection,
        /// Whether it flows.
        active: bool,
    },
    /// A stream that was asked for comes no more.
    EndStream {
        /// Whose.
        participant: Endpoint,
        /// Which.
        stream: StreamId,
    },
    /// Close a session.
    CloseSession {
        /// Which session.
        session: SessionId,
    },
    /// The user accepted this call, or is in no call: microphone and speaker open and close.
    SetActiveCall(Option<CallId>),
    /// Write down what changed of what is remembered.
    Persist(Change),
    /// This device goes on under a greater boot.
    SetBoot(u64),
    /// Tell the user.
    Emit(Event),
    /// Count a refused message.
    CountRefusal(Refusal),
}

/// A call's topic and the key to read it with.
#[derive(Clone)]
pub struct JoinedTopic {
    /// The call's keys.
    pub keys: CallKeys,
    /// This endpoint's key in it.
    pub key: AgreementKey,
}

impl std::fmt::Debug for JoinedTopic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinedTopic").field("call", &self.keys.id).finish_non_exhaustive()
    }
}

/// A step of a negotiation.
#[derive(Clone, PartialEq)]
pub enum Negotiation {
    /// Make an offer; report it as [`SessionInput::Described`].
    Offer {
        /// To be named in the report.
        generation: u32,
        /// With new ICE credentials.
        ice_restart: bool,
    },
    /// Accept an offer; report the answer as [`SessionInput::Described`].
    AcceptOffer {
        /// To be named in the report.
        generation: u32,
        /// The remote description.
        sdp: String,
    },
    /// Accept the answer to the newest offer.
    Answer {
        /// The remote description.
        sdp: String,
    },
    /// Add a remote candidate.
    Candidate {
        /// Beginning with `candidate:`.
        attribute: String,
    },
}
