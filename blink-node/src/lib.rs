//! Public node for a group of people: bootstrap node and server of the distributed hash table
//! (DHT), and circuit relay.
//!
//! A node serves everybody who can reach it, and trusts nobody: every table has a limit in total
//! and per address, and neither relays nor dials into private networks unless
//! [`NodeConfig::allow_private`] is set. It takes part in no call and reads no message: circuits
//! and media are encrypted between their ends.
//!
//! libp2p uses tokio's timers, and so does this crate.

#![deny(missing_docs)]

mod address_policy;
mod config;
mod external;
mod node;
mod overlay;

use blink_api::{Error, ErrorKind};

pub use address_policy::AddressPolicy;
pub use config::{DEFAULT_LISTEN, NodeConfig};
pub use external::Host;
pub use node::Node;

/// Name of the protocol of the DHT.
pub const DHT_PROTOCOL: &str = "/blink/kad/1";

const NAME: &str = "node";

fn error(kind: ErrorKind, operation: &'static str, message: &'static str) -> Error {
    Error::new(kind, message).backend(NAME).operation(operation)
}
