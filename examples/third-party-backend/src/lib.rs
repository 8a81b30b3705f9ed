//! A signaling backend and a transport by a third party: what it takes to bring a network of one's
//! own to Blink.
//!
//! * `tcp` ([`signaling`]): nodes that connect over TCP and tell each other their topics.
//! * `sealed-udp` ([`transport`]): encrypted datagrams between two sockets, with a handshake of its
//!   own. Offers, answers and tracks are those of `blink-transport-kit`.
//!
//! A program uses them by naming the crate, `use third_party_backend as _;`, and choosing them in
//! its configuration: `transport = "sealed-udp"`, `signaling = "tcp"`.

#![deny(missing_docs, unsafe_code)]

pub mod signaling;
pub mod transport;
