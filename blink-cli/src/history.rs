//! `blink history`: past calls from the data directory.

use std::path::Path;

use blink_api::{ErrorKind, Registry};
use blink_engine::{CallDirection, CallOutcome, DataDirectory, HistoryEntry};
use serde_json::json;

use crate::args::{Global, HistoryArguments};
use crate::calendar::date;
use crate::commands::Command;
use crate::contacts::Contacts;
use crate::control;
use crate::event_text::Names;
use crate::failure::Failure;
use crate::output::Output;
use crate::{configuration, profile};

/// Runs `blink history`.
pub(crate) async fn run(arguments: &HistoryArguments, global: &Global, output: &Output) -> Result<(), Failure> {
    let registry = Registry::discovered()?;
    let configuration = configuration::personal(&registry, global).build()?;
    let directory = profile::required(&configuration)?;
    if let Some(reply) = control::ask(Some(directory), Command::History {}).await? {
        if arguments.repair {
            return Err(Failure::input("blink runs with this data directory: end it before the repair"));
        }
        reply["calls"].as_array().into_iter().flatten().for_each(|call| output.json_result(call));
        reply["text"].as_str().into_iter().flat_map(str::lines).for_each(|line| output.result(line));
        return Ok(());
    }
    let names = names(directory)?;
    if arguments.repair {
        repair(directory, output)?;
    }
    let entries = match DataDirectory::open(directory) {
        Ok(kept) => kept.history()?,
        // No call has been made with this directory yet.
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    for entry in &entries {
        output.json_result(entry);
        output.result(&line(entry, &names));
    }
    if entries.is_empty() {
        output.event("no calls");
    }
    Ok(())
}

/// Names of the contacts.
fn names(data_dir: &Path) -> Result<Names, Failure> {
    let mut names = Names::default();
    Contacts::load(data_dir)?.iter().for_each(|contact| names.add(contact.did, &contact.name));
    Ok(names)
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

pub(crate) fn line(entry: &HistoryEntry, names: &Names) -> String {
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
pub(crate) fn duration(ms: u64) -> String {
    let seconds = ms / 1_000;
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_hours_only_when_needed() {
        assert_eq!([999, 61_000, 3_723_000].map(duration), ["0:00", "1:01", "1:02:03"]);
    }
}
