//! The simulation of one seed: its configuration and its course.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use blink_api::{BusyPolicy, CallSettings};
use blink_proto::call::Machine;
use blink_proto::secure::Random;
use blink_sim::impairment::Impairments;
use blink_sim::simulation::{Network, Simulation, SimulationConfig};
use rand::{RngExt, SeedableRng};

use crate::actions::{act, hold_or_resume, send_messages};
use crate::faults::{cause_fault, heal, restart, set_clocks};
use crate::hostile::Hostile;
use crate::invariants::{Agreement, Fault, FaultKind, check_idle, check_step};
use crate::user_view::UserView;

const SECOND: Duration = Duration::from_secs(1);
/// Duration of random actions and faults.
const TROUBLE: Duration = Duration::from_secs(60);
/// Time limit for agreement after the last fault.
const AGREEMENT: Duration = Duration::from_secs(40);
/// Time limit for all state of a call to be released after everyone has left it.
const IDLE: Duration = Duration::from_secs(120);

/// Configuration of a simulation.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    seed: u64,
    /// Whether messages are sealed in envelopes.
    sealed: bool,
    /// Whether there are attackers.
    hostile: bool,
    /// Whether users send application messages.
    messages: bool,
    /// Whether users hold and resume calls.
    holds: bool,
    /// Message loss in percent; `None` for a random one of up to 40.
    loss: Option<u64>,
}

/// One run of a plan.
struct Run {
    exchanges_messages: bool,
    holds_calls: bool,
    /// Application messages that were sent so far.
    messages: u64,
    simulation: Simulation,
    random: Random,
    views: Vec<UserView>,
    starts: Vec<u64>,
    hostile: Option<Hostile>,
    /// Whether attacks continue after the last fault.
    relentless: bool,
    honest: Vec<usize>,
}

impl Plan {
    /// The plan of a seed: of 20 seeds, two are sealed, and one of these is hostile; in two others
    /// users send messages. Users hold calls in eight of 20, and in some of the hostile ones.
    pub(crate) fn of(seed: u64) -> Self {
        let (sealed, hostile) = (matches!(seed % 20, 0 | 10), seed % 20 == 10);
        let holds = matches!(seed % 5, 2 | 3) || seed % 40 == 30;
        Self { seed, sealed, hostile, messages: seed % 10 == 9, holds, loss: None }
    }

    /// The plan with another message loss in percent while faults last.
    pub(crate) fn with_loss(self, loss: Option<u64>) -> Self {
        Self { loss, ..self }
    }

    /// Runs the simulation. The error contains a transcript where `traced`.
    ///
    /// # Errors
    /// The first fault.
    pub(crate) fn run(&self, traced: bool) -> Result<Simulation, Fault> {
        let mut run = self.begin();
        if !traced {
            run.simulation.trace.disable();
        }
        // A panic of a machine is a fault.
        let result = catch_unwind(AssertUnwindSafe(|| run.course()));
        let result = result.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(Fault { kind: FaultKind::Other, text: text.unwrap_or_else(|| "a panic".to_owned()) })
        });
        match result {
            Ok(()) => Ok(run.simulation),
            Err(fault) if traced => Err(Fault { text: run.simulation.transcript_with(&fault.text), ..fault }),
            Err(fault) => Err(fault),
        }
    }

    /// Transcript of the simulation.
    pub(crate) fn transcript(&self) -> String {
        let mut run = self.begin();
        // A fault is reported by the test that runs this seed.
        run.course().ok();
        run.simulation.transcript()
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
        let mut simulation =
            Simulation::configured(SimulationConfig { devices: &devices, seed: self.seed, network, settings, sealed });
        simulation.paths.traffic = SECOND;
        set_clocks(&mut simulation, &mut random);
        if self.messages {
            for node in 0..devices.len() {
                simulation.act(node, |machine, _| machine.set_name(Some("Ada")));
            }
        }
        let hostile = self.hostile.then(|| Hostile::among(&mut simulation, self.seed));
        let everybody = || (0..devices.len()).collect();
        Run {
            exchanges_messages: self.messages,
            holds_calls: self.holds,
            messages: 0,
            views: devices.iter().map(|_| UserView::default()).collect(),
            starts: simulation.nodes.iter().map(|node| node.starts).collect(),
            relentless: random.random_bool(0.5),
            honest: hostile.as_ref().map_or_else(everybody, |hostile| hostile.honest(&simulation)),
            hostile,
            simulation,
            random,
        }
    }
}

