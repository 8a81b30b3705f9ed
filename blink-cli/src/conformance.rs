//! `blink conformance`: call scenarios over every pairing of backends.

mod arguments;
mod badge;
mod html;
mod junit;
mod matrix_picture;
mod report;
mod scenario_list;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use blink_api::{Registry, Signaling, Transport};
use blink_conformance::matrix::{Control, Matrix, Pairing, QUICK, Row, Verdict};
use serde::Serialize;

pub(crate) use arguments::{ABOUT, ConformanceArguments};
use report::Report;

use crate::args::Global;
use crate::backends;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::Output;

/// JSON event of a completed case.
#[derive(Serialize)]
struct Ended<'a> {
    event: &'static str,
    name: String,
    outcome: &'static str,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
}

/// JSON object of a listed case.
#[derive(Serialize)]
struct Listed {
    name: String,
    verifies: &'static str,
    waits_for: Option<&'static str>,
}

/// Runs the selected cases, and writes the report.
pub(crate) async fn run(
    arguments: &ConformanceArguments,
    global: &Global,
    output: &Output,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let matrix = matrix(arguments, global)?;
    if arguments.list {
        list(&matrix, output);
        return Ok(());
    }
    if let Some(directory) = &arguments.report {
        // Fail before the run, which may take an hour.
        std::fs::create_dir_all(directory).map_err(|error| cannot_write(directory, &error))?;
    }
    let (started, began) = (SystemTime::now(), Instant::now());
    let rows = work(&matrix, arguments.lanes, output, interrupt).await?;
    let unix_ms = started.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let report = Report::new(matrix.pairings(), &rows, unix_ms, began.elapsed(), arguments.lanes);
    output.table(&report.table());
    if let Some(directory) = &arguments.report {
        write(&report, directory)?;
        output.result(&format!("report: {}", directory.join("report.html").display()));
    }
    output.json_result(&report.totals);
    if let Some(pairing) = report.empty_pairings().next() {
        return Err(Failure::call(format!("no scenario ran over {pairing}")).reported());
    }
    match report.totals.failed {
        0 => Ok(()),
        failed => Err(Failure::call(format!("{failed} scenarios failed")).reported()),
    }
}

fn matrix(arguments: &ConformanceArguments, global: &Global) -> Result<Matrix, Failure> {
    if !(1..=64).contains(&arguments.lanes) {
        return Err(Failure::input("--lanes is 1 to 64"));
    }
    let pairings = pairings(&Registry::discovered()?, arguments)?;
    let matrix = Matrix::new(Registry::discovered, pairings)
        .settings(backends::laboratory())
        .settings(global.set.iter().cloned());
    let wanted: Option<BTreeSet<u8>> = match &arguments.scenarios {
        Some(list) => Some(scenario_list::parse(list).map_err(Failure::input)?),
        None => arguments.quick.then(|| QUICK.iter().copied().collect()),
    };
    let Some(wanted) = wanted else { return Ok(matrix) };
    let there: BTreeSet<u8> = matrix.numbers().collect();
    if let Some(unknown) = wanted.difference(&there).next() {
        return Err(Failure::input(format!("unknown scenario {unknown}; --list shows all scenarios")));
    }
    Ok(matrix.only(|number| wanted.contains(&number)))
}

/// Every ordered pair of the selected backends, or of all that use the network. In-process backends
/// are paired with their own kind only.
fn pairings(registry: &Registry, arguments: &ConformanceArguments) -> Result<Vec<Pairing>, Failure> {
    let mut transports = arguments.transports.clone();
    for name in &transports {
        registry.entry::<dyn Transport>(name)?;
    }
    if transports.is_empty() {
        let networked = registry.entries::<dyn Transport>().filter(|entry| entry.capabilities.network);
        transports = networked.map(|entry| entry.name.to_owned()).collect();
    }
    let mut signalings = arguments.signalings.clone();
    for name in &signalings {
        registry.entry::<dyn Signaling>(name)?;
    }
    if signalings.is_empty() {
        let networked = registry.entries::<dyn Signaling>().filter(|entry| entry.capabilities.network);
        signalings = networked.map(|entry| entry.name.to_owned()).collect();
    }
    let meets = |pairing: &Pairing| {
        let transport = |name: &String| registry.entry::<dyn Transport>(name).is_ok_and(|it| it.capabilities.network);
        let signaling = |name: &String| registry.entry::<dyn Signaling>(name).is_ok_and(|it| it.capabilities.network);
        let ([a, b], [c, d]) = (&pairing.transports, &pairing.signalings);
        (a == b || transport(a) == transport(b)) && (c == d || signaling(c) == signaling(d))
    };
    Ok(Pairing::all(&transports, &signalings).into_iter().filter(meets).collect())
}

