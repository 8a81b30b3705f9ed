//! Bad networks without privileges: decorators that delay, drop, duplicate, reorder, throttle and
//! cut the traffic of real backends.
//!
//! [`ImpairedTransport`] puts a NAT-like relay in user space between two devices: it replaces the
//! addresses in descriptions and candidates by external addresses of an [`ImpairedNetwork`], so
//! that all packets between the devices pass it. The stacks detect and repair impairments
//! themselves, as on a bad network. [`ImpairedSignaling`] does the same to the deliveries of a
//! signaling backend. [`blink_sim::impairment`] decides about each packet and delivery, from seeds.
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

mod address_rewrite;
mod network;
mod signaling;
mod transport;

pub use blink_sim::impairment::{Impairments, Rate};
pub use network::{ImpairedNetwork, TrafficCounters};
pub use signaling::ImpairedSignaling;
pub use transport::ImpairedTransport;

/// Direction in which a device's packets or deliveries are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cut {
    /// Neither.
    #[default]
    None,
    /// Sent ones.
    Outgoing,
    /// Received ones.
    Incoming,
    /// Sent and received ones.
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
