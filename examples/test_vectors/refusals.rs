//! Envelopes that must be refused, with the reason.

use blink_api::{Did, Endpoint};
use blink_proto::secure::Refusal;
use blink_proto::wire::{Body, Busy, cbor};
use serde_json::{Value, json};

use crate::envelopes::{Sealed, from, from_bob};
use crate::scene::Scene;
use crate::{bodies, hex};

/// Offsets in an envelope with one recipient: version, ephemeral key, hint of the wrap, and the
/// wrap.
const VERSION: usize = 4;
const EPHEMERAL: usize = 8;
const HINT: usize = 43;
const WRAP: usize = 51;
/// Offset of the first wrap in an envelope with four wraps.
const WRAPS: usize = 42;

pub(crate) fn refused(scene: &Scene) -> Result<Value, Refusal> {
    let busy = || Body::Busy(Busy {});
    let inbox = Sealed::new(scene, false, 50)?;
    let whole = inbox.seal(&scene.bob, &from_bob(scene, busy()).encode())?;
    let changed = |at: usize, length: usize, change: fn(u8) -> u8| {
        let mut envelope = whole.clone();
        envelope[at..at + length].iter_mut().for_each(|byte| *byte = change(*byte));
        envelope
    };
    let mut unknown_kind = from_bob(scene, busy()).encode();
    // Fields 7 and 8: the kind, and an empty map.
    let kind = unknown_kind.len() - 3;
    unknown_kind[kind] = 9;
    let call = Sealed::new(scene, true, 51)?;
    let record =
        call.seal(&scene.bob, &from_bob(scene, Body::Member(Box::new(bodies::member(scene, Vec::new())))).encode())?;
    let mut untagged = record.clone();
    *untagged.last_mut().expect("an envelope is not empty") ^= 1;

    let mut neutral = [0; 32];
    neutral[0] = 1;
    let unknown = Endpoint { did: Did::from_public_key(neutral), ..scene.bob_endpoint() };
    let mut swapped = record.clone();
    swapped[WRAPS..WRAPS + 2 * 58].rotate_left(58);

    let mut refused = Vec::new();
    for (name, sealed, envelope, why) in [
        ("another version", &inbox, changed(VERSION, 1, |_| 2), Refusal::Malformed),
        ("a byte too many", &inbox, [&whole[..], &[0]].concat(), Refusal::Malformed),
        ("a byte too few", &inbox, whole[..whole.len() - 1].to_vec(), Refusal::Malformed),
        ("a length that is not in its shortest form", &inbox, overlong(&whole), Refusal::Malformed),
        ("wraps in another order", &call, swapped, Refusal::Malformed),
        ("another tag", &call, untagged, Refusal::BadTag),
        ("no tag on the call's topic", &call, whole.clone(), Refusal::BadTag),
        ("a tag on an inbox", &inbox, record, Refusal::BadTag),
        ("an ephemeral key of small order", &inbox, changed(EPHEMERAL, 32, |_| 0), Refusal::WeakKey),
        ("another hint", &inbox, changed(HINT, 1, |byte| byte ^ 1), Refusal::NotForUs),
        ("another wrap", &inbox, changed(WRAP, 1, |byte| byte ^ 1), Refusal::BadSeal),
        ("another ciphertext", &inbox, changed(whole.len() - 2, 1, |byte| byte ^ 1), Refusal::BadSeal),
        ("no padding", &inbox, inbox.repadded(&whole, Vec::clear), Refusal::BadContent),
        (
            "a block of padding too many",
            &inbox,
            inbox.repadded(&whole, |padding| padding.extend([0; 256])),
            Refusal::BadContent,
        ),
        ("padding that is not zeros", &inbox, inbox.repadded(&whole, |padding| padding[0] = 1), Refusal::BadContent),
        ("a content that is no map", &inbox, inbox.seal(&scene.bob, &cbor::encode(&1))?, Refusal::BadContent),
        ("a kind that is not known", &inbox, inbox.seal(&scene.bob, &unknown_kind)?, Refusal::UnknownKind),
        (
            "a sender whose key is of small order",
            &inbox,
            inbox.seal(&scene.bob, &from(unknown, scene, busy()).encode())?,
            Refusal::WeakKey,
        ),
        (
            "signed by another",
            &inbox,
            inbox.seal(&scene.bob, &from(scene.alice_endpoint(), scene, busy()).encode())?,
            Refusal::BadSignature,
        ),
    ] {
        assert_eq!(sealed.open(&envelope), Err(why), "{name}");
        refused.push(json!({
            "name": name,
            "input": {
                "topic": hex(sealed.topic.as_bytes()),
                "tag_key": sealed.tag.map(|key| hex(key)),
                "envelope": hex(&envelope),
            },
            "output": word(why),
        }));
    }
    Ok(refused.into_iter().collect())
}

/// Encodes the header's length in two bytes where one suffices.
fn overlong(envelope: &[u8]) -> Vec<u8> {
    assert_eq!(envelope[..2], [0x83, 0x58], "an array of three, a string with its length in a byte");
    [&[0x83, 0x59, 0], &envelope[2..]].concat()
}

/// Name of a refusal in `docs/protocol.md`.
fn word(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Malformed => "malformed",
        Refusal::BadTag => "bad_tag",
        Refusal::WeakKey => "weak_key",
        Refusal::NotForUs => "not_for_us",
        Refusal::BadSeal => "bad_seal",
        Refusal::BadContent => "bad_content",
        Refusal::UnknownKind => "unknown_kind",
        Refusal::BadSignature => "bad_signature",
        other => unreachable!("{other:?} is no matter of one envelope"),
    }
}
