//! Bodies and data channel messages.

use blink_api::{Endpoint, TrackKind};
use blink_proto::wire::{
    AppMessage, Body, Busy, Bytes16, CallConfiguration, Cancel, CancelReason, CaptureReport, Cause, ChannelMessage,
    JoinedClaim, Link, LinkRole, Member, Offer, REPORT_VERSION, Record, Reject, Ringing, Secret, SectionReport, Seen,
    Signed, SignedKey, StaleBoot, Status, StreamOffer, StreamRequest, WireEndpoint, cbor,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::hex;
use crate::names::nonce_bytes;
use crate::scene::{NEW_SECRET, SECRET, Scene};

/// Name, kind, fields and bytes of every body.
pub(crate) fn bodies(scene: &Scene) -> Value {
    let bodies = all(scene).into_iter().map(|(name, body, says)| {
        json!({ "name": name, "kind": body.kind() as u8, "input": says, "output": hex(&cbor::encode(&body)) })
    });
    bodies.collect()
}

/// Every body with its name and fields: one of each kind, and a second one with optional fields
/// absent.
pub(crate) fn all(scene: &Scene) -> Vec<(&'static str, Body, Value)> {
    let mut bodies = Vec::new();
    for (name, conversation, entries) in [
        ("offer", Some(b"hello".to_vec()), Vec::new()),
        ("offer without conversation", None, Vec::new()),
        ("offer with entries", None, scene.signed_entries()),
    ] {
        let (offer, says) = offer(scene, conversation, entries);
        bodies.push((name, Body::Offer(Box::new(offer)), says));
    }
    let nonce = Bytes16::from(nonce_bytes(scene));
    let says = json!({ "nonce": hex(&nonce[..]), "rings": true });
    bodies.push(("ringing", Body::Ringing(Ringing { nonce, rings: true }), says));
    bodies.push(("busy", Body::Busy(Busy {}), json!({})));
    let entry = scene.reject();
    let says = json!({ "entry": signed(&entry), "acknowledged": false });
    bodies.push(("reject", Body::Reject(Reject { entry, acknowledged: false, reason: None }), says));
    let entry = scene.reject();
    let says = json!({ "entry": signed(&entry), "acknowledged": false, "reason": 1 });
    bodies.push(("reject by policy", Body::Reject(Reject { entry, acknowledged: false, reason: Some(1) }), says));
    for (name, replaced_by) in [("cancel", None), ("cancel with replaced_by", Some(scene.call))] {
        let cancel = Cancel {
            reason: if replaced_by.is_none() { CancelReason::Unanswered } else { CancelReason::Replaced },
            version: 3,
            joined: vec![claim(scene)],
            acknowledged: false,
            replaced_by,
        };
        let says = json!({
            "reason": if replaced_by.is_none() { 2 } else { 5 },
            "version": 3,
            "joined": [claim_says(scene)],
            "acknowledged": false,
            "replaced_by": replaced_by.map(|call| hex(call.as_bytes())),
        });
        bodies.push((name, Body::Cancel(cancel), says));
    }
    let alice = scene.alice_endpoint();
    let says = json!({ "endpoint": endpoint(&alice), "boot": 8 });
    bodies.push(("behind", Body::StaleBoot(StaleBoot { endpoint: WireEndpoint(alice), boot: 8 }), says));
    for (name, entries) in [("member", Vec::new()), ("member with entries", scene.signed_entries())] {
        let says = member_says(scene, &entries);
        bodies.push((name, Body::Member(Box::new(member(scene, entries))), says));
    }
    for (name, sdp) in [("link", Some("v=0\r\n")), ("link without sdp", None)] {
        let (link, says) = link(scene, sdp);
        bodies.push((name, Body::Link(Box::new(link)), says));
    }
    let (mut failed, mut says) = link(scene, None);
    (failed.failed, failed.cause) = (true, Some(Cause { reason: 6, ice: 3, dtls: 2 }));
    (says["failed"], says["cause"]) = (json!(true), json!([6, 3, 2]));
    bodies.push(("link failed", Body::Link(Box::new(failed)), says));
    bodies
}

pub(crate) fn channel_messages(scene: &Scene) -> Value {
    let (link, stream) = (Bytes16::from(scene.link), Bytes16::from(*scene.stream.as_bytes()));
    let section = |stream| ChannelMessage::Section { mid: "1".to_owned(), stream, sequence: 11 };
    let messages = [
        ("hello", json!({ "link": hex(&link[..]) }), ChannelMessage::Hello { link }),
        ("ping", json!({ "id": 1, "sent_us": 2 }), ChannelMessage::Ping { id: 1, sent_us: 2 }),
        (
            "pong",
            json!({ "id": 1, "sent_us": 2, "received_us": 3 }),
            ChannelMessage::Pong { id: 1, sent_us: 2, received_us: 3 },
        ),
        (
            "member",
            json!({ "boot": 9, "member": member_says(scene, &[]) }),
            ChannelMessage::Member { boot: 9, member: Box::new(member(scene, Vec::new())) },
        ),
        ("section", json!({ "mid": "1", "stream": hex(&stream[..]), "sequence": 11 }), section(Some(stream))),
        ("section without stream", json!({ "mid": "1", "stream": null, "sequence": 11 }), section(None)),
        ("refused", json!({ "stream": hex(&stream[..]) }), ChannelMessage::Refused { stream }),
        (
            "report",
            json!({
                "version": 1,
                "interval_ms": 1_000,
                "sections": [{
                    "mid": "0",
                    "expected": 50,
                    "lost": 5,
                    "runs": 2,
                    "jitter_us": 1_500,
                    "delay_us": 20_000,
                    "bytes": 3_600,
                }],
                "captures": [
                    { "stream": null, "clock_rate": 48_000, "timestamp": 4_294_966_336u32, "captured_us": 20_000_000 },
                    { "stream": hex(&stream[..]), "clock_rate": 90_000, "timestamp": 90_000, "captured_us": 20_010_000 },
                ],
            }),
            report(stream),
        ),
        (
            "message",
            json!({ "series": 5, "number": 1, "length": 5, "offset": 0, "bytes": hex(b"hello") }),
            ChannelMessage::Message(AppMessage {
                series: 5,
                number: 1,
                length: 5,
                offset: 0,
                bytes: b"hello".to_vec().into(),
            }),
        ),
        ("message ack", json!({ "series": 5, "number": 1 }), ChannelMessage::MessageAck { series: 5, number: 1 }),
    ];
    let messages = messages
        .into_iter()
        .map(|(name, says, message)| json!({ "name": name, "input": says, "output": hex(&cbor::encode(&message)) }));
    messages.collect()
}

fn report(stream: Bytes16) -> ChannelMessage {
    let section = SectionReport {
        mid: "0".to_owned(),
        expected: 50,
        lost: 5,
        runs: 2,
        jitter_us: 1_500,
        delay_us: 20_000,
        bytes: 3_600,
    };
    let captures = vec![
        CaptureReport { stream: None, clock_rate: 48_000, timestamp: 4_294_966_336, captured_us: 20_000_000 },
        CaptureReport { stream: Some(stream), clock_rate: 90_000, timestamp: 90_000, captured_us: 20_010_000 },
    ];
    ChannelMessage::Report { version: REPORT_VERSION, interval_ms: 1_000, sections: vec![section], captures }
}

/// Bob's record, with Alice seen and connected.
pub(crate) fn member(scene: &Scene, entries: Vec<Signed>) -> Member {
    let (alice, stream) = (scene.alice_endpoint(), scene.stream);
    let record = Record {
        seat: 1,
        recording: true,
        seen: vec![Seen { endpoint: alice, boot: 7, call_key: scene.alice_signed_key(), version: 1 }],
        links: vec![WireEndpoint(alice)],
        digest: digest(&entries).into(),
        streams: vec![StreamOffer {
            id: stream,
            kind: TrackKind::Video,
            codec: "VP8".to_owned(),
            name: "screen".to_owned(),
        }],
        wanted: vec![StreamRequest { endpoint: alice, stream }],
        ..Record::new(scene.bob_signed_key(), 2, Status::Joined)
    };
    let secret = (!entries.is_empty()).then(|| Secret(NEW_SECRET.into()));
    Member { record, entries, secret }
}

fn member_says(scene: &Scene, entries: &[Signed]) -> Value {
    let (alice, stream) = (endpoint(&scene.alice_endpoint()), hex(scene.stream.as_bytes()));
    let call_key = signed_key(&scene.alice_signed_key());
    json!({
        "record": {
            "call_key": signed_key(&scene.bob_signed_key()),
            "version": 2,
            "status": 1,
            "seat": 1,
            "muted": false,
            "deafened": false,
            "recording": true,
            "seen": [{ "endpoint": alice, "boot": 7, "call_key": call_key, "version": 1 }],
            "links": [alice],
            "digest": hex(&digest(entries)),
            "streams": [{ "id": stream, "kind": 1, "codec": "VP8", "name": "screen" }],
            "wanted": [{ "endpoint": alice, "stream": stream }],
        },
        "entries": entries.iter().map(signed).collect::<Vec<_>>(),
        "secret": (!entries.is_empty()).then(|| hex(&NEW_SECRET)),
    })
}

fn offer(scene: &Scene, conversation: Option<Vec<u8>>, entries: Vec<Signed>) -> (Offer, Value) {
    let nonce = Bytes16::from(nonce_bytes(scene));
    let secret = if entries.is_empty() { SECRET } else { NEW_SECRET };
    let says = json!({
        "root": signed(&scene.root),
        "entries": entries.iter().map(signed).collect::<Vec<_>>(),
        "secret": hex(&secret),
        "joined": [claim_says(scene)],
        "remaining_ms": 60_000,
        "echo": [hex(&nonce[..])],
        "configuration": { "conversation": conversation.as_deref().map(hex) },
    });
    let offer = Offer {
        root: scene.root.clone(),
        entries,
        secret: secret.into(),
        joined: vec![claim(scene)],
        remaining_ms: 60_000,
        echo: vec![nonce],
        configuration: CallConfiguration { conversation: conversation.map(Into::into) },
    };
    (offer, says)
}

fn link(scene: &Scene, sdp: Option<&str>) -> (Link, Value) {
    let candidates: &[&str] = if sdp.is_some() { &["candidate:1 1 udp 1 192.0.2.1 9 typ host"] } else { &[] };
    let acknowledges = u32::from(sdp.is_none());
    let says = json!({
        "link": hex(&scene.link),
        "ask": 0,
        "generation": 1,
        "role": 0,
        "sdp": sdp,
        "first_candidate": 0,
        "candidates": candidates,
        "ack_generation": acknowledges,
        "ack_candidates": acknowledges,
        "failed": false,
    });
    let link = Link {
        link: scene.link.into(),
        renegotiation_requests: 0,
        generation: 1,
        role: LinkRole::Offer,
        sdp: sdp.map(str::to_owned),
        first_candidate: 0,
        candidates: candidates.iter().map(|candidate| (*candidate).to_owned()).collect(),
        ack_generation: acknowledges,
        ack_candidates: acknowledges,
        failed: false,
        cause: None,
    };
    (link, says)
}

/// Claim that Alice is in the call.
fn claim(scene: &Scene) -> JoinedClaim {
    JoinedClaim { endpoint: scene.alice_endpoint(), boot: 7, version: 1, call_key: scene.alice_signed_key() }
}

fn claim_says(scene: &Scene) -> Value {
    let call_key = signed_key(&scene.alice_signed_key());
    json!({ "endpoint": endpoint(&scene.alice_endpoint()), "boot": 7, "version": 1, "call_key": call_key })
}

fn signed(signed: &Signed) -> Value {
    json!({ "bytes": hex(&signed.bytes), "signature": hex(&signed.signature) })
}

fn signed_key(key: &SignedKey) -> String {
    hex(&key.key) + &hex(&key.signature)
}

fn endpoint(endpoint: &Endpoint) -> String {
    hex(endpoint.did.public_key()) + &hex(endpoint.device.as_bytes())
}

/// Digest of entries, in order.
fn digest(entries: &[Signed]) -> [u8; 16] {
    let hash = entries.iter().fold(Sha256::new(), |hash, entry| hash.chain_update(&entry.bytes)).finalize();
    *hash.first_chunk().expect("a SHA-256 hash has 32 bytes")
}
