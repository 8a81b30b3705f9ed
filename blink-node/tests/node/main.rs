//! Tests of a running node over real sockets.

#![allow(clippy::print_stdout, reason = "figures of loads are for whoever reads the output")]

mod client;
mod overlay;
mod turn;
mod turn_client;
