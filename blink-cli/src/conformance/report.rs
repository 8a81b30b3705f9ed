//! Report of the matrix: JSON for programs and tables for terminals.

use std::collections::BTreeMap;
use std::time::Duration;

use blink_conformance::matrix::{Pairing, Row, Verdict};
use serde::Serialize;

/// Why one failure is looked at before others.
const ORDER: &str = "later scenarios do what earlier ones verify, and two backends have more causes than one";

/// Content of `report.json`.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Version of this program.
    pub(super) version: &'static str,
    /// Start of the run in Unix milliseconds.
    pub(super) started_unix_ms: u64,
    pub(super) seconds: f64,
    pub(super) lanes: usize,
    pub(super) totals: Totals,
    pub(super) pairings: Vec<PairingReport>,
    pub(super) rows: Vec<RowReport>,
}

/// Last line of `--json`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Totals {
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) waiting: usize,
    pub(super) unsupported: usize,
    pub(super) pairings: usize,
}

/// One pairing.
#[derive(Debug, Serialize)]
pub(super) struct PairingReport {
    pub(super) name: String,
    pub(super) transports: [String; 2],
    pub(super) signalings: [String; 2],
    #[serde(flatten)]
    pub(super) counts: Counts,
    /// Median time from answering a call to the first `ParticipantJoined`, over all scenarios;
    /// `null` if no call was answered.
    pub(super) set_up_ms_median: Option<f64>,
}

/// Numbers of cases of a pairing by outcome.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Counts {
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) waiting: usize,
    pub(super) unsupported: usize,
}

/// One scenario over one pairing.
#[derive(Debug, Serialize)]
pub(super) struct RowReport {
    pub(super) pairing: String,
    pub(super) number: u8,
    pub(super) scenario: String,
    pub(super) verifies: &'static str,
    /// `passed`, `failed`, `waiting` or `unsupported`.
    pub(super) outcome: &'static str,
    /// Failure, missing part of the engine, or unsupported ability.
    pub(super) why: Option<String>,
    pub(super) seconds: f64,
    pub(super) set_up_ms: Vec<f64>,
    pub(super) participants: Vec<ParticipantReport>,
}

/// Event log of a participant.
#[derive(Debug, Serialize)]
pub(super) struct ParticipantReport {
    pub(super) name: String,
    pub(super) log: Vec<String>,
}

impl Report {
    pub(super) fn new(pairings: &[Pairing], rows: &[Row], started_unix_ms: u64, took: Duration, lanes: usize) -> Self {
        let pairings: Vec<_> = pairings.iter().map(|pairing| PairingReport::new(pairing, rows)).collect();
        let sum = |count: fn(&Counts) -> usize| pairings.iter().map(|pairing| count(&pairing.counts)).sum();
        let totals = Totals {
            passed: sum(|counts| counts.passed),
            failed: sum(|counts| counts.failed),
            waiting: sum(|counts| counts.waiting),
            unsupported: sum(|counts| counts.unsupported),
            pairings: pairings.len(),
        };
        Self {
            version: env!("CARGO_PKG_VERSION"),
            started_unix_ms,
            seconds: rounded(took.as_secs_f64(), 100.0),
            lanes,
            totals,
            pairings,
            rows: rows.iter().map(RowReport::new).collect(),
        }
    }

    /// Pairings over which no scenario ran.
    pub(super) fn empty_pairings(&self) -> impl Iterator<Item = &str> {
        let ran = |counts: &Counts| counts.passed + counts.failed + counts.unsupported > 0;
        self.pairings.iter().filter(move |pairing| !ran(&pairing.counts)).map(|pairing| pairing.name.as_str())
    }

