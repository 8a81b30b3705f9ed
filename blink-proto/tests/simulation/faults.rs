//! What goes wrong at random times: paths and signaling that break one way or both, crashes,
//! restarts, clocks that jump.

use blink_proto::secure::Random;
use blink_sim::simulation::{Simulation, UNIX_MS};
use rand::RngExt;

/// A fault, now and then.
pub(crate) fn misbehave(world: &mut Simulation, random: &mut Random) {
    let count = world.nodes.len();
    let (one, other) = (random.random_range(0..count), random.random_range(0..count));
    match random.random_range(0..40) {
        0 | 1 if one != other => {
            world.trace(one, || format!("is not heard by node {other}"));
            world.cut_signaling.insert((one, other));
        }
        2 | 3 if one != other => {
            world.trace(one, || format!("has no path to node {other}"));
            world.paths.cut.insert((one.min(other), one.max(other)));
        }
        4 => split(world, random),
        5 => {
            world.trace(one, || "goes off line".to_owned());
            world.nodes[one].online = false;
        }
        6..=8 => heal_signaling(world),
        9..=11 => world.paths.cut.clear(),
        12 => restart(world, one, true),
        13 => restart(world, one, false),
        14 => jump(world, one, random),
        15 if one != other && world.paths.are_connected(one, other) => world.break_session(one, other),
        16 => drop(world.paths.broken.insert(one)),
        17 | 18 => world.paths.broken.clear(),
        _ => {}
    }
}

/// Nothing goes wrong any more.
pub(crate) fn heal(world: &mut Simulation) {
    heal_signaling(world);
    world.paths.cut.clear();
    world.paths.broken.clear();
}

fn heal_signaling(world: &mut Simulation) {
    world.cut_signaling.clear();
    for node in &mut world.nodes {
        node.online = true;
    }
}

/// The network falls into two halves.
fn split(world: &mut Simulation, random: &mut Random) {
    let count = world.nodes.len();
    let halves: Vec<bool> = (0..count).map(|_| random.random_bool(0.5)).collect();
    world.trace(0, || format!("sees the network fall into {halves:?}"));
    for one in 0..count {
        for other in (0..count).filter(|other| halves[one] != halves[*other]) {
            world.cut_signaling.insert((one, other));
            world.paths.cut.insert((one.min(other), one.max(other)));
        }
    }
}

/// A start counts above the one before where that is written down; otherwise the wall clock says
/// how high.
pub(crate) fn restart(world: &mut Simulation, node: usize, remembers: bool) {
    let clock = world.time(node).unix_ms;
    let written = world.nodes[node].boot + 1;
    world.restart_as(node, if remembers { clock.max(written) } else { clock }, remembers);
}

/// A wall clock is set, by up to an hour either way.
fn jump(world: &mut Simulation, node: usize, random: &mut Random) {
    let error = random.random_range(-3_600_000..3_600_000);
    world.trace(node, || format!("has a clock that is {error} ms wrong"));
    world.nodes[node].clock_error_ms = error;
}

/// Wall clocks differ from the start, and starts count by them.
pub(crate) fn set_clocks(world: &mut Simulation, random: &mut Random) {
    for node in 0..world.nodes.len() {
        let error = random.random_range(-60_000..60_000);
        world.nodes[node].clock_error_ms = error;
        world.restart_as(node, UNIX_MS.saturating_add_signed(error), false);
    }
    world.forgetful.clear();
}
