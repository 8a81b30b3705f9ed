//! Peers that attack: an outsider who hears everything on the network, and members who lie.
//!
//! The outsider plays back, reflects, damages and moves what it heard, calls people who did not ask
//! for it, and says in its own name whatever comes to its mind about calls whose ids it is given,
//! and subscribes to their topics again and again. Members hold the secrets of their calls, and
//! what they say about themselves and others is made up.

use std::rc::Rc;

use blink_api::{CallId, DeviceId, Endpoint, Origin, Topic};
use blink_proto::call::Input;
use blink_proto::secure::{AgreementKey, Channel, Identity, Random, Sealing, inbox_topic, seal, sign_call_key};
use blink_proto::wire::{Body, CallConfiguration, Content, JoinedClaim, Offer, Root, Signed, cbor};
use blink_sim::simulation::{Envelope, Simulation};
use bytes::Bytes;
use rand::{Rng, RngExt, SeedableRng};

use crate::lies::Liar;

/// Attacks of one moment.
const ATTACKS: usize = 4;

/// Everybody who attacks a world.
pub(crate) struct Hostile {
    random: Random,
    /// Of its own, so that worlds are attacked as they were before there were subscribers.
    subscribing: Random,
    outsider: Identity,
    seq: u64,
    /// Devices whose owners lie.
    pub(crate) liars: Vec<usize>,
}

impl Hostile {
    /// One or two of the devices belong to liars; at least two are honest.
    pub(crate) fn among(world: &mut Simulation, seed: u64) -> Self {
        let mut random = Random::seed_from_u64(seed ^ 0xbad);
        let count = world.nodes.len();
        let number = if count > 3 { random.random_range(1..=2) } else { usize::from(count > 2) };
        // A person's devices are all honest or none is.
        let person = |node: usize| world.nodes[node].seed.0;
        let chosen: Vec<u8> = (0..number).map(|n| person(count - 1 - n)).collect();
        let mut liars: Vec<usize> = (0..count).filter(|node| chosen.contains(&person(*node))).collect();
        if count - liars.len() < 2 {
            liars.clear();
        }
        let endpoints: Vec<Endpoint> = world.nodes.iter().map(|node| node.endpoint).collect();
        for liar in &liars {
            let mut tongue = Liar::new(endpoints.clone(), Random::seed_from_u64(random.next_u64()));
            world.mutations.insert(*liar, Box::new(move |body| tongue.twist(body)));
        }
        let subscribing = Random::seed_from_u64(seed ^ 0x5b5c);
        Self { random, subscribing, outsider: Identity::from_seed(&[200; 32]), seq: 0, liars }
    }

    pub(crate) fn honest(&self, world: &Simulation) -> Vec<usize> {
        (0..world.nodes.len()).filter(|node| !self.liars.contains(node)).collect()
    }

    /// A few attacks.
    pub(crate) fn attack(&mut self, world: &mut Simulation) {
        for _ in 0..ATTACKS {
            match self.random.random_range(0..8) {
                0..=2 => self.play_back(world),
                3 => self.damage(world),
                4 => self.move_elsewhere(world),
                5 => self.call(world),
                6 => self.speak(world),
                _ => self.lie(world),
            }
        }
        self.subscribe(world);
    }

    /// Subscribes again and again to an inbox or a topic, of which everybody hears.
    fn subscribe(&mut self, world: &mut Simulation) {
        let heard = world.published.len();
        if heard == 0 {
            return;
        }
        let topic = world.published[self.subscribing.random_range(0..heard)].topic;
        for _ in 0..self.subscribing.random_range(0..8) {
            for node in (0..world.nodes.len()).filter(|node| world.nodes[*node].online).collect::<Vec<_>>() {
                world.input(node, Input::SubscriberJoined(topic));
            }
        }
    }

    /// Something that was heard, once more for everybody who listens there, its sender too.
    fn play_back(&mut self, world: &mut Simulation) {
        if let Some(letter) = self.heard(world) {
            world.inject(self.sent_as(letter.topic, letter.bytes.clone()));
        }
    }

    /// Something that was heard, with a bit flipped, an end cut off or more at it.
    fn damage(&mut self, world: &mut Simulation) {
        let Some(letter) = self.heard(world) else { return };
        let mut bytes = letter.bytes.to_vec();
        let at = self.random.random_range(0..bytes.len());
        match self.random.random_range(0..3) {
            0 => bytes[at] ^= 1 << self.random.random_range(0..8),
            1 => bytes.truncate(at),
            _ => bytes.push(0),
        }
        world.inject(self.sent_as(letter.topic, bytes.into()));
    }

