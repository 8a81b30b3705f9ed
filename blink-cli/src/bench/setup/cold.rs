//! The first call of a process, each in a process of its own.

use std::ffi::OsString;
use std::process::Stdio;

use tokio::process::Command;

use super::{Pair, Report, Setup};
use crate::args::BenchSetupArguments;
use crate::failure::Failure;

/// Options of this command line that are set anew for the other process, with their values.
const OWN: [&str; 2] = ["--repeat", "--pair"];

/// Measures one call in a new process, with the options of this one.
pub(super) async fn measure((caller, callee): &Pair, arguments: &BenchSetupArguments) -> Result<Setup, Failure> {
    debug_assert!(arguments.cold);
    let program =
        std::env::current_exe().map_err(|error| Failure::call(format!("this program is not there: {error}")))?;
    let pair = format!("{caller},{callee}");
    let output = Command::new(program)
        .args(inherited(std::env::args_os().skip(1)))
        .args(["--repeat", "1", "--json", "--pair", &pair])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| Failure::call(format!("a process for a call cannot be started: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let report: Option<Report> = text.lines().last().and_then(|line| serde_json::from_str(line).ok());
    match report.and_then(|report| report.results.into_iter().next()) {
        Some(row) => Ok(row.steps),
        None => {
            let why = String::from_utf8_lossy(&output.stderr);
            Err(Failure::call(format!("a process for a call failed: {}", why.lines().last().unwrap_or("no output"))))
        }
    }
}

/// The command line without options that are set anew.
fn inherited(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut arguments = arguments.filter(|argument| argument != "--json");
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy();
        if OWN.contains(&&*text) {
            arguments.next();
        } else if !OWN.iter().any(|own| text.starts_with(&format!("{own}="))) {
            kept.push(argument);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_this_process_are_set_anew() {
        let line = "bench setup --repeat 20 --cold --json --pair=a,b --rtt 100 --set call.audio.frame=10ms";
        let kept = inherited(line.split(' ').map(OsString::from));
        let kept: Vec<_> = kept.iter().map(|argument| argument.to_str().unwrap()).collect();
        assert_eq!(kept.join(" "), "bench setup --cold --rtt 100 --set call.audio.frame=10ms");
    }
}
