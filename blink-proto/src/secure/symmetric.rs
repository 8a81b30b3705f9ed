//! SHA-256, HMAC, HKDF and AES-GCM as `docs/protocol.md` uses them.
//!
//! Public so that tests can check them against published vectors; not needed to make calls. Key
//! agreement and signatures are at [`AgreementKey`](super::AgreementKey),
//! [`Identity`](super::Identity) and [`verify`](super::verify).

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::counters::Refusal;

/// SHA-256 (FIPS 180-4) of the concatenated parts.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}

/// HMAC-SHA256 (RFC 2104) of the concatenated parts.
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    mac(key, parts).finalize().into_bytes().into()
}

/// Whether a tag of 1 to 32 bytes is a prefix of the HMAC-SHA256 of the parts. Compares in constant
/// time.
pub fn hmac_sha256_begins(key: &[u8], parts: &[&[u8]], tag: &[u8]) -> bool {
    mac(key, parts).verify_truncated_left(tag).is_ok()
}

/// HKDF-SHA256 (RFC 5869), extract and expand, to the length of the output.
///
/// # Errors
/// [`TooLong`] beyond 8,160 bytes (255 hashes).
pub fn hkdf_sha256(salt: &[u8], key: &[u8], info: &[u8], output: &mut [u8]) -> Result<(), TooLong> {
    Hkdf::<Sha256>::new(Some(salt), key).expand(info, output).map_err(|_| TooLong)
}

/// Error for an HKDF output that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

/// Encrypts with AES-256-GCM (NIST SP 800-38D): ciphertext followed by the 16-byte tag.
pub fn aes_256_gcm_seal(key: &[u8; 32], nonce: &[u8; 12], associated: &[u8], message: &[u8]) -> Vec<u8> {
    let payload = Payload { msg: message, aad: associated };
    cipher(key).encrypt(&Nonce::from(*nonce), payload).expect("far below the cipher's limit of 64 GiB")
}

/// Decrypts the output of [`aes_256_gcm_seal`].
///
/// # Errors
/// [`Refusal::BadSeal`] where key, nonce, associated data or tag do not match.
pub fn aes_256_gcm_open(
    key: &[u8; 32],
    nonce: &[u8; 12],
    associated: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let opened = cipher(key).decrypt(&Nonce::from(*nonce), Payload { msg: sealed, aad: associated });
    opened.map(Zeroizing::new).map_err(|_| Refusal::BadSeal)
}

/// HKDF to a fixed short length.
pub(super) fn expand<const N: usize>(salt: &[u8], key: &[u8], info: &[u8]) -> Zeroizing<[u8; N]> {
    let mut output = Zeroizing::new([0; N]);
    hkdf_sha256(salt, key, info, &mut output[..]).expect("shorter than 255 hashes");
    output
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    parts.iter().for_each(|part| mac.update(part));
    mac
}

fn cipher(key: &[u8; 32]) -> Aes256Gcm {
    Aes256Gcm::new_from_slice(key).expect("a key of 32 bytes")
}