    /// The failure that explains most likely why others fail too; `None` with fewer than two.
    fn first_failure(&self) -> Option<&RowReport> {
        let failed = || self.rows.iter().filter(|row| row.outcome == "failed");
        if failed().count() < 2 {
            return None;
        }
        let backends = |row: &RowReport| {
            let pairing = self.pairings.iter().find(|pairing| pairing.name == row.pairing);
            pairing.map_or(0, |it| {
                usize::from(it.transports[0] != it.transports[1]) + usize::from(it.signalings[0] != it.signalings[1])
            })
        };
        failed().min_by_key(|row| (row.number, backends(row)))
    }

    /// Table of scenarios over pairings for a terminal, and the failures.
    pub(super) fn table(&self) -> String {
        let mut lines = Vec::new();
        let width = self.rows.iter().map(|row| row.scenario.len()).max().unwrap_or(0);
        for (n, pairing) in self.pairings.iter().enumerate() {
            let median = pairing.set_up_ms_median.map_or("-".to_owned(), |ms| format!("{ms:.0} ms"));
            lines.push(format!("{:>3}  {}  (set up in {median})", n + 1, pairing.name));
        }
        let header: String = (1..=self.pairings.len()).map(|n| format!("{n:>3}")).collect();
        lines.push(format!("\n{:width$} {header}", ""));
        let mut by_scenario: BTreeMap<(u8, &str), BTreeMap<&str, &str>> = BTreeMap::new();
        for row in &self.rows {
            by_scenario.entry((row.number, &row.scenario)).or_default().insert(&row.pairing, row.outcome);
        }
        for ((_, scenario), outcomes) in &by_scenario {
            let marks =
                self.pairings.iter().map(|pairing| outcomes.get(pairing.name.as_str()).map_or(" ", |it| mark(it)));
            let marks: String = marks.map(|mark| format!("{mark:>3}")).collect();
            lines.push(format!("{scenario:width$} {marks}"));
        }
        lines.push(
            "\n✓ passed  ✕ failed  – not supported: declared, and refused as it must be  \
             · waiting: the suite lists the scenario, and the engine cannot run it yet"
                .to_owned(),
        );
        for row in self.rows.iter().filter(|row| row.outcome == "failed") {
            lines.push(format!("\nFAILED {} over {}\n{}", row.scenario, row.pairing, row.why.as_deref().unwrap_or("")));
        }
        if let Some(first) = self.first_failure() {
            lines.push(format!("\nLook first at {} over {}: {ORDER}.", first.scenario, first.pairing));
        }
        let Totals { passed, failed, waiting, unsupported, pairings } = self.totals;
        lines.push(format!(
            "\n{passed} passed, {failed} failed, {waiting} waiting, {unsupported} unsupported, over {pairings} pairings, in {:.0} s",
            self.seconds
        ));
        lines.join("\n")
    }
}

impl PairingReport {
    fn new(pairing: &Pairing, rows: &[Row]) -> Self {
        let own = || rows.iter().filter(|row| row.pairing == *pairing);
        let mut counts = Counts::default();
        for row in own() {
            match row.verdict {
                Verdict::Passed => counts.passed += 1,
                Verdict::Failed(_) => counts.failed += 1,
                Verdict::Waiting(_) => counts.waiting += 1,
                Verdict::Unsupported(_) => counts.unsupported += 1,
            }
        }
        let mut setup_times: Vec<_> = own().flat_map(|row| row.setup_times.iter().copied()).collect();
        setup_times.sort();
        Self {
            name: pairing.to_string(),
            transports: pairing.transports.clone(),
            signalings: pairing.signalings.clone(),
            counts,
            set_up_ms_median: setup_times.get(setup_times.len() / 2).map(|median| milliseconds(*median)),
        }
    }
}

