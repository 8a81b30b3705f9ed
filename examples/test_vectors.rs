//! Prints the test vectors of `docs/protocol.md`: fixed keys and numbers in, the bytes of every message out.
//!
//! ```sh
//! cargo run -p blink-examples --bin test_vectors
//! ```

use blink_api::{CallId, DeviceId, Endpoint, StreamId, TrackKind};
use blink_engine::Identity;
use blink_engine::secure::{AgreementKey, CallKeys, Random, Refusal, Sealing, inbox_topic, link_id, open, seal};
use blink_engine::wire::{
    Body, Busy, Bytes16, CallConfiguration, Cancel, CancelReason, ChannelMessage, Content, Entry, EntryBody,
    JoinedClaim, Link, LinkRole, Member, Offer, Record, Reject, Ringing, Root, Seen, Signed, Status, StreamOffer,
    StreamRequest, WireEndpoint, cbor,
};
use rand::SeedableRng;
use sha2::{Digest, Sha256};

fn main() -> Result<(), Refusal> {
    print!("{}", vectors()?);
    Ok(())
}

fn vectors() -> Result<String, Refusal> {
    let mut text = String::new();
    let mut show = |name: &str, bytes: &[u8]| {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        text += &format!("{name} = {hex}\n");
    };
    let (alice, bob) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
    let (from, to) = (endpoint(&alice, 0x11), endpoint(&bob, 0x22));
    for (name, identity, endpoint) in [("alice", &alice, from), ("bob", &bob, to)] {
        show(&format!("{name}.ed25519"), endpoint.did.public_key());
        show(&format!("{name}.device"), endpoint.device.as_bytes());
        show(&format!("{name}.x25519"), identity.agreement().public());
        show(&format!("{name}.inbox"), inbox_topic(&endpoint.did).as_bytes());
    }

    let secret = [3; 32];
    let mut members = vec![from.did, to.did];
    members.sort();
    let root = Root {
        creator: from,
        nonce: [4; 16],
        unix_ms: 1_700_000_000_000,
        secret_hash: Sha256::digest(secret).into(),
        members,
    };
    let root = sign(&alice, b"blink/1 root\0", cbor::encode(&root));
    let hash = Sha256::new().chain_update(b"blink/1 call\0").chain_update(&root.bytes).finalize();
    let call = CallId::from_bytes(*hash.first_chunk().expect("a SHA-256 hash has 32 bytes"));
    let keys = CallKeys::new(call, secret.into());
    show("root", &root.bytes);
    show("root.signature", &root.signature);
    show("call", call.as_bytes());
    show("call.topic", keys.topic.as_bytes());
    show("call.tag_key", keys.tag());
    let entry = Entry { call, did: to.did, body: EntryBody::Reject { n: 0 } };
    let entry = sign(&bob, b"blink/1 entry\0", cbor::encode(&entry));
    show("entry", &entry.bytes);
    show("entry.signature", &entry.signature);

    let (alice_key, bob_key) = (AgreementKey::from_scalar(&[5; 32]), AgreementKey::from_scalar(&[6; 32]));
    let link = link_id(alice_key.public(), bob_key.public());
    show("alice.call_key", alice_key.public());
    show("bob.call_key", bob_key.public());
    show("link", &link);

    let claim = JoinedClaim { endpoint: from, boot: 7, version: 1, call_key: *alice_key.public() };
    let stream = StreamId::from_bytes([10; 16]);
    let record = Record {
        call_key: *bob_key.public(),
        version: 2,
        status: Status::Joined,
        seat: 1,
        muted: false,
        deafened: false,
        recording: false,
        seen: vec![Seen { endpoint: from, boot: 7, call_key: first(alice_key.public()), version: 1 }],
        links: vec![WireEndpoint(from)],
        digest: first(&Sha256::digest([]).into()).into(),
        streams: vec![StreamOffer {
            id: stream,
            kind: TrackKind::Video,
            codec: "VP8".to_owned(),
            name: "screen".to_owned(),
        }],
        wanted: vec![StreamRequest { endpoint: from, stream }],
    };
    let member = Member { record, entries: Vec::new() };
    let nonce = Bytes16::from([8; 16]);
    let configuration = CallConfiguration { conversation: Some(b"hello".to_vec().into()) };
    let offer = Offer {
        root,
        entries: Vec::new(),
        secret: secret.into(),
        joined: vec![claim],
        remaining_ms: 60_000,
        echo: vec![nonce],
        configuration,
    };
    let cancel = Cancel {
        reason: CancelReason::Unanswered,
        version: 3,
        joined: Vec::new(),
        acknowledged: false,
        replaced_by: None,
    };
    let description = Link {
        link: link.into(),
        ask: 0,
        generation: 1,
        role: LinkRole::Offer,
        sdp: Some("v=0".to_owned()),
        first_candidate: 0,
        candidates: vec!["candidate:1".to_owned()],
        ack_generation: 0,
        ack_candidates: 0,
        failed: false,
    };
    let acknowledgement = Link { sdp: None, candidates: Vec::new(), ack_generation: 1, ..description.clone() };
    let quiet = Offer { configuration: CallConfiguration::default(), ..offer.clone() };
    for (name, body) in [
        ("offer", Body::Offer(Box::new(offer))),
        ("offer without conversation", Body::Offer(Box::new(quiet))),
        ("ringing", Body::Ringing(Ringing { nonce, rings: true })),
        ("busy", Body::Busy(Busy {})),
        ("reject", Body::Reject(Reject { entry, acknowledged: false })),
        ("cancel", Body::Cancel(cancel.clone())),
        ("cancel with replaced_by", Body::Cancel(Cancel { replaced_by: Some(call), ..cancel })),
        ("member", Body::Member(Box::new(member.clone()))),
        ("link", Body::Link(Box::new(description))),
        ("link without sdp", Body::Link(Box::new(acknowledgement))),
    ] {
        show(&format!("body {} {name}", body.kind() as u8), &cbor::encode(&body));
    }
    let section = |stream| ChannelMessage::Section { mid: "1".to_owned(), stream, sequence: 11 };
    for (name, message) in [
        ("hello", ChannelMessage::Hello { link: link.into() }),
        ("ping", ChannelMessage::Ping { id: 1, sent_us: 2 }),
        ("pong", ChannelMessage::Pong { id: 1, sent_us: 2, received_us: 3 }),
        ("member", ChannelMessage::Member { boot: 9, member: Box::new(member.clone()) }),
        ("section", section(Some((*stream.as_bytes()).into()))),
        ("section without stream", section(None)),
        ("refused", ChannelMessage::Refused { stream: (*stream.as_bytes()).into() }),
    ] {
        show(&format!("channel {name}"), &cbor::encode(&message));
    }

    let mut random = Random::from_seed([9; 32]);
    let letter = |from, body| Content { from, boot: 7, seq: 1, unix_ms: 1_700_000_000_001, call, body };
    let content = letter(to, Body::Ringing(Ringing { nonce, rings: true }));
    let sealing = Sealing {
        topic: inbox_topic(&from.did),
        recipients: &[*alice.agreement().public()],
        tag: None,
        identity: &bob,
    };
    let envelope = seal(&sealing, &content.encode(), &mut random)?;
    assert_eq!(open(&sealing.topic, &envelope, &[&alice.agreement()], None)?, content);
    show("content", &content.encode());
    show("envelope to alice's inbox", &envelope);

    let content = letter(to, Body::Member(Box::new(member)));
    let strangers = [7, 8].map(|n| *AgreementKey::from_scalar(&[n; 32]).public());
    let recipients = [*alice_key.public(), strangers[0], strangers[1]];
    let sealing = Sealing { topic: keys.topic, recipients: &recipients, tag: Some(keys.tag()), identity: &bob };
    let envelope = seal(&sealing, &content.encode(), &mut random)?;
    assert_eq!(open(&sealing.topic, &envelope, &[&alice_key], Some(keys.tag()))?, content);
    show("envelope on the call's topic", &envelope);
    Ok(text)
}

fn endpoint(identity: &Identity, device: u8) -> Endpoint {
    Endpoint { did: identity.did(), device: DeviceId::from_random([device; 16]) }
}

fn sign(identity: &Identity, context: &[u8], bytes: Vec<u8>) -> Signed {
    Signed { signature: identity.sign(context, &bytes), bytes }
}

fn first<const N: usize>(bytes: &[u8; 32]) -> [u8; N] {
    *bytes.first_chunk().expect("less than 32")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_vectors_of_the_documentation_are_those_of_the_code() {
        assert_eq!(super::vectors().unwrap(), include_str!("../docs/vectors.txt"));
    }
}
