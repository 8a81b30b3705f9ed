//! Agreement keys, call keys, and the topics and ids derived from keys.

use std::fmt;

use blink_api::{CallId, DeviceId, Did, Endpoint, Topic};
use rand::Rng;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::counters::Refusal;
use super::identity::{Identity, agreement_public, verify};
use super::random::Random;
use super::statement::Statement;
use super::symmetric::{expand, sha256};
use crate::wire::SignedKey;

/// An X25519 key pair (RFC 7748): of a person, or of one device for one stay in one call.
#[derive(Clone)]
pub struct AgreementKey {
    secret: StaticSecret,
    public: [u8; 32],
}

/// Shows the public key only.
impl fmt::Debug for AgreementKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgreementKey").field("public", &self.public).finish_non_exhaustive()
    }
}

impl AgreementKey {
    /// Fresh key pair.
    pub fn generate(random: &mut Random) -> Self {
        let mut scalar = Zeroizing::new([0; 32]);
        random.fill_bytes(&mut scalar[..]);
        Self::from_scalar(&scalar)
    }

    /// Key pair of a scalar, which is clamped on use (RFC 7748 §5).
    pub fn from_scalar(scalar: &[u8; 32]) -> Self {
        let secret = StaticSecret::from(*scalar);
        let public = PublicKey::from(&secret).to_bytes();
        Self { secret, public }
    }

    /// Public key.
    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// Computes the shared secret with a public key.
    ///
    /// # Errors
    /// [`Refusal::WeakKey`] if it is all zeros (RFC 7748 §6.1).
    pub fn agree(&self, public: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>, Refusal> {
        let shared = self.secret.diffie_hellman(&PublicKey::from(*public));
        if shared.was_contributory() { Ok(Zeroizing::new(shared.to_bytes())) } else { Err(Refusal::WeakKey) }
    }

    /// Whether a public key is usable: not of small order (RFC 7748 §6.1).
    pub fn is_sound(public: &[u8; 32]) -> bool {
        // Clamped scalars are multiples of the cofactor: with a key of small order, any of them
        // gives zero.
        StaticSecret::from([1; 32]).diffie_hellman(&PublicKey::from(*public)).was_contributory()
    }

    /// Public X25519 key of a DID.
    ///
    /// # Errors
    /// [`Refusal::WeakKey`] for a DID that is not a point, or one of small order.
    pub fn public_of(did: &Did) -> Result<[u8; 32], Refusal> {
        agreement_public(did)
    }
}

const CALL_KEY_CONTEXT: &[u8] = b"blink/1 key\0";

/// Signs an endpoint's key in a call, so that others may pass it on.
pub fn sign_call_key(owner: &Identity, device: &DeviceId, call: &CallId, key: &[u8; 32]) -> SignedKey {
    SignedKey { key: *key, signature: owner.sign(CALL_KEY_CONTEXT, &call_key_statement(device, call, key)) }
}

/// Verifies a call key: it is usable, and signed by the endpoint's DID for that call.
///
/// # Errors
/// [`Refusal::WeakKey`] for a key of small order or an unusable DID, [`Refusal::BadSignature`].
pub fn verify_call_key(endpoint: &Endpoint, call: &CallId, key: &SignedKey) -> Result<(), Refusal> {
    check_call_key(endpoint, call, key, |it| verify(it.did, it.context, it.bytes, it.signature))
}

/// As [`verify_call_key`], with a given signature check.
///
/// # Errors
/// As [`verify_call_key`], and those of `check`.
pub(crate) fn check_call_key(
    endpoint: &Endpoint,
    call: &CallId,
    key: &SignedKey,
    check: impl FnOnce(&Statement<'_>) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    if !AgreementKey::is_sound(&key.key) {
        return Err(Refusal::WeakKey);
    }
    let bytes = call_key_statement(&endpoint.device, call, &key.key);
    check(&Statement { did: &endpoint.did, context: CALL_KEY_CONTEXT, bytes: &bytes, signature: &key.signature })
}

fn call_key_statement(device: &DeviceId, call: &CallId, key: &[u8; 32]) -> Vec<u8> {
    [&call.as_bytes()[..], device.as_bytes(), key].concat()
}

/// Keys derived from a call's id and secret.
#[derive(Clone)]
pub struct CallKeys {
    /// Id of the call.
    pub id: CallId,
    /// Topic on which its members publish.
    pub topic: Topic,
    secret: Zeroizing<[u8; 32]>,
    tag: Zeroizing<[u8; 32]>,
}

/// Shows id and topic only.
impl fmt::Debug for CallKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallKeys").field("id", &self.id).field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl CallKeys {
    /// Derives the keys of a call.
    pub fn new(id: CallId, secret: Zeroizing<[u8; 32]>) -> Self {
        let topic = Topic::from_bytes(*expand(id.as_bytes(), &secret[..], b"blink/1 call topic"));
        let tag = expand(id.as_bytes(), &secret[..], b"blink/1 call tag");
        Self { id, topic, secret, tag }
    }

    /// Secret that every invited person receives.
    pub fn secret(&self) -> &Zeroizing<[u8; 32]> {
        &self.secret
    }

    /// Key of the tags on the call's topic.
    pub fn tag(&self) -> &[u8; 32] {
        &self.tag
    }
}

/// Topic of a person's inbox, for messages outside of a call.
pub fn inbox_topic(did: &Did) -> Topic {
    Topic::from_bytes(sha256(&[b"blink/1 inbox\0", did.public_key()]))
}

/// Id of the link between two endpoints with their call keys, the same on both sides. An endpoint
/// that presents another's key as its own computes a different id.
pub fn link_id(one: (&Endpoint, &[u8; 32]), other: (&Endpoint, &[u8; 32])) -> [u8; 16] {
    let end = |(endpoint, key): (&Endpoint, &[u8; 32])| {
        [&endpoint.did.public_key()[..], endpoint.device.as_bytes(), key].concat()
    };
    let (one, other) = (end(one), end(other));
    let hash = sha256(&[b"blink/1 link\0", (&one).min(&other), (&one).max(&other)]);
    *hash.first_chunk().expect("a SHA-256 hash has 32 bytes")
}
