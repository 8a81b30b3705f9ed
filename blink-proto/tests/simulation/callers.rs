//! Offers by the thousand, from one stranger and from many: whom one knows still rings.

use std::collections::BTreeSet;
use std::time::Duration;

use blink_api::CallSettings;
use blink_proto::call::{CallState, Event};
use blink_sim::simulation::{Network, Simulation, SimulationConfig};
use libtest_mimic::{Failed, Trial};

const SECOND: Duration = Duration::from_secs(1);
const SEEDS: u64 = 3;
/// Between two offers of one stranger.
const PAUSE: Duration = Duration::from_millis(100);
/// How many calls of strangers ring at once, and how many calls are remembered in all.
const RINGING: usize = 4;
const REMEMBERED: usize = 12 + 4 + 64;

pub(crate) fn trials() -> Vec<Trial> {
    let test = |strangers: u8| {
        Trial::test(format!("callers::offers_by_the_thousand_from_{strangers}"), move || a_friend_rings(strangers))
    };
    vec![test(1), test(8)]
}

/// Bob knows Alice. Strangers call him again and again, each with all that a caller does, while she
/// calls.
fn a_friend_rings(strangers: u8) -> Result<(), Failed> {
    for seed in 0..SEEDS {
        let devices: Vec<(u8, u8)> = (1..=strangers + 2).map(|person| (person, person)).collect();
        let settings = CallSettings { ring_time: 20 * SECOND, ..CallSettings::default() };
        let network = Network::PERFECT;
        let mut world =
            Simulation::configured(SimulationConfig { devices: &devices, seed, network, settings, sealed: true });
        world.trace.disable();
        let alice = world.did(0);
        world.act(1, |machine, _| machine.set_known(BTreeSet::from([alice])));
        let siege = |world: &mut Simulation, duration: Duration| {
            let end = world.now + duration;
            while world.now < end {
                for stranger in 2..devices.len() {
                    world.offer(stranger, &[1]);
                }
                world.advance(PAUSE);
                check_bounds(world)?;
            }
            Ok::<(), String>(())
        };
        siege(&mut world, 10 * SECOND)?;
        let call = world.offer(0, &[1]);
        siege(&mut world, 5 * SECOND)?;
        if !world.nodes[1].machine.pending().contains(&call) {
            return Err(format!("seed {seed}: {call} does not ring").into());
        }
        world.answer(1, call);
        siege(&mut world, 5 * SECOND)?;
        let joined = |event: &Event| matches!(event, Event::ParticipantJoined { call: of, .. } if *of == call);
        if (world.count(0, joined), world.count(1, joined)) != (1, 1) {
            return Err(format!("seed {seed}: {call} did not come about").into());
        }
        // Strangers whose offers are not repeated any more ring no more.
        for stranger in 2..devices.len() {
            world.leave(stranger);
        }
        world.advance(60 * SECOND);
        if !world.nodes[1].machine.pending().is_empty() {
            return Err(format!("seed {seed}: something rings still").into());
        }
    }
    Ok(())
}

fn check_bounds(world: &Simulation) -> Result<(), String> {
    let calls = world.nodes[1].machine.snapshot().calls;
    let ringing =
        |call: &&blink_proto::call::CallSnapshot| call.state == CallState::Ringing && call.from != world.did(0);
    let strangers = calls.iter().filter(ringing).count();
    if strangers > RINGING || calls.len() > REMEMBERED {
        return Err(format!("{strangers} strangers ring, {} calls are remembered", calls.len()));
    }
    Ok(())
}
