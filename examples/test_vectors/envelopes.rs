//! Contents, and envelopes with all of their random values.

use blink_api::{Endpoint, Topic};
use blink_engine::Identity;
use blink_proto::secure::symmetric::{aes_256_gcm_open, aes_256_gcm_seal, sha256};
use blink_proto::secure::{AgreementKey, Random, Refusal, Sealing, inbox_topic, open, seal};
use blink_proto::wire::{Body, Content};
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::scene::{STRANGERS, Scene};
use crate::{bodies, hex};

const SENT_MS: u64 = 1_700_000_000_001;

/// Every body in a content from Bob.
pub(crate) fn contents(scene: &Scene) -> Value {
    let contents = (1u64..).zip(bodies::all(scene)).map(|(seq, (name, body, _))| {
        let content = Content { seq, ..from_bob(scene, body) };
        json!({
            "name": name,
            "input": {
                "did": hex(scene.bob.did().public_key()),
                "device": hex(content.from.device.as_bytes()),
                "boot": content.boot,
                "seq": content.seq,
                "unix_ms": content.unix_ms,
                "call_id": hex(content.call.as_bytes()),
                "kind": content.body.kind() as u8,
                "body": hex(&blink_proto::wire::cbor::encode(&content.body)),
            },
            "output": hex(&content.encode()),
        })
    });
    contents.collect()
}

pub(crate) fn from_bob(scene: &Scene, body: Body) -> Content {
    from(scene.bob_endpoint(), scene, body)
}

pub(crate) fn from(endpoint: Endpoint, scene: &Scene, body: Body) -> Content {
    Content { from: endpoint, boot: 7, seq: 1, unix_ms: SENT_MS, call: scene.call, body }
}

/// Each body in an envelope on its channel: inbox bodies to Alice, call bodies to Alice and two
/// others.
pub(crate) fn envelopes(scene: &Scene) -> Result<Value, Refusal> {
    let mut envelopes = Vec::new();
    for (number, (name, body, _)) in (0u8..).zip(bodies::all(scene)) {
        let content = from_bob(scene, body.clone());
        let sealed = Sealed::new(scene, matches!(body, Body::Member(_) | Body::Link(_)), number)?;
        envelopes.push(sealed.envelope(name, &scene.bob, &content)?);
    }
    Ok(envelopes.into_iter().collect())
}

/// Channel, recipients and random values of an envelope.
pub(crate) struct Sealed<'a> {
    pub(crate) topic: Topic,
    pub(crate) tag: Option<&'a [u8; 32]>,
    /// Alice's key on that topic.
    key: AgreementKey,
    recipients: Vec<[u8; 32]>,
    random: Random,
}

impl<'a> Sealed<'a> {
    pub(crate) fn new(scene: &'a Scene, on_call: bool, number: u8) -> Result<Self, Refusal> {
        let key = if on_call { scene.alice_key.clone() } else { scene.alice.agreement() };
        let strangers = STRANGERS.map(|scalar| *AgreementKey::from_scalar(&scalar).public());
        let others: &[_] = if on_call { &strangers } else { &[] };
        Ok(Self {
            topic: if on_call { scene.keys.topic } else { inbox_topic(&scene.alice.did()) },
            tag: on_call.then_some(scene.keys.tag()),
            recipients: [*key.public()].iter().chain(others).copied().collect(),
            key,
            random: Random::from_seed([number + 100; 32]),
        })
    }

    /// Signs and seals any bytes.
    pub(crate) fn seal(&self, identity: &Identity, content: &[u8]) -> Result<Vec<u8>, Refusal> {
        let sealing = Sealing { topic: self.topic, recipients: &self.recipients, tag: self.tag, identity };
        seal(&sealing, content, &mut self.random.clone())
    }

    /// Replaces the padding of an envelope with one recipient.
    pub(crate) fn repadded(&self, envelope: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let (head, rest) = envelope.split_at(3 + usize::from(envelope[2]));
        let ciphertext = &rest[3..rest.len() - 1];
        let mut key = [0; 32];
        // The ephemeral key is the first random value.
        let mut random = self.random.clone();
        random.fill_bytes(&mut key);
        random.fill_bytes(&mut key);
        let associated = [&b"blink/1 env\0"[..], &sha256(&[self.topic.as_bytes(), &head[3..]])].concat();
        let mut plaintext =
            aes_256_gcm_open(&key, &[0; 12], &associated, ciphertext).expect("it was sealed with this").to_vec();
        let said = 2 + usize::from(u16::from_be_bytes([plaintext[0], plaintext[1]])) + 64;
        let mut padding = plaintext.split_off(said);
        change(&mut padding);
        plaintext.extend(padding);
        let ciphertext = aes_256_gcm_seal(&key, &[0; 12], &associated, &plaintext);
        // A byte string in its shortest form, and no tag.
        let length = match u8::try_from(ciphertext.len()) {
            Ok(length) => vec![0x58, length],
            Err(_) => [&[0x59], &u16::try_from(ciphertext.len()).expect("it is small").to_be_bytes()[..]].concat(),
        };
        [head, &length, &ciphertext, &[0x40]].concat()
    }

    /// Opens an envelope as Alice.
    pub(crate) fn open(&self, envelope: &[u8]) -> Result<Content, Refusal> {
        open(&self.topic, envelope, &[&self.key], self.tag)
    }

    fn envelope(&self, name: &str, identity: &Identity, content: &Content) -> Result<Value, Refusal> {
        let envelope = self.seal(identity, &content.encode())?;
        assert_eq!(self.open(&envelope)?, *content);
        // In the order in which the engine draws them.
        let mut random = self.random.clone();
        let mut draw = |bytes: &mut [u8]| random.fill_bytes(bytes);
        let (mut ephemeral, mut content_key) = ([0; 32], [0; 32]);
        draw(&mut ephemeral);
        draw(&mut content_key);
        let missing = self.recipients.len().next_power_of_two() - self.recipients.len();
        let fillers = (0..missing).map(|_| {
            let mut filler = [0; 56];
            draw(&mut filler);
            hex(&filler)
        });
        Ok(json!({
            "name": name,
            "input": {
                "topic": hex(self.topic.as_bytes()),
                "signer": hex(&identity.seed()[..]),
                "recipients": self.recipients.iter().map(|key| hex(key)).collect::<Vec<_>>(),
                "tag_key": self.tag.map(|key| hex(key)),
                "ephemeral_secret": hex(&ephemeral),
                "content_key": hex(&content_key),
                "fillers": fillers.collect::<Vec<_>>(),
                "content": hex(&content.encode()),
            },
            "output": hex(&envelope),
        }))
    }
}
