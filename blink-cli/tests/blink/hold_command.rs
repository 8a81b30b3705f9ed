//! Two calls of one process, of which one is on hold.

use serde_json::{Value, json};

use crate::call_command::{call, listen};

fn state_of(event: &Value) -> (bool, bool) {
    (event["state"]["muted"] == true, event["state"]["held"] == true)
}

#[test]
fn a_call_is_held_another_one_answered_and_both_are_swapped_and_left() {
    let directory = tempfile::tempdir().unwrap();
    let (mut bob, address) = listen(directory.path(), &["--set", "transport=str0m"]);
    let mut alice = call(directory.path(), &[address.as_str(), "--set", "transport=webrtc-rs"]);
    let first = bob.event("incoming_call")["call"].clone();
    bob.type_line("hold");
    assert!(bob.event("refused")["error"].as_str().unwrap().contains("not in a call"));
    bob.type_line("y");
    alice.event("media_started");
    bob.event("media_started");

    let mut carol = call(directory.path(), &[address.as_str()]);
    let second = bob.event("incoming_call")["call"].clone();
    bob.type_line("hold");
    assert_eq!(bob.event("call_held")["call"], first);
    assert_eq!(state_of(&alice.event("participant_state_changed")), (false, true));
    bob.type_line("y");
    carol.event("media_started");
    assert_eq!(bob.event("media_started")["call"], second);

    bob.type_line("resume");
    assert_eq!(bob.event("call_held")["call"], second);
    assert_eq!(bob.event("call_resumed")["call"], first);
    assert_eq!(state_of(&alice.event("participant_state_changed")), (false, false));
    assert_eq!(state_of(&carol.event("participant_state_changed")), (false, true));

    bob.type_line(&json!({ "id": 1, "command": "leave", "call": first }).to_string());
    assert_eq!(bob.event("call_ended")["call"], first);
    assert_eq!(alice.end().status, 0);
    // Of no current call and one on hold, `leave` means that one.
    bob.type_line("leave");
    assert_eq!(bob.event("call_ended")["call"], second);
    assert_eq!(carol.end().status, 0);
    bob.type_line("resume");
    assert!(bob.event("refused")["error"].as_str().unwrap().contains("no call is on hold"));
    bob.interrupt();
    assert_eq!(bob.end().status, 130);
}
