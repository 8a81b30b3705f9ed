//! Identities: Ed25519 signatures (RFC 8032), and the X25519 key of the same secret (RFC 7748).

use blink_api::Did;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use rand::Rng;
use zeroize::Zeroizing;

use super::counters::Refusal;
use super::keys::AgreementKey;
use super::random::Random;

/// Secret key of a person.
#[derive(Clone)]
pub struct Identity {
    signing: SigningKey,
    did: Did,
}

/// Shows the DID only.
impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("did", &self.did).finish_non_exhaustive()
    }
}

impl Identity {
    /// Fresh identity.
    pub fn generate(random: &mut Random) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        random.fill_bytes(&mut seed[..]);
        Self::from_seed(&seed)
    }

    /// Identity of a 32-byte Ed25519 seed (RFC 8032 §5.1.5).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let signing = SigningKey::from_bytes(seed);
        let did = Did::from_public_key(signing.verifying_key().to_bytes());
        Self { signing, did }
    }

    /// Seed, to be stored where only its owner can read it.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.signing.to_bytes())
    }

    /// DID of the public key.
    pub fn did(&self) -> Did {
        self.did
    }

    /// Signs `context ‖ message`.
    pub fn sign(&self, context: &[u8], message: &[u8]) -> [u8; 64] {
        self.signing.sign(&[context, message].concat()).to_bytes()
    }

    /// X25519 key pair of the same secret (birational map of RFC 7748 §4.1), for messages sealed
    /// for the DID.
    pub fn agreement(&self) -> AgreementKey {
        AgreementKey::from_scalar(&self.signing.to_scalar_bytes())
    }
}

/// Verifies a signature over `context ‖ message` strictly: no weak keys, no second encoding of the
/// same signature (RFC 8032 §5.1.7, cofactorless).
///
/// # Errors
/// [`Refusal::WeakKey`] and [`Refusal::BadSignature`].
pub fn verify(did: &Did, context: &[u8], message: &[u8], signature: &[u8; 64]) -> Result<(), Refusal> {
    let key = verifying_key(did)?;
    key.verify_strict(&[context, message].concat(), &Signature::from_bytes(signature))
        .map_err(|_| Refusal::BadSignature)
}

/// Public X25519 key of a DID.
///
/// # Errors
/// [`Refusal::WeakKey`] for a DID that is not a point, or one of small order.
pub(super) fn agreement_public(did: &Did) -> Result<[u8; 32], Refusal> {
    Ok(verifying_key(did)?.to_montgomery().to_bytes())
}

/// Verifying key of a DID. The y coordinate of its point must be below the field's prime: a second
/// encoding of a key would be a second person with the same signatures.
fn verifying_key(did: &Did) -> Result<VerifyingKey, Refusal> {
    if !is_canonical(did.public_key()) {
        return Err(Refusal::WeakKey);
    }
    let key = VerifyingKey::from_bytes(did.public_key()).map_err(|_| Refusal::WeakKey)?;
    if key.is_weak() { Err(Refusal::WeakKey) } else { Ok(key) }
}

/// Whether y is below 2²⁵⁵ − 19. It is encoded in little endian, with the sign of x in the highest
/// bit (RFC 8032 §5.1.2).
fn is_canonical(key: &[u8; 32]) -> bool {
    let [least, middle @ .., highest] = key;
    *least < 0xed || middle.iter().any(|byte| *byte != 0xff) || highest & 0x7f != 0x7f
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some of the 19 encodings with y ≥ p are points of large order.
    #[test]
    fn a_key_has_one_form() {
        let mut points = 0;
        for least in 0xed..=0xff {
            for highest in [0x7f, 0xff] {
                let mut key = [0xff; 32];
                (key[0], key[31]) = (least, highest);
                let is_point = VerifyingKey::from_bytes(&key).is_ok_and(|key| !key.is_weak());
                points += u32::from(is_point);
                let did = Did::from_public_key(key);
                assert_eq!(verify(&did, b"", b"", &[0; 64]), Err(Refusal::WeakKey), "{key:?}");
                assert_eq!(agreement_public(&did), Err(Refusal::WeakKey), "{key:?}");
            }
        }
        assert!(points > 10, "{points} would be keys");
    }
}
