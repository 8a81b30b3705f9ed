//! `blink history`: past calls from the data directory.

use std::path::Path;

use blink_api::{ErrorKind, Registry};
use blink_engine::{CallDirection, CallOutcome, DataDirectory, HistoryEntry};
use serde_json::json;

use crate::args::{Global, HistoryArguments};
use crate::event_text::Names;
use crate::failure::Failure;
use crate::output::Output;
use crate::{configuration, profile};

/// Runs `blink history`.
pub(crate) fn run(arguments: &HistoryArguments, global: &Global, output: &Output) -> Result<(), Failure> {
    let registry = Registry::discovered()?;
    let configuration = configuration::personal(&registry, global).build()?;
    let directory = profile::required(&configuration)?;
    if arguments.repair {
        repair(directory, output)?;
    }
    let entries = match DataDirectory::open(directory) {
        Ok(kept) => kept.history()?,
        // No call has been made with this directory yet.
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    output.json_result(&entries);
    for entry in &entries {
        output.result(&line(entry));
    }
    if entries.is_empty() {
        output.event("no calls");
    }
    Ok(())
}

/// Repairs the data directory, and reports the result.
fn repair(directory: &Path, output: &Output) -> Result<(), Failure> {
    // The database panics on damaged files, which is expected here.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|panic| tracing::debug!(%panic, "reading the damaged file")));
    let repaired = DataDirectory::repair(directory);
    std::panic::set_hook(hook);
    let repair = repaired?;
    let Some(damaged) = &repair.damaged else {
        output.event("the data directory is intact: nothing to repair");
        return Ok(());
    };
    let damaged = damaged.display();
    let identity = match &repair.identity {
        Some(did) if repair.is_verified => format!("the identity {did} is kept"),
        Some(did) => {
            format!("the identity {did} was read but not verified: compare it with the DID that your contacts know")
        }
        None => "the key is unreadable: the next start creates a new identity".to_owned(),
    };
    output.result(&format!(
        "repaired: {identity}; {} calls of the history are kept; the damaged file is {damaged}",
        repair.history
    ));
    output.json_result(&json!({
        "event": "repaired", "identity": repair.identity, "verified": repair.is_verified, "history": repair.history,
        "damaged": damaged.to_string(),
    }));
    Ok(())
}

fn line(entry: &HistoryEntry) -> String {
    let names = Names::default();
    let (arrow, others) = match entry.direction {
        CallDirection::Incoming => ("from", vec![entry.from]),
        CallDirection::Outgoing => ("to", entry.members.iter().copied().filter(|did| *did != entry.from).collect()),
    };
    let others: Vec<_> = others.iter().map(|did| names.of(did)).collect();
    let lasted = entry.answered_ms.zip(entry.ended_ms).map(|(from, to)| duration(to.saturating_sub(from)));
    let words = outcome(entry.outcome);
    let lasted = lasted.map(|lasted| format!(", {lasted}")).unwrap_or_default();
    format!("{}  {arrow:4} {}  {words}{lasted}", date(entry.started_ms), others.join(", "))
}

fn outcome(outcome: CallOutcome) -> &'static str {
    match outcome {
        CallOutcome::Ongoing => "was ongoing when the program ended",
        CallOutcome::Answered => "answered",
        CallOutcome::Missed => "missed",
        CallOutcome::Rejected => "rejected",
        CallOutcome::Cancelled => "cancelled",
        CallOutcome::Busy => "busy",
        CallOutcome::Unanswered => "not answered",
        CallOutcome::Elsewhere => "answered or rejected on another device",
        CallOutcome::Failed => "failed",
        _ => "over",
    }
}

/// Formats a duration as hours, minutes and seconds.
fn duration(ms: u64) -> String {
    let seconds = ms / 1_000;
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// Formats Unix milliseconds as date and time in UTC (RFC 3339 §5.6, with a space), based on the
/// 400-year cycle of the calendar.
pub(crate) fn date(unix_ms: u64) -> String {
    let seconds = unix_ms / 1_000;
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    // Days since 0000-03-01: leap days are then the last day of a year, and 400 years have 146,097
    // days.
    let days = seconds / 86_400 + 719_468;
    let (cycle, of_cycle) = (days / 146_097, days % 146_097);
    let year_of_cycle = (of_cycle - of_cycle / 1_460 + of_cycle / 36_524 - of_cycle / 146_096) / 365;
    let of_year = of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = cycle * 400 + year_of_cycle + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_follow_the_gregorian_calendar() {
        for (unix_ms, text) in [
            (0, "1970-01-01 00:00:00Z"),
            (951_782_399_999, "2000-02-28 23:59:59Z"),
            (951_782_400_000, "2000-02-29 00:00:00Z"),
            (1_700_000_000_000, "2023-11-14 22:13:20Z"),
            (4_107_542_400_000, "2100-03-01 00:00:00Z"),
        ] {
            assert_eq!(date(unix_ms), text);
        }
    }

    #[test]
    fn durations_have_hours_only_when_needed() {
        assert_eq!([999, 61_000, 3_723_000].map(duration), ["0:00", "1:01", "1:02:03"]);
    }
}
