//! Simulated calls and network impairments, for tests, fuzzing and benchmarks.
//!
//! * [`impairment`]: one model of a bad network (loss, Gilbert-Elliott bursts, delay, jitter,
//!   duplication, reordering, a bottleneck), for messages and packets, on virtual time or in front
//!   of real sockets.
//! * [`simulation`]: several call machines of `blink-proto` on a simulated network and a virtual
//!   clock.
//!
//! Everything is deterministic: it follows from a seed and the order of calls.
//!
//! The crate is for development: no part of a released engine depends on it. `blink-proto` uses it
//! in its integration tests and benchmarks. Its unit tests cannot, because they would see two
//! versions of its types.

#![deny(missing_docs)]

pub mod impairment;
pub mod simulation;
