//! Runs every scenario over every pairing of backends, several at a time.
//!
//! A *pairing* is an ordered pair of transports and an ordered pair of signaling backends: the
//! participant that calls first uses the first of each. A *case* is one scenario over one pairing.
//! Each case runs in a new lab, with backends from a new registry.
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
mod pairing;
mod unimplemented;
mod workers;

use blink_api::Registry;

use crate::lab::{LabConfig, Timing};
use crate::scenarios::{self, Scenario};
use crate::watchdog::Progress;

pub use case::{Case, Row, Verdict};
pub use pairing::Pairing;
pub use unimplemented::{WAITING, Waiting};
pub use workers::Control;

/// Scenarios of the quick set: all ways to set up and end a call, a group, streams, and a path that
/// is lost and restored.
pub const QUICK: &[u8] = &[1, 2, 3, 9, 14, 17, 21, 27, 28, 33, 35, 41, 48, 54];

/// Set of scenarios and pairings.
#[derive(Debug, Clone)]
pub struct Matrix {
    registry: fn() -> blink_api::Result<Registry>,
    pairings: Vec<Pairing>,
    scenarios: Vec<Scenario>,
    waiting: Vec<Waiting>,
    settings: Vec<String>,
}

impl Matrix {
    /// All scenarios over the given pairings, with default settings.
    pub fn new(registry: fn() -> blink_api::Result<Registry>, pairings: Vec<Pairing>) -> Self {
        Self { registry, pairings, scenarios: scenarios::all(), waiting: WAITING.to_vec(), settings: Vec::new() }
    }

    /// Keeps the scenarios whose numbers match.
    pub fn only(mut self, wanted: impl Fn(u8) -> bool) -> Self {
        self.scenarios.retain(|scenario| wanted(scenario.number));
        self.waiting.retain(|waiting| wanted(waiting.number));
        self
    }

    /// Adds settings of every participant, each `KEY=VALUE` as on a command line.
    pub fn settings<S: Into<String>>(mut self, settings: impl IntoIterator<Item = S>) -> Self {
        self.settings.extend(settings.into_iter().map(Into::into));
        self
    }

    /// Pairings of the matrix.
    pub fn pairings(&self) -> &[Pairing] {
        &self.pairings
    }

    /// Numbers of all scenarios, including those that are not implemented.
    pub fn numbers(&self) -> impl Iterator<Item = u8> {
        let waiting = self.waiting.iter().map(|waiting| waiting.number);
        self.scenarios.iter().map(|scenario| scenario.number).chain(waiting)
    }

    /// Every scenario over every pairing. Pairings alternate and each starts at another scenario,
    /// so that the scenarios with many participants do not all set up their paths at the same time.
    pub fn cases(&self) -> Vec<Case> {
        let (scenarios, pairings) = (self.scenarios.len(), self.pairings.len());
        let turn = |turn: usize| {
            self.pairings.iter().enumerate().map(move |(number, pairing)| Case {
                pairing: pairing.clone(),
                scenario: self.scenarios[(turn + number * scenarios / pairings) % scenarios],
                config: self.config(pairing),
            })
        };
        (0..scenarios).flat_map(turn).collect()
    }

    /// Rows of the scenarios that are not implemented yet.
    pub fn waiting(&self) -> Vec<Row> {
        let over =
            |waiting: &Waiting| self.pairings.iter().map(|pairing| Row::waiting(pairing, waiting)).collect::<Vec<_>>();
        self.waiting.iter().flat_map(over).collect()
    }

    /// Runs all cases, and returns their rows in order of pairings and scenarios, including those
    /// that are not implemented. `on_row` is called for each row as it ends, from any thread.
    pub fn run(&self, control: &Control, on_row: &(dyn Fn(&Row) + Sync)) -> Vec<Row> {
        let mut rows = workers::run(self.cases(), control, on_row);
        rows.extend(self.waiting());
        let place = |row: &Row| self.pairings.iter().position(|pairing| *pairing == row.pairing);
        rows.sort_by_key(|row| (place(row), row.number, row.title.clone()));
        rows
    }

    fn config(&self, pairing: &Pairing) -> LabConfigFactory {
        LabConfigFactory { registry: self.registry, pairing: pairing.clone(), settings: self.settings.clone() }
    }
}

/// Creates a configuration for each run, because backends of one registry reach each other.
#[derive(Clone)]
struct LabConfigFactory {
    registry: fn() -> blink_api::Result<Registry>,
    pairing: Pairing,
    settings: Vec<String>,
}

impl LabConfigFactory {
    fn make(&self, progress: Progress) -> blink_api::Result<LabConfig> {
        Ok(LabConfig {
            registry: (self.registry)()?,
            transports: self.pairing.transports.clone(),
            signalings: self.pairing.signalings.clone(),
            codec: None,
            settings: self.settings.clone(),
            timing: Timing::Real,
            impaired: None,
            exclusive_process: false,
            progress,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_scenario_runs_over_every_pairing_once_and_pairings_start_at_different_scenarios() {
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
