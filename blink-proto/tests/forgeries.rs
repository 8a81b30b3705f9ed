//! Handwritten envelopes of a sender that has every key and violates one rule of the protocol.

use std::time::{Duration, Instant};

use blink_api::{CallId, Delivery, DeliveryId, DeviceId, Did, Endpoint, Origin, Topic, Verdict};
use blink_proto::secure::Identity;
use blink_proto::secure::symmetric::{aes_256_gcm_seal, hkdf_sha256, hmac_sha256, sha256};
use blink_proto::secure::{AgreementKey, CallKeys, Channel, EnvelopeCodec, Random, Refusal, inbox_topic, open};
use blink_proto::wire::{Body, Bytes16, Content, Ringing};
use minicbor::Encoder;
use rand::SeedableRng;

const CALL: CallId = CallId::from_bytes([7; 16]);

/// Parts of an envelope. [`Forgery::honest`] conforms to `docs/protocol.md`.
#[derive(Clone)]
struct Forgery {
    /// Topic in the signed hash.
    topic: Topic,
    /// Topic and recipient of each wrap.
    wraps: Vec<(Topic, [u8; 32])>,
    content: Vec<u8>,
    /// Padding after the signature; `None` for the required one.
    padding: Option<Vec<u8>>,
    tag: Vec<u8>,
    /// Transformation of the wraps before they are encoded.
    order: fn(&mut Vec<[u8; 56]>),
}

impl Forgery {
    fn honest(topic: Topic, recipient: [u8; 32]) -> Self {
        let content = content(1, 1).encode();
        let order = |wraps: &mut Vec<[u8; 56]>| wraps.sort_unstable();
        Self { topic, wraps: vec![(topic, recipient)], content, padding: None, tag: Vec::new(), order }
    }

    fn seal(&self) -> Vec<u8> {
        self.seal_with(None)
    }

    /// With a tag of that key.
    fn seal_with(&self, tag: Option<&[u8; 32]>) -> Vec<u8> {
        let ephemeral = AgreementKey::from_scalar(&[21; 32]);
        let content_key = [22; 32];
        let mut wraps: Vec<[u8; 56]> = self.wraps.iter().map(|wrap| wrapped(&ephemeral, &content_key, wrap)).collect();
        (self.order)(&mut wraps);
        let mut header = Encoder::new(Vec::new());
        header.array(4).unwrap().u8(1).unwrap().u8(1).unwrap().bytes(ephemeral.public()).unwrap();
        header.array(wraps.len() as u64).unwrap();
        for wrap in &wraps {
            header.bytes(wrap).unwrap();
        }
        let header = header.into_writer();
        let hash = sha256(&[self.topic.as_bytes(), &header]);

        let mut plaintext = u16::try_from(self.content.len()).unwrap().to_be_bytes().to_vec();
        plaintext.extend(&self.content);
        plaintext.extend(alice().sign(&[&b"blink/1 sig\0"[..], &hash].concat(), &self.content));
        match &self.padding {
            Some(padding) => plaintext.extend(padding),
            None => plaintext.resize(plaintext.len().next_multiple_of(256), 0),
        }
        let sealed = aes_256_gcm_seal(&content_key, &[0; 12], &[&b"blink/1 env\0"[..], &hash].concat(), &plaintext);
        let tag = match tag {
            Some(key) => hmac_sha256(key, &[b"blink/1 tag\0", &hash, &sealed])[..16].to_vec(),
            None => self.tag.clone(),
        };
        let mut envelope = Encoder::new(Vec::new());
        envelope.array(3).unwrap().bytes(&header).unwrap().bytes(&sealed).unwrap().bytes(&tag).unwrap();
        envelope.into_writer()
    }

    /// Number of padding bytes up to a multiple of the block size.
    fn missing(&self) -> usize {
        let length = 2 + self.content.len() + 64;
        length.next_multiple_of(256) - length
    }
}

fn wrapped(ephemeral: &AgreementKey, content_key: &[u8; 32], (topic, recipient): &(Topic, [u8; 32])) -> [u8; 56] {
    let shared = ephemeral.agree(recipient).unwrap();
    let info = [&b"blink/1 wrap\0\x01"[..], ephemeral.public(), recipient].concat();
    let mut output = [0; 40];
    hkdf_sha256(topic.as_bytes(), &shared[..], &info, &mut output).unwrap();
    let sealed = aes_256_gcm_seal(output[..32].try_into().unwrap(), &[0; 12], &[], content_key);
    [&output[32..], &sealed].concat().try_into().unwrap()
}

fn alice() -> Identity {
    Identity::from_seed(&[1; 32])
}

fn bob() -> Identity {
    Identity::from_seed(&[2; 32])
}

