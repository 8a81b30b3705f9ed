//! The line mode: for screen readers, and for pipes.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::program::{ALONE, Program, SOON};
use crate::pseudo_terminal::Terminal;

fn plain(directory: &std::path::Path, name: &str) -> Program {
    let data_dir = format!("data_dir={name}");
    let ours = ["ui", "--plain", "--json", "--set", &data_dir, "--set", "microphone=speech"];
    Program::start(directory, &[&ours[..], &ALONE].concat())
}

#[test]
fn a_whole_call_by_typed_commands() {
    let directory = tempfile::tempdir().unwrap();
    let (mut alice, mut bob) = (plain(directory.path(), "alice"), plain(directory.path(), "bob"));
    let listening = bob.event("listening");
    let invite = listening["invite"].as_str().unwrap();
    alice.event("listening");
    alice.type_line(&format!("call {invite}"));
    bob.event("incoming_call");
    bob.type_line("answer");
    alice.event("participant_joined");
    alice.event("media_started");
    alice.type_line("mute");
    while bob.event("participant_state_changed")["state"]["muted"] != true {}
    alice.type_line("unmute");
    alice.type_line("deafen");
    while bob.event("participant_state_changed")["state"]["deafened"] != true {}
    alice.type_line(&format!("volume {} 0.5", listening["did"].as_str().unwrap()));
    for command in ["mute", "unmute", "deafen", "volume"] {
        assert_eq!(alice.event("done")["command"], command);
    }
    alice.type_line("record");
    alice.event("recording_started");
    alice.type_line("stop-recording");
    let report = alice.event("recording_stopped");
    assert_eq!(report["report"]["recorders"][0]["recorder"], "wav");
    alice.type_line("state");
    assert_eq!(alice.event("state")["calls"][0]["state"], "active");
    alice.type_line("devices");
    alice.event("devices");
    alice.type_line("fly");
    assert!(alice.event("refused")["error"].as_str().unwrap().contains("fly"));
    alice.type_line("leave");
    bob.event("call_ended");
    alice.event("call_ended");
    // Deafened ends with the call, as muted does.
    let both = |event: &serde_json::Value| event["deafened"] == false && event["muted"] == false;
    let deadline = Instant::now() + SOON;
    loop {
        alice.type_line("state");
        let state = alice.event("state");
        if both(&state) {
            break;
        }
        assert!(Instant::now() < deadline, "{state}");
    }
    alice.type_line("quit");
    assert_eq!(alice.end().status, 0);
    // The end of the input ends it, too.
    bob.type_nothing();
    assert_eq!(bob.end().status, 0);
}

#[test]
fn in_a_terminal_the_bell_rings_and_nothing_but_lines_is_printed() {
    let directory = tempfile::tempdir().unwrap();
    let ring = ["ui", "--plain", "--set", "ui.ring_speaker=wav:ring.wav"];
    let mut bob = Terminal::blink(directory.path(), "bob", &ring);
    let screen = bob.wait("invite", |screen| screen.contains("blink:") && screen.contains("quit ends"));
    let start = screen.find("blink:").unwrap();
    let invite: String = screen[start..].chars().take_while(|c| *c != ' ').filter(|c| *c != '\n').collect();
    let invite = invite.split("waiting").next().unwrap();
    let caller = Program::start(directory.path(), &[&["call", "--json", "--ephemeral", invite], &ALONE[..]].concat());
    bob.wait_for_state("bell", |parser| parser.callbacks().bells > 0);
    assert!(!bob.parser().screen().alternate_screen());
    bob.keys("n\n");
    assert_eq!(caller.end().status, 1);
    bob.keys("quit\n");
    assert_eq!(bob.end(), 0);
    assert!(std::fs::metadata(directory.path().join("ring.wav")).unwrap().len() > 44);
}

#[test]
fn ctrl_d_ends_plain_commands_in_a_terminal() {
    let directory = tempfile::tempdir().unwrap();
    let mut listening = Terminal::blink(directory.path(), "bob", &["listen"]);
    listening.wait_for("Ctrl-D ends");
    listening.keys("\x04");
    assert_eq!(listening.end(), 0);
    let did = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp";
    let mut calling = Terminal::blink(directory.path(), "bob", &["call", did]);
    calling.wait_for("calling z6Mk");
    calling.keys("\x04");
    assert_eq!(calling.end(), 1);
}

#[test]
fn options_without_a_command_are_those_of_the_screen() {
    let directory = tempfile::tempdir().unwrap();
    let mut blink = Terminal::blink(directory.path(), "bob", &["--speaker", "null"]);
    blink.wait_for("none yet");
    blink.keys("q");
    assert_eq!(blink.end(), 0);
    let unknown = crate::program::run(directory.path(), &["--speeker", "null"]);
    assert!(unknown.status == 2 && unknown.errors.contains("--speeker"), "{unknown:?}");
}

#[test]
fn a_reader_that_is_gone_ends_it() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["ui", "--plain", "--ephemeral"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_blink"));
    command.args([&arguments[..], &ALONE].concat()).env("BLINK_MEDIA_HOST", "synthetic");
    command.current_dir(directory.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("did:key:"), "{line}");
    let deadline = Instant::now() + SOON;
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if Instant::now() > deadline => {
                child.kill().unwrap();
                panic!("no end within {SOON:?}");
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    assert!(status.success(), "{status}");
}
