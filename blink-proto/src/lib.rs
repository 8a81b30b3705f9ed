//! The Blink protocol, without IO: no task, no thread, no socket, no clock and no source of
//! randomness but what is passed in. It compiles for `wasm32-unknown-unknown`.
//!
//! * [`call`]: the call machine, which decides everything that two participants must agree on.
//! * [`secure`]: identities, keys, and the envelopes that messages travel in.
//! * [`wire`]: the messages, as values and as bytes.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod call;
mod quota_map;
pub mod secure;
pub mod wire;
