//! One seed: what its world is like, and its course.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use blink_api::{BusyPolicy, CallSettings};
use blink_proto::secure::Random;
use blink_sim::impairment::Impairments;
use blink_sim::simulation::{Network, Simulation, SimulationConfig};
use rand::{RngExt, SeedableRng};

use crate::actions::act;
use crate::faults::{heal, misbehave, restart, set_clocks};
use crate::hostile::Hostile;
use crate::invariants::{Agreement, Fault, FaultKind, check_idle, check_moment};
use crate::told::Told;

const SECOND: Duration = Duration::from_secs(1);
/// For so long people do things while the network is bad.
const TROUBLE: Duration = Duration::from_secs(60);
/// By then everybody agrees.
const AGREEMENT: Duration = Duration::from_secs(40);
/// By then nothing is left over of a call that everybody left.
const IDLE: Duration = Duration::from_secs(120);

/// What follows from a seed.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    seed: u64,
    /// Through real envelopes.
    sealed: bool,
    /// With peers who attack.
    hostile: bool,
    /// Messages that are lost, of a hundred; `None` for up to 40, by the seed.
    loss: Option<u64>,
}

/// One run of a plan.
struct Run {
    world: Simulation,
    random: Random,
    told: Vec<Told>,
    starts: Vec<u64>,
    hostile: Option<Hostile>,
    /// Attacks go on when the faults stop.
    relentless: bool,
    honest: Vec<usize>,
}

impl Plan {
    /// Of every twenty seeds one goes through envelopes, and another one is hostile.
    pub(crate) fn of(seed: u64) -> Self {
        Self { seed, sealed: matches!(seed % 20, 0 | 10), hostile: seed % 20 == 10, loss: None }
    }

    /// The same with so much loss while the faults last.
    pub(crate) fn with_loss(self, loss: Option<u64>) -> Self {
        Self { loss, ..self }
    }

    /// Runs it; with its story where one is wanted and it fails.
    ///
    /// # Errors
    /// What it found.
    pub(crate) fn run(&self, traced: bool) -> Result<Simulation, Fault> {
        let mut run = self.begin();
        if !traced {
            run.world.trace.disable();
        }
        // A machine that panics is a fault as any other.
        let result = catch_unwind(AssertUnwindSafe(|| run.course()));
        let result = result.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(Fault { kind: FaultKind::Other, text: text.unwrap_or_else(|| "a panic".to_owned()) })
        });
        match result {
            Ok(()) => Ok(run.world),
            Err(fault) if traced => Err(Fault { text: run.world.transcript_with(&fault.text), ..fault }),
            Err(fault) => Err(fault),
        }
    }

    /// All that happens, in words.
    pub(crate) fn story(&self) -> String {
        let mut run = self.begin();
        // What is found is told of by whoever runs this seed for it.
        run.course().ok();
        run.world.transcript()
    }

    fn begin(&self) -> Run {
        let mut random = Random::seed_from_u64(self.seed ^ 0x5117);
        let devices = population(&mut random);
        let loss = random.random_range(0.0..0.4);
        let impairments = Impairments {
            loss: self.loss.map_or(loss, |percent| percent as f64 / 100.0),
            duplicate: random.random_range(0.0..0.3),
            delay: Duration::from_millis(1),
            jitter: Duration::from_millis(random.random_range(1..999)),
            ..Impairments::NONE
        };
        let network = Network { impairments, announces_subscribers: random.random_bool(0.5) };
        let busy = if random.random_bool(0.15) { BusyPolicy::Reject } else { BusyPolicy::Ring };
        let ring_time = random.random_range(15..=60) * SECOND;
        let settings = CallSettings { busy, ring_time, ..CallSettings::default() };
        let sealed = self.sealed;
        let mut world =
            Simulation::configured(SimulationConfig { devices: &devices, seed: self.seed, network, settings, sealed });
        world.paths.traffic = SECOND;
        set_clocks(&mut world, &mut random);
        let hostile = self.hostile.then(|| Hostile::among(&mut world, self.seed));
        let everybody = || (0..devices.len()).collect();
        Run {
            told: devices.iter().map(|_| Told::default()).collect(),
            starts: world.nodes.iter().map(|node| node.starts).collect(),
            relentless: random.random_bool(0.5),
            honest: hostile.as_ref().map_or_else(everybody, |hostile| hostile.honest(&world)),
            hostile,
            world,
            random,
        }
    }
}

