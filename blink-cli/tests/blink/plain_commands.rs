//! Help, completions, manual pages, `doctor`, and output that is closed or cannot be written.

use std::process::{Command, Stdio};

use crate::program::{ALONE, run};

#[test]
fn the_help_fits_a_screen() {
    let directory = tempfile::tempdir().unwrap();
    let help = run(directory.path(), &["--help"]);
    assert!(help.status == 0 && help.lines.len() < 24, "{help:?}");
    assert_eq!(help.lines, run(directory.path(), &["-h"]).lines);
    assert!(run(directory.path(), &["contacts", "--help"]).lines.iter().any(|line| line.contains("safety words")));
}

#[test]
fn completions_and_manual_pages_name_the_commands() {
    let directory = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let ended = run(directory.path(), &["completions", shell]);
        let text = ended.lines.join("\n");
        assert!(ended.status == 0 && text.contains("contacts") && text.contains("ephemeral"), "{shell}");
    }
    assert_eq!(run(directory.path(), &["completions", "tcsh"]).status, 2);
    let page = run(directory.path(), &["man"]);
    assert!(page.status == 0 && page.lines.iter().any(|line| line.starts_with(".TH blink")), "{page:?}");
    let page = run(directory.path(), &["man", "call"]).lines.join("\n");
    assert!(page.contains("seconds") && page.contains(".SH"), "{page}");
    let unknown = run(directory.path(), &["man", "dance"]);
    assert!(unknown.status == 2 && unknown.errors.contains("`dance`"), "{unknown:?}");
}

#[test]
fn doctor_judges_each_part_and_finds_what_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let doctor = |more: &[&str]| run(directory.path(), &[&["doctor", "--json"][..], &ALONE, more].concat());
    let checks = |lines: &[String]| -> Vec<serde_json::Value> {
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let ended = doctor(&[]);
    assert_eq!(ended.status, 0, "{ended:?}");
    let found = checks(&ended.lines);
    for name in ["sound", "ports", "nodes", "servers", "clock", "data_dir"] {
        assert!(found.iter().any(|check| check["check"] == name), "{name}: {ended:?}");
    }
    let dead = [
        "--set",
        r#"signalings.libp2p.bootstrap=["/ip4/127.0.0.1/tcp/1"]"#,
        "--set",
        r#"ice.servers=[{url="turn:127.0.0.1:1",username="u",credential="p"}]"#,
    ];
    let ended = doctor(&dead);
    assert_eq!(ended.status, 1, "{ended:?}");
    let problem = |name: &str| {
        checks(&ended.lines)
            .iter()
            .any(|check| check["check"] == name && check["status"] == "problem" && check["advice"].is_string())
    };
    assert!(problem("nodes") && problem("servers"), "{ended:?}");
    assert!(!ended.lines.iter().any(|line| line.contains(r#""p""#)), "no password is shown");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_fails_and_a_closed_pipe_ends_the_listener() {
    let directory = tempfile::tempdir().unwrap();
    let program = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_blink"));
        command.args(arguments).arg("--ephemeral").env("BLINK_MEDIA_HOST", "synthetic").current_dir(directory.path());
        command
    };
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let ended = program(&["config"]).stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("cannot write the output"), "{ended:?}");

    let mut listener = program(&[&["listen", "--answer"][..], &ALONE].concat())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut output = std::io::BufReader::new(listener.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut output, &mut line).unwrap();
    assert!(line.starts_with("did:key:"), "{line}");
    drop(output);
    let deadline = std::time::Instant::now() + crate::program::SOON;
    let status = loop {
        match listener.try_wait().unwrap() {
            Some(status) => break status,
            None if std::time::Instant::now() > deadline => panic!("it does not end"),
            None => std::thread::sleep(std::time::Duration::from_millis(50)),
        }
    };
    assert_eq!(status.code(), Some(0));
}
