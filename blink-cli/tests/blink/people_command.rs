//! Invites, contacts, and one identity for several commands.

use std::path::Path;

use crate::program::{ALONE, Ended, Program, run};

/// Options of a person whose data is kept in a directory.
fn person(name: &str) -> Vec<String> {
    let mut options: Vec<_> = ALONE.iter().map(|option| (*option).to_owned()).collect();
    options.extend(["--set".to_owned(), format!("data_dir={name}")]);
    options
}

fn arguments<'a>(command: &[&'a str], person: &'a [String]) -> Vec<&'a str> {
    command.iter().copied().chain(person.iter().map(String::as_str)).collect()
}

fn run_as(directory: &Path, person: &[String], command: &[&str]) -> Ended {
    run(directory, &arguments(command, person))
}

fn start_as(directory: &Path, person: &[String], command: &[&str]) -> Program {
    Program::start(directory, &arguments(command, person))
}

#[test]
fn an_invite_leads_to_a_call_by_name_while_one_process_serves() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let (ada, bob) = (person("ada"), person("bob"));
    let mut listening = start_as(path, &bob, &["listen", "--json", "--set", "microphone=speech"]);
    let announced = listening.event("listening");
    let did = announced["did"].as_str().unwrap().to_owned();

    // Other commands of the same person use the running process.
    let invited = run_as(path, &bob, &["invite", "--json", "--expires", "1h"]);
    assert_eq!((invited.status, invited.errors.as_str()), (0, ""), "{invited:?}");
    let invite = invited.last();
    assert_eq!(invite["did"].as_str(), Some(did.as_str()), "{invite}");
    let text = invite["invite"].as_str().unwrap().to_owned();
    assert!(text.starts_with("blink:") && text.len() < 250, "{text}");
    let id = run_as(path, &bob, &["id", "--json"]).last();
    assert_eq!((id["did"].as_str(), id["kept"].as_bool()), (Some(did.as_str()), Some(true)), "{id}");
    let second = run_as(path, &bob, &["listen", "--json"]);
    assert!(second.status == 2 && second.errors.contains("already runs"), "{second:?}");

    // Ada keeps the invite, and calls Bob by name.
    let added = run_as(path, &ada, &["contacts", "add", "Bob Smith", &text, "--json"]);
    assert_eq!(added.status, 0, "{added:?}");
    assert_eq!(added.last()["contact"]["did"].as_str(), Some(did.as_str()));
    let mut caller = start_as(path, &ada, &["call", "--json", "bob smith", "--set", "microphone=speech"]);
    listening.event("incoming_call");
    listening.type_line(r#"{"id": 1, "command": "answer"}"#);
    assert_eq!(listening.event("done")["id"], 1);
    caller.event("participant_joined");

    // Commands on standard input, as words and as JSON.
    caller.type_line("mute");
    assert_eq!(caller.event("done")["command"], "mute");
    let state = loop {
        let changed = listening.event("participant_state_changed");
        if changed["state"]["muted"] == true {
            break changed;
        }
    };
    assert_ne!(state["participant"]["did"].as_str(), Some(did.as_str()));
    caller.type_line("volume Bob Smith 0.5");
    assert_eq!(caller.event("done")["command"], "volume");
    caller.type_line("volume Bob Smith 9");
    assert_eq!(caller.event("refused")["command"], "volume");
    caller.type_line(r#"{"id": "s", "command": "state"}"#);
    let state = caller.event("state");
    assert_eq!((&state["id"], &state["muted"]), (&"s".into(), &true.into()), "{state}");
    assert_eq!(state["calls"][0]["participants"][0]["status"], "connected", "{state}");
    caller.type_line("mutee");
    assert!(caller.event("refused")["error"].as_str().unwrap().contains("did you mean mute?"));

    // And of a third process, by the control socket of the caller.
    let history = run_as(path, &ada, &["history", "--json"]);
    assert_eq!(history.last()["outcome"], "ongoing", "{history:?}");
    caller.type_line("hangup");
    let ended = caller.end();
    assert_eq!(ended.status, 0, "{ended:?}");
    assert_eq!(listening.event("call_ended")["reason"], "remote_left");

    // Bob calls back by the process that listens.
    let mut waiting = start_as(path, &ada, &["listen", "--json", "--answer", "--set", "microphone=speech"]);
    let address = waiting.event("listening")["addresses"][0].as_str().unwrap().to_owned();
    let back = run_as(path, &bob, &["call", "--json", &address, "--seconds", "1"]);
    assert_eq!(back.status, 0, "{back:?}");
    assert!(back.lines.iter().any(|line| line.contains("participant_joined")), "{back:?}");
    listening.event("call_ended");
    let refused = run_as(path, &bob, &["call", &address, "--out", "x"]);
    assert!(refused.status == 2 && refused.errors.contains("leave out --out"), "{refused:?}");
    let refused = run_as(path, &bob, &["call", &address, "--set", "signaling=ipfs"]);
    assert!(refused.status == 2 && refused.errors.contains("leave out --set signaling"), "{refused:?}");
    listening.signal("TERM");
    let ended = listening.end();
    assert_eq!(ended.status, 130, "{ended:?}");
    assert!(!path.join("bob/control.sock").exists());
}

/// A call of three that a running process places, for a command that follows it.
#[test]
fn a_call_by_a_running_process_ends_when_all_others_have_left() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let bob = person("bob");
    let mut serving = start_as(path, &bob, &["listen", "--json", "--set", "microphone=speech"]);
    serving.event("listening");
    let mut others: Vec<_> = ["ada", "carol"]
        .map(|name| start_as(path, &person(name), &["listen", "--json", "--answer", "--set", "microphone=speech"]))
        .into();
    let addresses: Vec<_> =
        others.iter_mut().map(|other| other.event("listening")["addresses"][0].as_str().unwrap().to_owned()).collect();
    let mut calling = start_as(path, &bob, &["call", "--json", &addresses[0], &addresses[1]]);
    for _ in 0..2 {
        calling.event("participant_joined");
    }
    for other in others {
        other.signal("TERM");
        other.end();
    }
    let ended = calling.end();
    assert_eq!(ended.status, 0, "{ended:?}");
    serving.event("call_ended");
    serving.signal("TERM");
    serving.end();
}

