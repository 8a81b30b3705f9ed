//! Envelopes: content that is signed by its sender, encrypted for its recipients, and bound to its
//! topic.
//!
//! ```text
//! Envelope = [ H: bstr, ct: bstr, tag: bstr ]                     at most 16,384 bytes
//! H   = [1, 1, eph: bstr32, [1..32 wraps: bstr56]]                hh = SHA-256(topic ‖ H)
//! okm = HKDF-SHA256(salt = topic, ikm = X25519(eph, R), info = "blink/1 wrap\0" ‖ 0x01 ‖ eph ‖ R, 40);  kek = okm[0..32], hint = okm[32..40]
//! wrap = hint ‖ AES-256-GCM(kek, 0¹², "", cek)                    random wraps up to a power of two, then sorted
//! P   = u16be(len content) ‖ content ‖ Ed25519("blink/1 sig\0" ‖ hh ‖ content) ‖ zeros to a multiple of 256
//! ct  = AES-256-GCM(cek, 0¹², "blink/1 env\0" ‖ hh, P)
//! tag = on a call's topic HMAC-SHA256(k_tag, "blink/1 tag\0" ‖ hh ‖ ct)[0..16]; on an inbox empty
//! ```
//!
//! `eph` and `cek` are fresh for every envelope: no key encrypts twice, which makes zero nonces
//! safe.

use std::fmt;

use std::collections::BTreeSet;

use blink_api::Topic;
use minicbor::{Decode, Encode};
use rand::Rng;
use zeroize::Zeroizing;

use super::counters::Refusal;
use super::identity::{Identity, verify};
use super::keys::AgreementKey;
use super::random::Random;
use super::symmetric::{aes_256_gcm_open, aes_256_gcm_seal, expand, hmac_sha256, hmac_sha256_begins, sha256};
use crate::wire::{Content, ContentError, cbor};

/// Largest envelope in bytes.
pub const MAX_ENVELOPE: usize = 16_384;
/// Maximum number of recipients of one envelope.
pub const MAX_RECIPIENTS: usize = 32;

const VERSION: u8 = 1;
const SUITE: u8 = 1;
const WRAP: usize = 8 + 32 + 16;
const SIGNATURE: usize = 64;
const PADDING: usize = 256;
/// Nonce of every encryption: no key is used twice.
const NONCE: [u8; 12] = [0; 12];
const TAG_CONTEXT: &[u8] = b"blink/1 tag\0";

/// Parameters of [`seal`].
pub struct Sealing<'a> {
    /// Topic on which it will be published.
    pub topic: Topic,
    /// X25519 keys of the recipients: 1 to 32.
    pub recipients: &'a [[u8; 32]],
    /// Tag key of the call on a call's topic; `None` on an inbox.
    pub tag: Option<&'a [u8; 32]>,
    /// Signer; the same as in the content.
    pub identity: &'a Identity,
}

// The tag key is a secret: it is shown in no log.
impl fmt::Debug for Sealing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let recipients = self.recipients.len();
        f.debug_struct("Sealing").field("topic", &self.topic).field("recipients", &recipients).finish_non_exhaustive()
    }
}

#[derive(Encode, Decode)]
struct Outer {
    #[cbor(n(0), with = "minicbor::bytes")]
    header: Vec<u8>,
    #[cbor(n(1), with = "minicbor::bytes")]
    ciphertext: Vec<u8>,
    #[cbor(n(2), with = "minicbor::bytes")]
    tag: Vec<u8>,
}

#[derive(Encode, Decode)]
struct Header {
    #[n(0)]
    version: u8,
    #[n(1)]
    suite: u8,
    #[cbor(n(2), with = "minicbor::bytes")]
    ephemeral: [u8; 32],
    #[n(3)]
    wraps: Vec<minicbor::bytes::ByteArray<WRAP>>,
}

