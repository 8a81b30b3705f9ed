//! Counts of simulated calls and faults.

use std::sync::Mutex;

use blink_proto::call::Event;
use blink_sim::simulation::Simulation;

use crate::invariants::FaultKind;

/// Counts over all seeds.
#[derive(Default)]
pub(crate) struct Tally {
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    simulations: u64,
    seeds: Option<(u64, u64)>,
    stuck: u64,
    ghost: u64,
    double: u64,
    other: u64,
    seconds: f64,
    messages: usize,
    rung: usize,
    joined: usize,
    devices: usize,
    removals: usize,
    /// Application messages that arrived.
    arrived: usize,
}

impl Tally {
    /// Counts a seed without a fault.
    pub(crate) fn count(&self, seed: u64, simulation: &Simulation) {
        let mut counts = self.counts.lock().expect("counting does not panic");
        counts.begin(seed);
        counts.seconds += simulation.elapsed().as_secs_f64();
        counts.messages += simulation.sent.len();
        counts.devices += simulation.nodes.len();
        counts.removals += simulation.removals.len();
        let all =
            |is: fn(&Event) -> bool| (0..simulation.nodes.len()).map(|node| simulation.count(node, is)).sum::<usize>();
        counts.rung += all(|event| matches!(event, Event::IncomingCall { .. }));
        counts.arrived += all(|event| matches!(event, Event::MessageReceived { .. }));
        counts.joined += all(|event| matches!(event, Event::ParticipantJoined { .. }));
    }

    /// Counts a seed with a fault.
    pub(crate) fn count_fault(&self, seed: u64, kind: FaultKind) {
        let mut counts = self.counts.lock().expect("counting does not panic");
        counts.begin(seed);
        *match kind {
            FaultKind::Stuck => &mut counts.stuck,
            FaultKind::Ghost => &mut counts.ghost,
            FaultKind::Double => &mut counts.double,
            FaultKind::Other => &mut counts.other,
        } += 1;
    }

    /// Prints the counts, unless no seed was run.
    #[expect(clippy::print_stdout, reason = "the result of the run")]
    pub(crate) fn print(&self) {
        let counts = self.counts.lock().expect("counting does not panic");
        let Some((first, last)) = counts.seeds else { return };
        println!(
            "{} devices, {:.0} virtual hours, {} messages, {} rang, {} joined, {} removals, {} messages of users arrived; other faults {}",
            counts.devices,
            counts.seconds / 3_600.0,
            counts.messages,
            counts.rung,
            counts.joined,
            counts.removals,
            counts.arrived,
            counts.other,
        );
        println!(
            "simulation: {} calls, seeds {first}..{}, stuck {}, ghost {}, double {}",
            counts.simulations,
            last + 1,
            counts.stuck,
            counts.ghost,
            counts.double,
        );
    }
}

impl Counts {
    fn begin(&mut self, seed: u64) {
        self.simulations += 1;
        let (first, last) = self.seeds.unwrap_or((seed, seed));
        self.seeds = Some((first.min(seed), last.max(seed)));
    }
}
