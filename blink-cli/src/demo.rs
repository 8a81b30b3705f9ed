//! `blink demo`: a call between two engines on one machine, and the quality of the received speech.

mod plan;
mod run;
mod summary;
mod table;

use std::sync::Arc;

use crate::args::{DemoArguments, Global};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::Output;
use plan::Plan;
use summary::{Report, Round};

/// Runs the demo with its repetitions.
pub(crate) async fn run(
    arguments: &DemoArguments,
    global: &Global,
    output: &Output,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let plan = Arc::new(Plan::new(arguments, global).await?);
    let mut rounds = Vec::new();
    for number in 1..=arguments.repeat {
        let of = |failure: Failure| match arguments.repeat {
            1 => failure,
            all => failure.during(&format!("run {number} of {all}")),
        };
        if arguments.repeat > 1 {
            output.event(&format!("run {number} of {}", arguments.repeat));
        }
        let measurements = run::once(&plan, output, interrupt).await.map_err(of)?;
        rounds.push(score(&plan, measurements, output, interrupt).await.map_err(of)?);
    }
    output.waited();
    let report = Report::new(&plan, &rounds);
    output.table(&table::table(&report));
    output.json_result(&report);
    report.verdict()
}

/// Compares received with sent speech on a thread of its own, so that Ctrl-C stays responsive.
async fn score(
    plan: &Arc<Plan>,
    measurements: [run::Measurement; 2],
    output: &Output,
    interrupt: &Interrupt,
) -> Result<Round, Failure> {
    output.waiting("comparing received with sent speech");
    let plan = plan.clone();
    let scoring = tokio::task::spawn_blocking(move || Round::new(&plan, measurements));
    tokio::select! {
        round = scoring => round.map_err(|error| Failure::call(format!("the comparison failed: {error}")))?,
        () = interrupt.wait() => Err(Failure::interrupted()),
    }
}
