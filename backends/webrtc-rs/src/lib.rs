//! WebRTC transport of the Blink call engine on [webrtc-rs](webrtc), registered as `webrtc-rs`.
//!
//! The stack runs a task per connection, which calls a handler. That task also drives ICE and DTLS,
//! so the handler returns immediately:
//!
//! ```text
//!  WebRtcSession ──offers, answers──▶ PeerConnection ──callbacks──▶ Handler, RtxInterceptor ──▶
//!  events
//!       │                                  ▲     ▲                     │
//!       └──packets──▶ sender task ─────────┘ └── reader tasks ◀────┘ one per remote track and data
//!       channel
//! ```

#![deny(missing_docs)]

mod channels;
mod check_pacer;
mod config;
mod datagrams;
mod dtls_retransmit;
mod filtered_socket;
mod handler;
mod negotiation;
mod observed_socket;
mod outgoing;
mod packet_filter;
mod rtx_interceptor;
mod runtime;
mod session;
mod shared;
mod stack;
mod transport;
mod turn_channels;

pub use config::WebRtcConfig;
pub use transport::WebRtcTransport;

/// Name of the transport in configurations and errors.
const NAME: &str = "webrtc-rs";

blink_api::macros::submit! { blink_api::Entry::<dyn blink_api::Transport>::of::<WebRtcTransport>() }