#[test]
fn the_address_of_yesterday_works_today() {
    let directory = tempfile::tempdir().unwrap();
    let bob = ["--set", "data_dir=bob", "--set", "signalings.libp2p.mdns=false", "--json"];
    let listen = || {
        let mut listening = Program::start(directory.path(), &[&["listen"][..], &bob].concat());
        let announced = listening.event("listening");
        listening.signal("HUP");
        assert_eq!(listening.end().status, 130);
        let mut addresses = announced["addresses"].as_array().unwrap().clone();
        addresses.sort_by_key(ToString::to_string);
        addresses
    };
    assert_eq!(listen(), listen());
}

#[cfg(unix)]
#[test]
fn the_control_socket_and_contacts_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let bob = person("bob");
    let mut listening = start_as(directory.path(), &bob, &["listen", "--json"]);
    let did = listening.event("listening")["did"].as_str().unwrap().to_owned();
    let other = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp";
    let added = run_as(directory.path(), &bob, &["contacts", "add", "Ada", other]);
    assert_eq!(added.status, 0, "{added:?}");
    assert_eq!(listening.event("done")["command"], "reload-contacts");
    for file in ["control.sock", "contacts.json", "node.key"] {
        let mode = std::fs::metadata(directory.path().join("bob").join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let words = run_as(directory.path(), &bob, &["contacts", "verify", "ada", "--json", "--yes"]).last();
    assert_eq!((words["words"].as_array().unwrap().len(), &words["verified"]), (8, &true.into()), "{words}");
    assert_ne!(did, other);
    let listed = run_as(directory.path(), &bob, &["contacts", "--json"]).last();
    assert_eq!(listed["contacts"][0]["verified"], true, "{listed}");
    let renamed = run_as(directory.path(), &bob, &["contacts", "rename", "ada", "Lovelace"]);
    assert_eq!(renamed.status, 0, "{renamed:?}");
    let removed = run_as(directory.path(), &bob, &["contacts", "remove", "Lovelace"]);
    assert_eq!(removed.status, 0, "{removed:?}");
    listening.interrupt();
    assert_eq!(listening.end().status, 130);
}

#[test]
fn wrong_targets_say_what_was_expected() {
    let directory = tempfile::tempdir().unwrap();
    let did = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp";
    let refused = |arguments: &[&str]| {
        let ended = run(directory.path(), arguments);
        assert_eq!(ended.status, 2, "{ended:?}");
        ended.errors
    };
    assert!(refused(&["call", "carol"]).contains("no contact is called `carol`"));
    let told = refused(&["call", did, "/ip4/127.0.0.1/tcp/1"]);
    assert!(told.contains(&format!("write {did}@/ip4/127.0.0.1/tcp/1")), "{told}");
    assert!(refused(&["call", "blink:abcd"]).contains("cut off"));
    assert!(refused(&["call", "did:key:z6Mk"]).contains("`did:key:z6Mk`"));
    assert!(refused(&["contacts", "add", "x", "y"]).contains("expected"));
    assert!(refused(&["contacts", "remove", "x"]).contains("no contact has this name"));
    assert!(refused(&["contacts", "--ephemeral"]).contains("--ephemeral"));
    assert!(refused(&["invite", "--expires", "soon"]).contains("7d"));
    let known = refused(&["listen", "--set", "call.from=known"]);
    assert!(known.contains("no contacts"), "{known}");
}

#[test]
fn the_second_callee_rings_although_the_address_of_the_first_is_dead() {
    let directory = tempfile::tempdir().unwrap();
    let (mut bob, address) = crate::call_command::listen(directory.path(), &["--answer"]);
    let dead = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp@/ip4/127.0.0.1/tcp/1";
    let mut caller = crate::call_command::call(directory.path(), &[dead, &address, "--seconds", "1"]);
    assert!(caller.event("unreachable")["did"].as_str().is_some_and(|did| dead.starts_with(did)));
    caller.event("participant_joined");
    assert_eq!(caller.end().status, 0);
    bob.event("call_ended");
    bob.interrupt();
    assert_eq!(bob.end().status, 130);
}

#[test]
fn a_did_that_does_not_answer_is_told_within_seconds() {
    let directory = tempfile::tempdir().unwrap();
    let (bob, address) = crate::call_command::listen(directory.path(), &["--answer"]);
    let (_, address) = address.split_once('@').unwrap();
    let other = format!("did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp@{address}");
    let mut caller = crate::call_command::call(directory.path(), &[&other, "--set", "call.ring_time=8s"]);
    assert!(caller.event("not_found")["at_ms"].is_null());
    let ended = caller.end();
    assert!(ended.status == 1 && ended.errors.contains("no one with this DID answers there"), "{ended:?}");
    bob.interrupt();
    bob.end();
}
