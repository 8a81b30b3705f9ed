//! What transports on real networks share, whichever WebRTC stack they are built on.
//!
//! * [`addresses`]: the local addresses to offer as host candidates.
//! * [`candidate`]: which remote candidates are usable, which are ignored, which are no candidates.
//! * [`remote_candidates`]: which of them may be checked, and how many.
//! * [`check_budget`]: how many connectivity checks may go unanswered.
//! * [`sdp`]: checks of a remote description before a stack sees it.
//! * [`disclosure`]: what peers are told of the own candidates.
//! * `names`: host candidates behind names, with the feature of that name.
//! * [`servers`]: STUN and TURN servers, as they are configured and by what they answer.
//! * [`entropy`]: gathered before the first session needs it.
//! * [`events`]: the bounded queue to the session's reader.
//! * [`unread`]: the bytes of messages that wait for that reader.
//! * [`traffic`]: packet and loss counts, sequence numbers.

#![deny(missing_docs)]

pub mod addresses;
pub mod candidate;
pub mod check_budget;
pub mod disclosure;
pub mod entropy;
pub mod events;
#[cfg(feature = "names")]
pub mod names;
pub mod remote_candidates;
pub mod sdp;
pub mod servers;
pub mod traffic;
pub mod unread;
