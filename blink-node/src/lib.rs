//! Public node for a group of people: bootstrap node and server of the distributed hash table
//! (DHT), circuit relay, and STUN and TURN server.
//!
//! A node serves every client that can reach it, and trusts none: every table has a limit in total
//! and per address, and neither relay nor dialling reaches private networks unless
//! [`NodeConfig::allow_private`] is set. It takes part in no call and reads no message: circuits
//! and media are encrypted between their ends.
//!
//! libp2p uses tokio's timers, and so does this crate.

#![deny(missing_docs)]

mod address_policy;
mod config;
mod external;
mod metrics;
mod node;
mod overlay;
mod turn;

use std::fmt;
use std::io;

use blink_api::{Error, ErrorKind};

pub use address_policy::AddressPolicy;
pub use config::NodeConfig;
pub use external::Host;
pub use metrics::MetricsEndpoint;
pub use node::{Node, turn_secret};
pub use turn::{TurnConfig, TurnCredentials, TurnLimits, TurnSecret};

/// Name of the protocol of the DHT.
pub const DHT_PROTOCOL: &str = "/blink/kad/1";

const NAME: &str = "node";

fn error(kind: ErrorKind, operation: &'static str, message: &'static str) -> Error {
    Error::new(kind, message).backend(NAME).operation(operation)
}

/// Error of a listener that cannot be opened.
fn listen_failure(operation: &'static str, address: impl fmt::Display, source: io::Error) -> Error {
    let (kind, message) = match source.kind() {
        io::ErrorKind::AddrInUse => (ErrorKind::Busy, "the port is in use by another program"),
        io::ErrorKind::AddrNotAvailable => (ErrorKind::Invalid, "the machine does not have this address"),
        io::ErrorKind::PermissionDenied => (ErrorKind::Io, "ports below 1024 need a privilege"),
        _ => (ErrorKind::Io, "cannot listen"),
    };
    error(kind, operation, message).with("address", address).source(source)
}
