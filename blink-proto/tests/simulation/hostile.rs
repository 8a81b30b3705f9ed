//! Attackers: an outsider that receives all traffic of the network, and malicious members.
//!
//! The outsider replays, reflects, damages and moves envelopes, offers calls of its own, sends
//! random messages in its own name about calls whose ids it knows, and subscribes to their topics
//! repeatedly. Malicious members hold the secrets of their calls and forge state about themselves
//! and others.

use std::rc::Rc;

use blink_api::{CallId, DeviceId, Endpoint, Origin, Topic};
use blink_proto::call::Input;
use blink_proto::secure::{AgreementKey, Channel, Identity, Random, Sealing, inbox_topic, seal, sign_call_key};
use blink_proto::wire::{Body, CallConfiguration, Content, JoinedClaim, Offer, Root, Signed, cbor};
use blink_sim::simulation::{Envelope, Simulation};
use bytes::Bytes;
use rand::{Rng, RngExt, SeedableRng};

use crate::forgery::Forger;

/// Attacks of one moment.
const ATTACKS: usize = 4;

/// The attackers of a simulation.
pub(crate) struct Hostile {
    random: Random,
    /// Separate, so that other attacks do not depend on the number of subscriptions.
    subscribing: Random,
    outsider: Identity,
    seq: u64,
    /// Devices of malicious members.
    pub(crate) malicious: Vec<usize>,
}

impl Hostile {
    /// Attackers with the devices of one or two malicious members; at least two devices are honest.
    pub(crate) fn among(simulation: &mut Simulation, seed: u64) -> Self {
        let mut random = Random::seed_from_u64(seed ^ 0xbad);
        let count = simulation.nodes.len();
        let number = if count > 3 { random.random_range(1..=2) } else { usize::from(count > 2) };
        // The devices of one identity are all honest or all malicious.
        let person = |node: usize| simulation.nodes[node].seed.0;
        let chosen: Vec<u8> = (0..number).map(|n| person(count - 1 - n)).collect();
        let mut malicious: Vec<usize> = (0..count).filter(|node| chosen.contains(&person(*node))).collect();
        if count - malicious.len() < 2 {
            malicious.clear();
        }
        let endpoints: Vec<Endpoint> = simulation.nodes.iter().map(|node| node.endpoint).collect();
        for node in &malicious {
            let mut forger = Forger::new(endpoints.clone(), Random::seed_from_u64(random.next_u64()));
            simulation.mutations.insert(*node, Box::new(move |body| forger.alter(body)));
        }
        let subscribing = Random::seed_from_u64(seed ^ 0x5b5c);
        Self { random, subscribing, outsider: Identity::from_seed(&[200; 32]), seq: 0, malicious }
    }

    pub(crate) fn honest(&self, simulation: &Simulation) -> Vec<usize> {
        (0..simulation.nodes.len()).filter(|node| !self.malicious.contains(node)).collect()
    }

    /// A few attacks.
    pub(crate) fn attack(&mut self, simulation: &mut Simulation) {
        for _ in 0..ATTACKS {
            match self.random.random_range(0..8) {
                0..=2 => self.replay(simulation),
                3 => self.damage(simulation),
                4 => self.move_to_other_topic(simulation),
                5 => self.call(simulation),
                6 => self.speak(simulation),
                _ => self.lie(simulation),
            }
        }
        self.subscribe(simulation);
    }

    /// Subscribes repeatedly to an inbox or a topic, which all nodes notice.
    fn subscribe(&mut self, simulation: &mut Simulation) {
        let heard = simulation.published.len();
        if heard == 0 {
            return;
        }
        let topic = simulation.published[self.subscribing.random_range(0..heard)].topic;
        for _ in 0..self.subscribing.random_range(0..8) {
            for node in (0..simulation.nodes.len()).filter(|node| simulation.nodes[*node].online).collect::<Vec<_>>() {
                simulation.input(node, Input::SubscriberJoined(topic));
            }
        }
    }

    /// Replays an envelope to all subscribers of its topic, its sender included.
    fn replay(&mut self, simulation: &mut Simulation) {
        if let Some(envelope) = self.heard(simulation) {
            simulation.inject(self.sent_as(envelope.topic, envelope.bytes.clone()));
        }
    }

    /// Replays an envelope with a flipped bit, truncated or extended.
    fn damage(&mut self, simulation: &mut Simulation) {
        let Some(envelope) = self.heard(simulation) else { return };
        let mut bytes = envelope.bytes.to_vec();
        let at = self.random.random_range(0..bytes.len());
        match self.random.random_range(0..3) {
            0 => bytes[at] ^= 1 << self.random.random_range(0..8),
            1 => bytes.truncate(at),
            _ => bytes.push(0),
        }
        simulation.inject(self.sent_as(envelope.topic, bytes.into()));
    }

    /// Replays an envelope on another topic: an inbox, or that of another call.
    fn move_to_other_topic(&mut self, simulation: &mut Simulation) {
        let (Some(envelope), Some(other)) = (self.heard(simulation), self.heard(simulation)) else { return };
        simulation.inject(self.sent_as(other.topic, envelope.bytes.clone()));
    }

    fn heard(&mut self, simulation: &Simulation) -> Option<Rc<Envelope>> {
        let heard = simulation.published.len();
        (heard > 0).then(|| simulation.published[self.random.random_range(0..heard)].clone())
    }

