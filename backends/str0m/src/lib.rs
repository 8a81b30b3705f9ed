//! WebRTC transport of the Blink call engine on [str0m], registered as `str0m`.
//!
//! A session is a stack and one UDP socket per local address, behind a lock:
//!
//! ```text
//!  Str0mSession ──packets──▶ SharedSession ─▶ Driver ──datagrams, time──▶ Peer ──▶ str0m::Rtc
//!       ▲       ──calls──▶ its task ────▶      │                          │
//!       └── tracks, channels, counts ──────────┴── events ◀───────────────┘
//! ```
//!
//! A thread that sends a packet drives the session itself if the lock is free. Otherwise, and for
//! calls, datagrams and timeouts, the session's task does. str0m is sans-IO: each input (a call, a
//! packet, a datagram, a timeout) is one mutation of its state, after which the driver drains its
//! output.

#![deny(missing_docs)]

mod channels;
mod codecs;
mod config;
mod driver;
mod dtls;
mod gather;
mod handshake_packets;
mod negotiation;
mod peer;
mod rtp;
mod sdp_compat;
mod session;
mod shared;
mod shared_session;
mod sockets;
mod stack_time;
mod transport;
mod turn_client;

pub use config::{DtlsVersion, Str0mConfig};
pub use transport::Str0mTransport;

/// Name of the transport in configurations and errors.
const NAME: &str = "str0m";

blink_api::macros::submit! { blink_api::Entry::<dyn blink_api::Transport>::of::<Str0mTransport>() }
