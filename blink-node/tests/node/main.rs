//! Tests of a running node over real sockets.

#![allow(clippy::print_stdout, reason = "the output has the figures of loads")]

mod client;
mod overlay;
mod turn;
mod turn_client;
