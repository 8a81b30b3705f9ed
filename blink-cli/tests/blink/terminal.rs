//! Keyboard input, signals of a closing terminal, and terminal output.

use std::path::{Path, PathBuf};

use crate::call_command::{call, listen};
use crate::program::{ALONE, Program, run};

/// Clipboard, title, colour, a forged line, an 8-bit CSI, a right-to-left override, an invisible
/// character, a line separator.
const HOSTILE: &str =
    "\u{1b}]52;c;Zm9v\u{7}\u{1b}]0;t\u{7}\u{1b}[31m\n   0.000 s  connected\u{9b}2J\u{202e}\u{200b}\u{2028}";

/// Whether a line has no effect on the terminal, and nothing hidden.
fn is_harmless(line: &str) -> bool {
    line.chars()
        .all(|c| !c.is_control() && !matches!(u32::from(c), 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f))
}

#[test]
fn an_invalid_line_does_not_stop_keyboard_input() {
    let directory = tempfile::tempdir().unwrap();
    let (mut listener, address) = listen(directory.path(), &[]);
    let mut caller = call(directory.path(), &[&address]);
    listener.event("incoming_call");
    listener.type_bytes(b"\xff\xfe\x00\n");
    // Less than a pipe holds (64 KiB): without a reader this would block.
    listener.type_bytes(&[b'y'; 50_000]);
    listener.type_line("");
    listener.type_line("y");
    caller.event("participant_joined");
    listener.type_line("h");
    assert_eq!(caller.end().status, 0);
    listener.interrupt();
    assert_eq!(listener.end().status, 130);
}

#[cfg(target_os = "linux")]
#[test]
fn a_signal_that_was_ignored_at_the_start_stays_ignored() {
    let directory = tempfile::tempdir().unwrap();
    // As `nohup` and a shell without job control do.
    let arguments = [&["listen", "--json", "--answer"], &ALONE[..]].concat();
    let mut listener = Program::start_ignoring(directory.path(), "HUP INT", &arguments);
    let listening = listener.event("listening");
    let address = listening["addresses"][0].as_str().expect("it listens").to_owned();
    listener.signal("HUP");
    listener.signal("INT");
    let ended = call(directory.path(), &[&address, "--seconds", "1"]).end();
    assert_eq!(ended.status, 0, "{ended:#?}");
    listener.event("call_ended");
    listener.signal("TERM");
    assert_eq!(listener.end().status, 130);
}

#[test]
fn only_a_named_call_is_joined() {
    let directory = tempfile::tempdir().unwrap();
    let (mut bob, bobs) = listen(directory.path(), &[]);
    let (carol, carols) = listen(directory.path(), &["--answer"]);
    let mut alice = call(directory.path(), &[&bobs, &carols]);
    bob.type_line("j");
    assert!(bob.event("refused")["error"].as_str().unwrap().contains("no call"));
    bob.event("incoming_call");
    bob.type_line("n");
    alice.event("participant_joined");
    // A group call that this participant was not in is listed, and joined by its number only.
    bob.type_line("j");
    assert_eq!(bob.event("ongoing")["calls"].as_array().unwrap().len(), 1);
    for unknown in ["j 0", "j 2", "j x"] {
        bob.type_line(unknown);
        assert!(bob.event("refused")["error"].as_str().unwrap().contains("number"), "{unknown}");
    }
    bob.type_line("j 1");
    bob.event("call_joined");
    for person in [alice, bob, carol] {
        person.interrupt();
        assert_eq!(person.end().status, 130);
    }
}

#[test]
fn an_answer_applies_only_to_the_call_of_the_prompt() {
    let directory = tempfile::tempdir().unwrap();
    let (mut listener, address) = listen(directory.path(), &[]);
    let first = call(directory.path(), &[&address]);
    listener.event("incoming_call");
    let mut second = call(directory.path(), &[&address]);
    listener.event("incoming_call");
    first.interrupt();
    assert_eq!(first.end().status, 130);
    listener.event("call_cancelled");
    // This `y` was meant for the call that was cancelled.
    listener.type_line("y");
    listener.event("refused");
    listener.type_line("y");
    second.event("participant_joined");
    listener.type_line("h");
    assert_eq!(second.end().status, 0);
    listener.interrupt();
    assert_eq!(listener.end().status, 130);
}

