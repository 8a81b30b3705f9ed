//! Edge cases in which two implementations could differ: refused, ignored and accepted input.

use blink_api::Did;
use blink_proto::secure::{AgreementKey, Refusal, verify};
use blink_proto::wire::{
    Body, Busy, ChannelMessage, Content, ContentError, JoinedClaim, Link, LinkRole, MAX_ENTRIES, Offer, Seen, Signed,
    candidates_of, cbor,
};
use curve25519_dalek::{EdwardsPoint, Scalar, constants};
use serde_json::{Value, json};
use sha2::{Digest, Sha512};

use crate::envelopes::from_bob;
use crate::scene::{BOB_SEED, Scene};
use crate::{bodies, hex};

/// Bytes, and whether they are deterministic CBOR as the wire format requires.
pub(crate) fn encodings() -> Value {
    let nested = |levels: usize, innermost: u8| [vec![0x81; levels - 1], vec![innermost]].concat();
    let (accepted, refused) = ("accepted", "malformed");
    let encodings = [
        ("twelve levels: eleven arrays and an integer", nested(12, 0), accepted),
        ("thirteen levels: twelve arrays and an integer", nested(13, 0), refused),
        ("twelve levels: twelve arrays, the innermost empty", nested(12, 0x80), accepted),
        ("thirteen arrays, the innermost empty", nested(13, 0x80), refused),
        ("a map's values are a level below it", [&[0xa1, 0][..], &nested(11, 0)].concat(), accepted),
        ("a map's values are a level below it", [&[0xa1, 0][..], &nested(12, 0)].concat(), refused),
        ("what is in a byte string has no level", [&[0x4d][..], &nested(13, 0)].concat(), accepted),
        ("a map whose key is the greatest", vec![0xa1, 0x19, 0xff, 0xff, 0], accepted),
        ("a map whose key is one greater", vec![0xa1, 0x1a, 0, 1, 0, 0, 0], refused),
        ("a map whose key is negative", vec![0xa1, 0x20, 0], refused),
        ("a map whose key is text", vec![0xa1, 0x61, 0x61, 0], refused),
        ("a map whose key is a byte string", vec![0xa1, 0x41, 0x61, 0], refused),
        ("a map whose key is true", vec![0xa1, 0xf5, 0], refused),
    ];
    let encodings = encodings.map(|(name, bytes, output)| {
        assert_eq!(cbor::check(&bytes).is_ok(), output == accepted, "{name}");
        json!({ "name": name, "input": hex(&bytes), "output": output })
    });
    encodings.into_iter().collect()
}

/// Bytes of a content, and the result of decoding it.
pub(crate) fn content_forms(scene: &Scene) -> Value {
    let whole = from_bob(scene, Body::Busy(Busy {})).encode();
    // The last three bytes are the kind, the key of the body, and an empty map; the two before the
    // kind are the end of the call id and the key of the kind.
    let head = &whole[1..whole.len() - 3];
    let with = |fields: u8, rest: &[u8]| [&[0xa0 | fields], head, rest].concat();
    let without_did = [&[0xa7], &head[35..], &[9, 8, 0xa0]].concat();
    let forms = [
        ("a kind that is known", whole.clone(), "accepted"),
        ("a field that is not known", with(9, &[2, 8, 0xa0, 9, 0x61, 0x61]), "accepted"),
        ("a field that is not known, with a great key", with(9, &[2, 8, 0xa0, 0x19, 0xff, 0xff, 0]), "accepted"),
        ("a kind that is not known", with(8, &[9, 8, 0xa1, 0, 1]), "unknown_kind"),
        ("kind 255", with(8, &[0x18, 0xff, 8, 0xa0]), "unknown_kind"),
        ("kind 256", with(8, &[0x19, 1, 0, 8, 0xa0]), "unknown_kind"),
        ("the greatest kind", with(8, &[&[0x1b][..], &[0xff; 8], &[8, 0xa0]].concat()), "unknown_kind"),
        ("a negative kind", with(8, &[0x20, 8, 0xa0]), "bad_content"),
        ("a kind that is not known and a field that is missing", without_did, "bad_content"),
        ("a kind that is not known without a body", with(7, &[9]), "bad_content"),
        ("a kind that is not known whose body is no map", with(8, &[9, 8, 0x80]), "bad_content"),
        ("a field that is not known, with a key that is text", with(9, &[2, 8, 0xa0, 0x61, 0x61, 0]), "bad_content"),
    ];
    let forms = forms.map(|(name, bytes, output)| {
        let taken_for = match Content::decode(&bytes) {
            Ok(_) => "accepted",
            Err(ContentError::UnknownKind) => "unknown_kind",
            Err(ContentError::Malformed) => "bad_content",
        };
        assert_eq!(taken_for, output, "{name}");
        json!({ "name": name, "input": hex(&bytes), "output": output })
    });
    forms.into_iter().collect()
}

