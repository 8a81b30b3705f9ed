//! WebRTC transport of the Blink call engine on [str0m], registered as `str0m`.
//!
//! A session is a stack and one UDP socket for each local address, behind a lock:
//!
//! ```text
//!  Str0mSession ──packets──▶ Workplace ─▶ Driver ──datagrams, time──▶ Peer ──▶ str0m::Rtc
//!       ▲       ──calls──▶ its task ──▶     │                          │
//!       └── tracks, channels, counts ───────┴── events ◀───────────────┘
//! ```
//!
//! Whoever sends a packet works on the session itself where nobody else does; otherwise, and for
//! calls, datagrams and timeouts, the session's task does. str0m does no input or output. Each
//! thing that happens (a call, a packet, a datagram, a timeout) is one mutation of its state, after
//! which the driver drains what it has to say.

#![deny(missing_docs)]

mod channels;
mod codecs;
mod config;
mod dialect;
mod driver;
mod dtls;
mod gather;
mod inquiry;
mod negotiation;
mod peer;
mod rtp;
mod session;
mod shared;
mod sockets;
mod stack_time;
mod transport;
mod workplace;

pub use config::{DtlsVersion, Str0mConfig};
pub use transport::Str0mTransport;

/// The name it is chosen by, and named by in errors.
const NAME: &str = "str0m";

blink_api::macros::submit! { blink_api::Entry::<dyn blink_api::Transport>::of::<Str0mTransport>() }
