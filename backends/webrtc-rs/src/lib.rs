//! WebRTC transport of the Blink call engine on [webrtc-rs](webrtc), registered as `webrtc-rs`.
//!
//! The stack runs a task of its own per connection, from which it calls a handler. That task also
//! drives ICE and DTLS, so the handler only hands over and returns:
//!
//! ```text
//!  WebRtcSession ──offers, answers──▶ PeerConnection ──callbacks──▶ Handler, Tap ──▶ events
//!       │                                  ▲     ▲                     │
//!       └──packets──▶ sender task ─────────┘     └── reader tasks ◀────┘  one per incoming track and data channel
//! ```

#![deny(missing_docs)]

mod channels;
mod checks;
mod config;
mod guard;
mod guarded;
mod handler;
mod handshake;
mod negotiation;
mod outgoing;
mod relayed;
mod runtime;
mod session;
mod shared;
mod stack;
mod tap;
mod transport;

pub use config::WebRtcConfig;
pub use transport::WebRtcTransport;

/// The name it is chosen by, and named by in errors.
const NAME: &str = "webrtc-rs";

blink_api::macros::submit! { blink_api::Entry::<dyn blink_api::Transport>::of::<WebRtcTransport>() }