impl Run {
    fn course(&mut self) -> Result<(), Fault> {
        let count = self.simulation.nodes.len();
        let end = self.simulation.elapsed() + TROUBLE;
        while self.simulation.elapsed() < end {
            cause_fault(&mut self.simulation, &mut self.random);
            self.check_all()?;
            act(&mut self.simulation, count, &mut self.random);
            self.check_all()?;
            if self.exchanges_messages {
                send_messages(&mut self.simulation, count, &mut self.random, &mut self.messages);
                self.check_all()?;
            }
            if self.holds_calls {
                hold_or_resume(&mut self.simulation, count);
                self.check_all()?;
            }
            self.attack();
            let pause = self.random.random_range(0..2_500);
            self.advance(Duration::from_millis(pause))?;
        }
        self.agree()?;

        self.stop_attacks();
        for node in 0..count {
            self.simulation.act(node, Machine::leave_all);
        }
        self.advance(IDLE)?;
        self.honest.iter().try_for_each(|node| check_idle(&self.simulation, *node))
    }

    /// Stops all faults and checks agreement.
    fn agree(&mut self) -> Result<(), Fault> {
        self.simulation.network =
            Network { announces_subscribers: self.simulation.network.announces_subscribers, ..Network::PERFECT };
        heal(&mut self.simulation);
        if !self.relentless {
            self.stop_attacks();
        }
        let end = self.simulation.elapsed() + AGREEMENT;
        while self.simulation.elapsed() < end {
            self.attack();
            self.advance(SECOND)?;
        }
        let attacked = self.hostile.is_some();
        Agreement { simulation: &self.simulation, honest: &self.honest, views: &self.views, attacked }.check()
    }

    fn attack(&mut self) {
        if let Some(hostile) = &mut self.hostile {
            hostile.attack(&mut self.simulation);
        }
    }

    fn stop_attacks(&mut self) {
        self.hostile = None;
        self.simulation.mutations.clear();
    }

    /// Runs for a time, and checks each node after each of its steps.
    fn advance(&mut self, duration: Duration) -> Result<(), Fault> {
        let end = self.simulation.now + duration;
        while self.simulation.step(end) {
            let node = self.simulation.last_active;
            self.check(node)?;
            self.stop_cloned(node)?;
        }
        Ok(())
    }

    /// Restarts a device that stopped because it detected a clone of itself. Only attackers cause
    /// that, by replaying messages that the device sent under a later clock.
    fn stop_cloned(&mut self, node: usize) -> Result<(), Fault> {
        let Some(boot) = self.simulation.nodes[node].envelopes.as_ref().and_then(|codec| codec.cloned()) else {
            return Ok(());
        };
        if self.hostile.is_none() {
            let text = format!("node {node} detected a clone of itself with boot {boot}");
            return Err(Fault { kind: FaultKind::Double, text });
        }
        self.simulation.nodes[node].boot = self.simulation.nodes[node].boot.max(boot);
        restart(&mut self.simulation, node, true);
        self.check(node)
    }

    fn check_all(&mut self) -> Result<(), Fault> {
        (0..self.simulation.nodes.len()).try_for_each(|node| self.check(node))
    }

    fn check(&mut self, node: usize) -> Result<(), Fault> {
        if !self.honest.contains(&node) {
            return Ok(());
        }
        let starts = self.simulation.nodes[node].starts;
        if std::mem::replace(&mut self.starts[node], starts) != starts {
            self.views[node].restart(self.simulation.nodes[node].remembers);
        }
        check_step(&self.simulation, node, &mut self.views[node])
    }
}

/// Two to eight devices as (identity, device), mostly few, some of one identity.
fn population(random: &mut Random) -> Vec<(u8, u8)> {
    let count = [2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 5, 5, 6, 7, 8][random.random_range(0..15)];
    let mut devices: Vec<(u8, u8)> = vec![(1, 1), (2, 2)];
    for device in 3..=count {
        let person = if random.random_bool(0.25) { random.random_range(1..device) } else { device };
        // Without an earlier device of that identity, the device gets one of its own.
        let person = if devices.iter().any(|(known, _)| *known == person) { person } else { device };
        devices.push((person, device));
    }
    devices
}
