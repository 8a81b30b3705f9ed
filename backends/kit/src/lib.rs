//! Building blocks of transports, independent of the WebRTC stack.
//!
//! * [`addresses`]: selection of local addresses for host candidates.
//! * [`candidate`]: classification of remote candidates.
//! * [`remote_candidate_filter`]: limits of the addresses that a peer's candidates can name.
//! * [`check_budget`]: limits of unanswered connectivity checks.
//! * [`sdp`]: validation of a remote description before a stack sees it.
//! * [`local_candidate_filter`]: removal of hidden addresses from local candidates.
//! * `mdns`: mDNS names of host candidates, with the feature of that name.
//! * [`servers`]: STUN and TURN servers and their error responses.
//! * `entropy`: early seeding of the random number generator, with the feature of that name.
//! * [`events`]: bounded event queue of a session.
//! * [`handshake`]: reasons of failing DTLS handshakes, observed from outside the stack.
//! * [`state_reporter`]: reports of the state of ICE and DTLS.
//! * [`negotiation`]: offers and answers of a transport without a WebRTC stack.
//! * [`unread`]: count of unread data-channel bytes.
//! * [`traffic`]: packet and loss counters, send sequence numbers.

#![deny(missing_docs)]

pub mod addresses;
pub mod candidate;
pub mod check_budget;
#[cfg(feature = "entropy")]
pub mod entropy;
pub mod events;
pub mod handshake;
pub mod local_candidate_filter;
#[cfg(feature = "mdns")]
pub mod mdns;
pub mod negotiation;
pub mod remote_candidate_filter;
pub mod sdp;
pub mod servers;
pub mod state_reporter;
pub mod traffic;
pub mod unread;