/// Public keys, and whether they are usable.
pub(crate) fn keys(scene: &Scene) -> Value {
    let noncanonical = |least: u8, highest: u8| {
        let mut key = [0xff; 32];
        (key[0], key[31]) = (least, highest);
        key
    };
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let mut no_point = [0; 32];
    no_point[0] = 2;
    let keys = [
        ("an ordinary key", *scene.bob.did().public_key(), "usable"),
        ("the neutral element", neutral, "weak_key"),
        ("no point of the curve", no_point, "weak_key"),
        // p + 3 and p + 4: 3 and 4 are coordinates of points.
        ("y = p + 3", noncanonical(0xf0, 0x7f), "weak_key"),
        ("y = p + 3, the other x", noncanonical(0xf0, 0xff), "weak_key"),
        ("y = p + 4", noncanonical(0xf1, 0x7f), "weak_key"),
    ];
    let keys = keys.map(|(name, key, output)| {
        let usable = AgreementKey::public_of(&Did::from_public_key(key)).is_ok();
        assert_eq!(usable, output == "usable", "{name}");
        json!({ "name": name, "input": { "did_pk": hex(&key) }, "output": output })
    });
    keys.into_iter().collect()
}

/// Bob's signature, and invalid ones that satisfy the equation S·B = R + k·A.
pub(crate) fn signatures(scene: &Scene) -> Value {
    const MESSAGE: &[u8] = b"blink/1";
    let did = scene.bob.did();
    let sound = scene.bob.sign(b"", MESSAGE);
    let secret = Sha512::digest(BOB_SEED);
    let secret = Scalar::from_bytes_mod_order(clamped(*secret.first_chunk().expect("64 bytes are more than 32")));
    let challenge = |r: &[u8; 32]| {
        let hash = Sha512::new().chain_update(r).chain_update(did.public_key()).chain_update(MESSAGE).finalize();
        Scalar::from_bytes_mod_order_wide(&hash.into())
    };
    // The neutral element is 0·B: any signer can use it for R. Its second encoding is y = p + 1.
    let neutral = EdwardsPoint::default().compress().to_bytes();
    let mut second_form = [0xff; 32];
    (second_form[0], second_form[31]) = (0xee, 0x7f);
    let of_neutral = |r: [u8; 32]| signature(r, challenge(&r) * secret);
    // R of order 8 with S as for the neutral element satisfies only the equation with the cofactor.
    let torsion = constants::EIGHT_TORSION[1].compress().to_bytes();
    let mut great = sound;
    add_order(&mut great);
    let signatures = [
        ("an ordinary one", sound, "accepted"),
        ("R is the neutral element", of_neutral(neutral), "bad_signature"),
        ("R is the neutral element in its second form", of_neutral(second_form), "bad_signature"),
        ("R is of order 8, and the equation holds with the cofactor only", of_neutral(torsion), "bad_signature"),
        ("S is not below the order", great, "bad_signature"),
    ];
    let signatures = signatures.map(|(name, signature, output)| {
        let outcome = verify(&did, b"", MESSAGE, &signature);
        assert_eq!(outcome, if output == "accepted" { Ok(()) } else { Err(Refusal::BadSignature) }, "{name}");
        json!({
            "name": name,
            "input": { "did_pk": hex(did.public_key()), "message": hex(MESSAGE), "signature": hex(&signature) },
            "output": output,
        })
    });
    signatures.into_iter().collect()
}

fn clamped(mut scalar: [u8; 32]) -> [u8; 32] {
    scalar[0] &= 0xf8;
    scalar[31] = scalar[31] & 0x7f | 0x40;
    scalar
}

fn signature(r: [u8; 32], s: Scalar) -> [u8; 64] {
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&r);
    signature[32..].copy_from_slice(s.as_bytes());
    signature
}

