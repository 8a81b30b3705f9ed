//! Tests of the log output.

use std::time::Duration;

use crate::program::Program;

/// Timeout of a run of a few seconds, on a machine that runs other tests.
const RUN: Duration = Duration::from_secs(90);
/// Parts of descriptions and candidates, which must not be logged.
const NEVER: [&str; 5] = ["ice-pwd", "ice-ufrag", "fingerprint:", "candidate:", "ufrag"];
/// Listen address of both nodes of a demo.
const ADDRESS: &str = "127.0.0.1";

fn demonstration_at_trace(arguments: &[&str]) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let arguments = [&["demo", "--json", "--quiet", "--seconds", "3"], arguments].concat();
    let mut program = Program::start_in(directory.path(), &arguments, &[("RUST_LOG", "trace")]);
    let ended = program.end_within(RUN);
    let lines: Vec<_> = ended.errors.lines().map(str::to_owned).collect();
    let of_engine = lines.iter().filter(|line| line.contains(" TRACE ") && line.contains(" blink_engine::"));
    assert!(of_engine.count() > 30, "{ended:#?}");
    for line in &lines {
        assert!(!NEVER.iter().any(|word| line.contains(word)), "{line}");
    }
    lines
}

#[test]
fn trace_logs_have_no_addresses_and_no_library_lines() {
    for line in demonstration_at_trace(&[]) {
        assert!(!line.contains(ADDRESS), "{line}");
        // The verdict of the program, where the machine is too busy for good audio.
        if line.starts_with("blink: ") {
            continue;
        }
        let of_blink = line.contains(" blink_") || line.contains(" blink:");
        assert!(of_blink || line.contains(" WARN ") || line.contains("ERROR "), "{line}");
    }
}

#[test]
fn addresses_are_logged_at_debug_and_below_if_enabled() {
    let lines = demonstration_at_trace(&["--set", "log.addresses=true"]);
    let with_address: Vec<_> = lines.iter().filter(|line| line.contains(ADDRESS)).collect();
    assert!(!with_address.is_empty(), "{lines:#?}");
    assert!(with_address.iter().all(|line| line.contains("DEBUG ") || line.contains("TRACE ")), "{with_address:#?}");
}
