//! Building blocks for gossipsub signaling backends, independent of the network library.
//!
//! * [`admission`]: connection limits, eviction and bans.
//! * [`clock`]: checks of the system clock that gossipsub and QUIC need.
//! * [`port_probe`]: check that a listen port is free.
//! * [`handle`]: the methods of `Signaling` as commands to the task that owns the node.
//! * [`subscriptions`]: local subscribers and the subscriptions of remote nodes.
//! * [`deliveries`]: delivered messages that await a verdict.
//! * [`discovery`]: announcements and searches in a distributed hash table.
//! * [`reservations`]: relays through which the node is reached.
//! * [`paths`]: renewal of circuits, and closing of those that a better path replaced.
//! * [`dial_queue`]: nodes to stay connected to, with backoff.
//! * [`liveness`]: ping timeouts per connection.
//! * [`key_file`]: storage of a node's key.

#![deny(missing_docs)]

pub mod admission;
pub mod cause;
pub mod clock;
pub mod deliveries;
pub mod dial_queue;
pub mod discovery;
pub mod handle;
pub mod key_file;
pub mod liveness;
pub mod paths;
pub mod port_probe;
pub mod reservations;
pub mod subscriptions;

use blink_api::Origin;
use sha2::{Digest, Sha256};

/// Rate-limit origin of a node: the first 16 bytes of the SHA-256 of its peer id.
pub fn origin(node: &[u8]) -> Origin {
    let digest: [u8; 32] = Sha256::digest(node).into();
    let mut origin = [0; 16];
    origin.copy_from_slice(&digest[..16]);
    Origin(origin)
}
