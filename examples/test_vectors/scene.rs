//! Fixed keys and state of a call from Alice to Bob.

use blink_api::{CallId, DeviceId, Endpoint, StreamId};
use blink_engine::Identity;
use blink_proto::secure::{AgreementKey, CallKeys, link_id, sign_call_key};
use blink_proto::wire::{Entry, EntryBody, Root, Signed, SignedKey, cbor};
use sha2::{Digest, Sha256};

pub(crate) const ALICE_SEED: [u8; 32] = [1; 32];
pub(crate) const BOB_SEED: [u8; 32] = [2; 32];
pub(crate) const CAROL_SEED: [u8; 32] = [12; 32];
pub(crate) const DAVE_SEED: [u8; 32] = [14; 32];
pub(crate) const SECRET: [u8; 32] = [3; 32];
/// Secret of the call after Carol's removal.
pub(crate) const NEW_SECRET: [u8; 32] = [15; 32];
pub(crate) const ROOT_NONCE: [u8; 16] = [4; 16];
pub(crate) const ROOT_MS: u64 = 1_700_000_000_000;
pub(crate) const ALICE_CALL_SCALAR: [u8; 32] = [5; 32];
pub(crate) const BOB_CALL_SCALAR: [u8; 32] = [6; 32];
pub(crate) const BOOT_SECRET: [u8; 32] = [13; 32];
/// Minutes since the start of Bob's device.
pub(crate) const MINUTE: u64 = 2;
/// Call keys of the other members.
pub(crate) const STRANGERS: [[u8; 32]; 2] = [[7; 32], [8; 32]];

pub(crate) struct Scene {
    pub(crate) alice: Identity,
    pub(crate) bob: Identity,
    pub(crate) carol: Identity,
    pub(crate) root: Signed,
    pub(crate) call: CallId,
    pub(crate) keys: CallKeys,
    pub(crate) alice_key: AgreementKey,
    pub(crate) bob_key: AgreementKey,
    pub(crate) link: [u8; 16],
    pub(crate) stream: StreamId,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let [alice, bob, carol] = [ALICE_SEED, BOB_SEED, CAROL_SEED].map(|seed| Identity::from_seed(&seed));
        let mut members = vec![alice.did(), bob.did()];
        members.sort();
        let root = Root {
            creator: endpoint(&alice, 0x11),
            nonce: ROOT_NONCE,
            unix_ms: ROOT_MS,
            secret_hash: Sha256::digest(SECRET).into(),
            members,
        };
        let root = sign(&alice, b"blink/1 root\0", cbor::encode(&root));
        let hash = Sha256::new().chain_update(b"blink/1 call\0").chain_update(&root.bytes).finalize();
        let call = CallId::from_bytes(*hash.first_chunk().expect("a SHA-256 hash has 32 bytes"));
        let (alice_key, bob_key) =
            (AgreementKey::from_scalar(&ALICE_CALL_SCALAR), AgreementKey::from_scalar(&BOB_CALL_SCALAR));
        Self {
            link: link_id((&endpoint(&alice, 0x11), alice_key.public()), (&endpoint(&bob, 0x22), bob_key.public())),
            keys: CallKeys::new(call, SECRET.into()),
            stream: StreamId::from_bytes([10; 16]),
            alice,
            bob,
            carol,
            root,
            call,
            alice_key,
            bob_key,
        }
    }

    pub(crate) fn alice_endpoint(&self) -> Endpoint {
        endpoint(&self.alice, 0x11)
    }

    pub(crate) fn bob_endpoint(&self) -> Endpoint {
        endpoint(&self.bob, 0x22)
    }

    pub(crate) fn carol_endpoint(&self) -> Endpoint {
        endpoint(&self.carol, 0x33)
    }

    /// Alice's call key with her signature.
    pub(crate) fn alice_signed_key(&self) -> SignedKey {
        sign_call_key(&self.alice, &self.alice_endpoint().device, &self.call, self.alice_key.public())
    }

    /// Bob's call key with his signature.
    pub(crate) fn bob_signed_key(&self) -> SignedKey {
        sign_call_key(&self.bob, &self.bob_endpoint().device, &self.call, self.bob_key.public())
    }

    /// One entry of each kind, in the order of a digest: name, signer and content. Carol is invited
    /// by Bob, then removed; members that she invited are removed with her, except Dave.
    pub(crate) fn entries(&self) -> Vec<(&'static str, &Identity, Entry)> {
        let entry = |about: &Identity, body| Entry { call: self.call, did: about.did(), body };
        let mut entries = vec![
            ("add", &self.bob, entry(&self.carol, EntryBody::Add { by: self.bob.did(), slot: 0 })),
            (
                "remove",
                &self.alice,
                entry(&self.carol, EntryBody::Remove { keep: vec![Identity::from_seed(&DAVE_SEED).did()] }),
            ),
            (
                "rotate",
                &self.alice,
                entry(&self.alice, EntryBody::Rotate { n: 1, secret_hash: Sha256::digest(NEW_SECRET).into() }),
            ),
            ("reject", &self.bob, entry(&self.bob, EntryBody::Reject { n: 0 })),
        ];
        entries.sort_by(|(.., one), (.., other)| one.cmp(other));
        entries
    }

    /// The signed entries.
    pub(crate) fn signed_entries(&self) -> Vec<Signed> {
        self.entries().iter().map(|(_, signer, entry)| sign_entry(signer, entry)).collect()
    }

    /// Bob's Reject.
    pub(crate) fn reject(&self) -> Signed {
        let entries = self.entries();
        let (_, signer, entry) = entries.iter().find(|(name, ..)| *name == "reject").expect("it is one of them");
        sign_entry(signer, entry)
    }
}

pub(crate) fn sign_entry(signer: &Identity, entry: &Entry) -> Signed {
    sign(signer, b"blink/1 entry\0", cbor::encode(entry))
}

pub(crate) fn endpoint(identity: &Identity, device: u8) -> Endpoint {
    Endpoint { did: identity.did(), device: DeviceId::from_random([device; 16]) }
}

fn sign(identity: &Identity, context: &[u8], bytes: Vec<u8>) -> Signed {
    Signed { signature: identity.sign(context, &bytes), bytes }
}
