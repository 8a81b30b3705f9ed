//! Tests of a running node over real sockets.

mod client;
mod overlay;
mod turn;
mod turn_client;
