//! What transports on real networks share, whichever WebRTC stack they are built on.
//!
//! * [`addresses`]: the local addresses to offer as host candidates.
//! * [`candidate`]: which remote candidates are usable, which are ignored, which are no candidates.
//! * [`sdp`]: checks of a remote description before a stack sees it.
//! * [`entropy`]: gathered before the first session needs it.
//! * [`events`]: the bounded queue to the session's reader.
//! * [`traffic`]: packet and loss counts, sequence numbers.

#![deny(missing_docs)]

pub mod addresses;
pub mod candidate;
pub mod entropy;
pub mod events;
pub mod sdp;
pub mod traffic;
