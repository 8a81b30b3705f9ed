//! Wycheproof's vectors through the functions that the envelopes are made with: what is right comes
//! out right, and what is wrong, weak or of another length is refused.

use std::fmt::Debug;

use blink_api::Did;
use blink_proto::secure::symmetric::{
    TooLong, aes_256_gcm_open, aes_256_gcm_seal, hkdf_sha256, hmac_sha256, hmac_sha256_begins,
};
use blink_proto::secure::{AgreementKey, Identity, Refusal, verify};
use blink_proto::wire::{Signed, cbor};
use wycheproof::TestResult;

/// How many vectors had to come out right, and how many had to be refused.
#[derive(Debug, Default)]
struct Ran {
    right: usize,
    refused: usize,
}

impl Ran {
    /// Counts a vector. `right` is whether it came out right; what is neither right nor refused
    /// fails by itself.
    fn count(&mut self, right: bool) {
        *(if right { &mut self.right } else { &mut self.refused }) += 1;
    }

    /// Both kinds there were.
    #[expect(clippy::print_stdout, reason = "how many ran is of interest")]
    fn end(self, what: &str) {
        println!("{what}: {self:?}");
        assert!(self.right > 0 && self.refused > 0, "{what}: {self:?}");
    }
}

fn bytes<const N: usize>(bytes: &impl AsRef<[u8]>) -> [u8; N] {
    bytes.as_ref().try_into().unwrap_or_else(|_| panic!("{} bytes instead of {N}", bytes.as_ref().len()))
}

fn vectors<T, E: Debug>(loaded: Result<T, E>) -> T {
    loaded.expect("the vectors are a part of the crate")
}

/// Vectors that RFC 7748 leaves to the protocol must agree, but for the secret of nothing but
/// zeros.
#[test]
fn x25519_agrees_with_every_vector_and_refuses_a_secret_of_zeros() {
    use wycheproof::xdh::{TestName, TestSet};
    let mut ran = Ran::default();
    for group in vectors(TestSet::load(TestName::X25519)).test_groups {
        for test in group.tests {
            let shared = AgreementKey::from_scalar(&bytes(&test.private_key)).agree(&bytes(&test.public_key));
            let expected: [u8; 32] = bytes(&test.shared_secret);
            assert_ne!(test.result, TestResult::Invalid, "{}: all keys have 32 bytes", test.tc_id);
            let zeros = expected == [0; 32];
            match shared {
                Ok(shared) => assert_eq!((*shared, zeros), (expected, false), "{}: {}", test.tc_id, test.comment),
                Err(refusal) => {
                    assert_eq!((refusal, zeros), (Refusal::WeakKey, true), "{}: {}", test.tc_id, test.comment);
                }
            }
            ran.count(!zeros);
        }
    }
    ran.end("X25519");
}

#[test]
fn ed25519_takes_valid_signatures_only() {
    use wycheproof::eddsa::{TestName, TestSet};
    let mut ran = Ran::default();
    for group in vectors(TestSet::load(TestName::Ed25519)).test_groups {
        let did = Did::from_public_key(bytes(&group.key.pk));
        for test in group.tests {
            let valid = test.result == TestResult::Valid;
            let signature: &[u8] = &test.sig;
            match signature.try_into() {
                Ok(signature) => {
                    // A message is signed after a context; where they meet is of no matter.
                    let (context, message) = test.msg.split_at(test.msg.len() / 2);
                    let verified = verify(&did, context, message, signature);
                    let expected = if valid { Ok(()) } else { Err(Refusal::BadSignature) };
                    assert_eq!(verified, expected, "{}: {}", test.tc_id, test.comment);
                }
                Err(_) => {
                    assert!(!valid, "{}: a signature has 64 bytes", test.tc_id);
                    let mut signed = minicbor::Encoder::new(Vec::new());
                    signed.array(2).unwrap().bytes(&test.msg).unwrap().bytes(signature).unwrap();
                    assert!(cbor::decode::<Signed>(signed.writer()).is_err(), "{}: {}", test.tc_id, test.comment);
                }
            }
            ran.count(valid);
        }
    }
    ran.end("Ed25519");
}

/// The points of small order in every encoding that stands for one, and some bytes that are no
/// point.
#[test]
fn weak_and_impossible_ed25519_keys_are_refused_whatever_is_signed() {
    let high = |last: u8| {
        let mut key = [0xff; 32];
        (key[0], key[31]) = (last, 0x7f);
        key
    };
    let low = |first: u8, sign: u8| {
        let mut key = [0; 32];
        (key[0], key[31]) = (first, sign);
        key
    };
    let of_order_eight = [
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    ];
    let mut weak = vec![low(0, 0), low(1, 0), low(0, 0x80), low(1, 0x80), high(0xec), high(0xed), high(0xee)];
    weak.extend([high(0xec), high(0xed), high(0xee)].map(|mut key| {
        key[31] = 0xff;
        key
    }));
    for text in of_order_eight {
        let mut key = unhex(text);
        weak.push(key);
        key[31] ^= 0x80;
        weak.push(key);
    }
    // Not on the curve.
    weak.push(low(2, 0));
    let signatures = [[0; 64], {
        let mut neutral = [0; 64];
        neutral[0] = 1;
        neutral
    }];
    for key in weak {
        let did = Did::from_public_key(key);
        assert_eq!(AgreementKey::public_of(&did), Err(Refusal::WeakKey), "{key:02x?}");
        for signature in &signatures {
            assert_eq!(verify(&did, b"", b"message", signature), Err(Refusal::WeakKey), "{key:02x?}");
        }
    }
    let sound = Identity::from_seed(&[1; 32]);
    assert!(verify(&sound.did(), b"a", b"b", &sound.sign(b"a", b"b")).is_ok(), "others are taken");
}

