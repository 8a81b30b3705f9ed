//! Building blocks of transports on real networks, independent of the WebRTC stack.
//!
//! * [`addresses`]: selection of local addresses for host candidates.
//! * [`candidate`]: classification of remote candidates.
//! * [`remote_candidates`]: filter and limits of remote candidates.
//! * [`check_budget`]: limits of unanswered connectivity checks.
//! * [`sdp`]: validation of a remote description before a stack sees it.
//! * [`candidate_filter`]: privacy filter of local candidates.
//! * `mdns`: mDNS names of host candidates, with the feature of that name.
//! * [`servers`]: STUN and TURN servers and their error responses.
//! * [`entropy`]: early seeding of the random number generator.
//! * [`events`]: bounded event queue of a session.
//! * [`unread`]: count of unread data-channel bytes.
//! * [`traffic`]: packet and loss counters, send sequence numbers.

#![deny(missing_docs)]

pub mod addresses;
pub mod candidate;
pub mod candidate_filter;
pub mod check_budget;
pub mod entropy;
pub mod events;
#[cfg(feature = "mdns")]
pub mod mdns;
pub mod remote_candidates;
pub mod sdp;
pub mod servers;
pub mod traffic;
pub mod unread;