impl Run {
    fn course(&mut self) -> Result<(), Fault> {
        let count = self.world.nodes.len();
        let end = self.world.elapsed() + TROUBLE;
        while self.world.elapsed() < end {
            misbehave(&mut self.world, &mut self.random);
            self.check_all()?;
            act(&mut self.world, count, &mut self.random);
            self.check_all()?;
            self.attack();
            let pause = self.random.random_range(0..2_500);
            self.advance(Duration::from_millis(pause))?;
        }
        self.agree()?;

        self.stop_attacks();
        for node in 0..count {
            // Who is in no call cannot leave one.
            self.world.act(node, |machine, now| machine.leave(now).ok());
        }
        self.advance(IDLE)?;
        self.honest.iter().try_for_each(|node| check_idle(&self.world, *node))
    }

    /// The faults stop.
    fn agree(&mut self) -> Result<(), Fault> {
        self.world.network =
            Network { announces_subscribers: self.world.network.announces_subscribers, ..Network::PERFECT };
        heal(&mut self.world);
        if !self.relentless {
            self.stop_attacks();
        }
        let end = self.world.elapsed() + AGREEMENT;
        while self.world.elapsed() < end {
            self.attack();
            self.advance(SECOND)?;
        }
        let attacked = self.hostile.is_some();
        Agreement { world: &self.world, honest: &self.honest, told: &self.told, attacked }.check()
    }

    fn attack(&mut self) {
        if let Some(hostile) = &mut self.hostile {
            hostile.attack(&mut self.world);
        }
    }

    fn stop_attacks(&mut self) {
        self.hostile = None;
        self.world.mutations.clear();
    }

    /// Runs for a time; whoever has done something is looked at.
    fn advance(&mut self, duration: Duration) -> Result<(), Fault> {
        let end = self.world.now + duration;
        while self.world.step(end) {
            let node = self.world.last_active;
            self.check(node)?;
            self.stop_cloned(node)?;
        }
        Ok(())
    }

    /// A device that hears itself where it did not speak stops, and is started anew. Only who plays
    /// back what it said under a later clock makes it believe that.
    fn stop_cloned(&mut self, node: usize) -> Result<(), Fault> {
        let Some(boot) = self.world.nodes[node].envelopes.as_ref().and_then(|door| door.cloned()) else {
            return Ok(());
        };
        if self.hostile.is_none() {
            let text = format!("node {node} believes that somebody else is itself, as start {boot}");
            return Err(Fault { kind: FaultKind::Double, text });
        }
        self.world.nodes[node].boot = self.world.nodes[node].boot.max(boot);
        restart(&mut self.world, node, true);
        self.check(node)
    }

    fn check_all(&mut self) -> Result<(), Fault> {
        (0..self.world.nodes.len()).try_for_each(|node| self.check(node))
    }

    fn check(&mut self, node: usize) -> Result<(), Fault> {
        if !self.honest.contains(&node) {
            return Ok(());
        }
        let starts = self.world.nodes[node].starts;
        if std::mem::replace(&mut self.starts[node], starts) != starts {
            self.told[node].start_anew(self.world.nodes[node].remembers);
        }
        check_moment(&self.world, node, &mut self.told[node])
    }
}

/// Two to eight devices, mostly a few, some of one person.
fn population(random: &mut Random) -> Vec<(u8, u8)> {
    let count = [2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 5, 5, 6, 7, 8][random.random_range(0..15)];
    let mut devices: Vec<(u8, u8)> = vec![(1, 1), (2, 2)];
    for device in 3..=count {
        let person = if random.random_bool(0.25) { random.random_range(1..device) } else { device };
        // A person that no device was of stays away.
        let person = if devices.iter().any(|(known, _)| *known == person) { person } else { device };
        devices.push((person, device));
    }
    devices
}
