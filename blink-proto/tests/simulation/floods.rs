//! Floods of 1,000 messages a second, under which calls are still established.
//!
//! Messages are sealed in envelopes and opened as by the driver, on virtual time: the tests measure
//! admission by rate limits, not speed.

use std::rc::Rc;
use std::time::Duration;

use blink_api::{CallSettings, DeviceId, Did, Endpoint, Origin, Topic};
use blink_proto::call::{CallState, Event};
use blink_proto::secure::{AgreementKey, CallKeys, Identity, MAX_ENVELOPE, Random, Sealing, inbox_topic, seal};
use blink_proto::wire::{Body, Content, Ringing};
use blink_sim::simulation::{Envelope, Network, Simulation, SimulationConfig};
use bytes::Bytes;
use libtest_mimic::{Failed, Trial};
use rand::{Rng, SeedableRng};

use crate::actions::current;

const SECOND: Duration = Duration::from_secs(1);
/// Number of calls in each test.
const CALLS: u64 = 100;
/// Minimum number of calls that are established.
const ENOUGH: u64 = 99;
/// Interval between two messages of the flood.
const PAUSE: Duration = Duration::from_millis(1);
/// Number of origins that stands for a new origin for each message.
const FRESH: u8 = 0;
/// Duration of the flood before the call.
const BEFORE: Duration = Duration::from_secs(3);

/// Messages of a flood.
#[derive(Debug, Clone, Copy)]
enum Flood {
    /// Random bytes.
    Garbage,
    /// Valid envelopes for the callee, each of another identity.
    Envelopes,
    /// The last envelope on the topic.
    Replays,
    /// Envelopes with a call's tag, encrypted for none of its members, by a former holder of its
    /// secret.
    Former,
}

/// Flooded topic.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    Inbox,
    Call,
}

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for place in [Place::Inbox, Place::Call] {
        for flood in [Flood::Garbage, Flood::Envelopes, Flood::Replays] {
            for origins in [1, 50] {
                let name = format!("floods::{place:?}_{flood:?}_from_{origins}_origins").to_lowercase();
                trials.push(Trial::test(name, move || calls_are_established(place, flood, origins)));
            }
        }
    }
    for origins in [1, 50, FRESH] {
        let name = format!("floods::call_former_from_{origins}_origins");
        trials.push(Trial::test(name, move || calls_are_established(Place::Call, Flood::Former, origins)));
    }
    trials.push(Trial::test("floods::former_members_are_rate_limited", former_members_are_rate_limited));
    trials
}

/// Of 1,000 messages a second from new origins, few are decrypted.
fn former_members_are_rate_limited() -> Result<(), Failed> {
    let mut flooded = FloodedCall::new(1, Place::Call, Flood::Former, FRESH);
    if !flooded.call_is_established() {
        return Err(flooded.simulation.transcript().into());
    }
    let counters = |flooded: &FloodedCall| {
        *flooded.simulation.nodes[1].envelopes.as_ref().expect("the simulation is sealed").counters()
    };
    let before = counters(&flooded);
    let topic = flooded.simulation.call_topic(0);
    flooded.run(5 * SECOND, topic);
    let after = counters(&flooded);
    let decrypted = after.not_for_us - before.not_for_us;
    if decrypted > 100 + 5 * 50 + 5 {
        return Err(format!("{decrypted} of 5,000 were decrypted").into());
    }
    Ok(())
}

fn calls_are_established(place: Place, flood: Flood, origins: u8) -> Result<(), Failed> {
    let mut established = 0;
    let mut last = String::new();
    for seed in 0..CALLS {
        let mut flooded = FloodedCall::new(seed, place, flood, origins);
        if flooded.call_is_established() {
            established += 1;
        } else {
            last = flooded.simulation.transcript();
        }
    }
    if established < ENOUGH {
        return Err(format!("{last}\n{established} of {CALLS} calls were established").into());
    }
    Ok(())
}

/// A call of two under a flood.
struct FloodedCall {
    simulation: Simulation,
    place: Place,
    flood: Flood,
    origins: u8,
    sent: u64,
    /// Prepared messages of the flood, sent in rotation.
    made: Vec<Bytes>,
}

impl FloodedCall {
    fn new(seed: u64, place: Place, flood: Flood, origins: u8) -> Self {
        let (network, settings) = (Network::PERFECT, CallSettings::default());
        let devices = [(1, 1), (2, 2)];
        let mut simulation =
            Simulation::configured(SimulationConfig { devices: &devices, seed, network, settings, sealed: true });
        simulation.trace.disable();
        simulation.paths.traffic = SECOND;
        let mut random = Random::seed_from_u64(seed ^ 0xf100d);
        let made = |n: usize| match flood {
            Flood::Garbage => garbage(&mut random, 1 + n * 251),
            Flood::Envelopes | Flood::Replays | Flood::Former => envelope(&mut random, &simulation.did(1)),
        };
        let made = (0..64).map(made).collect();
        Self { simulation, place, flood, origins, sent: 0, made }
    }

