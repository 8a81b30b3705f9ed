//! What every combination of backends must do in calls: situations as values, each with what it
//! verifies and a fault it must not survive.
//!
//! A backend's author runs all of them over their own backend and a reference, and once more with
//! each fault:
//!
//! ```no_run
//! use blink_api::Registry;
//! use blink_conformance::lab::{Stage, Timing};
//! use blink_conformance::scenarios;
//!
//! # async fn run() {
//! let registry = Registry::discovered().expect("backends have different names");
//! let stage = Stage::new(registry, "memory", "memory", Timing::Virtual);
//! for scenario in scenarios::all() {
//!     scenario.run_on(&stage).await.unwrap();
//! }
//! # }
//! ```
//!
//! With [`Timing::Virtual`](crate::lab::Timing::Virtual) the runtime must be one that was made with
//! `start_paused`, and have one thread.

mod crossings;
mod endurance;
mod groups;
mod joining;
mod network;
mod security;
mod setting_up;
mod state;
mod streams;

use std::time::Duration;

use futures_core::future::LocalBoxFuture;

use crate::ability::Ability;
use crate::impaired::Impairments;
use crate::lab::{Diary, Fault, Lab, Needs, Result, Stage};

/// A situation in calls, and what must and must not happen in it.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Its number in the list of scenarios.
    pub number: u8,
    /// Its name: a few words with hyphens.
    pub name: &'static str,
    /// What it verifies, in a sentence.
    pub verifies: &'static str,
    /// What it needs beside participants.
    pub needs: Needs,
    /// What it asks of transports that not all can do.
    pub abilities: &'static [Ability],
    /// Whether nothing else may run meanwhile in real time: it asserts that sound is never
    /// interrupted.
    pub quiet_machine: bool,
    /// What signaling is like in it.
    pub network: Impairments,
    /// How long it may take, in the lab's time.
    pub limit: Duration,
    /// Faults with each of which it must fail; at least one.
    pub faults: &'static [Fault],
    /// What happens.
    pub run: Run,
}

/// The course of a scenario. It stays on its thread: `Runtime::block_on` runs it.
pub type Run = for<'a> fn(&'a mut Lab) -> LocalBoxFuture<'a, Result>;

/// All scenarios, by number.
pub fn all() -> Vec<Scenario> {
    let groups = [
        setting_up::ALL,
        crossings::ALL,
        groups::ALL,
        joining::ALL,
        state::ALL,
        streams::ALL,
        network::ALL,
        security::ALL,
        endurance::ALL,
    ];
    let mut all = groups.concat();
    all.sort_by_key(|scenario| scenario.number);
    all
}

impl Scenario {
    /// With what most have: two minutes, a plain network and no needs. To be completed.
    const USUAL: Self = Self {
        number: 0,
        name: "",
        verifies: "",
        needs: Needs::NOTHING,
        abilities: &[],
        quiet_machine: false,
        network: Impairments::NONE,
        limit: Duration::from_secs(120),
        faults: &[],
        run: |_| Box::pin(async { Ok(()) }),
    };

    /// Number and name, as tests are called.
    pub fn title(&self) -> String {
        format!("{:02}-{}", self.number, self.name)
    }

    /// Runs it in a lab of its own.
    ///
    /// # Errors
    /// What did not hold.
    pub async fn run_on(&self, stage: &Stage) -> Result {
        self.record_on(stage).await.outcome
    }

    /// Runs it in a lab of its own, and says how it went.
    pub async fn record_on(&self, stage: &Stage) -> Record {
        self.run_in(Lab::new(stage, self.network, None)).await
    }

    /// Runs it in a lab with a fault, where it must fail with an assertion.
    ///
    /// # Errors
    /// What did not hold: what should come.
    pub async fn run_with(&self, stage: &Stage, fault: Fault) -> Result {
        self.run_in(Lab::new(stage, self.network, Some(fault))).await.outcome
    }

    async fn run_in(&self, mut lab: Lab) -> Record {
        let outcome = tokio::time::timeout(self.limit, (self.run)(&mut lab)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(lab.fails(&format!("did not end within {:?}", self.limit))));
        let record = Record { outcome, took: lab.now(), set_ups: lab.set_ups(), diaries: lab.diaries() };
        lab.end().await;
        record
    }
}

/// How a scenario went.
#[derive(Debug)]
pub struct Record {
    /// Whether it held, or what did not.
    pub outcome: Result,
    /// How long it took, in the lab's time.
    pub took: Duration,
    /// Each time from answering a call to the first other one in it.
    pub set_ups: Vec<Duration>,
    /// What everybody saw.
    pub diaries: Vec<Diary>,
}
