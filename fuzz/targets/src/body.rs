//! What devices say to each other: contents of every kind, roster entries, messages on the data channel.

use blink_engine::wire::{ChannelMessage, Content, Entry, Member, Offer, Record, Root, cbor};

/// Whatever can be read, says the same when it is written again; what has no room for unknown fields, in the same bytes.
pub fn run(data: &[u8]) {
    if let Ok(content) = Content::decode(data) {
        let again = content.encode();
        assert_eq!(cbor::check(&again), Ok(()), "what is written is deterministic");
        assert_eq!(Content::decode(&again), Ok(content));
    }
    if let Ok(root) = cbor::decode::<Root>(data) {
        assert_eq!(cbor::encode(&root), data);
    }
    if let Ok(entry) = cbor::decode::<Entry>(data) {
        assert_eq!(cbor::encode(&entry), data);
    }
    if let Ok(message) = cbor::decode::<ChannelMessage>(data) {
        assert_eq!(cbor::decode(&cbor::encode(&message)), Ok(message));
    }
    if let Ok(offer) = cbor::decode::<Offer>(data) {
        assert_eq!(cbor::decode(&cbor::encode(&offer)), Ok(offer));
    }
    if let Ok(member) = cbor::decode::<Member>(data) {
        assert_eq!(cbor::decode(&cbor::encode(&member)), Ok(member));
    }
    if let Ok(record) = cbor::decode::<Record>(data) {
        assert_eq!(cbor::decode(&cbor::encode(&record)), Ok(record));
    }
}
