//! Liveness with one member that is permanently cut off, crashed or unresponsive: all other members
//! connect to each other, and none waits for it indefinitely.

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
/// Number of seeds of each test.
const SEEDS: u64 = 100;

type Harm = fn(&mut Simulation, usize, &mut Random);

pub(crate) fn trials() -> Vec<Trial> {
    let harms: [(&str, Harm); 4] = [
        ("one_permanent_one_way_partition", cut_one_way),
        ("one_member_without_outgoing_signaling", silence),
        ("one_crashed_member", crash),
        ("one_member_without_acknowledgements", never_acknowledge),
    ];
    let test = |(name, harm): (&str, Harm)| Trial::test(format!("liveness::{name}"), move || converge(harm));
    harms.into_iter().map(test).collect()
}

/// A call of three to six identities, of which the last fails before, while or after they connect.
fn converge(harm: Harm) -> Result<(), Failed> {
    for seed in 0..SEEDS {
        let mut random = Random::seed_from_u64(seed);
        let count = random.random_range(3..=6);
        let loss = random.random_range(0.0..0.3);
        let impairments = Impairments { loss, ..Network::ROUGH.impairments };
        let network = Network { impairments, ..Network::ROUGH };
        let mut simulation = Simulation::with(count, seed, network, CallSettings::default());
        simulation.paths.traffic = SECOND;
        let last = usize::from(count) - 1;
        let when = random.random_range(0..3);
        if when == 0 {
            harm(&mut simulation, last, &mut random);
        }
        let call = simulation.offer(0, &(1..=last).collect::<Vec<_>>());
        for node in 1..=last {
            let rings = |simulation: &Simulation| simulation.nodes[node].machine.pending().contains(&call);
            for _ in 0..if node == last { 10 } else { 40 } {
                if !rings(&simulation) {
                    simulation.advance(SECOND);
                }
            }
            if rings(&simulation) {
                simulation.answer(node, call);
            }
            simulation.advance(Duration::from_millis(random.random_range(0..2_000)));
            if when == 1 && node == 1 {
                harm(&mut simulation, last, &mut random);
            }
        }
        if when == 2 {
            simulation.advance(random.random_range(0..20) * SECOND);
            harm(&mut simulation, last, &mut random);
        }
        simulation.advance(75 * SECOND);
        agreed(&simulation, call, last).map_err(|text| format!("seed {seed}: {text}\n{}", simulation.transcript()))?;
    }
    Ok(())
}

/// Checks that all but the last are connected to each other, and that their calls are active.
fn agreed(simulation: &Simulation, call: CallId, last: usize) -> Result<(), String> {
    for node in 0..last {
        let Some(snapshot) = current(simulation, node).filter(|snapshot| snapshot.call == call) else {
            return Err(format!("node {node} is not in the call"));
        };
        if snapshot.state != CallState::Active {
            return Err(format!("node {node} is {:?}", snapshot.state));
        }
        for participant in &snapshot.participants {
            let harmed = participant.did == simulation.did(last);
            if !harmed && participant.status != ParticipantStatus::Connected {
                return Err(format!("node {node} believes {participant:?}"));
            }
        }
        let left = |event: &Event| match event {
            Event::ParticipantLeft { participant, .. } => participant.did != simulation.did(last),
            _ => false,
        };
        if simulation.count(node, left) > 0 {
            return Err(format!("node {node} reports that a participant left, but none did"));
        }
    }
    Ok(())
}

fn cut_one_way(simulation: &mut Simulation, last: usize, random: &mut Random) {
    let other = random.random_range(0..last);
    let pair = if random.random_bool(0.5) { (last, other) } else { (other, last) };
    simulation.cut_signaling.insert(pair);
}

fn silence(simulation: &mut Simulation, last: usize, _: &mut Random) {
    simulation.cut_signaling.extend((0..last).map(|other| (last, other)));
}

fn crash(simulation: &mut Simulation, last: usize, _: &mut Random) {
    simulation.nodes[last].online = false;
    simulation.cut_signaling.extend((0..last).map(|other| (last, other)));
    simulation.paths.cut.extend((0..last).map(|other| (other, last)));
}

/// Removes all acknowledgements from its messages.
fn never_acknowledge(simulation: &mut Simulation, last: usize, _: &mut Random) {
    let unacknowledging = |body: &mut Body| match body {
        Body::Member(member) => member.record = Record { seen: Vec::new(), ..member.record.clone() },
        Body::Link(link) => (link.ack_generation, link.ack_candidates) = (0, 0),
        Body::Cancel(cancel) => cancel.acknowledged = false,
        Body::Reject(reject) => reject.acknowledged = false,
        Body::Offer(_) | Body::Ringing(_) | Body::Busy(_) | Body::StaleBoot(_) => {}
    };
    simulation.mutations.insert(last, Box::new(unacknowledging));
}