    fn sent_as(&mut self, topic: Topic, bytes: Bytes) -> Envelope {
        Envelope { topic, bytes, origin: Origin([200 + self.random.random_range(0..50); 16]) }
    }

    /// Offers a call of the outsider's to an identity.
    fn call(&mut self, simulation: &mut Simulation) {
        let to = simulation.did(self.random.random_range(0..simulation.nodes.len()));
        let mut secret = [0; 32];
        self.random.fill_bytes(&mut secret);
        let mut members = vec![self.outsider.did(), to];
        members.sort();
        let creator = self.endpoint();
        let unix_ms = self.random.next_u64();
        let secret_hash = sha256(&secret);
        let root = cbor::encode(&Root { creator, nonce: [1; 16], unix_ms, secret_hash, members });
        let signed = Signed { signature: self.outsider.sign(b"blink/1 root\0", &root), bytes: root };
        let call = call_of(&signed.bytes);
        let call_key = sign_call_key(&self.outsider, &creator.device, &call, &[9; 32]);
        let claim = JoinedClaim { endpoint: creator, boot: 1, version: 1, call_key };
        let remaining_ms = if self.random.random_bool(0.5) { 0 } else { u32::MAX };
        let offer = Offer {
            root: signed,
            entries: Vec::new(),
            secret: secret.into(),
            joined: vec![claim],
            remaining_ms,
            echo: vec![[3; 16].into()],
            configuration: CallConfiguration::default(),
        };
        self.write(simulation, to, call, Body::Offer(Box::new(offer)));
    }

    /// Sends a message about a call of which it is no member to an inbox.
    fn speak(&mut self, simulation: &mut Simulation) {
        let to = simulation.did(self.random.random_range(0..simulation.nodes.len()));
        let Some(call) = any_call(simulation, &mut self.random) else { return };
        let endpoints: Vec<Endpoint> = simulation.nodes.iter().map(|node| node.endpoint).collect();
        let mut forger = Forger::new(endpoints, Random::seed_from_u64(self.random.next_u64()));
        let body = forger.forge(&self.outsider, self.endpoint(), [7; 32], call, None);
        self.write(simulation, to, call, body);
    }

    /// Sends a message of a malicious member that its machine would not send, on the call's topic
    /// or to an inbox.
    fn lie(&mut self, simulation: &mut Simulation) {
        if self.malicious.is_empty() {
            return;
        }
        let node = self.malicious[self.random.random_range(0..self.malicious.len())];
        let Some((call, keys)) = simulation.known_call_keys(node) else { return };
        let to = self.random.random_range(0..simulation.nodes.len());
        let endpoints: Vec<Endpoint> = simulation.nodes.iter().map(|node| node.endpoint).collect();
        let mut forger = Forger::new(endpoints, Random::seed_from_u64(self.random.next_u64()));
        let own = Identity::from_seed(&[simulation.nodes[node].seed.0; 32]);
        let endpoint = simulation.nodes[node].endpoint;
        let theirs = (keys.len() > 1).then(|| keys[self.random.random_range(1..keys.len())]);
        forger.know(keys.iter().map(|(endpoint, key)| simulation.signed_key(endpoint, &call, key)).collect());
        let body =
            forger.forge(&own, endpoint, keys[0].1, call, theirs.as_ref().map(|(endpoint, key)| (endpoint, key)));
        let keys = keys.into_iter().map(|(_, key)| key).collect();
        let inbox = self.random.random_bool(0.3);
        let (channel, recipients) = match AgreementKey::public_of(&simulation.did(to)) {
            Ok(key) if inbox => (Channel::Inbox(simulation.did(to)), vec![key]),
            _ => (Channel::Call(call), keys),
        };
        simulation.send_raw(node, channel, &recipients, call, body);
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint { did: self.outsider.did(), device: DeviceId::from_random([200; 16]) }
    }

    fn write(&mut self, simulation: &mut Simulation, to: blink_api::Did, call: CallId, body: Body) {
        self.seq += 1;
        let from = self.endpoint();
        let content = Content { from, boot: 1, seq: self.seq, unix_ms: 0, call, body }.encode();
        let recipients = [AgreementKey::public_of(&to).expect("devices of this simulation have usable keys")];
        let topic = inbox_topic(&to);
        let sealing = Sealing { topic, recipients: &recipients, tag: None, identity: &self.outsider };
        // A message that is too large to seal is not sent.
        if let Ok(bytes) = seal(&sealing, &content, &mut self.random) {
            let envelope = self.sent_as(topic, bytes.into());
            simulation.inject(envelope);
        }
    }
}

/// A call that any node takes part in or remembers.
fn any_call(simulation: &Simulation, random: &mut Random) -> Option<CallId> {
    let calls: Vec<CallId> =
        simulation.nodes.iter().flat_map(|node| node.machine.snapshot().calls).map(|call| call.call).collect();
    (!calls.is_empty()).then(|| calls[random.random_range(0..calls.len())])
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).into()
}

fn call_of(root: &[u8]) -> CallId {
    let hash = sha256(&[b"blink/1 call\0", root].concat());
    CallId::from_bytes(*hash.first_chunk().expect("a SHA-256 hash has 32 bytes"))
}
