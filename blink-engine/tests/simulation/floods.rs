//! Floods: a thousand messages a second, and a person whom one knows gets through all the same.
//!
//! Every call goes through envelopes and doors as the driver opens them, on virtual time: what is measured is what is let in, not how fast a machine is.

use std::rc::Rc;
use std::time::Duration;

use blink_api::{CallSettings, DeviceId, Did, Endpoint, Origin, Topic};
use blink_engine::call::{CallState, Event};
use blink_engine::secure::{AgreementKey, Identity, MAX_ENVELOPE, Random, Sealing, inbox_topic, seal};
use blink_engine::wire::{Body, Content, Ringing};
use bytes::Bytes;
use libtest_mimic::{Failed, Trial};
use rand::{Rng, SeedableRng};

use crate::actions::current;
use crate::world::{Letter, Network, Setup, World};

const SECOND: Duration = Duration::from_secs(1);
/// Calls of each flood.
const CALLS: u64 = 100;
/// Of which so many must come about.
const ENOUGH: u64 = 99;
/// Between two messages.
const PAUSE: Duration = Duration::from_millis(1);
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
    trials
}

fn somebody_gets_through(place: Place, flood: Flood, origins: u8) -> Result<(), Failed> {
    let mut came_about = 0;
    let mut last = String::new();
    for seed in 0..CALLS {
        let mut siege = Siege::new(seed, place, flood, origins);
        if siege.call_comes_about() {
            came_about += 1;
        } else {
            last = siege.world.story();
        }
    }
    if came_about < ENOUGH {
        return Err(format!("{last}\n{came_about} of {CALLS} calls came about").into());
    }
    Ok(())
}

/// Two people under a flood.
struct Siege {
    world: World,
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
        let mut world = World::set_up(Setup { devices: &devices, seed, network, settings, sealed: true });
        world.trace.silence();
        world.paths.traffic = SECOND;
        let mut random = Random::seed_from_u64(seed ^ 0xf100d);
        let made = |n: usize| match flood {
            Flood::Garbage => garbage(&mut random, 1 + n * 251),
            Flood::Letters | Flood::Replays => letter(&mut random, &world.did(1)),
        };
        let made = (0..64).map(made).collect();
        Self { world, place, flood, origins, sent: 0, made }
    }

    /// Alice calls Bob, whose inbox or whose call is flooded. True once both hear each other and one more word of theirs came through.
    fn call_comes_about(&mut self) -> bool {
        let topic = inbox_topic(&self.world.did(1));
        if self.place == Place::Inbox {
            self.run(BEFORE, topic);
        }
        let call = self.world.offer(0, &[1]);
        let topic = if self.place == Place::Inbox { topic } else { self.world.topic_of_a_call(0) };
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
            self.world.bring_to(1, &letter);
            if self.place == Place::Call {
                self.world.bring_to(0, &letter);
            }
            self.world.advance(PAUSE);
        }
    }

    fn next(&mut self, topic: Topic) -> Letter {
        self.sent += 1;
        let origin = Origin([200 + (self.sent % u64::from(self.origins)) as u8; 16]);
        let bytes = match self.flood {
            Flood::Garbage | Flood::Letters => self.made[self.sent as usize % self.made.len()].clone(),
            Flood::Replays => {
                let of_topic = |letter: &&Rc<Letter>| letter.topic == topic;
                let heard = self.world.wire.iter().rev().find(of_topic).map(|letter| letter.bytes.clone());
                heard.unwrap_or_else(|| self.made[0].clone())
            }
        };
        Letter { topic, bytes, origin }
    }
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