/// Seals content for its recipients.
///
/// # Errors
/// [`Refusal::Oversize`] where it would be larger than [`MAX_ENVELOPE`] or has too many recipients,
/// [`Refusal::WeakKey`] for a recipient's key of small order.
pub fn seal(sealing: &Sealing<'_>, content: &[u8], random: &mut Random) -> Result<Vec<u8>, Refusal> {
    if sealing.recipients.is_empty() || sealing.recipients.len() > MAX_RECIPIENTS || content.len() > MAX_ENVELOPE {
        return Err(Refusal::Oversize);
    }
    let ephemeral = AgreementKey::generate(random);
    let mut content_key = Zeroizing::new([0; 32]);
    random.fill_bytes(&mut content_key[..]);

    let mut wraps = Vec::with_capacity(sealing.recipients.len().next_power_of_two());
    // Duplicate keys would make equal wraps, which the strict order of wraps does not allow.
    for recipient in sealing.recipients.iter().collect::<BTreeSet<_>>() {
        let (key, hint) = wrapping_key(&sealing.topic, &ephemeral, recipient, ephemeral.public(), recipient)?;
        let wrapped = aes_256_gcm_seal(&key, &NONCE, &[], &content_key[..]);
        wraps.push([&hint[..], &wrapped].concat().try_into().expect("8 bytes of hint, 32 of key, 16 of tag"));
    }
    // Random wraps hide the exact number of recipients, and sorting hides their order.
    while !wraps.len().is_power_of_two() {
        let mut random_wrap = [0; WRAP];
        random.fill_bytes(&mut random_wrap);
        wraps.push(random_wrap);
    }
    wraps.sort_unstable();

    let wraps = wraps.into_iter().map(Into::into).collect();
    let header = cbor::encode(&Header { version: VERSION, suite: SUITE, ephemeral: *ephemeral.public(), wraps });
    let header_hash = sha256(&[sealing.topic.as_bytes(), &header]);
    let plaintext = plaintext(sealing.identity, &header_hash, content);
    let ciphertext = aes_256_gcm_seal(&content_key, &NONCE, &associated(&header_hash), &plaintext);
    let tag = sealing.tag.map(|key| tag_of(key, &header_hash, &ciphertext)).unwrap_or_default();

    let envelope = cbor::encode(&Outer { header, ciphertext, tag });
    if envelope.len() > MAX_ENVELOPE { Err(Refusal::Oversize) } else { Ok(envelope) }
}

/// Opens an envelope with the keys of this device for the topic, and performs all checks that need
/// no state.
///
/// # Errors
/// Reason of the refusal. Cheap checks come first.
pub fn open(
    topic: &Topic,
    envelope: &[u8],
    keys: &[&AgreementKey],
    tag: Option<&[u8; 32]>,
) -> Result<Content, Refusal> {
    if envelope.len() > MAX_ENVELOPE {
        return Err(Refusal::Oversize);
    }
    let outer: Outer = cbor::decode(envelope).map_err(|_| Refusal::Malformed)?;
    let header: Header = cbor::decode(&outer.header).map_err(|_| Refusal::Malformed)?;
    check_header(&header)?;
    let header_hash = sha256(&[topic.as_bytes(), &outer.header]);
    check_tag(tag, &header_hash, &outer)?;
    let content_key = unwrap(topic, &header, keys)?;
    let plaintext = aes_256_gcm_open(&content_key, &NONCE, &associated(&header_hash), &outer.ciphertext)?;
    let (content, signature) = split(&plaintext)?;
    let signed = Content::decode(content).map_err(|error| match error {
        ContentError::Malformed => Refusal::BadContent,
        ContentError::UnknownKind => Refusal::UnknownKind,
    })?;
    verify(&signed.from.did, &signature_context(&header_hash), content, signature)?;
    Ok(signed)
}

fn check_header(header: &Header) -> Result<(), Refusal> {
    let wraps = header.wraps.len();
    let sorted = header.wraps.is_sorted_by(|one, other| one[..] < other[..]);
    let sound = header.version == VERSION
        && header.suite == SUITE
        && wraps.is_power_of_two()
        && wraps <= MAX_RECIPIENTS
        && sorted;
    if sound { Ok(()) } else { Err(Refusal::Malformed) }
}

