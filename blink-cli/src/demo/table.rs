//! Report of the demo as a table.

use super::summary::{Participant, Report};
use crate::terminal_text::escape;

/// A row: its label, and its text for one side.
type Row = (&'static str, fn(&Participant) -> String);

/// Formats the report with a summary.
pub(super) fn table(report: &Report) -> String {
    let rows: [Row; 11] = [
        ("transport", |side| side.transport.to_owned()),
        ("signaling", |side| side.signaling.to_owned()),
        ("codec", |side| escape(&side.codec)),
        ("connected after", |side| format!("{:.1} ms", side.connected_ms)),
        ("first audio after", |side| format!("{:.1} ms", side.first_audio_ms)),
        ("packets received", |side| side.packets_received.to_string()),
        ("packets lost", lost),
        ("bytes received", |side| side.bytes_received.to_string()),
        ("round trip", |side| side.rtt_ms.map_or_else(|| "not measured".to_owned(), |rtt| format!("{rtt:.2} ms"))),
        ("PESQ-WB", score),
        ("recording", |side| escape(&side.heard.display().to_string())),
    ];
    let [alice, bob] = &report.participants;
    let cells = |side: &Participant| rows.map(|(_, cell)| cell(side));
    let (left, right) = (cells(alice), cells(bob));
    let labels = rows.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    let width = left.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
    let line = |label: &str, left: &str, right: &str| format!("  {label:labels$}   {left:width$}   {right}");
    let mut lines = vec![String::new(), line("", alice.name, bob.name)];
    lines.extend(rows.iter().zip(left.iter().zip(&right)).map(|((label, _), (left, right))| line(label, left, right)));
    lines.push(String::new());
    lines.push(summary(report));
    lines.join("\n")
}

fn summary(report: &Report) -> String {
    let runs = match report.repeat {
        1 => "Times are from answering the call.".to_owned(),
        runs => format!("Medians of {runs} runs; times are from answering the call."),
    };
    let verdict = if report.ok { "Good speech quality in both directions." } else { "Poor speech quality." };
    format!("{verdict} {runs}")
}

fn lost(side: &Participant) -> String {
    let sent = side.packets_received + side.packets_lost;
    let share = if sent == 0 { 0.0 } else { side.packets_lost as f64 * 100.0 / sent as f64 };
    format!("{} ({share:.1} %)", side.packets_lost)
}

fn score(side: &Participant) -> String {
    match (side.pesq_wb, side.worst_pesq_wb) {
        (Some(score), Some(worst)) if worst < score => format!("{score:.2} (worst {worst:.2})"),
        (Some(score), Some(_)) => format!("{score:.2}"),
        (Some(score), None) => format!("{score:.2} (not always)"),
        (None, _) => "no audio".to_owned(),
    }
}