/// The verification equation holds for an R of small order too, and the signer could deny such a
/// signature (RFC 8032 §8.9 leaves the check to the protocol).
#[test]
fn a_signature_with_a_point_of_small_order_is_refused() {
    let sound = Identity::from_seed(&[1; 32]);
    // R is the neutral element, S = SHA-512(R ‖ A ‖ "context message") · a.
    let mut signature = [0; 64];
    signature[0] = 1;
    signature[32..].copy_from_slice(&unhex("f44570b41a8ddaf6632b041b68cfc624454993b0baeaddcc00d3c1ece8217205"));
    assert_eq!(verify(&sound.did(), b"context ", b"message", &signature), Err(Refusal::BadSignature));
    let honest = sound.sign(b"context ", b"message");
    assert_eq!(verify(&sound.did(), b"context ", b"message", &honest), Ok(()));
}

fn unhex(text: &str) -> [u8; 32] {
    std::array::from_fn(|n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16).unwrap())
}

#[test]
fn aes_256_gcm_seals_and_opens_every_vector_with_a_nonce_of_96_bits() {
    use wycheproof::aead::{TestName, TestSet};
    let mut ran = Ran::default();
    let fits =
        |group: &wycheproof::aead::TestGroup| (group.key_size, group.nonce_size, group.tag_size) == (256, 96, 128);
    for group in vectors(TestSet::load(TestName::AesGcm)).test_groups.into_iter().filter(fits) {
        for test in group.tests {
            let (key, nonce) = (bytes(&test.key), bytes(&test.nonce));
            let sealed = [&test.ct[..], &test.tag].concat();
            let opened = aes_256_gcm_open(&key, &nonce, &test.aad, &sealed);
            let again = aes_256_gcm_seal(&key, &nonce, &test.aad, &test.pt);
            let valid = test.result == TestResult::Valid;
            assert_eq!(again == sealed, valid, "{}: {}", test.tc_id, test.comment);
            match opened {
                Ok(opened) => {
                    assert_eq!((&opened[..], valid), (&test.pt[..], true), "{}: {}", test.tc_id, test.comment);
                }
                Err(refusal) => {
                    assert_eq!((refusal, valid), (Refusal::BadSeal, false), "{}: {}", test.tc_id, test.comment);
                }
            }
            ran.count(valid);
        }
    }
    ran.end("AES-256-GCM");
}

#[test]
fn hkdf_sha256_derives_every_vector_and_no_more_than_it_can() {
    use wycheproof::hkdf::{TestName, TestSet};
    let mut ran = Ran::default();
    for group in vectors(TestSet::load(TestName::HkdfSha256)).test_groups {
        for test in group.tests {
            let mut output = vec![0; test.size];
            let derived = hkdf_sha256(&test.salt, &test.ikm, &test.info, &mut output);
            let valid = test.result == TestResult::Valid;
            assert_eq!(derived, if valid { Ok(()) } else { Err(TooLong) }, "{}: {}", test.tc_id, test.comment);
            assert!(!valid || output == test.okm[..], "{}: {}", test.tc_id, test.comment);
            ran.count(valid);
        }
    }
    ran.end("HKDF-SHA256");
}

#[test]
fn hmac_sha256_makes_every_tag_and_takes_no_other() {
    use wycheproof::mac::{TestName, TestSet};
    let mut ran = Ran::default();
    for group in vectors(TestSet::load(TestName::HmacSha256)).test_groups {
        for test in group.tests {
            assert_eq!(test.tag.len() * 8, group.tag_size);
            // In two parts, as everything here is hashed.
            let (one, other) = test.msg.split_at(test.msg.len() / 3);
            let valid = test.result == TestResult::Valid;
            let made = hmac_sha256(&test.key, &[one, other]);
            assert_eq!(made[..test.tag.len()] == test.tag[..], valid, "{}: {}", test.tc_id, test.comment);
            let taken = hmac_sha256_begins(&test.key, &[one, other], &test.tag);
            assert_eq!(taken, valid, "{}: {}", test.tc_id, test.comment);
            assert!(!hmac_sha256_begins(&test.key, &[one, other], &[]), "no tag is no tag");
            ran.count(valid);
        }
    }
    ran.end("HMAC-SHA256");
}
