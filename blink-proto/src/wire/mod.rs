//! What devices say to each other, as values and as bytes.
//!
//! Everything is deterministic CBOR (RFC 8949 §4.2.1). [`cbor::decode`] refuses any other encoding
//! of the same value before the fields are read, so that a value has exactly one form.
//! `docs/protocol.md` lists every field.

mod body;
pub mod cbor;
mod channel;
mod content;
mod description;
pub(crate) mod fields;
mod record;
mod roster;
mod stream;

pub use body::{
    Body, Busy, CallConfiguration, Cancel, CancelReason, Kind, Link, LinkRole, Offer, Reject, Ringing, StaleBoot,
};
pub use channel::{CaptureReport, ChannelKind, ChannelMessage, MAX_CAPTURES, REPORT_VERSION, SectionReport};
pub use content::{Content, ContentError};
pub use description::candidates_of;
pub use fields::{Bytes16, Secret, SignedKey, WireEndpoint};
pub use record::{JoinedClaim, Member, Record, Seen, Status};
pub use roster::{Entry, EntryBody, MAX_ENTRIES, Root, Signed};
pub use stream::{MAX_STREAM_NAME, StreamOffer, StreamRequest};
