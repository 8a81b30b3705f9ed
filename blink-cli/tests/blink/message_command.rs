//! Messages and names between processes with different stacks.

use serde_json::json;

use crate::call_command::{call, listen};
use crate::program::{ALONE, Program};

#[test]
fn messages_and_names_pass_both_ways_between_two_stacks() {
    let directory = tempfile::tempdir().unwrap();
    let bob = ["--answer", "--set", "transport=str0m", "--set", "name=Bob K"];
    let (mut bob, address) = listen(directory.path(), &bob);
    let alice = ["--set", "transport=webrtc-rs", "--set", "name=Ada"];
    let mut alice = call(directory.path(), &[&[address.as_str()], &alice[..]].concat());
    assert_eq!(alice.event("participant_named")["name"], "Bob K");
    assert_eq!(bob.event("participant_named")["name"], "Ada");
    let alice_did = bob.event("participant_joined")["participant"]["did"].clone();
    let bob_did = alice.event("participant_joined")["participant"]["did"].clone();

    alice.type_line("message hello, Bob");
    assert_eq!(alice.event("sent")["message"], 1);
    let received = bob.event("message_received");
    assert_eq!((&received["message"], &received["participant"]["did"]), (&json!("hello, Bob"), &alice_did));

    let long = "ä".repeat(8_192);
    for text in [long.as_str(), "", "\u{1b}[31m\u{202e}red"] {
        bob.type_line(&json!({ "id": 7, "command": "message", "message": text, "who": alice_did }).to_string());
        let sent = bob.event("sent");
        assert_eq!((&sent["id"], &sent["command"]), (&json!(7), &json!("message")));
        let received = alice.event("message_received");
        assert_eq!(received["participant"]["did"], bob_did);
        if !text.starts_with('\u{1b}') {
            assert_eq!(received["message"], text);
        }
    }
    bob.type_line(&json!({ "command": "message", "message": format!("{long}!") }).to_string());
    let refused = bob.event("refused");
    assert!(refused["error"].as_str().is_some_and(|error| error.contains("16,384")), "{refused}");
    alice.type_line("message");
    assert_eq!(alice.event("refused")["error"], "expected: message TEXT");

    alice.type_line("leave");
    let ended = alice.end();
    assert_eq!(ended.status, 0, "{ended:#?}");
    bob.event("call_ended");
    bob.type_line("message anyone?");
    assert!(bob.event("refused")["error"].as_str().is_some_and(|error| error.contains("not in a call")));
    bob.interrupt();
    assert_eq!(bob.end().status, 130);
}

/// In words, a message stands after its sender, whose own name is quoted beside the DID.
#[test]
fn messages_in_words_name_their_sender_and_do_nothing_to_the_terminal() {
    let directory = tempfile::tempdir().unwrap();
    let (mut bob, address) = listen(directory.path(), &["--answer", "--set", "name=Bob"]);
    let mut alice = Program::start(directory.path(), &[&["call", &address][..], &ALONE].concat());
    bob.event("participant_joined");
    let did = address.split_once('@').unwrap().0.trim_start_matches("did:key:").to_owned();
    let short = format!("{}…{}", &did[..8], &did[did.len() - 6..]);
    alice.line("connection", |line| line.contains(&format!("connected to “Bob” {short}")));
    bob.type_line(&json!({ "command": "message", "message": "one\ntwo \u{1b}]0;x\u{7}" }).to_string());
    let line = alice.line("message", |line| line.contains("message from"));
    assert!(line.contains(&format!("message from “Bob” {short}: one")), "{line}");
    assert!(line.contains(r"two \u{1b}]0;x\u{7}") && !line.contains('\u{1b}'), "{line}");
    alice.type_line("leave");
    assert_eq!(alice.end().status, 0);
    bob.interrupt();
    assert_eq!(bob.end().status, 130);
}

#[test]
fn a_name_that_cannot_be_shown_is_refused_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    for name in [r#"name="""#, "name=A\u{202e}da", r#"name=" Ada""#, &format!("name={}", "x".repeat(65))] {
        let ended = Program::start(directory.path(), &[&["listen", "--set", name][..], &ALONE].concat()).end();
        assert_eq!(ended.status, 2, "{name:?}: {ended:#?}");
        assert!(ended.errors.contains("name") && ended.errors.lines().count() == 1, "{}", ended.errors);
    }
}
