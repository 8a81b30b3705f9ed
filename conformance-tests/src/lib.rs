//! Conformance suite for backends of the Blink call engine.
//!
//! The author of a backend calls one function per trait from a test of their own crate: see
//! [`transport`], [`signaling`], [`codec`], [`media`], [`processor`] and [`recorder`]. The
//! [`scenarios`] verify whole calls over combinations of backends; they run in a [`lab`].

mod ability;
pub mod codec;
pub mod forwarding;
pub mod impaired;
pub mod lab;
pub mod matrix;
pub mod media;
pub mod processor;
pub mod recorder;
pub mod room;
pub mod scenarios;
pub mod signaling;
mod tone;
pub mod transport;
pub mod turn;

pub use ability::Ability;
