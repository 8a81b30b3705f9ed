//! Tests of a running node over real sockets.

mod client;
mod overlay;
