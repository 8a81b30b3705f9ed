//! Keys, ids and the roster.

use blink_api::Endpoint;
use blink_proto::secure::{AgreementKey, inbox_topic};
use blink_proto::wire::{EntryBody, SignedKey};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::hex;
use crate::scene::{
    ALICE_CALL_SCALAR, ALICE_SEED, BOB_CALL_SCALAR, BOB_SEED, BOOT_SECRET, CAROL_SEED, MINUTE, ROOT_MS, ROOT_NONCE,
    SECRET, Scene, sign_entry,
};

pub(crate) fn people(scene: &Scene) -> Value {
    let person = |name: &str, seed: [u8; 32], identity: &blink_engine::Identity, endpoint: Endpoint| {
        let did = identity.did();
        json!({
            "name": name,
            "input": { "ed25519_seed": hex(&seed), "device": hex(endpoint.device.as_bytes()) },
            "output": {
                "did": did.to_string(),
                "ed25519_public": hex(did.public_key()),
                "x25519_public": hex(identity.agreement().public()),
                "endpoint": hex(&[&did.public_key()[..], endpoint.device.as_bytes()].concat()),
                "inbox_topic": hex(inbox_topic(&did).as_bytes()),
            },
        })
    };
    let people = [
        person("alice", ALICE_SEED, &scene.alice, scene.alice_endpoint()),
        person("bob", BOB_SEED, &scene.bob, scene.bob_endpoint()),
        person("carol", CAROL_SEED, &scene.carol, scene.carol_endpoint()),
    ];
    people.into_iter().collect()
}

pub(crate) fn root(scene: &Scene) -> Value {
    json!({
        "input": {
            "creator": "alice",
            "device": hex(scene.alice_endpoint().device.as_bytes()),
            "nonce": hex(&ROOT_NONCE),
            "unix_ms": ROOT_MS,
            "secret": hex(&SECRET),
            "members": ["alice", "bob"],
        },
        "output": {
            "bytes": hex(&scene.root.bytes),
            "signature": hex(&scene.root.signature),
            "call_id": hex(scene.call.as_bytes()),
        },
    })
}

pub(crate) fn call(scene: &Scene) -> Value {
    json!({
        "input": { "call_id": hex(scene.call.as_bytes()), "secret": hex(&SECRET) },
        "output": { "topic": hex(scene.keys.topic.as_bytes()), "tag_key": hex(scene.keys.tag()) },
    })
}

/// Nonce that Bob's device issues to Alice for this call.
pub(crate) fn nonce(scene: &Scene) -> Value {
    json!({
        "input": {
            "boot_secret": hex(&BOOT_SECRET),
            "minute": MINUTE,
            "offerer": hex(scene.alice.did().public_key()),
            "call_id": hex(scene.call.as_bytes()),
        },
        "output": hex(&nonce_bytes(scene)),
    })
}

pub(crate) fn nonce_bytes(scene: &Scene) -> [u8; 16] {
    let mac = Hmac::<Sha256>::new_from_slice(&BOOT_SECRET).expect("HMAC takes keys of every length");
    let mac = mac.chain_update(MINUTE.to_be_bytes()).chain_update(scene.alice.did().public_key());
    let mac = mac.chain_update(scene.call.as_bytes()).finalize();
    *mac.into_bytes().first_chunk().expect("an HMAC-SHA256 has 32 bytes")
}

pub(crate) fn call_keys(scene: &Scene) -> Value {
    let pair = |name: &str, scalar: [u8; 32], endpoint: Endpoint, key: &SignedKey| {
        json!({
            "name": name,
            "input": {
                "x25519_secret": hex(&scalar),
                "signer": endpoint.did.to_string(),
                "device": hex(endpoint.device.as_bytes()),
                "call_id": hex(scene.call.as_bytes()),
            },
            "output": { "x25519_public": hex(&key.key), "signature": hex(&key.signature) },
        })
    };
    let pairs = [
        pair("alice", ALICE_CALL_SCALAR, scene.alice_endpoint(), &scene.alice_signed_key()),
        pair("bob", BOB_CALL_SCALAR, scene.bob_endpoint(), &scene.bob_signed_key()),
    ];
    pairs.into_iter().collect()
}

pub(crate) fn link(scene: &Scene) -> Value {
    let end = |endpoint: Endpoint, key: &AgreementKey| {
        json!({
            "did_pk": hex(endpoint.did.public_key()),
            "device": hex(endpoint.device.as_bytes()),
            "call_key": hex(key.public()),
        })
    };
    json!({
        "input": [end(scene.alice_endpoint(), &scene.alice_key), end(scene.bob_endpoint(), &scene.bob_key)],
        "output": hex(&scene.link),
    })
}

pub(crate) fn entries(scene: &Scene) -> Value {
    let entries = scene.entries();
    let entries = entries.iter().map(|(name, signer, entry)| {
        let signed = sign_entry(signer, entry);
        let says = match &entry.body {
            EntryBody::Add { by, slot } => json!({ "by": hex(by.public_key()), "slot": slot }),
            EntryBody::Remove { keep } => {
                json!({ "keep": keep.iter().map(|did| hex(did.public_key())).collect::<Vec<_>>() })
            }
            EntryBody::Reject { n } => json!({ "n": n }),
            EntryBody::Rotate { n, secret_hash } => json!({ "n": n, "secret_hash": hex(secret_hash) }),
        };
        json!({
            "name": name,
            "input": {
                "signer": signer.did().to_string(),
                "call_id": hex(entry.call.as_bytes()),
                "did": hex(entry.did.public_key()),
                "body": says,
            },
            "output": { "bytes": hex(&signed.bytes), "signature": hex(&signed.signature) },
        })
    });
    entries.collect()
}

/// Digest of all three entries, in order.
pub(crate) fn digest(scene: &Scene) -> Value {
    let mut hash = Sha256::new();
    let bytes: Vec<_> = scene.signed_entries().into_iter().map(|signed| signed.bytes).collect();
    bytes.iter().for_each(|bytes| hash.update(bytes));
    json!({
        "input": bytes.iter().map(|bytes| hex(bytes)).collect::<Vec<_>>(),
        "output": hex(&hash.finalize()[..16]),
    })
}
