//! Floods: a thousand messages a second, and a person whom one knows gets through all the same.
//!
//! Every call goes through envelopes and doors as the driver opens them, on virtual time: what is
//! measured is what is let in, not how fast a machine is.

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
/// Calls of each flood.
const CALLS: u64 = 100;
/// Of which so many must come about.
const ENOUGH: u64 = 99;
/// Between two messages.
const PAUSE: Duration = Duration::from_millis(1);
/// Each message from another origin.
const FRESH: u8 = 0;
/// How long the flood lasts before somebody calls.
const BEFORE: Duration = Duration::from_secs(3);

/// What comes in.
#[derive(Debug, Clone, Copy)]
enum Flood {
    /// No envelopes at all.
    Garbage,
    /// Envelopes for the callee by people who exist for one message each.
    Letters,
    /// Something that the callee has had, again and again.
    Replays,
    /// Envelopes with a call's right tag and for none of its members, by a former holder of its
    /// secret.
    Former,
}

/// Where it comes in.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    Inbox,
    Call,
}

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for place in [Place::Inbox, Place::Call] {
        for flood in [Flood::Garbage, Flood::Letters, Flood::Replays] {
            for origins in [1, 50] {
                let name = format!("floods::{place:?}_{flood:?}_from_{origins}_origins").to_lowercase();
                trials.push(Trial::test(name, move || somebody_gets_through(place, flood, origins)));
            }
        }
    }
    for origins in [1, 50, FRESH] {
        let name = format!("floods::call_former_from_{origins}_origins");
        trials.push(Trial::test(name, move || somebody_gets_through(Place::Call, Flood::Former, origins)));
    }
    trials.push(Trial::test("floods::who_once_had_the_secret_uses_up_its_share", former_members_have_a_share));
    trials
}

/// Of a thousand messages a second under fresh names few are looked at, and of members' all.
fn former_members_have_a_share() -> Result<(), Failed> {
    let mut siege = Siege::new(1, Place::Call, Flood::Former, FRESH);
    if !siege.call_comes_about() {
        return Err(siege.world.transcript().into());
    }
    let counters = |siege: &Siege| *siege.world.nodes[1].envelopes.as_ref().expect("letters are sealed").counters();
    let before = counters(&siege);
    let topic = siege.world.call_topic(0);
    siege.run(5 * SECOND, topic);
    let after = counters(&siege);
    let looked_at = after.not_for_us - before.not_for_us;
    if looked_at > 100 + 5 * 50 + 5 {
        return Err(format!("{looked_at} of 5,000 were looked at").into());
    }
    Ok(())
}

fn somebody_gets_through(place: Place, flood: Flood, origins: u8) -> Result<(), Failed> {
    let mut came_about = 0;
    let mut last = String::new();
    for seed in 0..CALLS {
        let mut siege = Siege::new(seed, place, flood, origins);
        if siege.call_comes_about() {
            came_about += 1;
        } else {
            last = siege.world.transcript();
        }
    }
    if came_about < ENOUGH {
        return Err(format!("{last}\n{came_about} of {CALLS} calls came about").into());
    }
    Ok(())
}

/// Two people under a flood.
struct Siege {
    world: Simulation,
    place: Place,
    flood: Flood,
    origins: u8,
    sent: u64,
    /// What is sent over and over again, where it is not what was heard.
    made: Vec<Bytes>,
}

impl Siege {
    fn new(seed: u64, place: Place, flood: Flood, origins: u8) -> Self {
        let (network, settings) = (Network::PERFECT, CallSettings::default());
        let devices = [(1, 1), (2, 2)];
        let mut world =
            Simulation::configured(SimulationConfig { devices: &devices, seed, network, settings, sealed: true });
        world.trace.disable();
        world.paths.traffic = SECOND;
        let mut random = Random::seed_from_u64(seed ^ 0xf100d);
        let made = |n: usize| match flood {
            Flood::Garbage => garbage(&mut random, 1 + n * 251),
            Flood::Letters | Flood::Replays | Flood::Former => letter(&mut random, &world.did(1)),
        };
        let made = (0..64).map(made).collect();
        Self { world, place, flood, origins, sent: 0, made }
    }

    /// Alice calls Bob, whose inbox or whose call is flooded. True once both hear each other and
    /// one more word of theirs came through.
    fn call_comes_about(&mut self) -> bool {
        let topic = inbox_topic(&self.world.did(1));
        if self.place == Place::Inbox {
            self.run(BEFORE, topic);
        }
        let call = self.world.offer(0, &[1]);
        let topic = if self.place == Place::Inbox { topic } else { self.world.call_topic(0) };
        for _ in 0..60 {
            if self.world.nodes[1].machine.pending().contains(&call) {
                self.world.answer(1, call);
            }
            let connected =
                |node: usize| self.world.count(node, |event| matches!(event, Event::ParticipantJoined { .. })) > 0;
            if connected(0) && connected(1) {
                self.run(2 * SECOND, topic);
                return (0..2)
                    .all(|node| current(&self.world, node).is_some_and(|call| call.state == CallState::Active));
            }
            self.run(SECOND / 2, topic);
        }
        false
    }

    fn run(&mut self, duration: Duration, topic: Topic) {
        let end = self.world.now + duration;
        while self.world.now < end {
            let letter = self.next(topic);
            // What becomes of it is what this is about.
            self.world.deliver_to(1, &letter);
            if self.place == Place::Call {
                self.world.deliver_to(0, &letter);
            }
            self.world.advance(PAUSE);
        }
    }

    fn next(&mut self, topic: Topic) -> Envelope {
        self.sent += 1;
        let origin = match self.origins {
            FRESH => Origin((u128::from(self.sent) << 64).to_be_bytes()),
            origins => Origin([200 + (self.sent % u64::from(origins)) as u8; 16]),
        };
        if matches!(self.flood, Flood::Former) && self.sent == 1 {
            let keys = self.world.call_secrets(0);
            let mut random = Random::seed_from_u64(self.world.seed ^ 0x5ec2e7);
            self.made = (0..64).map(|_| former(&mut random, &keys)).collect();
        }
        let bytes = match self.flood {
            Flood::Former => self.made[self.sent as usize % self.made.len()].clone(),
            Flood::Garbage | Flood::Letters => self.made[self.sent as usize % self.made.len()].clone(),
            Flood::Replays => {
                let of_topic = |letter: &&Rc<Envelope>| letter.topic == topic;
                let heard = self.world.published.iter().rev().find(of_topic).map(|letter| letter.bytes.clone());
                heard.unwrap_or_else(|| self.made[0].clone())
            }
        };
        Envelope { topic, bytes, origin }
    }
}

/// An envelope that every holder of the secret takes for one of the call, and that none can read.
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

/// A letter that opens, by somebody whom nobody knows.
fn letter(random: &mut Random, to: &Did) -> Bytes {
    let stranger = Identity::generate(random);
    let from = Endpoint { did: stranger.did(), device: DeviceId::from_random([9; 16]) };
    let body = Body::Ringing(Ringing { nonce: [0; 16].into(), rings: true });
    let call = blink_api::CallId::from_bytes([5; 16]);
    let content = Content { from, boot: 1, seq: 1, unix_ms: 0, call, body }.encode();
    let recipients = [AgreementKey::public_of(to).expect("a device of this world has a sound key")];
    let sealing = Sealing { topic: inbox_topic(to), recipients: &recipients, tag: None, identity: &stranger };
    seal(&sealing, &content, random).expect("a short message to one recipient").into()
}
