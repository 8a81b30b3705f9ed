//! Building of STUN messages.

use std::net::SocketAddr;

use turn_types::attribute::{Data, XorPeerAddress};
use turn_types::message::DATA;
use turn_types::stun::attribute::{AttributeType, AttributeWrite, ErrorCode, Nonce, Realm, UnknownAttributes};
use turn_types::stun::message::{IntegrityAlgorithm, IntegrityKey, Message, MessageWriteVec};
use turn_types::stun::prelude::{MessageWrite as _, MessageWriteExt as _};

use super::authentication::REALM;

/// Largest payload of a Data indication, with which the message stays below 65,536 bytes.
const LARGEST_DATA: usize = 65_000;
/// Invariant of all messages here.
const FITS: &str = "each attribute occurs once and before the integrity, and the message is short";

/// Success response.
pub(super) fn success(
    request: &Message<'_>,
    attributes: &[&dyn AttributeWrite],
    key: Option<&IntegrityKey>,
) -> Vec<u8> {
    finish(Message::builder_success(request, MessageWriteVec::new()), attributes, key)
}

/// Error response.
pub(super) fn failure(request: &Message<'_>, code: u16, key: Option<&IntegrityKey>) -> Vec<u8> {
    let error = ErrorCode::builder(code).build().expect(FITS);
    finish(Message::builder_error(request, MessageWriteVec::new()), &[&error], key)
}

/// Error response that makes the client authenticate itself with a nonce.
pub(super) fn challenge(request: &Message<'_>, code: u16, nonce: &str) -> Vec<u8> {
    let error = ErrorCode::builder(code).build().expect(FITS);
    let (realm, nonce) = (Realm::new(REALM).expect(FITS), Nonce::new(nonce).expect(FITS));
    finish(Message::builder_error(request, MessageWriteVec::new()), &[&error, &realm, &nonce], None)
}

/// Error response for attributes that must be understood and are not.
pub(super) fn unknown_attributes(
    request: &Message<'_>,
    unknown: &[AttributeType],
    key: Option<&IntegrityKey>,
) -> Vec<u8> {
    let error = ErrorCode::builder(ErrorCode::UNKNOWN_ATTRIBUTE).build().expect(FITS);
    let unknown = UnknownAttributes::new(unknown);
    finish(Message::builder_error(request, MessageWriteVec::new()), &[&error, &unknown], key)
}

/// Data indication with a datagram from a peer; `None` for one that does not fit.
pub(super) fn data_indication(peer: SocketAddr, data: &[u8]) -> Option<Vec<u8>> {
    if data.len() > LARGEST_DATA {
        return None;
    }
    let mut builder = Message::builder_indication(DATA, MessageWriteVec::with_capacity(data.len() + 64));
    let address = XorPeerAddress::new(peer, builder.transaction_id());
    builder.add_attribute(&address).expect(FITS);
    builder.add_attribute(&Data::new(data)).expect(FITS);
    Some(builder.finish())
}

/// ChannelData message (RFC 8656 §12.4); `None` for data that does not fit.
///
/// Over a stream it is padded to a multiple of four bytes.
pub(super) fn channel_data(channel: u16, data: &[u8], is_stream: bool) -> Option<Vec<u8>> {
    let length = u16::try_from(data.len()).ok()?;
    let padding = if is_stream { data.len().next_multiple_of(4) - data.len() } else { 0 };
    Some([&channel.to_be_bytes()[..], &length.to_be_bytes(), data, &[0; 3][..padding]].concat())
}

fn finish(mut builder: MessageWriteVec, attributes: &[&dyn AttributeWrite], key: Option<&IntegrityKey>) -> Vec<u8> {
    for attribute in attributes {
        builder.add_attribute(*attribute).expect(FITS);
    }
    if let Some(key) = key {
        builder.add_message_integrity_with_key(key, IntegrityAlgorithm::Sha1).expect(FITS);
    }
    builder.add_fingerprint().expect(FITS);
    builder.finish()
}
