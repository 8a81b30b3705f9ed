//! Wire messages: contents of every kind, bodies, roster entries, and data channel messages.

use std::fmt::Debug;

use blink_proto::wire::{
    Busy, Cancel, ChannelMessage, Content, Entry, Link, Member, Offer, Record, Reject, Ringing, Root, Signed, cbor,
};
use minicbor::{Decode, Encode};

/// Decoded values survive encoding and decoding; types without unknown fields also keep their
/// bytes.
pub fn run(data: &[u8]) {
    if let Ok(content) = Content::decode(data) {
        let again = content.encode();
        assert_eq!(cbor::check(&again), Ok(()), "the encoding is deterministic");
        assert_eq!(Content::decode(&again), Ok(content));
    }
    if let Ok(root) = cbor::decode::<Root>(data) {
        assert_eq!(cbor::encode(&root), data);
    }
    if let Ok(entry) = cbor::decode::<Entry>(data) {
        assert_eq!(cbor::encode(&entry), data);
    }
    says_the_same::<Offer>(data);
    says_the_same::<Ringing>(data);
    says_the_same::<Busy>(data);
    says_the_same::<Reject>(data);
    says_the_same::<Cancel>(data);
    says_the_same::<Member>(data);
    says_the_same::<Link>(data);
    says_the_same::<Record>(data);
    says_the_same::<Signed>(data);
    says_the_same::<ChannelMessage>(data);
}

fn says_the_same<T: for<'b> Decode<'b, ()> + Encode<()> + PartialEq + Debug>(data: &[u8]) {
    if let Ok(value) = cbor::decode::<T>(data) {
        let again = cbor::encode(&value);
        assert_eq!(cbor::check(&again), Ok(()), "the encoding is deterministic");
        assert_eq!(cbor::decode::<T>(&again), Ok(value));
    }
}
