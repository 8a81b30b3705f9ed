//! Calls between two and three processes.

use std::path::Path;

use crate::program::{ALONE, Program};

/// Starts a listener, and returns it with the target for calls to it.
pub(crate) fn listen(directory: &Path, arguments: &[&str]) -> (Program, String) {
    let mut listener = Program::start(directory, &[&["listen", "--json"][..], &ALONE, arguments].concat());
    let listening = listener.event("listening");
    let address = listening["addresses"].as_array().and_then(|all| all.last()).expect("it listens");
    let address = address.as_str().expect("an address is text").to_owned();
    assert!(address.starts_with(&format!("{}@/ip4/127.0.0.1/", listening["did"].as_str().unwrap())), "{address}");
    (listener, address)
}

/// Starts a caller of these targets.
pub(crate) fn call(directory: &Path, arguments: &[&str]) -> Program {
    Program::start(directory, &[&["call", "--json"][..], &ALONE, arguments].concat())
}

/// Verifies that a recording is complete and not silent.
pub(crate) fn is_heard(path: &Path) {
    let mut reader = hound::WavReader::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let samples: Vec<i16> = reader.samples().map(Result::unwrap).collect();
    let loudest = samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0);
    assert!(loudest > 1_000, "{}: {} samples, the loudest {loudest}", path.display(), samples.len());
}

#[test]
fn a_call_is_answered_recorded_on_both_sides_and_ended_after_its_time() {
    let directory = tempfile::tempdir().unwrap();
    let speech = ["--set", "microphone=speech"];
    let (mut listener, address) = listen(directory.path(), &[&["--answer", "--out", "l"], &speech[..]].concat());
    for n in 1..=2 {
        let mut caller = call(directory.path(), &[&[&address, "--seconds", "2", "--out", "c"], &speech[..]].concat());
        caller.event("participant_joined");
        caller.event("media_started");
        listener.event("media_started");
        let ended = caller.end();
        assert_eq!((ended.status, ended.errors.as_str()), (0, ""), "{ended:#?}");
        let last = ended.last();
        assert_eq!((last["ok"].as_bool(), last["reason"].as_str()), (Some(true), Some("left")), "{last}");
        assert!(last["participants"][0]["session"]["packets_received"].as_u64().unwrap() > 50, "{last}");
        assert_eq!(listener.event("call_ended")["reason"], "remote_left");
        let heard = listener.event("heard");
        assert_eq!(heard["path"], format!("l/heard-{n}.wav"));
        is_heard(&directory.path().join("c/heard.wav"));
    }
    listener.interrupt();
    let ended = listener.end();
    assert_eq!(ended.status, 130, "{ended:#?}");
    is_heard(&directory.path().join("l/heard-1.wav"));
    is_heard(&directory.path().join("l/heard-2.wav"));
}

#[test]
fn video_is_received_both_ways_between_two_stacks_and_written() {
    let directory = tempfile::tempdir().unwrap();
    let bob = ["--answer", "--out", "l", "--video", "clip:h264", "--set", "transport=str0m"];
    let (mut listener, address) = listen(directory.path(), &bob);
    let alice = ["--seconds", "3", "--out", "c", "--video", "clip:vp8", "--set", "transport=webrtc-rs"];
    let mut caller = call(directory.path(), &[&[address.as_str()], &alice[..]].concat());
    assert_eq!(caller.event("stream_offered")["stream"]["codec"], "H264");
    let ended = caller.end();
    assert_eq!((ended.status, ended.errors.as_str()), (0, ""), "{ended:#?}");
    listener.event("call_ended");
    listener.interrupt();
    assert_eq!(listener.end().status, 130);
    let vp8 = std::fs::read(directory.path().join("l/seen-1.ivf")).unwrap();
    assert_eq!((&vp8[..4], &vp8[8..16]), (&b"DKIF"[..], &b"VP80\x40\x01\xb4\x00"[..]), "320 by 180 pixels");
    let clip = format!("clip:{}", directory.path().join("l/seen-1.ivf").display());
    let h264 = std::fs::read(directory.path().join("c/seen-1.h264")).unwrap();
    assert_eq!(h264[..5], [0, 0, 0, 1, 0x67], "it begins with a sequence parameter set");
    assert!(vp8.len() > 10_000 && h264.len() > 10_000, "{} {}", vp8.len(), h264.len());

    // A received clip can be sent again, and an invalid one is reported before the call.
    let refused = call(directory.path(), &[&address, "--video", "clip:c/none.ivf"]).end();
    assert_eq!(refused.status, 2, "{refused:#?}");
    assert!(refused.errors.contains("c/none.ivf"), "{}", refused.errors);
    let unreachable = call(directory.path(), &[&address, "--video", &clip]).end();
    assert_eq!(unreachable.status, 1, "{unreachable:#?}");
}

