//! Every scenario over every pairing of backends, several at a time.
//!
//! A *pairing* is two transports and two signaling backends, in order: whoever calls first uses the
//! first of each. A *case* is one scenario over one pairing. Each runs in a lab of its own, with
//! backends from a registry of its own.
//!
//! ```no_run
//! use blink_api::Registry;
//! use blink_conformance::matrix::{Control, Matrix, Pairing, Verdict};
//!
//! let names = |names: [&str; 2]| names.map(str::to_owned);
//! let pairings = Pairing::all(&names(["mine", "memory"]), &names(["memory", "memory"]));
//! let matrix = Matrix::new(Registry::discovered, pairings);
//! let rows = matrix.run(&Control::new(4), &|row| println!("{} {:?}", row.name(), row.verdict));
//! assert!(rows.iter().all(|row| !matches!(row.verdict, Verdict::Failed(_))));
//! ```

mod case;
mod lanes;
mod pairing;
mod waiting;

use blink_api::Registry;

use crate::lab::{Stage, Timing};
use crate::scenarios::{self, Scenario};

pub use case::{Case, Row, Verdict};
pub use lanes::Control;
pub use pairing::Pairing;
pub use waiting::{WAITING, Waiting};

/// Scenarios for a quick look at a pairing: setting up and ending a call in every way, a group,
/// streams, a path that is lost and found.
pub const QUICK: &[u8] = &[1, 2, 3, 9, 14, 17, 21, 27, 28, 33, 35, 41, 48, 54];

/// Which scenarios over which pairings.
#[derive(Clone)]
pub struct Matrix {
    registry: fn() -> blink_api::Result<Registry>,
    pairings: Vec<Pairing>,
    scenarios: Vec<Scenario>,
    waiting: Vec<Waiting>,
    settings: Vec<String>,
}

impl Matrix {
    /// All scenarios over some pairings, with default settings.
    pub fn new(registry: fn() -> blink_api::Result<Registry>, pairings: Vec<Pairing>) -> Self {
        Self { registry, pairings, scenarios: scenarios::all(), waiting: WAITING.to_vec(), settings: Vec::new() }
    }

    /// Only scenarios whose numbers fulfil a condition.
    pub fn only(mut self, wanted: impl Fn(u8) -> bool) -> Self {
        self.scenarios.retain(|scenario| wanted(scenario.number));
        self.waiting.retain(|waiting| wanted(waiting.number));
        self
    }

    /// With settings of every participant, each `KEY=VALUE` as on a command line.
    pub fn settings<S: Into<String>>(mut self, settings: impl IntoIterator<Item = S>) -> Self {
        self.settings.extend(settings.into_iter().map(Into::into));
        self
    }

    /// The pairings.
    pub fn pairings(&self) -> &[Pairing] {
        &self.pairings
    }

    /// The numbers of all scenarios, and of what waits.
    pub fn numbers(&self) -> impl Iterator<Item = u8> {
        let waiting = self.waiting.iter().map(|waiting| waiting.number);
        self.scenarios.iter().map(|scenario| scenario.number).chain(waiting)
    }

    /// Every scenario over every pairing. Pairings take turns, and each begins at another scenario:
    /// those of many participants would set up all their paths at the same moment otherwise.
    pub fn cases(&self) -> Vec<Case> {
        let (scenarios, pairings) = (self.scenarios.len(), self.pairings.len());
        let turn = |turn: usize| {
            self.pairings.iter().enumerate().map(move |(number, pairing)| Case {
                pairing: pairing.clone(),
                scenario: self.scenarios[(turn + number * scenarios / pairings) % scenarios],
                stage: self.stage(pairing),
            })
        };
        (0..scenarios).flat_map(turn).collect()
    }

    /// Rows of the scenarios that nothing can run yet.
    pub fn waiting(&self) -> Vec<Row> {
        let over =
            |waiting: &Waiting| self.pairings.iter().map(|pairing| Row::waiting(pairing, waiting)).collect::<Vec<_>>();
        self.waiting.iter().flat_map(over).collect()
    }

    /// Runs all cases and gives their rows, in order of pairings and scenarios, those that wait
    /// among them. `told` hears of each as it ends, from any thread.
    pub fn run(&self, control: &Control, told: &(dyn Fn(&Row) + Sync)) -> Vec<Row> {
        let mut rows = lanes::run(self.cases(), control, told);
        rows.extend(self.waiting());
        let place = |row: &Row| self.pairings.iter().position(|pairing| *pairing == row.pairing);
        rows.sort_by_key(|row| (place(row), row.number, row.title.clone()));
        rows
    }

    fn stage(&self, pairing: &Pairing) -> StageMaker {
        StageMaker { registry: self.registry, pairing: pairing.clone(), settings: self.settings.clone() }
    }
}

/// Makes a stage for each run, since backends of one registry meet.
#[derive(Clone)]
struct StageMaker {
    registry: fn() -> blink_api::Result<Registry>,
    pairing: Pairing,
    settings: Vec<String>,
}

impl StageMaker {
    fn make(&self) -> blink_api::Result<Stage> {
        Ok(Stage {
            registry: (self.registry)()?,
            transports: self.pairing.transports.clone(),
            signalings: self.pairing.signalings.clone(),
            codec: None,
            settings: self.settings.clone(),
            timing: Timing::Real,
            impaired: None,
            alone: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_scenario_is_run_over_every_pairing_once_and_by_few_pairings_at_a_time() {
        let names = |names: [&str; 2]| names.map(str::to_owned);
        let pairings = Pairing::all(&names(["one", "other"]), &names(["one", "other"]));
        let matrix = Matrix::new(Registry::discovered, pairings);
        let (scenarios, cases) = (matrix.scenarios.len(), matrix.cases());
        let different: HashSet<String> = cases.iter().map(Case::name).collect();
        assert_eq!((cases.len(), different.len()), (16 * scenarios, 16 * scenarios));
        for turn in cases.chunks(16) {
            let at_once: HashSet<&str> = turn.iter().map(|case| case.scenario.name).collect();
            assert_eq!(at_once.len(), 16);
        }
    }
}
