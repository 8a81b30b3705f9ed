//! Floods of offers, from one unknown identity and from several: offers of known identities still
//! ring.

use std::collections::BTreeSet;
use std::time::Duration;

use blink_api::CallSettings;
use blink_proto::call::{CallState, Event};
use blink_sim::simulation::{Network, Simulation, SimulationConfig};
use libtest_mimic::{Failed, Trial};

const SECOND: Duration = Duration::from_secs(1);
const SEEDS: u64 = 3;
/// Interval between two offers of one unknown identity.
const PAUSE: Duration = Duration::from_millis(100);
/// Maximum number of ringing calls of unknown identities, and of calls in memory.
const RINGING: usize = 4;
const REMEMBERED: usize = 12 + 4 + 64;

pub(crate) fn trials() -> Vec<Trial> {
    let test = |strangers: u8| {
        Trial::test(format!("callers::offers_by_the_thousand_from_{strangers}"), move || {
            a_known_identity_rings(strangers)
        })
    };
    vec![test(1), test(8)]
}

/// Alice, whom Bob knows, calls him while unknown identities offer him calls continuously, each
/// with a complete exchange of messages.
fn a_known_identity_rings(strangers: u8) -> Result<(), Failed> {
    for seed in 0..SEEDS {
        let devices: Vec<(u8, u8)> = (1..=strangers + 2).map(|person| (person, person)).collect();
        let settings = CallSettings { ring_time: 20 * SECOND, ..CallSettings::default() };
        let network = Network::PERFECT;
        let mut simulation =
            Simulation::configured(SimulationConfig { devices: &devices, seed, network, settings, sealed: true });
        simulation.trace.disable();
        let alice = simulation.did(0);
        simulation.act(1, |machine, _| machine.set_known(BTreeSet::from([alice])));
        let flood = |simulation: &mut Simulation, duration: Duration| {
            let end = simulation.now + duration;
            while simulation.now < end {
                for stranger in 2..devices.len() {
                    simulation.offer(stranger, &[1]);
                }
                simulation.advance(PAUSE);
                check_bounds(simulation)?;
            }
            Ok::<(), String>(())
        };
        flood(&mut simulation, 10 * SECOND)?;
        let call = simulation.offer(0, &[1]);
        flood(&mut simulation, 5 * SECOND)?;
        if !simulation.nodes[1].machine.pending().contains(&call) {
            return Err(format!("seed {seed}: {call} does not ring").into());
        }
        simulation.answer(1, call);
        flood(&mut simulation, 5 * SECOND)?;
        let joined = |event: &Event| matches!(event, Event::ParticipantJoined { call: of, .. } if *of == call);
        if (simulation.count(0, joined), simulation.count(1, joined)) != (1, 1) {
            return Err(format!("seed {seed}: {call} was not joined").into());
        }
        // Offers that are no longer retransmitted stop ringing.
        for stranger in 2..devices.len() {
            simulation.leave(stranger);
        }
        simulation.advance(60 * SECOND);
        if !simulation.nodes[1].machine.pending().is_empty() {
            return Err(format!("seed {seed}: a call still rings").into());
        }
    }
    Ok(())
}

fn check_bounds(simulation: &Simulation) -> Result<(), String> {
    let calls = simulation.nodes[1].machine.snapshot().calls;
    let ringing =
        |call: &&blink_proto::call::CallSnapshot| call.state == CallState::Ringing && call.from != simulation.did(0);
    let strangers = calls.iter().filter(ringing).count();
    if strangers > RINGING || calls.len() > REMEMBERED {
        return Err(format!("{strangers} calls of unknown identities ring, {} calls are in memory", calls.len()));
    }
    Ok(())
}