    /// Alice calls Bob, whose inbox or whose call is flooded. Whether both connect, and stay in the
    /// call under two more seconds of the flood.
    fn call_is_established(&mut self) -> bool {
        let topic = inbox_topic(&self.simulation.did(1));
        if self.place == Place::Inbox {
            self.run(BEFORE, topic);
        }
        let call = self.simulation.offer(0, &[1]);
        let topic = if self.place == Place::Inbox { topic } else { self.simulation.call_topic(0) };
        for _ in 0..60 {
            if self.simulation.nodes[1].machine.pending().contains(&call) {
                self.simulation.answer(1, call);
            }
            let connected =
                |node: usize| self.simulation.count(node, |event| matches!(event, Event::ParticipantJoined { .. })) > 0;
            if connected(0) && connected(1) {
                self.run(2 * SECOND, topic);
                return (0..2)
                    .all(|node| current(&self.simulation, node).is_some_and(|call| call.state == CallState::Active));
            }
            self.run(SECOND / 2, topic);
        }
        false
    }

    fn run(&mut self, duration: Duration, topic: Topic) {
        let end = self.simulation.now + duration;
        while self.simulation.now < end {
            let envelope = self.next(topic);
            self.simulation.deliver_to(1, &envelope);
            if self.place == Place::Call {
                self.simulation.deliver_to(0, &envelope);
            }
            self.simulation.advance(PAUSE);
        }
    }

    fn next(&mut self, topic: Topic) -> Envelope {
        self.sent += 1;
        let origin = match self.origins {
            FRESH => Origin((u128::from(self.sent) << 64).to_be_bytes()),
            origins => Origin([200 + (self.sent % u64::from(origins)) as u8; 16]),
        };
        if matches!(self.flood, Flood::Former) && self.sent == 1 {
            let keys = self.simulation.call_secrets(0);
            let mut random = Random::seed_from_u64(self.simulation.seed ^ 0x5ec2e7);
            self.made = (0..64).map(|_| former(&mut random, &keys)).collect();
        }
        let bytes = match self.flood {
            Flood::Former => self.made[self.sent as usize % self.made.len()].clone(),
            Flood::Garbage | Flood::Envelopes => self.made[self.sent as usize % self.made.len()].clone(),
            Flood::Replays => {
                let of_topic = |envelope: &&Rc<Envelope>| envelope.topic == topic;
                let heard =
                    self.simulation.published.iter().rev().find(of_topic).map(|envelope| envelope.bytes.clone());
                heard.unwrap_or_else(|| self.made[0].clone())
            }
        };
        Envelope { topic, bytes, origin }
    }
}

/// An envelope with the tag of a call that no member can decrypt.
fn former(random: &mut Random, keys: &CallKeys) -> Bytes {
    let former = Identity::generate(random);
    let from = Endpoint { did: former.did(), device: DeviceId::from_random([9; 16]) };
    let body = Body::Ringing(Ringing { nonce: [0; 16].into(), rings: true });
    let content = Content { from, boot: 1, seq: 1, unix_ms: 0, call: keys.id, body }.encode();
    let recipients = [*AgreementKey::generate(random).public()];
    let sealing = Sealing { topic: keys.topic, recipients: &recipients, tag: Some(keys.tag()), identity: &former };
    seal(&sealing, &content, random).expect("a short message to one recipient").into()
}

fn garbage(random: &mut Random, size: usize) -> Bytes {
    let mut bytes = vec![0; size.min(MAX_ENVELOPE)];
    random.fill_bytes(&mut bytes[..]);
    bytes.into()
}

/// A valid envelope of an unknown identity.
fn envelope(random: &mut Random, to: &Did) -> Bytes {
    let stranger = Identity::generate(random);
    let from = Endpoint { did: stranger.did(), device: DeviceId::from_random([9; 16]) };
    let body = Body::Ringing(Ringing { nonce: [0; 16].into(), rings: true });
    let call = blink_api::CallId::from_bytes([5; 16]);
    let content = Content { from, boot: 1, seq: 1, unix_ms: 0, call, body }.encode();
    let recipients = [AgreementKey::public_of(to).expect("a device of this simulation has a usable key")];
    let sealing = Sealing { topic: inbox_topic(to), recipients: &recipients, tag: None, identity: &stranger };
    seal(&sealing, &content, random).expect("a short message to one recipient").into()
}
