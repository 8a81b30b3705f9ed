//! Call scenarios that every combination of backends must pass. Each is a value with the property
//! it verifies and the faults that it must detect.
//!
//! The author of a backend runs all of them over their own backend and a reference, and once more
//! with each fault:
//!
//! ```no_run
//! use blink_api::Registry;
//! use blink_conformance::lab::{LabConfig, Timing};
//! use blink_conformance::scenarios;
//!
//! # async fn run() {
//! let registry = Registry::discovered().expect("backends have different names");
//! let config = LabConfig::new(registry, "memory", "memory", Timing::Virtual);
//! for scenario in scenarios::all() {
//!     scenario.run_on(&config).await.unwrap();
//! }
//! # }
//! ```
//!
//! With [`Timing::Virtual`](crate::lab::Timing::Virtual) the runtime must be created with
//! `start_paused`, and have one thread.

mod app_messages;
mod concurrent_calls;
mod devices;
mod groups;
mod held_calls;
mod joining;
mod leaks;
mod outages;
mod recordings;
mod rough_networks;
mod security;
mod setup;
mod state;
mod streams;

use std::time::Duration;

use futures_core::future::LocalBoxFuture;

use crate::ability::Ability;
use crate::impaired::Impairments;
use crate::lab::{EventLog, Fault, Lab, LabConfig, Requirements, Result};

/// One scenario: participants, their actions, and the events that must and must not occur.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Number in the list of scenarios.
    pub number: u8,
    /// Name: a few words with hyphens.
    pub name: &'static str,
    /// Property that it verifies, in one sentence.
    pub verifies: &'static str,
    /// Requirements beside participants.
    pub needs: Requirements,
    /// Optional transport abilities that it needs.
    pub abilities: &'static [Ability],
    /// Whether it asserts uninterrupted audio, so that in real time nothing else may run meanwhile.
    pub quiet_machine: bool,
    /// Conditions of signaling.
    pub network: Impairments,
    /// Time limit, on the lab's clock.
    pub limit: Duration,
    /// Faults with each of which it must fail; at least one.
    pub faults: &'static [Fault],
    /// Steps of the scenario.
    pub run: Run,
}

/// Steps of a scenario. The future is not `Send`: `Runtime::block_on` runs it.
pub type Run = for<'a> fn(&'a mut Lab) -> LocalBoxFuture<'a, Result>;

/// All scenarios, by number.
pub fn all() -> Vec<Scenario> {
    let groups = [
        setup::ALL,
        concurrent_calls::ALL,
        groups::ALL,
        joining::ALL,
        state::ALL,
        streams::ALL,
        devices::ALL,
        outages::ALL,
        rough_networks::ALL,
        security::ALL,
        recordings::ALL,
        app_messages::ALL,
        held_calls::ALL,
        leaks::ALL,
    ];
    let mut all = groups.concat();
    all.sort_by_key(|scenario| scenario.number);
    all
}

impl Scenario {
    /// Defaults: two minutes, no impairments and no requirements.
    const DEFAULT: Self = Self {
        number: 0,
        name: "",
        verifies: "",
        needs: Requirements::NONE,
        abilities: &[],
        quiet_machine: false,
        network: Impairments::NONE,
        limit: Duration::from_secs(120),
        faults: &[],
        run: |_| Box::pin(async { Ok(()) }),
    };

    /// Number and name, as in test names.
    pub fn title(&self) -> String {
        format!("{:02}-{}", self.number, self.name)
    }

    /// Runs the scenario in a new lab.
    ///
    /// # Errors
    /// The assertion that failed.
    pub async fn run_on(&self, config: &LabConfig) -> Result {
        self.record_on(config).await.outcome
    }

    /// Runs the scenario in a new lab, and returns the result with times and logs.
    pub async fn record_on(&self, config: &LabConfig) -> Record {
        self.run_in(Lab::new(config, self.network, None)).await
    }

    /// Runs the scenario in a new lab with a fault, with which it must fail by an assertion.
    ///
    /// # Errors
    /// The assertion that failed, as it should.
    pub async fn run_with(&self, config: &LabConfig, fault: Fault) -> Result {
        self.run_in(Lab::new(config, self.network, Some(fault))).await.outcome
    }

    async fn run_in(&self, mut lab: Lab) -> Record {
        let outcome = tokio::time::timeout(self.limit, (self.run)(&mut lab)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(lab.fails(&format!("did not end within {:?}", self.limit))));
        let record = Record { outcome, took: lab.now(), setup_times: lab.setup_times(), event_logs: lab.event_logs() };
        lab.end().await;
        record
    }
}

/// Result of a scenario.
#[derive(Debug)]
pub struct Record {
    /// Success, or the assertion that failed.
    pub outcome: Result,
    /// Duration on the lab's clock.
    pub took: Duration,
    /// Times from answering a call to the first `ParticipantJoined`.
    pub setup_times: Vec<Duration>,
    /// Event logs of all participants.
    pub event_logs: Vec<EventLog>,
}
