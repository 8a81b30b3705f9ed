//! Ctrl-C in every phase, on either side: the other side is informed, and files are complete.

use std::path::Path;
use std::time::Instant;

use crate::call_command::{call, is_heard, listen};
use crate::program::{Program, SEEN};

/// Interrupts a program and waits for the resulting event of the other one.
fn interrupt(program: &Program, other: &mut Program, event: &str) -> serde_json::Value {
    let at = Instant::now();
    program.interrupt();
    let seen = other.event_within(event, SEEN);
    assert!(at.elapsed() <= SEEN);
    seen
}

#[test]
fn interrupting_a_ringing_caller_cancels_the_call() {
    let directory = tempfile::tempdir().unwrap();
    let (mut listener, address) = listen(directory.path(), &[]);
    let mut caller = call(directory.path(), &[&address]);
    listener.event("incoming_call");
    caller.event("participant_ringing");
    assert_eq!(interrupt(&caller, &mut listener, "call_cancelled")["reason"], "caller_left");
    let ended = caller.end();
    assert_eq!((ended.status, ended.errors.as_str()), (130, "blink: interrupted\n"), "{ended:#?}");
    assert_eq!(ended.last()["error"], "interrupted");
    listener.interrupt();
    assert_eq!(listener.end().status, 130);
}

#[test]
fn interrupting_a_ringing_listener_rejects_the_call() {
    let directory = tempfile::tempdir().unwrap();
    let (mut listener, address) = listen(directory.path(), &[]);
    let mut caller = call(directory.path(), &[&address]);
    listener.event("incoming_call");
    caller.event("participant_ringing");
    assert_eq!(interrupt(&listener, &mut caller, "call_ended")["reason"], "rejected");
    assert_eq!(listener.end().status, 130);
    assert_eq!(caller.end().status, 1);
}

#[test]
fn interrupting_a_caller_in_a_call_leaves_and_completes_both_files() {
    let directory = tempfile::tempdir().unwrap();
    let (mut listener, caller) = talking(directory.path());
    assert_eq!(interrupt(&caller, &mut listener, "call_ended")["reason"], "remote_left");
    assert_eq!(caller.end().status, 130);
    is_heard(&directory.path().join("c/heard.wav"));
    listener.event("heard");
    listener.interrupt();
    assert_eq!(listener.end().status, 130);
    is_heard(&directory.path().join("l/heard-1.wav"));
}

#[test]
fn interrupting_a_listener_in_a_call_leaves_and_completes_both_files() {
    let directory = tempfile::tempdir().unwrap();
    let (listener, mut caller) = talking(directory.path());
    assert_eq!(interrupt(&listener, &mut caller, "call_ended")["reason"], "remote_left");
    let ended = listener.end();
    assert_eq!(ended.status, 130);
    assert!(ended.lines.iter().any(|line| line.contains("l/heard-1.wav")), "{ended:#?}");
    let ended = caller.end();
    assert_eq!((ended.status, ended.last()["reason"].as_str()), (0, Some("remote_left")), "{ended:#?}");
    is_heard(&directory.path().join("c/heard.wav"));
    is_heard(&directory.path().join("l/heard-1.wav"));
}

/// In every phase of the call: the interrupted program exits with 130, and the listener is free for
/// the next call.
#[test]
fn a_caller_interrupted_at_any_time_leaves_the_listener_free() {
    let directory = tempfile::tempdir().unwrap();
    let (listener, address) = listen(directory.path(), &["--answer"]);
    for milliseconds in [0, 5, 10, 20, 30, 45, 70, 100, 150, 250] {
        let caller = call(directory.path(), &[&address]);
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        caller.interrupt();
        let ended = caller.end();
        // In the first moments no signal handler is installed, and the signal itself ends the
        // program.
        assert!([130, -1].contains(&ended.status), "after {milliseconds} ms: {ended:#?}");
    }
    let next = call(directory.path(), &[&address, "--seconds", "1"]).end();
    assert_eq!(next.status, 0, "{next:#?}");
    listener.interrupt();
    assert_eq!(listener.end().status, 130);
}

/// Starts a listener and a caller who have talked for a while, each recording to a file.
fn talking(directory: &Path) -> (Program, Program) {
    let speech = ["--set", "microphone=speech"];
    let (mut listener, address) = listen(directory, &[&["--answer", "--out", "l"], &speech[..]].concat());
    let mut caller = call(directory, &[&[&address, "--out", "c"], &speech[..]].concat());
    caller.event("media_started");
    listener.event("media_started");
    // Wait until some speech is recorded.
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    (listener, caller)
}