fn endpoint(identity: &Identity) -> Endpoint {
    Endpoint { did: identity.did(), device: DeviceId::from_random([1; 16]) }
}

fn content(boot: u64, seq: u64) -> Content {
    let body = Body::Ringing(Ringing { nonce: Bytes16::from([9; 16]), rings: true });
    Content { from: endpoint(&alice()), boot, seq, unix_ms: 0, call: CALL, body }
}

fn envelope() -> Forgery {
    Forgery::honest(inbox_topic(&bob().did()), *bob().agreement().public())
}

/// Result of opening an envelope with Bob's key.
fn opened(envelope: &[u8]) -> Result<Content, Refusal> {
    open(&inbox_topic(&bob().did()), envelope, &[&bob().agreement()], None)
}

#[test]
fn a_conforming_envelope_opens() {
    assert_eq!(opened(&envelope().seal()), Ok(content(1, 1)));
    let zeros = Forgery { padding: Some(vec![0; envelope().missing()]), ..envelope() };
    assert_eq!(zeros.seal(), envelope().seal());
}

/// With a wrap for each of two topics, the hashed topic alone binds an envelope to one of them.
#[test]
fn an_envelope_is_good_on_one_topic_whatever_its_wraps_are_for() {
    let keys = CallKeys::new(CALL, [3; 32].into());
    let (inbox, key) = (envelope().topic, bob().agreement());
    for (signed_for, elsewhere) in [(inbox, keys.topic), (keys.topic, inbox)] {
        let wraps = [inbox, keys.topic].map(|topic| (topic, *key.public())).to_vec();
        let envelope = Forgery { topic: signed_for, wraps, ..envelope() }.seal();
        assert_eq!(open(&signed_for, &envelope, &[&key], None), Ok(content(1, 1)));
        assert_eq!(open(&elsewhere, &envelope, &[&key], None), Err(Refusal::BadSeal));
    }
}

#[test]
fn padding_is_zeros_up_to_the_next_block_and_nothing_else() {
    let missing = envelope().missing();
    let mut odd = vec![0; missing];
    odd[missing - 1] = 1;
    for padding in [odd, vec![0; missing + 256], vec![0; missing - 1], Vec::new()] {
        let forged = Forgery { padding: Some(padding.clone()), ..envelope() };
        assert_eq!(opened(&forged.seal()), Err(Refusal::BadContent), "{} bytes", padding.len());
    }
}

#[test]
fn wraps_ascend_and_their_number_is_a_power_of_two() {
    let orders: [fn(&mut Vec<[u8; 56]>); 3] = [
        |wraps| {
            wraps.push([0xff; 56]);
            wraps.reverse();
        },
        |wraps| wraps.push(wraps[0]),
        |wraps| wraps.extend([[0xfe; 56], [0xff; 56]]),
    ];
    for order in orders {
        assert_eq!(opened(&Forgery { order, ..envelope() }.seal()), Err(Refusal::Malformed));
    }
    let two = Forgery { order: |wraps| wraps.push([0xff; 56]), ..envelope() };
    assert_eq!(opened(&two.seal()), Ok(content(1, 1)));
}

#[test]
fn there_is_one_encoding_of_an_envelope() {
    let envelope = envelope().seal();
    assert_eq!(envelope[..2], [0x83, 0x58], "the header's length stands in one byte");
    let overlong = [&[0x83, 0x59, 0], &envelope[2..]].concat();
    let longer = [&envelope[..], &[0]].concat();
    for other in [overlong, longer, envelope[..envelope.len() - 1].to_vec()] {
        assert_eq!(opened(&other), Err(Refusal::Malformed));
    }
}

#[test]
fn a_call_topic_takes_no_envelope_without_the_calls_tag_and_an_inbox_none_with_one() {
    let keys = CallKeys::new(CALL, [3; 32].into());
    let key = bob().agreement();
    let record = Forgery::honest(keys.topic, *key.public());
    let on_call = |envelope: &[u8]| open(&keys.topic, envelope, &[&key], Some(keys.tag()));
    assert_eq!(on_call(&record.seal_with(Some(keys.tag()))), Ok(content(1, 1)));
    for forged in [record.seal(), record.seal_with(Some(&[0; 32])), Forgery { tag: vec![0; 16], ..record }.seal()] {
        assert_eq!(on_call(&forged), Err(Refusal::BadTag));
    }
    assert_eq!(opened(&envelope().seal_with(Some(keys.tag()))), Err(Refusal::BadTag));
}

#[test]
fn a_sender_with_a_key_of_small_order_is_rejected() {
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let from = Endpoint { did: Did::from_public_key(neutral), ..endpoint(&alice()) };
    let forged = Forgery { content: Content { from, ..content(1, 1) }.encode(), ..envelope() };
    assert_eq!(opened(&forged.seal()), Err(Refusal::WeakKey));
}