fn check_tag(key: Option<&[u8; 32]>, header_hash: &[u8; 32], outer: &Outer) -> Result<(), Refusal> {
    let Some(key) = key else {
        return if outer.tag.is_empty() { Ok(()) } else { Err(Refusal::BadTag) };
    };
    if outer.tag.len() != 16 {
        return Err(Refusal::BadTag);
    }
    let right = hmac_sha256_begins(key, &[TAG_CONTEXT, header_hash, &outer.ciphertext], &outer.tag);
    if right { Ok(()) } else { Err(Refusal::BadTag) }
}

fn tag_of(key: &[u8; 32], header_hash: &[u8; 32], ciphertext: &[u8]) -> Vec<u8> {
    hmac_sha256(key, &[TAG_CONTEXT, header_hash, ciphertext])[..16].to_vec()
}

/// Finds the wrap for one of the keys and decrypts the content key.
fn unwrap(topic: &Topic, header: &Header, keys: &[&AgreementKey]) -> Result<Zeroizing<[u8; 32]>, Refusal> {
    for own in keys {
        let (key, hint) = wrapping_key(topic, own, &header.ephemeral, &header.ephemeral, own.public())?;
        if let Some(wrap) = header.wraps.iter().find(|wrap| wrap[..8] == hint) {
            let content_key = aes_256_gcm_open(&key, &NONCE, &[], &wrap[8..])?;
            let content_key: [u8; 32] = content_key[..].try_into().map_err(|_| Refusal::BadSeal)?;
            return Ok(Zeroizing::new(content_key));
        }
    }
    Err(Refusal::NotForUs)
}

/// Key that wraps the content key for one recipient, and the hint by which the recipient finds the
/// wrap.
fn wrapping_key(
    topic: &Topic,
    own: &AgreementKey,
    their: &[u8; 32],
    ephemeral: &[u8; 32],
    recipient: &[u8; 32],
) -> Result<(Zeroizing<[u8; 32]>, [u8; 8]), Refusal> {
    let shared = own.agree(their)?;
    let info = [&b"blink/1 wrap\0\x01"[..], ephemeral, recipient].concat();
    let output: Zeroizing<[u8; 40]> = expand(topic.as_bytes(), &shared[..], &info);
    let (key, hint) = output.split_first_chunk().expect("40 bytes are more than 32");
    Ok((Zeroizing::new(*key), hint.try_into().expect("40 less 32 is 8")))
}

fn plaintext(identity: &Identity, header_hash: &[u8; 32], content: &[u8]) -> Zeroizing<Vec<u8>> {
    let length = u16::try_from(content.len()).expect("checked against the largest envelope");
    let signature = identity.sign(&signature_context(header_hash), content);
    let mut plaintext = Zeroizing::new(Vec::with_capacity(content.len() + 2 + SIGNATURE + PADDING));
    plaintext.extend_from_slice(&length.to_be_bytes());
    plaintext.extend_from_slice(content);
    plaintext.extend_from_slice(&signature);
    let padded = plaintext.len().next_multiple_of(PADDING);
    plaintext.resize(padded, 0);
    plaintext
}

/// Splits a plaintext into content and signature, and checks its padding.
fn split(plaintext: &[u8]) -> Result<(&[u8], &[u8; SIGNATURE]), Refusal> {
    let (length, rest) = plaintext.split_first_chunk().ok_or(Refusal::BadContent)?;
    let (content, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(Refusal::BadContent)?;
    let (signature, zeros) = rest.split_first_chunk().ok_or(Refusal::BadContent)?;
    let padded =
        plaintext.len().is_multiple_of(PADDING) && zeros.len() < PADDING && zeros.iter().all(|zero| *zero == 0);
    if padded { Ok((content, signature)) } else { Err(Refusal::BadContent) }
}

fn associated(header_hash: &[u8; 32]) -> Vec<u8> {
    [&b"blink/1 env\0"[..], header_hash].concat()
}

fn signature_context(header_hash: &[u8; 32]) -> Vec<u8> {
    [&b"blink/1 sig\0"[..], header_hash].concat()
}
