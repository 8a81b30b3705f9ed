//! Bad networks without privileges: decorators that delay, lose, repeat, reorder, slow down and cut
//! what goes through real backends.
//!
//! [`ImpairedTransport`] puts a relay in user space between two devices: what one tells the other
//! of its addresses, in descriptions and candidates, is replaced by addresses of an
//! [`ImpairedNetwork`] before it is sent, so that all packets of the two pass there. The stacks
//! below notice and mend what happens themselves, as on a bad network. [`ImpairedSignaling`] does
//! the same to the deliveries of a signaling backend. What happens to a packet or a delivery is
//! decided by [`blink_sim::impairment`], from seeds.
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
mod signaling;
mod telling;
mod transport;

pub use blink_sim::impairment::{Impairments, Rate};
pub use network::{Carried, ImpairedNetwork};
pub use signaling::ImpairedSignaling;
pub use transport::ImpairedTransport;

/// Which packets of a device, or deliveries, do not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cut {
    /// All pass.
    #[default]
    None,
    /// What it sends does not.
    Outgoing,
    /// What is sent to it does not.
    Incoming,
    /// Nothing passes.
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
