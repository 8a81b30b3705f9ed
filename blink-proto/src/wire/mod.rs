//! Messages between devices: types and their encoding.
//!
//! Everything is deterministic CBOR (RFC 8949 §4.2.1). [`cbor::decode`] rejects any other encoding
//! of a value before its fields are read, so that every value has exactly one encoding.
//! `docs/protocol.md` lists all fields.

mod body;
mod cause;
pub mod cbor;
mod channel;
mod content;
mod description;
mod entry;
pub(crate) mod fields;
mod member;
mod stream;

pub use body::{
    Body, Busy, CallConfiguration, Cancel, CancelReason, Kind, Link, LinkRole, Offer, Reject, Ringing, StaleBoot,
};
pub use cause::Cause;
pub(crate) use cause::{number_of_rejection, rejection};
pub use channel::{
    AppMessage, CaptureReport, ChannelKind, ChannelMessage, MAX_APP_MESSAGE, MAX_CAPTURES, MAX_FRAGMENT,
    REPORT_VERSION, SectionReport,
};
pub use content::{Content, ContentError};
pub use description::candidates_of;
pub use entry::{Entry, EntryBody, MAX_ENTRIES, Root, Signed};
pub use fields::{Bytes16, Secret, SignedKey, WireEndpoint};
pub use member::{JoinedClaim, MAX_CLAIMS, Member, Record, Seen, Status};
pub use stream::{MAX_STREAM_NAME, MAX_STREAMS, StreamOffer, StreamRequest};
