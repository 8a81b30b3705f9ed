//! The call machine: everything on which participants must agree, decided without IO, clocks, locks
//! or tasks.
//!
//! # Inputs
//!
//! | source | input | meaning |
//! |---|---|---|
//! | user | [`Machine::offer`], [`answer`](Machine::answer), [`reject`](Machine::reject), [`leave`](Machine::leave), [`add`](Machine::add), [`remove`](Machine::remove) | a command; refused with a typed error or carried out |
//! | user | [`Machine::hold`], [`resume`](Machine::resume) | one of several calls is the current one |
//! | user | [`Machine::set_muted`], [`set_deafened`](Machine::set_deafened), [`set_recording`](Machine::set_recording) | state that is announced to others |
//! | user | [`Machine::offer_stream`], [`revoke_stream`](Machine::revoke_stream), [`request_stream`](Machine::request_stream), [`close_stream`](Machine::close_stream) | streams beside the microphone |
//! | user | [`Machine::send_message`] | an application message to participants |
//! | signaling | [`Input::Signal`] | a message that passed every check of [`crate::secure::EnvelopeCodec`] |
//! | signaling | [`Input::BootRollback`] | a message that was refused for its boot counter |
//! | signaling | [`Input::SubscriberJoined`] | a new subscriber of a topic: messages may have to be repeated |
//! | session | [`Input::Session`] | a description, a candidate, a connection, a data-channel message, traffic, a failure |
//! | media | [`Input::Speaking`] | voice activity started or stopped |
//! | media | [`Input::Quality`] | the quality of a participant's media is degraded or has recovered |
//! | time | [`Machine::handle_timeout`] | [`Machine::deadline`] has passed |
//!
//! After each input, [`Machine::poll`] returns [`Output`]s until there are none.
//!
//! # A call, seen from this endpoint
//!
//! ```text
//!          offer                 first member joins
//!   ──────────────▶ Out ──────────────────────────────▶ Active ◀── acknowledged by a member ──── Joining
//!                    │ all final, leave, ring time        │  ▲                                 ▲  │ 15 s, all gone
//!                    ▼                                    │  └────────── (rejoin) ─────────────┤  ▼
//!                   Over ◀──────── two people ──── leave, │                                    │  Over / Open
//!                                                  gone   └──── a group ────▶ Open ── answer ──┤
//!          offer with echo                                                     ▲               │
//!   ──────────────▶ In ── reject, ring time, lease (a group) ──────────────────┘               │
//!                    ├──── answer ─────────────────────────────────────────────────────────────┘
//!                    └──── all cancelled; reject, ring time, lease (two people) ──▶ Over
//! ```
//!
//! No media in `In`: sessions are opened from `Joining` on ([`Output::OpenSession`],
//! [`Output::SetActiveCall`]).
//!
//! # Where to find what
//!
//! | file | content |
//! |---|---|
//! | `io`, `event`, `reason`, `participant`, `snapshot` | inputs, outputs, and what the user sees |
//! | `machine`, `machine_config`, `commands`, `stream_commands` | all calls of this endpoint, and the user's commands |
//! | `incoming`, `offers`, `glare` | messages of others, new calls, two calls at the same time |
//! | `state`, `peer`, `person` | the state of one call |
//! | `lifecycle`, `hold`, `invite`, `invite_replies` | phases, held calls and invitations |
//! | `own_record`, `remote_record`, `claims`, `departures`, `peer_table` | who is in the call |
//! | `roster`, `membership`, `rotation` | who may be in the call |
//! | `link`, `linking`, `streams`, `flows` | negotiation of media paths and streams |
//! | `message_exchange`, `mailbox`, `message_id` | application messages |
//! | `announcements`, `event_throttle`, `voice` | events about what participants announce |
//! | `memory`, `persist`, `restore`, `missed`, `history`, `history_log` | what survives a restart |
//! | `shared`, `outbox`, `repeat`, `notice`, `record_schedule`, `farewell`, `retired_topics` | values that the others use |

mod announcements;
mod claims;
mod commands;
mod departures;
mod device_event;
mod event;
mod event_display;
mod event_queries;
mod event_throttle;
mod farewell;
mod finding;
mod flows;
mod glare;
mod history;
mod history_log;
mod hold;
mod incoming;
mod invite;
mod invite_replies;
mod io;
mod lifecycle;
mod link;
mod linking;
mod machine;
mod machine_config;
mod mailbox;
mod membership;
mod memory;
mod message_exchange;
mod message_id;
mod missed;
mod notice;
mod offers;
mod outbox;
mod own_record;
mod participant;
mod peer;
mod peer_table;
mod persist;
mod person;
mod presence;
mod reason;
mod record_schedule;
mod remote_record;
mod repeat;
mod restore;
mod retired_topics;
mod roster;
mod rotation;
mod shared;
mod snapshot;
mod state;
mod stream_commands;
mod streams;
mod voice;

pub use device_event::{Device, DeviceChangeReason};
pub use event::Event;
pub use finding::InboxesToFind;
pub use history::{CallDirection, CallOutcome, HistoryEntry};
pub use io::{Input, JoinedTopic, Negotiation, Now, Output, SessionId, SessionInput, Signal, StreamDirection};
pub use link::{ClockRound, ClockSync};
pub use machine::Machine;
pub use machine_config::MachineConfig;
pub use memory::{Change, Memory, SavedCall, SavedNotice};
pub use message_id::MessageId;
pub use participant::{ParticipantState, StreamInfo};
pub use presence::Presence;
pub use reason::{CancelledReason, EndReason, LeftReason, StreamEndReason};
pub use snapshot::{CallSnapshot, CallState, ParticipantSnapshot, ParticipantStatus, Snapshot};
pub use streams::STREAM_SECTIONS;
