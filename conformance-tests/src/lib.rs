//! Conformance suite for backends of the Blink call engine.
//!
//! A backend's author calls one function per trait from a test of their own crate; see [`transport`] and [`signaling`]. Whether whole calls work over backends is what the
//! [`scenarios`] say, which run in a [`lab`].

pub mod lab;
pub mod scenarios;
pub mod signaling;
pub mod transport;
