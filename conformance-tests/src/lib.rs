//! Conformance suite for backends of the Blink call engine.
//!
//! A backend's author calls one function per trait from a test of their own crate; see
//! [`transport`], [`signaling`], [`codec`], [`media`] and [`recorder`]. Whether whole calls work
//! over backends is what the [`scenarios`] say, which run in a [`lab`].

mod ability;
pub mod codec;
pub mod forwarding;
pub mod impaired;
pub mod lab;
pub mod matrix;
pub mod media;
pub mod recorder;
pub mod scenarios;
pub mod signaling;
mod tone;
pub mod transport;
pub mod turn;

pub use ability::Ability;
