//! Impaired networks without privileges: decorators that delay, drop, duplicate, reorder,
//! rate-limit and cut the traffic of real backends.
//!
//! [`ImpairedTransport`] puts a relay in user space between two devices: their addresses in
//! descriptions and candidates are replaced by addresses of an [`ImpairedNetwork`] before they are
//! sent, so that all packets pass the relay. The stacks below detect and repair impairments
//! themselves, as on a real network. [`ImpairedSignaling`] does the same with the deliveries of a
//! signaling backend. The fate of a packet or delivery is drawn by [`blink_sim::impairment`] from a
//! seed.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # async fn test(mine: Arc<dyn blink_api::Transport>, theirs: Arc<dyn blink_api::Transport>) {
//! use std::time::Duration;
//! use blink_conformance::impaired::{Cut, ImpairedNetwork, ImpairedTransport, Impairments};
//!
//! let impairments = Impairments {
//!     delay: Duration::from_millis(30),
//!     jitter: Duration::from_millis(20),
//!     loss: 0.05,
//!     burst: Some(3.0),
//!     ..Impairments::NONE
//! };
//! let network = ImpairedNetwork::new(impairments, 1);
//! let (mine, theirs) = (ImpairedTransport::new(mine, &network), ImpairedTransport::new(theirs, &network));
//! blink_conformance::transport::negotiates_and_carries(&mine, &theirs).await;
//! mine.cut(Cut::Both);
//! # }
//! ```

mod network;
mod rewrite;
mod signaling;
mod transport;
mod wire;

pub use blink_sim::impairment::{Impairments, Rate};
pub use network::{ImpairedNetwork, NetworkStatistics};
pub use signaling::ImpairedSignaling;
pub use transport::ImpairedTransport;
pub(crate) use wire::Wire;

/// Packets or deliveries of a device that are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cut {
    /// None.
    #[default]
    None,
    /// Those that it sends.
    Outgoing,
    /// Those that are sent to it.
    Incoming,
    /// All.
    Both,
}

impl Cut {
    fn stops_outgoing(self) -> bool {
        matches!(self, Self::Outgoing | Self::Both)
    }

    fn stops_incoming(self) -> bool {
        matches!(self, Self::Incoming | Self::Both)
    }
}
