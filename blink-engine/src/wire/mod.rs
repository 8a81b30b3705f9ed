//! What devices say to each other, as values and as bytes.
//!
//! Everything is deterministic CBOR (RFC 8949 §4.2.1). [`cbor::decode`] refuses any other encoding of the same value before the
//! fields are read, so that a value has exactly one form. `docs/protocol.md` lists every field.

mod body;
pub mod cbor;
mod channel;
mod content;

pub use body::{Bytes16, WireEndpoint,
    Body, Busy, CallConfiguration, Cancel, CancelReason, Entry, EntryBody, JoinedClaim, Kind, Link, LinkRole, Member, Offer,
    Record, Reject, Ringing, Root, Seen, Signed, Status,
};
pub use channel::ChannelMessage;
pub use content::{Content, NoContent};