/// Adds the group order to S, in little endian.
fn add_order(signature: &mut [u8; 64]) {
    // The order is (order - 1) + 1.
    let order = (Scalar::ZERO - Scalar::ONE).to_bytes();
    let mut carry = 1;
    for (byte, add) in signature[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
}

/// Seen and Claim: their last two elements have different orders, and neither is decoded as the
/// other.
pub(crate) fn arrays(scene: &Scene) -> Value {
    let seen = bodies::member(scene, Vec::new()).record.seen.remove(0);
    let claim = offer(scene).joined.remove(0);
    let (seen, claim) = (cbor::encode(&seen), cbor::encode(&claim));
    assert!(cbor::decode::<JoinedClaim>(&seen).is_err() && cbor::decode::<Seen>(&claim).is_err());
    json!([
        { "name": "Seen", "elements": ["endpoint", "boot", "call_key", "version"], "output": hex(&seen) },
        { "name": "Claim", "elements": ["endpoint", "boot", "version", "call_key"], "output": hex(&claim) },
    ])
}

/// A message with more entries than are read. Those after the limit are ignored, even if malformed.
pub(crate) fn entries_of_a_message(scene: &Scene) -> Value {
    let mut offer = offer(scene);
    let entry = scene.signed_entries().remove(0);
    let beyond = Signed { bytes: b"no entry".to_vec(), signature: [0; 64] };
    offer.entries = std::iter::repeat_n(entry, MAX_ENTRIES).chain([beyond.clone(), beyond]).collect();
    json!({
        "input": hex(&cbor::encode(&Body::Offer(Box::new(offer)))),
        "output": { "entries": MAX_ENTRIES + 2, "read": MAX_ENTRIES },
    })
}

fn offer(scene: &Scene) -> Offer {
    let bodies = bodies::all(scene).into_iter();
    let mut offers = bodies.filter_map(|(_, body, _)| if let Body::Offer(offer) = body { Some(*offer) } else { None });
    offers.next().expect("it is one of them")
}

/// Candidates of a generation: those of its description first, then those of the messages in order
/// of their indexes, which count the latter only.
pub(crate) fn descriptions(scene: &Scene) -> Value {
    let [host, reflexive, trickled] = [
        "candidate:1 1 udp 2130706431 192.0.2.1 50000 typ host",
        "candidate:2 1 udp 1694498815 198.51.100.1 50000 typ srflx raddr 0.0.0.0 rport 0",
        "candidate:3 1 udp 2130706431 192.0.2.2 50001 typ host",
    ];
    let sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 00\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na={host}\r\na=end-of-candidates\r\n\
         m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:1\r\na={reflexive}\r\n"
    );
    let link = Link {
        link: scene.link.into(),
        renegotiation_requests: 0,
        generation: 1,
        role: LinkRole::Offer,
        sdp: Some(sdp.clone()),
        first_candidate: 0,
        candidates: vec![trickled.to_owned(), host.to_owned()],
        ack_generation: 0,
        ack_candidates: 0,
        failed: false,
        cause: None,
    };
    let described: Vec<_> = candidates_of(&sdp).collect();
    assert_eq!(described, [host, reflexive]);
    json!([{
        "name": "a link with candidates in its description and beside it, one of them in both",
        "input": hex(&cbor::encode(&Body::Link(Box::new(link)))),
        "output": {
            "candidates_of_the_description": described,
            "candidates_of_the_generation": [host, reflexive, trickled],
            "ack_candidates": 2,
        },
    }])
}

/// A data channel message with additional elements.
pub(crate) fn longer_arrays() -> Value {
    // [1, [7, 8]] is a Ping; additional elements are inside or outside the inner array.
    let forms = [
        ("a ping", &[0x82, 1, 0x82, 7, 8][..], true),
        ("with one element more within", &[0x82, 1, 0x83, 7, 8, 9], true),
        ("with one element more without", &[0x83, 1, 0x82, 7, 8, 9], false),
        ("with one element less within", &[0x82, 1, 0x81, 7], false),
        ("a report without captures, as devices send it that know none", &[0x82, 6, 0x83, 1, 0x18, 100, 0x80], true),
        ("a report with one element more within", &[0x82, 6, 0x85, 1, 0x18, 100, 0x80, 0x80, 0], true),
    ];
    let forms = forms.map(|(name, bytes, accepted)| {
        assert_eq!(cbor::decode::<ChannelMessage>(bytes).is_ok(), accepted, "{name}");
        json!({ "name": name, "input": hex(bytes), "output": if accepted { "accepted" } else { "malformed" } })
    });
    forms.into_iter().collect()
}

/// Location of the SCTP handshake, depending on a valid `a=sctp-init` in offer and answer.
pub(crate) fn sctp_init() -> Value {
    // RFC 9260 §3.3.2: type, flags, length, initiate tag, advertised window, streams out and in,
    // first TSN.
    let chunk = [&[1, 0, 0, 20][..], &[0x12, 0x34, 0x56, 0x78], &[0, 16, 0, 0], &[4, 0, 4, 0], &[0, 0, 0, 1]].concat();
    let handshakes = [(true, true, "in the descriptions"), (true, false, "on the path"), (false, false, "on the path")];
    let handshakes = handshakes.map(|(offer, answer, output)| {
        json!({ "input": { "offer_has_sctp_init": offer, "answer_has_sctp_init": answer }, "output": output })
    });
    json!({ "init_chunk": hex(&chunk), "attribute": format!("a=sctp-init:{}", base64(&chunk)), "handshake": handshakes })
}

/// Base64 with padding (RFC 4648 §4).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |three: &[u8]| {
        let bits = three.iter().chain([&0, &0]).take(3).fold(0, |bits, byte| bits << 8 | usize::from(*byte));
        let digit = move |n: usize| if n > three.len() { '=' } else { char::from(ALPHABET[bits >> (18 - 6 * n) & 63]) };
        (0..4).map(digit).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}
