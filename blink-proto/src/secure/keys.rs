//! Keys and names derived from keys.

use blink_api::{CallId, DeviceId, Did, Endpoint, Topic};
use rand::Rng;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::identity::{Identity, agreement_public, verify};
use super::symmetric::{expand, sha256};
use super::{Random, Refusal, Statement};
use crate::wire::SignedKey;

/// An X25519 key pair (RFC 7748): a person's, or one device's for one time in one call.
#[derive(Clone)]
pub struct AgreementKey {
    secret: StaticSecret,
    public: [u8; 32],
}

impl AgreementKey {
    /// A fresh key pair.
    pub fn generate(random: &mut Random) -> Self {
        let mut scalar = Zeroizing::new([0; 32]);
        random.fill_bytes(&mut scalar[..]);
        Self::from_scalar(&scalar)
    }

    /// The key pair of a scalar, which is clamped where it is used (RFC 7748 §5).
    pub fn from_scalar(scalar: &[u8; 32]) -> Self {
        let secret = StaticSecret::from(*scalar);
        let public = PublicKey::from(&secret).to_bytes();
        Self { secret, public }
    }

    /// The public key.
    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// The shared secret with somebody's public key.
    ///
    /// # Errors
    /// [`Refusal::WeakKey`] where it would be all zeros (RFC 7748 §6.1).
    pub fn agree(&self, public: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>, Refusal> {
        let shared = self.secret.diffie_hellman(&PublicKey::from(*public));
        if shared.was_contributory() { Ok(Zeroizing::new(shared.to_bytes())) } else { Err(Refusal::WeakKey) }
    }

    /// Whether a secret can be agreed on with a public key: it is not of small order (RFC 7748
    /// §6.1), or nothing could be sealed for it.
    pub fn is_sound(public: &[u8; 32]) -> bool {
        // Every scalar is a multiple of the curve's cofactor, so that any of them tells.
        StaticSecret::from([1; 32]).diffie_hellman(&PublicKey::from(*public)).was_contributory()
    }

    /// The public X25519 key of a DID.
    ///
    /// # Errors
    /// [`Refusal::WeakKey`] for a DID that is no point or one of small order.
    pub fn public_of(did: &Did) -> Result<[u8; 32], Refusal> {
        agreement_public(did)
    }
}

const CALL_KEY_CONTEXT: &[u8] = b"blink/1 key\0";

/// An endpoint's key in a call, signed by its owner, so that others may pass it on.
pub fn sign_call_key(owner: &Identity, device: &DeviceId, call: &CallId, key: &[u8; 32]) -> SignedKey {
    SignedKey { key: *key, signature: owner.sign(CALL_KEY_CONTEXT, &call_key_statement(device, call, key)) }
}

/// Checks that a key can be sealed for, and that an endpoint said that it is its own in a call.
///
/// # Errors
/// [`Refusal::WeakKey`] for a key of small order or an unusable DID, [`Refusal::BadSignature`].
pub fn verify_call_key(endpoint: &Endpoint, call: &CallId, key: &SignedKey) -> Result<(), Refusal> {
    check_call_key(endpoint, call, key, |it| verify(it.did, it.context, it.bytes, it.signature))
}

/// As [`verify_call_key`], with a given way of checking the signature.
///
/// # Errors
/// As there, and those of `check`.
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

/// What follows from a call's id and secret.
#[derive(Clone)]
pub struct CallKeys {
    /// The call.
    pub id: CallId,
    /// Where its members write.
    pub topic: Topic,
    secret: Zeroizing<[u8; 32]>,
    tag: Zeroizing<[u8; 32]>,
}

impl CallKeys {
    /// The keys of a call.
    pub fn new(id: CallId, secret: Zeroizing<[u8; 32]>) -> Self {
        let topic = Topic::from_bytes(*expand(id.as_bytes(), &secret[..], b"blink/1 call topic"));
        let tag = expand(id.as_bytes(), &secret[..], b"blink/1 call tag");
        Self { id, topic, secret, tag }
    }

    /// The secret that every invitee is given.
    pub fn secret(&self) -> &Zeroizing<[u8; 32]> {
        &self.secret
    }

    /// The key of the tags on the call's topic.
    pub fn tag(&self) -> &[u8; 32] {
        &self.tag
    }
}

/// Where a person is written to before there is a call.
pub fn inbox_topic(did: &Did) -> Topic {
    Topic::from_bytes(sha256(&[b"blink/1 inbox\0", did.public_key()]))
}

/// The name of the link between two endpoints with their call keys, the same from both sides.
/// Whoever says that another's key is its own stands in another link.
pub fn link_id(one: (&Endpoint, &[u8; 32]), other: (&Endpoint, &[u8; 32])) -> [u8; 16] {
    let end = |(endpoint, key): (&Endpoint, &[u8; 32])| {
        [&endpoint.did.public_key()[..], endpoint.device.as_bytes(), key].concat()
    };
    let (one, other) = (end(one), end(other));
    let hash = sha256(&[b"blink/1 link\0", (&one).min(&other), (&one).max(&other)]);
    *hash.first_chunk().expect("a SHA-256 hash has 32 bytes")
}
