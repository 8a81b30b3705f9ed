//! Conformance suite for backends of the Blink call engine.
//!
//! The author of a backend adds one line per kind to a test of their own crate:
//! [`signaling_tests!`], [`transport_tests!`], [`codec_tests!`], [`media_host_tests!`],
//! [`processor_tests!`] and [`recorder_tests!`] run the functions of the module of that name and
//! verify the [`registration`]; [`call_tests!`] runs the [`scenarios`], whole calls over two
//! backends, in a [`lab`]. All are ordinary tests: nothing else is to be set up.
//! `blink new-backend` writes such a crate.

mod ability;
mod call_tests;
mod calls;
mod clause;
pub mod codec;
mod explain;
pub mod forwarding;
pub mod impaired;
pub mod lab;
mod macros;
pub mod matrix;
pub mod media;
pub mod processor;
pub mod recorder;
pub mod registration;
pub mod room;
pub mod scenarios;
pub mod signaling;
mod tone;
pub mod transport;
pub mod turn;
pub mod watchdog;
mod watched;

pub use ability::Ability;
pub use calls::run_call_test;

/// Time limit of the contract's tests of codecs, media hosts, processors and recorders.
pub const KIND_LIMIT: std::time::Duration = std::time::Duration::from_secs(300);