fn codec(now: Instant) -> EnvelopeCodec {
    EnvelopeCodec::new(bob(), endpoint(&bob()), 1, Random::from_seed([2; 32]), now)
}

fn delivery(message: &[u8], origin: u32) -> Delivery {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&origin.to_be_bytes());
    Delivery { id: DeliveryId(1), origin: Some(Origin(bytes)), message: message.to_vec().into() }
}

fn of(boot: u64, seq: u64) -> Vec<u8> {
    Forgery { content: content(boot, seq).encode(), ..envelope() }.seal()
}

#[test]
fn envelopes_of_an_older_boot_are_rejected() {
    let now = Instant::now();
    let (mut codec, topic) = (codec(now), envelope().topic);
    let mut hears = |boot, seq| codec.open(now, &topic, &delivery(&of(boot, seq), 1)).0.map(|_| ());
    assert_eq!(hears(5, 1), Ok(()));
    assert_eq!(hears(4, 2), Err(Refusal::Replayed), "an older start");
    assert_eq!(hears(6, 1), Ok(()), "a newer start counts from the beginning");
    assert_eq!(hears(5, 2), Err(Refusal::Replayed), "which is over by now");
}

#[test]
fn a_flood_is_dropped_before_decryption_and_ignored_by_verdict() {
    let now = Instant::now();
    let topic = envelope().topic;
    let garbage = vec![0; 1_000];
    // From one origin of unknown identities, and from many.
    for (origins, most) in [(1, 10), (1_000, 150)] {
        let mut codec = codec(now);
        let verdicts: Vec<_> =
            (0..1_000).map(|n| codec.open(now, &topic, &delivery(&garbage, n % origins)).1).collect();
        let counters = *codec.counters();
        assert_eq!((counters.malformed, counters.rate_limited), (most, 1_000 - most), "{origins} origins");
        assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::Ignore).count() as u64, 1_000 - most);
    }
    // On a call's topic an origin has a bucket of its own, too.
    let mut codec = codec(now);
    let keys = CallKeys::new(CALL, [3; 32].into());
    codec.join(keys.clone(), AgreementKey::from_scalar(&[5; 32]));
    (0..1_000).for_each(|_| drop(codec.open(now, &keys.topic, &delivery(&garbage, 1))));
    assert_eq!((codec.counters().malformed, codec.counters().rate_limited), (20, 980));
}

#[test]
fn one_identity_has_one_rate_limit_over_all_origins() {
    let now = Instant::now();
    let (mut codec, topic) = (codec(now), envelope().topic);
    let envelopes: Vec<_> = (1..=120).map(|seq| of(1, seq)).collect();
    let hear = |codec: &mut EnvelopeCodec, at, range: std::ops::Range<usize>| {
        range.filter(|n| codec.open(at, &topic, &delivery(&envelopes[*n], *n as u32)).0.is_ok()).count()
    };
    assert_eq!(hear(&mut codec, now, 0..100), 80);
    assert_eq!(codec.counters().rate_limited, 20);
    // Rate-limited envelopes do not enter the replay window.
    assert_eq!(hear(&mut codec, now + Duration::from_secs(1), 80..120), 20);
}

#[test]
fn a_message_on_a_calls_topic_names_that_call() {
    let now = Instant::now();
    let keys = CallKeys::new(CALL, [3; 32].into());
    let key = AgreementKey::from_scalar(&[5; 32]);
    let mut codec = codec(now);
    codec.join(keys.clone(), key.clone());
    let other = CallId::from_bytes([8; 16]);
    let reject = |call, seq| {
        let signed = blink_proto::wire::Signed { bytes: Vec::new(), signature: [0; 64] };
        let body = Body::Reject(blink_proto::wire::Reject { entry: signed, acknowledged: false, reason: None });
        let content = Content { call, body, ..content(1, seq) }.encode();
        Forgery { content, ..Forgery::honest(keys.topic, *key.public()) }.seal_with(Some(keys.tag()))
    };
    let mut hears =
        |envelope: &[u8]| codec.open(now, &keys.topic, &delivery(envelope, 1)).0.map(|(channel, _)| channel);
    assert_eq!(hears(&reject(other, 1)), Err(Refusal::WrongTopic));
    assert_eq!(hears(&reject(CALL, 2)), Ok(Channel::Call(CALL)));
    let ringing = Forgery::honest(keys.topic, *key.public()).seal_with(Some(keys.tag()));
    assert_eq!(hears(&ringing), Err(Refusal::WrongTopic), "a kind for inboxes");
}
