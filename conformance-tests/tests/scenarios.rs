//! Every call scenario over the memory backends, in virtual time: on a network that delivers at
//! once, on one that delivers late and out of order, and with each of its faults, with which it
//! must fail.

use std::time::Duration;

use blink_api::Registry;
use blink_conformance::impaired::Impairments;
use blink_conformance::lab::{Failure, FailureKind, LabConfig, Timing};
use blink_conformance::scenarios::{self, Scenario};
use blink_media_cpal_opus as _;
use blink_signaling_memory as _;
use blink_transport_memory as _;
use libtest_mimic::{Arguments, Failed, Trial};

/// A network as the contract of signaling allows: each message is 0 to 30 ms late, so that messages
/// overtake each other.
const LATE: Impairments = Impairments { jitter: Duration::from_millis(30), in_order: false, ..Impairments::NONE };

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for scenario in scenarios::all() {
        let title = scenario.title();
        let name = format!("call::{}::{title}", config().name());
        trials.push(Trial::test(name, move || Ok(on_paused_time(scenario.run_on(&config()))?)));
        if scenario.network == Impairments::NONE {
            let late = Scenario { network: LATE, ..scenario };
            trials.push(Trial::test(format!("late::{title}"), move || Ok(on_paused_time(late.run_on(&config()))?)));
        }
        for (number, fault) in scenario.faults.iter().enumerate() {
            let name = match number {
                0 => format!("red::{title}"),
                _ => format!("red::{title}::{}", number + 1),
            };
            trials.push(Trial::test(name, move || red(on_paused_time(scenario.run_with(&config(), *fault)))));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// Memory backends on both sides. Every run has networks of its own, which belong to the registry.
fn config() -> LabConfig {
    let registry = Registry::discovered().expect("backends have different names");
    LabConfig::new(registry, "memory", "memory", Timing::Virtual)
}

fn on_paused_time<T>(run: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().expect("a single-threaded runtime");
    runtime.block_on(run)
}

/// A scenario in a lab with a fault must fail by an assertion. `BLINK_SHOW_RED` prints the
/// failures.
#[expect(clippy::print_stderr, reason = "asked for")]
fn red(outcome: Result<(), Failure>) -> Result<(), Failed> {
    match outcome {
        Err(failure) if failure.kind() == FailureKind::Assertion => {
            if std::env::var_os("BLINK_SHOW_RED").is_some() {
                eprintln!("{}", failure.summary());
            }
            Ok(())
        }
        Err(failure) => Err(format!("failed for another reason: {failure}").into()),
        Ok(()) => Err("passed in spite of the fault: the scenario does not verify its property".into()),
    }
}