#[test]
fn keyboard_commands_answer_hang_up_and_reject() {
    let directory = tempfile::tempdir().unwrap();
    let (mut listener, address) = listen(directory.path(), &[]);
    let mut caller = call(directory.path(), &[&address]);
    listener.event("incoming_call");
    listener.type_line("y");
    caller.event("participant_joined");
    listener.type_line("h");
    let ended = caller.end();
    assert_eq!((ended.status, ended.last()["reason"].as_str()), (0, Some("remote_left")), "{ended:#?}");

    let caller = call(directory.path(), &[&address]);
    listener.event("incoming_call");
    listener.type_line("n");
    let ended = caller.end();
    assert_eq!(ended.status, 1, "{ended:#?}");
    assert!(ended.errors.contains("rejected") && ended.errors.lines().count() == 1, "{}", ended.errors);
    assert_eq!(ended.last()["ok"], false);
    listener.interrupt();
    assert_eq!(listener.end().status, 130);
}

#[test]
fn an_unanswered_call_rings_until_the_ring_time() {
    let directory = tempfile::tempdir().unwrap();
    let (mut listener, address) = listen(directory.path(), &[]);
    listener.type_nothing();
    let caller = call(directory.path(), &[&address, "--set", "call.ring_time=2s"]);
    listener.event("incoming_call");
    let ended = caller.end();
    assert_eq!(ended.status, 1, "{ended:#?}");
    assert!(ended.errors.contains("not answered"), "{}", ended.errors);
    listener.event("missed_call");
    listener.signal("TERM");
    assert_eq!(listener.end().status, 130);
}

#[test]
fn a_stopped_node_is_unreachable() {
    let directory = tempfile::tempdir().unwrap();
    let (listener, address) = listen(directory.path(), &[]);
    drop(listener);
    let ended = call(directory.path(), &[&address]).end();
    assert_eq!(ended.status, 1, "{ended:#?}");
    assert!(ended.errors.contains("unreachable") && ended.errors.lines().count() == 1, "{}", ended.errors);
}

#[test]
fn several_targets_form_a_group_call() {
    let directory = tempfile::tempdir().unwrap();
    let speech = ["--answer", "--set", "microphone=speech", "--out"];
    let (mut bob, bobs) = listen(directory.path(), &[&speech[..], &["bob"]].concat());
    // Bob's and Carol's nodes are connected through Alice's node only.
    let (mut carol, carols) = listen(directory.path(), &[&speech[..], &["carol"]].concat());
    let mut alice = call(directory.path(), &[&bobs, &carols, "--seconds", "4", "--out", "alice"]);
    for person in [&mut alice, &mut bob, &mut carol] {
        person.event("media_started");
        person.event("media_started");
    }
    let ended = alice.end();
    assert_eq!(ended.status, 0, "{ended:#?}");
    is_heard(&directory.path().join("alice/heard.wav"));
    // Automatic answerers follow the caller: both left with Alice, and answer the next call.
    for (mut person, address) in [(bob, bobs), (carol, carols)] {
        person.event("call_ended");
        let next = call(directory.path(), &[&address, "--seconds", "1"]).end();
        assert_eq!(next.status, 0, "{next:#?}");
        person.interrupt();
        assert_eq!(person.end().status, 130);
    }
    is_heard(&directory.path().join("bob/heard-1.wav"));
    is_heard(&directory.path().join("carol/heard-1.wav"));
}

#[test]
fn one_of_three_rejoins_a_group_call_over_two_stacks() {
    let directory = tempfile::tempdir().unwrap();
    let speech = ["--set", "microphone=speech", "--set"];
    let (mut bob, bobs) = listen(directory.path(), &[&speech[..], &["transport=str0m", "--out", "bob"]].concat());
    let (carol, carols) = listen(directory.path(), &[&speech[..], &["transport=webrtc-rs", "--answer"]].concat());
    let mut alice =
        call(directory.path(), &[&[bobs.as_str(), &carols], &speech[..], &["transport=webrtc-rs"]].concat());
    bob.event("incoming_call");
    bob.type_line("y");
    hears_two(&mut bob);
    bob.type_line("h");
    bob.event("call_ended");
    alice.event("participant_left");
    bob.type_line("j");
    hears_two(&mut bob);
    alice.interrupt();
    assert_eq!(alice.end().status, 130);
    for person in [bob, carol] {
        person.interrupt();
        assert_eq!(person.end().status, 130);
    }
}

/// Verifies that two named participants are heard.
fn hears_two(person: &mut Program) {
    let mut others = std::collections::BTreeSet::new();
    while others.len() < 2 {
        others.insert(person.event("participant_joined")["participant"].to_string());
    }
    while !others.is_empty() {
        others.remove(&person.event("speaking_started")["participant"].to_string());
    }
}
