//! One scenario over one pairing, and its result.

use std::fmt;
use std::time::{Duration, Instant};

use super::LabConfigFactory;
use super::pairing::Pairing;
use super::unimplemented::Waiting;
use crate::ability::Ability;
use crate::lab::{EventLog, Failure};
use crate::scenarios::{Record, Scenario};
use crate::watchdog::{self, Progress};

/// Worker threads of each case's runtime.
const THREADS: usize = 2;
/// Time beyond the scenario's limit in which engines and backends must have shut down.
const GRACE: Duration = Duration::from_secs(60);

/// One scenario over one pairing.
#[derive(Clone)]
pub struct Case {
    /// Backends of the case.
    pub pairing: Pairing,
    /// Scenario of the case.
    pub scenario: Scenario,
    pub(super) config: LabConfigFactory,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").finish_non_exhaustive()
    }
}

/// Result of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It passed.
    Passed,
    /// It failed: the failure with all event logs.
    Failed(String),
    /// It is not implemented yet: the missing part.
    Waiting(&'static str),
    /// A backend declares that it lacks this ability, and refuses it with `Unsupported`.
    Unsupported(String),
}

/// Report of a completed case.
#[derive(Debug, Clone)]
pub struct Row {
    /// Backends of the case.
    pub pairing: Pairing,
    /// Number of the scenario.
    pub number: u8,
    /// Number and name of the scenario.
    pub title: String,
    /// Property that it verifies; empty if it is not implemented.
    pub verifies: &'static str,
    /// Result of the case.
    pub verdict: Verdict,
    /// Duration.
    pub took: Duration,
    /// Times from answering a call to the first `ParticipantJoined`.
    pub setup_times: Vec<Duration>,
    /// Event logs of all participants.
    pub event_logs: Vec<EventLog>,
}

impl Case {
    /// Name of the case's test: `call::str0m~webrtc-rs::libp2p~libp2p::14-glare`.
    pub fn name(&self) -> String {
        format!("call::{}::{}", self.pairing, self.scenario.title())
    }

    /// Runs the case on a runtime of its own. Blocks: not for asynchronous code.
    pub fn run(&self) -> Row {
        let began = Instant::now();
        let (progress, case) = (Progress::default(), self.clone());
        let watching = progress.clone();
        let run = watchdog::run(self.scenario.limit + GRACE, &progress, move || case.run_in_real_time(watching));
        let (verdict, record) = match run {
            Ok(Ok(Ok(Run::Done(record)))) => match &record.outcome {
                Ok(()) => (Verdict::Passed, Some(record)),
                Err(failure) => (Verdict::Failed(self.explain(failure, &progress)), Some(record)),
            },
            Ok(Ok(Ok(Run::Unsupported(what)))) => (Verdict::Unsupported(what), None),
            Ok(Ok(Err(why))) => (Verdict::Failed(why), None),
            Ok(Err(panic)) => (Verdict::Failed(format!("panicked: {}", text_of(&*panic))), None),
            Err(why) => (Verdict::Failed(why), None),
        };
        let (setup_times, event_logs) =
            record.map(|record| (record.setup_times, record.event_logs)).unwrap_or_default();
        Row {
            pairing: self.pairing.clone(),
            number: self.scenario.number,
            title: self.scenario.title(),
            verifies: self.scenario.verifies,
            verdict,
            took: began.elapsed(),
            setup_times,
            event_logs,
        }
    }

    /// The failure, the property that does not hold, and methods that took too long.
    fn explain(&self, failure: &Failure, progress: &Progress) -> String {
        let Scenario { verifies, limit, .. } = self.scenario;
        let mut lines = failure.to_string();
        let verifies = format!("\n  verifies: {verifies} Limit: {} s.", limit.as_secs());
        let end = lines.find('\n').unwrap_or(lines.len());
        let slow: String = progress.overruns().iter().map(|overrun| format!("\n  too slow: {overrun}")).collect();
        lines.insert_str(end, &(verifies + &slow));
        lines
    }

    fn run_in_real_time(&self, progress: Progress) -> Result<Run, String> {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(THREADS).enable_all().build().map_err(|error| error.to_string())?;
        let config = self.config.make(progress).map_err(|error| error.to_string())?;
        runtime.block_on(async {
            for ability in self.scenario.abilities {
                if let Some(transport) = ability.missing_at(&config).map_err(|error| error.to_string())? {
                    Ability::is_refused_by(*ability, &config.registry, transport).await?;
                    return Ok(Run::Unsupported(format!("{transport} has no {}", ability.name())));
                }
            }
            Ok(Run::Done(self.scenario.record_on(&config).await))
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
            setup_times: Vec::new(),
            event_logs: Vec::new(),
        }
    }

    /// Name of the case's test.
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
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}
