//! Random faults: failures of paths and signaling in one direction or both, crashes, restarts,
//! jumps of clocks.

use blink_proto::secure::Random;
use blink_sim::simulation::{Simulation, UNIX_MS};
use rand::RngExt;

/// Causes a random fault with a probability of one half.
pub(crate) fn cause_fault(simulation: &mut Simulation, random: &mut Random) {
    let count = simulation.nodes.len();
    let (one, other) = (random.random_range(0..count), random.random_range(0..count));
    match random.random_range(0..40) {
        0 | 1 if one != other => {
            simulation.trace(one, || format!("is not heard by node {other}"));
            simulation.cut_signaling.insert((one, other));
        }
        2 | 3 if one != other => {
            simulation.trace(one, || format!("has no path to node {other}"));
            simulation.paths.cut.insert((one.min(other), one.max(other)));
        }
        4 => split(simulation, random),
        5 => {
            simulation.trace(one, || "goes off line".to_owned());
            simulation.nodes[one].online = false;
        }
        6..=8 => heal_signaling(simulation),
        9..=11 => simulation.paths.cut.clear(),
        12 => restart(simulation, one, true),
        13 => restart(simulation, one, false),
        14 => jump(simulation, one, random),
        15 if one != other && simulation.paths.are_connected(one, other) => simulation.break_session(one, other),
        16 => drop(simulation.paths.broken.insert(one)),
        17 | 18 => {
            simulation.paths.broken.clear();
            simulation.paths.closed.clear();
        }
        19 => {
            simulation.trace(one, || "opens no session".to_owned());
            simulation.paths.closed.insert(one);
        }
        _ => {}
    }
}

/// Heals all faults.
pub(crate) fn heal(simulation: &mut Simulation) {
    heal_signaling(simulation);
    simulation.paths.cut.clear();
    simulation.paths.broken.clear();
    simulation.paths.closed.clear();
}

fn heal_signaling(simulation: &mut Simulation) {
    simulation.cut_signaling.clear();
    for node in &mut simulation.nodes {
        node.online = true;
    }
}

/// Partitions the network into two halves.
fn split(simulation: &mut Simulation, random: &mut Random) {
    let count = simulation.nodes.len();
    let halves: Vec<bool> = (0..count).map(|_| random.random_bool(0.5)).collect();
    simulation.trace(0, || format!("sees the network fall into {halves:?}"));
    for one in 0..count {
        for other in (0..count).filter(|other| halves[one] != halves[*other]) {
            simulation.cut_signaling.insert((one, other));
            simulation.paths.cut.insert((one.min(other), one.max(other)));
        }
    }
}

/// Restarts a device. The new boot is greater than the former one with memory, and taken from the
/// wall clock without.
pub(crate) fn restart(simulation: &mut Simulation, node: usize, remembers: bool) {
    let clock = simulation.time(node).unix_ms;
    let written = simulation.nodes[node].boot + 1;
    simulation.restart_as(node, if remembers { clock.max(written) } else { clock }, remembers);
}

/// Sets a wall clock back or forward by up to an hour.
fn jump(simulation: &mut Simulation, node: usize, random: &mut Random) {
    let error = random.random_range(-3_600_000..3_600_000);
    simulation.trace(node, || format!("has a clock that is {error} ms wrong"));
    simulation.nodes[node].clock_error_ms = error;
}

/// Sets all wall clocks to different times, and the boots with them.
pub(crate) fn set_clocks(simulation: &mut Simulation, random: &mut Random) {
    for node in 0..simulation.nodes.len() {
        let error = random.random_range(-60_000..60_000);
        simulation.nodes[node].clock_error_ms = error;
        simulation.restart_as(node, UNIX_MS.saturating_add_signed(error), false);
    }
    simulation.forgetful.clear();
}
