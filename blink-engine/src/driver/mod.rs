//! The only place with tasks: moves values between the call machine, envelopes, signaling, sessions
//! and media, and decides nothing.
//!
//! ```text
//!   Blink ──commands──▶ ┌────────┐ ──messages──▶ publisher ──▶ Signaling
//!   subscriptions ────▶ │ Driver │ ◀──────────── deliveries
//!   sessions ─────────▶ │        │ ──commands──▶ session task (one each) ◀──▶ Session
//!   openings ─────────▶ │        │ ──commands──▶ media worker ──packets──▶ Session
//!   timer ────────────▶ └────────┘ ──changes───▶ store writer ──▶ data_dir
//!                                                     media worker ◀──packets── Session
//! ```
//!
//! The driver waits for no session, no device that opens and no message to be sent: it hands over
//! and goes on. It waits where that is short: for the media worker to mute or close, so that a
//! command of the user has taken effect when it returns, and for the signaling backend to
//! subscribe. All queues are bounded; each says below what happens when it is full.
//!
//! | what | where |
//! |---|---|
//! | one input after the other into the machine, and its outputs | `driver_loop` |
//! | sessions, without their media | `session` |
//! | the media of the call: commands in, packets out | `media`, `media_worker`, `video_port`, `video_worker` |
//! | processors of the microphone | `processing` |
//! | received packets, and that a path is alive | `rtp_input` |
//! | microphone and speaker: opened, used, closed | `devices`; while they open: `openings`; until they are used: `opened_devices`; after that: `device_disposal` |
//! | devices for the user: chosen, listed, reported | `device_choice` (names: `device_names`), `device_list`, `device_events`; waiting for an answer: `device_requests` |
//! | levels for meters | `level_channel` |
//! | recordings of the call, each recorder on a thread of its own | `recordings`, `recorder_worker` |
//! | metrics and log spans | `call_metrics`, `session_metrics` (names: `metric_list`), `spans`, `telemetry` |
//! | threads | `worker_host`, `media_threads` |

mod alarm;
mod audio_taps;
mod call_metrics;
pub(crate) mod command;
mod device_choice;
mod device_disposal;
mod device_events;
mod device_list;
pub(crate) mod device_names;
mod device_requests;
mod device_watch;
mod devices;
pub(crate) mod driver_loop;
mod epoch;
mod event_log;
pub(crate) mod frames;
mod level_channel;
mod media;
pub(crate) mod media_threads;
mod media_worker;
mod media_worker_command;
mod network_event;
mod opened_devices;
mod openings;
pub(crate) mod parts;
mod processing;
mod publisher;
mod recorder_start;
mod recorder_worker;
mod recordings;
mod report;
mod report_messages;
mod rtp_input;
mod send_rtp;
mod session;
mod session_command;
mod session_failure;
mod session_metrics;
mod session_statistics;
mod spans;
mod store_writer;
mod streams;
mod subscriptions;
mod telemetry;
mod video_port;
mod video_worker;
mod worker;
pub(crate) mod worker_host;

pub use frames::Frames;
pub use media_threads::MediaThreads;
pub use worker_host::Pacing;