impl RowReport {
    fn new(row: &Row) -> Self {
        let (outcome, why) = match &row.verdict {
            Verdict::Passed => ("passed", None),
            Verdict::Failed(why) => ("failed", Some(why.clone())),
            Verdict::Waiting(what) => ("waiting", Some(format!("waits for {what}"))),
            Verdict::Unsupported(what) => ("unsupported", Some(what.clone())),
        };
        let participant = |event_log: &blink_conformance::lab::EventLog| ParticipantReport {
            name: event_log.name.clone(),
            log: event_log.lines.clone(),
        };
        Self {
            pairing: row.pairing.to_string(),
            number: row.number,
            scenario: row.title.clone(),
            verifies: row.verifies,
            outcome,
            why,
            seconds: rounded(row.took.as_secs_f64(), 1_000.0),
            set_up_ms: row.setup_times.iter().map(|set_up| milliseconds(*set_up)).collect(),
            participants: row.event_logs.iter().map(participant).collect(),
        }
    }
}

fn mark(outcome: &str) -> &'static str {
    match outcome {
        "passed" => "✓",
        "failed" => "✕",
        "unsupported" => "–",
        _ => "·",
    }
}

fn milliseconds(duration: Duration) -> f64 {
    rounded(duration.as_secs_f64() * 1_000.0, 10.0)
}

fn rounded(value: f64, per_unit: f64) -> f64 {
    (value * per_unit).round() / per_unit
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use blink_conformance::lab::EventLog;

    /// Two pairings: one with a case of each outcome, one without cases.
    pub(in crate::conformance) fn example() -> Report {
        let names = |one: &str, other: &str| [one.to_owned(), other.to_owned()];
        let pairings = Pairing::all(&names("x", "y"), &["m".to_owned()]).into_iter().take(2).collect::<Vec<_>>();
        let verdicts = [
            Verdict::Passed,
            Verdict::Failed("alice: did not <see> bob & carol\n  alice:\n    0.1 s".to_owned()),
            Verdict::Waiting("recorders"),
            Verdict::Unsupported("x has no video".to_owned()),
        ];
        let row = |(n, verdict): (usize, Verdict)| Row {
            pairing: pairings[0].clone(),
            number: n as u8 + 1,
            title: format!("{:02}-scenario", n + 1),
            verifies: "A property holds.",
            verdict,
            took: Duration::from_millis(1_500),
            setup_times: vec![Duration::from_millis(10 * (n as u64 + 1))],
            event_logs: vec![EventLog { name: "alice".to_owned(), lines: vec!["0.100 s   </script><b>".to_owned()] }],
        };
        let rows: Vec<_> = verdicts.into_iter().enumerate().map(row).collect();
        Report::new(&pairings, &rows, 1_700_000_000_000, Duration::from_secs(3), 4)
    }

    #[test]
    fn outcomes_are_counted_and_empty_pairings_are_detected() {
        let report = example();
        assert_eq!(report.totals, Totals { passed: 1, failed: 1, waiting: 1, unsupported: 1, pairings: 2 });
        assert_eq!(report.pairings[0].set_up_ms_median, Some(30.0));
        assert_eq!(report.empty_pairings().collect::<Vec<_>>(), ["x~y::m~m"]);
    }

    #[test]
    fn of_several_failures_the_first_scenario_with_the_fewest_backends_is_looked_at_first() {
        let mut report = example();
        assert!(report.first_failure().is_none(), "one failure needs no order");
        report.rows[0].outcome = "failed";
        report.rows[1].number = 1;
        report.rows[0].pairing = report.pairings[1].name.clone();
        let first = report.first_failure().expect("there are two");
        assert_eq!(first.pairing, "x~x::m~m", "of one scenario, that over one backend");
        assert!(report.table().contains("Look first at 02-scenario over x~x::m~m"));
    }

    #[test]
    fn table_marks_every_case_and_shows_failures() {
        let table = example().table();
        for mark in ["✓", "✕", "–", "·"] {
            assert!(table.lines().any(|line| line.starts_with("0") && line.contains(mark)), "{mark} in\n{table}");
        }
        assert!(table.contains("did not <see> bob & carol"), "{table}");
        assert!(table.ends_with("1 passed, 1 failed, 1 waiting, 1 unsupported, over 2 pairings, in 3 s"), "{table}");
    }
}
