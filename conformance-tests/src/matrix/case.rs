//! One scenario over one pairing, and what came of it.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use super::StageMaker;
use super::pairing::Pairing;
use super::waiting::Waiting;
use crate::ability::Ability;
use crate::lab::Diary;
use crate::scenarios::{Record, Scenario};

/// Threads of the runtime of each case.
const THREADS: usize = 2;

/// One scenario over one pairing.
#[derive(Clone)]
pub struct Case {
    /// The backends.
    pub pairing: Pairing,
    /// What happens.
    pub scenario: Scenario,
    pub(super) stage: StageMaker,
}

/// What came of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It held.
    Passed,
    /// It did not: why, and what everybody saw.
    Failed(String),
    /// Nothing can run it yet: what it waits for.
    Waiting(&'static str),
    /// A backend declares that it cannot do this, and refuses it with `Unsupported`: what it is.
    Unsupported(String),
}

/// A case that ended.
#[derive(Debug, Clone)]
pub struct Row {
    /// The backends.
    pub pairing: Pairing,
    /// The scenario's number.
    pub number: u8,
    /// The scenario's number and name.
    pub title: String,
    /// What it verifies; empty for one that waits.
    pub verifies: &'static str,
    /// What came of it.
    pub verdict: Verdict,
    /// How long it took.
    pub took: Duration,
    /// Each time from answering a call to the first other one in it.
    pub set_ups: Vec<Duration>,
    /// What everybody saw.
    pub diaries: Vec<Diary>,
}

impl Case {
    /// As tests are called: `call::str0m~webrtc-rs::libp2p~libp2p::14-glare`.
    pub fn name(&self) -> String {
        format!("call::{}::{}", self.pairing, self.scenario.title())
    }

    /// Runs it on a runtime of its own. It blocks: not for asynchronous code.
    pub fn run(&self) -> Row {
        let began = Instant::now();
        let run = AssertUnwindSafe(|| self.run_in_real_time());
        let (verdict, record) = match std::panic::catch_unwind(run) {
            Ok(Ok(Run::Done(record))) => match &record.outcome {
                Ok(()) => (Verdict::Passed, Some(record)),
                Err(failure) => (Verdict::Failed(failure.to_string()), Some(record)),
            },
            Ok(Ok(Run::Unsupported(what))) => (Verdict::Unsupported(what), None),
            Ok(Err(why)) => (Verdict::Failed(why), None),
            Err(panic) => (Verdict::Failed(format!("it panicked: {}", text_of(&*panic))), None),
        };
        let (set_ups, diaries) = record.map(|record| (record.set_ups, record.diaries)).unwrap_or_default();
        Row {
            pairing: self.pairing.clone(),
            number: self.scenario.number,
            title: self.scenario.title(),
            verifies: self.scenario.verifies,
            verdict,
            took: began.elapsed(),
            set_ups,
            diaries,
        }
    }

    fn run_in_real_time(&self) -> Result<Run, String> {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(THREADS).enable_all().build().map_err(|error| error.to_string())?;
        let stage = self.stage.make().map_err(|error| error.to_string())?;
        runtime.block_on(async {
            for ability in self.scenario.abilities {
                if let Some(transport) = ability.missing_at(&stage).map_err(|error| error.to_string())? {
                    Ability::is_refused_by(*ability, &stage.registry, transport).await?;
                    return Ok(Run::Unsupported(format!("{transport} has no {}", ability.name())));
                }
            }
            Ok(Run::Done(self.scenario.record_on(&stage).await))
        })
    }
}

impl Row {
    pub(super) fn waiting(pairing: &Pairing, waiting: &Waiting) -> Self {
        Self {
            pairing: pairing.clone(),
            number: waiting.number,
            title: format!("{:02}-{}", waiting.number, waiting.name),
            verifies: "",
            verdict: Verdict::Waiting(waiting.for_what),
            took: Duration::ZERO,
            set_ups: Vec::new(),
            diaries: Vec::new(),
        }
    }

    /// As tests are called.
    pub fn name(&self) -> String {
        format!("call::{}::{}", self.pairing, self.title)
    }
}

enum Run {
    Done(Record),
    Unsupported(String),
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}
