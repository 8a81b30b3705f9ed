//! What signalings over a network of nodes share, whichever library they are built on.
//!
//! * [`admission`]: which connections are admitted, and which are evicted.
//! * [`clock`]: what signaling cannot do while the system's clock is wrong.
//! * [`listening`]: whether a port is free.
//! * [`handle`]: the methods of `Signaling` as commands to whoever owns the node.
//! * [`readers`]: who reads what at this node, and what others are subscribed to.
//! * [`deliveries`]: messages that wait for a verdict.
//! * [`targets`]: nodes to stay connected to.
//! * [`liveness`]: which connections still answer.
//! * [`key_file`]: the file with a node's key.

#![deny(missing_docs)]

pub mod admission;
pub mod clock;
pub mod deliveries;
pub mod handle;
pub mod key_file;
pub mod listening;
pub mod liveness;
pub mod readers;
pub mod targets;

use blink_api::Origin;
use sha2::{Digest, Sha256};

/// A node as an origin: the first half of the SHA-256 of its name.
pub fn origin(node: &[u8]) -> Origin {
    let digest: [u8; 32] = Sha256::digest(node).into();
    let mut origin = [0; 16];
    origin.copy_from_slice(&digest[..16]);
    Origin(origin)
}
