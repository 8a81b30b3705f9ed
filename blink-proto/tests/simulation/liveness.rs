//! One member is cut off, gone or deaf for good: all the others still find each other, and none of
//! them waits for it for ever.

use std::time::Duration;

use blink_api::{CallId, CallSettings};
use blink_proto::call::{CallState, Event, ParticipantStatus};
use blink_proto::secure::Random;
use blink_proto::wire::{Body, Record};
use blink_sim::impairment::Impairments;
use blink_sim::simulation::{Network, Simulation};
use libtest_mimic::{Failed, Trial};
use rand::{RngExt, SeedableRng};

use crate::actions::current;

const SECOND: Duration = Duration::from_secs(1);
/// Seeds of each.
const SEEDS: u64 = 100;

type Harm = fn(&mut Simulation, usize, &mut Random);

pub(crate) fn trials() -> Vec<Trial> {
    let harms: [(&str, Harm); 4] = [
        ("one_permanent_one_way_partition", cut_one_way),
        ("one_member_whom_nobody_hears", silence),
        ("one_crashed_member", crash),
        ("one_member_who_never_acknowledges", never_acknowledge),
    ];
    let test = |(name, harm): (&str, Harm)| Trial::test(format!("liveness::{name}"), move || converge(harm));
    harms.into_iter().map(test).collect()
}

/// Three to six people, one of whom, the last, is harmed before, while or after they connect.
fn converge(harm: Harm) -> Result<(), Failed> {
    for seed in 0..SEEDS {
        let mut random = Random::seed_from_u64(seed);
        let count = random.random_range(3..=6);
        let loss = random.random_range(0.0..0.3);
        let impairments = Impairments { loss, ..Network::ROUGH.impairments };
        let network = Network { impairments, ..Network::ROUGH };
        let mut world = Simulation::with(count, seed, network, CallSettings::default());
        world.paths.traffic = SECOND;
        let last = usize::from(count) - 1;
        let when = random.random_range(0..3);
        if when == 0 {
            harm(&mut world, last, &mut random);
        }
        let call = world.offer(0, &(1..=last).collect::<Vec<_>>());
        for node in 1..=last {
            let rings = |world: &Simulation| world.nodes[node].machine.pending().contains(&call);
            for _ in 0..if node == last { 10 } else { 40 } {
                if !rings(&world) {
                    world.advance(SECOND);
                }
            }
            if rings(&world) {
                world.answer(node, call);
            }
            world.advance(Duration::from_millis(random.random_range(0..2_000)));
            if when == 1 && node == 1 {
                harm(&mut world, last, &mut random);
            }
        }
        if when == 2 {
            world.advance(random.random_range(0..20) * SECOND);
            harm(&mut world, last, &mut random);
        }
        world.advance(75 * SECOND);
        agreed(&world, call, last).map_err(|text| format!("seed {seed}: {text}\n{}", world.transcript()))?;
    }
    Ok(())
}

/// All but the last are connected to each other; to the last one they are connected or not, but
/// wait for nothing.
fn agreed(world: &Simulation, call: CallId, last: usize) -> Result<(), String> {
    for node in 0..last {
        let Some(snapshot) = current(world, node).filter(|snapshot| snapshot.call == call) else {
            return Err(format!("node {node} is not in the call"));
        };
        if snapshot.state != CallState::Active {
            return Err(format!("node {node} is {:?}", snapshot.state));
        }
        for participant in &snapshot.participants {
            let harmed = participant.did == world.did(last);
            if !harmed && participant.status != ParticipantStatus::Connected {
                return Err(format!("node {node} believes {participant:?}"));
            }
        }
        let left = |event: &Event| match event {
            Event::ParticipantLeft { participant, .. } => participant.did != world.did(last),
            _ => false,
        };
        if world.count(node, left) > 0 {
            return Err(format!("somebody left node {node}, which nobody did"));
        }
    }
    Ok(())
}

fn cut_one_way(world: &mut Simulation, last: usize, random: &mut Random) {
    let other = random.random_range(0..last);
    let pair = if random.random_bool(0.5) { (last, other) } else { (other, last) };
    world.cut_signaling.insert(pair);
}

fn silence(world: &mut Simulation, last: usize, _: &mut Random) {
    world.cut_signaling.extend((0..last).map(|other| (last, other)));
}

fn crash(world: &mut Simulation, last: usize, _: &mut Random) {
    world.nodes[last].online = false;
    world.cut_signaling.extend((0..last).map(|other| (last, other)));
    world.paths.cut.extend((0..last).map(|other| (other, last)));
}

/// It hears everything and says so of nothing.
fn never_acknowledge(world: &mut Simulation, last: usize, _: &mut Random) {
    let deaf = |body: &mut Body| match body {
        Body::Member(member) => member.record = Record { seen: Vec::new(), ..member.record.clone() },
        Body::Link(link) => (link.ack_generation, link.ack_candidates) = (0, 0),
        Body::Cancel(cancel) => cancel.acknowledged = false,
        Body::Reject(reject) => reject.acknowledged = false,
        Body::Offer(_) | Body::Ringing(_) | Body::Busy(_) | Body::StaleBoot(_) => {}
    };
    world.mutations.insert(last, Box::new(deaf));
}