#[test]
fn arguments_and_files_have_no_effect_on_the_terminal() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    std::fs::write(path.join(format!("{HOSTILE}.wav")), "not audio").unwrap();
    // An IVF file (`DKIF`, version 0, header of 32 bytes) whose codec is an escape sequence.
    let header = [&b"DKIF\0\0\x20\0\x1b[2J"[..], &[0; 20]].concat();
    std::fs::write(path.join(format!("{HOSTILE}.ivf")), header).unwrap();
    let toml = serde_json::json!(HOSTILE);
    std::fs::write(path.join("hostile.toml"), format!("microphone = {toml}\n")).unwrap();
    std::fs::write(path.join("unknown.toml"), format!("{toml} = 1\n")).unwrap();
    let wav = format!("{HOSTILE}.wav");
    let clip = format!("clip:{HOSTILE}.ivf");
    let out = format!("{HOSTILE}.wav/below");
    let set = format!("transport={HOSTILE}");
    let odd_key = format!("{HOSTILE}=1");
    let option = format!("--{HOSTILE}");
    let target = format!("did:key:{HOSTILE}");
    let did = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp";
    let address = format!("{did}@{HOSTILE}");
    let cases: [&[&str]; 14] = [
        &["config", "--config", "hostile.toml"],
        &["config", "--config", "unknown.toml"],
        &["config", "--config", HOSTILE],
        &["config", "--set", &set],
        &["config", "--set", &odd_key],
        &["config", &option],
        &["call", &target],
        &["call", &address],
        &["call", did, "--seconds", HOSTILE],
        &["listen", "--in", &wav],
        &["listen", "--video", &clip],
        &["listen", "--out", &out],
        &["demo", "--speech-a", &wav],
        &["conformance", "--transports", HOSTILE],
    ];
    for arguments in cases {
        for verbose in [&["--quiet"][..], &["--json"], &["-vvv"]] {
            let ended = run(path, &[arguments, verbose].concat());
            assert!(ended.lines.len() + ended.errors.len() > 0, "{arguments:?} {verbose:?}: nothing is shown");
            for line in ended.lines.iter().map(String::as_str).chain(ended.errors.lines()) {
                assert!(is_harmless(line), "{arguments:?} {verbose:?}: {line:?}");
            }
        }
    }
}

/// Only the modules listed here write to the terminal, so that the test above covers all output.
#[test]
fn all_output_goes_through_the_output_module() {
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&source, &mut |path, text| {
        for word in
            ["print!", "println!", "eprint!", "eprintln!", "dbg!", "stdout()", "stderr()", "io::stderr", ".print()"]
        {
            found.extend(text.match_indices(word).map(|_| (path.strip_prefix(&source).unwrap().to_owned(), word)));
        }
    });
    found.sort();
    found.dedup();
    let expected = [
        // clap's messages about escaped arguments.
        ("lib.rs", ".print()"),
        ("lib.rs", "stderr()"),
        // Log lines, whose fields are escaped, and the test for a terminal.
        ("log.rs", "io::stderr"),
        ("log.rs", "stderr()"),
        ("output.rs", "io::stderr"),
        ("output.rs", "stderr()"),
        ("output.rs", "stdout()"),
        // The full screen, which draws escaped text, and errors that it hides meanwhile.
        ("screen_output.rs", "io::stderr"),
        ("screen_output.rs", "stderr()"),
        ("screen_output.rs", "stdout()"),
    ];
    let found: Vec<_> = found.iter().map(|(path, word)| (path.to_str().unwrap(), *word)).collect();
    assert_eq!(found, expected);
}

fn sources(directory: &Path, look: &mut impl FnMut(&Path, &str)) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, look);
        } else {
            look(&path, &std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn whoever_is_left_alone_in_a_group_is_told_and_stays_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut bob = Program::start(directory.path(), &[&["listen"], &ALONE[..]].concat());
    let line = bob.line("its address", |line| line.contains("@/ip4/127.0.0.1/"));
    let bobs = line.split_whitespace().find(|word| word.contains("@/ip4/127.0.0.1/")).unwrap().to_owned();
    let (mut carol, carols) = listen(directory.path(), &["--answer"]);
    let mut alice = call(directory.path(), &[&bobs, &carols]);
    bob.line("the prompt", |line| line.contains("type y to answer"));
    bob.type_line("y");
    for _ in 0..2 {
        bob.line("a connection", |line| line.contains("connected to"));
        alice.event("participant_joined");
    }
    alice.type_line("leave");
    assert_eq!(alice.end().status, 0);
    // An automatic answerer follows the caller.
    carol.event("call_ended");
    bob.line("that it is alone", |line| line.contains("you are alone in the call"));
    bob.type_line("leave");
    bob.line("the end", |line| line.contains("the call ended"));
    for person in [bob, carol] {
        person.interrupt();
        assert_eq!(person.end().status, 130);
    }
}