    /// Something that was heard, on another topic: an inbox, or another call's.
    fn move_elsewhere(&mut self, world: &mut Simulation) {
        let (Some(letter), Some(other)) = (self.heard(world), self.heard(world)) else { return };
        world.inject(self.sent_as(other.topic, letter.bytes.clone()));
    }

    fn heard(&mut self, world: &Simulation) -> Option<Rc<Envelope>> {
        let heard = world.published.len();
        (heard > 0).then(|| world.published[self.random.random_range(0..heard)].clone())
    }

    fn sent_as(&mut self, topic: Topic, bytes: Bytes) -> Envelope {
        Envelope { topic, bytes, origin: Origin([200 + self.random.random_range(0..50); 16]) }
    }

    /// A call of its own, offered to somebody who never heard of it.
    fn call(&mut self, world: &mut Simulation) {
        let to = world.did(self.random.random_range(0..world.nodes.len()));
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
        self.write(world, to, call, Body::Offer(Box::new(offer)));
    }

    /// Something about a call in which it has no part, to somebody's inbox.
    fn speak(&mut self, world: &mut Simulation) {
        let to = world.did(self.random.random_range(0..world.nodes.len()));
        let Some(call) = any_call(world, &mut self.random) else { return };
        let endpoints: Vec<Endpoint> = world.nodes.iter().map(|node| node.endpoint).collect();
        let mut liar = Liar::new(endpoints, Random::seed_from_u64(self.random.next_u64()));
        let body = liar.make_up(&self.outsider, self.endpoint(), [7; 32], call, None);
        self.write(world, to, call, body);
    }

    /// A member says something that its machine never would, on the call's topic or to an inbox.
    fn lie(&mut self, world: &mut Simulation) {
        if self.liars.is_empty() {
            return;
        }
        let node = self.liars[self.random.random_range(0..self.liars.len())];
        let Some((call, keys)) = world.known_call_keys(node) else { return };
        let to = self.random.random_range(0..world.nodes.len());
        let endpoints: Vec<Endpoint> = world.nodes.iter().map(|node| node.endpoint).collect();
        let mut liar = Liar::new(endpoints, Random::seed_from_u64(self.random.next_u64()));
        let own = Identity::from_seed(&[world.nodes[node].seed.0; 32]);
        let endpoint = world.nodes[node].endpoint;
        let theirs = (keys.len() > 1).then(|| keys[self.random.random_range(1..keys.len())]);
        liar.know(keys.iter().map(|(endpoint, key)| world.signed_key(endpoint, &call, key)).collect());
        let body =
            liar.make_up(&own, endpoint, keys[0].1, call, theirs.as_ref().map(|(endpoint, key)| (endpoint, key)));
        let keys = keys.into_iter().map(|(_, key)| key).collect();
        let inbox = self.random.random_bool(0.3);
        let (channel, recipients) = match AgreementKey::public_of(&world.did(to)) {
            Ok(key) if inbox => (Channel::Inbox(world.did(to)), vec![key]),
            _ => (Channel::Call(call), keys),
        };
        world.send_raw(node, channel, &recipients, call, body);
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint { did: self.outsider.did(), device: DeviceId::from_random([200; 16]) }
    }

    fn write(&mut self, world: &mut Simulation, to: blink_api::Did, call: CallId, body: Body) {
        self.seq += 1;
        let from = self.endpoint();
        let content = Content { from, boot: 1, seq: self.seq, unix_ms: 0, call, body }.encode();
        let recipients = [AgreementKey::public_of(&to).expect("devices of this world have sound keys")];
        let topic = inbox_topic(&to);
        let sealing = Sealing { topic, recipients: &recipients, tag: None, identity: &self.outsider };
        // What is too large to seal cannot be sent either.
        if let Ok(bytes) = seal(&sealing, &content, &mut self.random) {
            let letter = self.sent_as(topic, bytes.into());
            world.inject(letter);
        }
    }
}

/// A call that somebody takes part in or remembers.
fn any_call(world: &Simulation, random: &mut Random) -> Option<CallId> {
    let calls: Vec<CallId> =
        world.nodes.iter().flat_map(|node| node.machine.snapshot().calls).map(|call| call.call).collect();
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