fn list(matrix: &Matrix, output: &Output) {
    let mut cases = matrix.cases();
    cases.sort_by_key(|case| case.scenario.number);
    let runs = cases.iter().map(|case| Listed { name: case.name(), verifies: case.scenario.verifies, waits_for: None });
    let waits = matrix.waiting().into_iter().map(|row| Listed {
        name: row.name(),
        verifies: "",
        waits_for: match row.verdict {
            Verdict::Waiting(what) => Some(what),
            _ => None,
        },
    });
    for listed in runs.chain(waits) {
        let waits = listed.waits_for.map_or(String::new(), |what| format!("  (waits for {what})"));
        output.result(&format!("{}{waits}", listed.name));
        output.json_result(&listed);
    }
}

/// Runs the matrix on threads of its own, with progress.
async fn work(matrix: &Matrix, lanes: usize, output: &Output, interrupt: &Interrupt) -> Result<Vec<Row>, Failure> {
    let control = Arc::new(Control::new(lanes));
    let total = matrix.cases().len();
    let (ended_rows, mut rows_ended) = tokio::sync::mpsc::unbounded_channel();
    let (own_control, own_matrix) = (control.clone(), matrix.clone());
    let mut working = tokio::task::spawn_blocking(move || {
        // The receiver is dropped on interrupt.
        own_matrix.run(&own_control, &|row| drop(ended_rows.send(row.clone())))
    });
    let (done, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let tell = |row: &Row| {
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        ended(row, output);
        let failed = failed.fetch_add(usize::from(matches!(row.verdict, Verdict::Failed(_))), Ordering::Relaxed);
        output.waiting(format!("{done} of {total} scenarios, {failed} failed"));
    };
    output.waiting(format!("{total} scenarios"));
    let rows = loop {
        tokio::select! {
            Some(row) = rows_ended.recv() => tell(&row),
            rows = &mut working => break rows.map_err(|error| Failure::call(format!("the matrix failed: {error}")))?,
            () = interrupt.wait() => {
                control.stop();
                return Err(Failure::interrupted());
            }
        }
    };
    while let Ok(row) = rows_ended.try_recv() {
        tell(&row);
    }
    output.waited();
    Ok(rows)
}

fn ended(row: &Row, output: &Output) {
    let (outcome, why) = match &row.verdict {
        Verdict::Passed => ("passed", None),
        Verdict::Failed(why) => ("failed", Some(why.as_str())),
        Verdict::Waiting(what) => ("waiting", Some(*what)),
        Verdict::Unsupported(what) => ("unsupported", Some(what.as_str())),
    };
    let seconds = row.took.as_secs_f64();
    let first = why.and_then(|why| why.lines().next()).map_or(String::new(), |why| format!(": {why}"));
    output.event(&format!("{outcome:11} {seconds:6.1} s  {}{first}", row.name()));
    output.json_event(&Ended { event: "case_ended", name: row.name(), outcome, seconds, why });
}

fn write(report: &Report, directory: &Path) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(report).expect("a report has text keys only");
    let xml = junit::xml(report).map_err(|error| Failure::call(format!("cannot create the JUnit report: {error}")))?;
    let files = [
        ("report.json", json),
        ("report.xml", xml),
        ("report.html", html::page(report)),
        ("badge.svg", badge::svg(report)),
        ("matrix.svg", matrix_picture::svg(report)),
    ];
    for (name, text) in files {
        let file = directory.join(name);
        blink_api::private::write(&file, text).map_err(|error| cannot_write(&file, &error))?;
    }
    Ok(())
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::input(format!("cannot write {}: {error}", path.display()))
}
