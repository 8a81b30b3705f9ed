//! Capabilities of signaling backends.

use serde::Serialize;

/// Capabilities of a signaling backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct SignalingCapabilities {
    /// The largest message in bytes; at least 16,384.
    pub max_message: usize,
    /// Origins of deliveries ([`Delivery::origin`](crate::Delivery::origin)).
    pub origins: bool,
    /// Verdicts that affect forwarding and the scores of senders
    /// ([`Signaling::report`](crate::Signaling::report)).
    pub verdicts: bool,
    /// Discovery of nodes on the local network without an address.
    pub local_discovery: bool,
    /// Delivery to other processes and machines.
    pub network: bool,
    /// Delivery to nodes that are connected only through others.
    pub forwarding: bool,
    /// Finding the subscribers of a topic without an address
    /// ([`Signaling::announce`](crate::Signaling::announce),
    /// [`Signaling::find`](crate::Signaling::find)), beyond the local network too.
    pub rendezvous: bool,
}

impl SignalingCapabilities {
    /// No capability, and messages of 16 KiB: the base for entries, which stay valid when a field
    /// is added.
    pub const NONE: Self = Self {
        max_message: 16_384,
        origins: false,
        verdicts: false,
        local_discovery: false,
        network: false,
        forwarding: false,
        rendezvous: false,
    };
}
