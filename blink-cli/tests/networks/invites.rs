//! Calls of people who know nothing but an invite: that of a node, or that of a person behind it.

use std::path::Path;

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::program::{Ended, Program};
use crate::scenarios::{CLOSED, Case, Node, OPEN, SIGNALINGS, TRANSPORTS, run};
use crate::world::{Place, World};

/// Tests by name.
pub(crate) fn all() -> Vec<Trial> {
    let mut trials = Vec::new();
    for (n, signaling) in SIGNALINGS.into_iter().enumerate() {
        let transports = [TRANSPORTS[n], TRANSPORTS[1 - n]];
        for (nats, path) in [(OPEN, "direct"), (CLOSED, "relayed")] {
            let case = Case { nats, signaling, transports, path };
            let name = |what: &str| format!("invite_of_a_{what}_{path}_{signaling}");
            trials.push(Trial::test(name("person"), move || run(|| case.person_invites())));
            trials.push(Trial::test(name("node"), move || run(|| case.node_invites())));
        }
    }
    trials
}

impl Case {
    /// A gets the invite of B, who is behind the node, and nothing else.
    fn person_invites(self) {
        let (world, directory) = (World::create(self.nats).unwrap(), tempfile::tempdir().unwrap());
        let node = Node::start(&world, directory.path());
        let bob = Person { case: self, place: Place::B, directory: directory.path() };
        bob.adds(&world, &node.invite);
        let mut listening = bob.start(&world, &["listen", "--answer"]);
        // An address that leads through the router is known once a reservation is made.
        let reachable = |event: &Value| event.to_string().contains("p2p-circuit");
        while !reachable(&listening.event("listening")) {}
        let invite = bob.run(&world, &["invite"]).last()["invite"].as_str().expect("an invite").to_owned();
        self.calls_with(&world, directory.path(), &invite);
        listening.event("call_ended");
    }

    /// Both get the invite of the node; A calls B by DID.
    fn node_invites(self) {
        let (world, directory) = (World::create(self.nats).unwrap(), tempfile::tempdir().unwrap());
        let node = Node::start(&world, directory.path());
        for place in [Place::A, Place::B] {
            Person { case: self, place, directory: directory.path() }.adds(&world, &node.invite);
        }
        let bob = Person { case: self, place: Place::B, directory: directory.path() };
        let mut listening = bob.start(&world, &["listen", "--answer"]);
        let did = listening.event("listening")["did"].as_str().expect("a DID").to_owned();
        self.calls_with(&world, directory.path(), &did);
        listening.event("call_ended");
    }

    /// A calls for some seconds.
    fn calls_with(self, world: &World, directory: &Path, target: &str) {
        let alice = Person { case: self, place: Place::A, directory };
        let ended = alice.run(world, &["call", target, "--seconds", "5"]);
        assert_eq!(ended.status, 0, "{self:?}: {ended:#?}");
        let last = ended.last();
        eprintln!("{self:?}: connected in {} ms", last["connected_ms"]);
        let session = &last["participants"][0]["session"];
        assert!(session["packets_received"].as_u64().is_some_and(|packets| packets > 100), "{self:?}: {last}");
        // A stack may keep a relayed path that answered first.
        if self.path == "relayed" {
            assert_eq!(session["path"], json!("relayed"), "{self:?}: {last}");
        }
    }
}

/// A person with a data directory of its own.
struct Person<'a> {
    case: Case,
    place: Place,
    directory: &'a Path,
}

impl Person<'_> {
    fn start(&self, world: &World, command: &[&str]) -> Program {
        let side = if matches!(self.place, Place::A) { 0 } else { 1 };
        let mut settings = self.case.own_settings(side);
        settings.push(format!("data_dir=data{side}"));
        let mut arguments = [command, &["--json"]].concat();
        settings.iter().for_each(|setting| arguments.extend(["--set", setting.as_str()]));
        let blink = world.command(self.place, env!("CARGO_BIN_EXE_blink"));
        Program::start_command(blink, self.directory, &arguments, &[])
    }

    fn run(&self, world: &World, command: &[&str]) -> Ended {
        self.start(world, command).end()
    }

    /// Adds the node of an invite, which `blink config` shows from then on.
    fn adds(&self, world: &World, invite: &str) {
        let added = self.run(world, &["node", "add", invite]);
        assert_eq!((added.status, added.errors.as_str()), (0, ""), "{added:#?}");
        let shown = self.run(world, &["config"]).objects();
        let key = format!("signalings.{}.bootstrap", self.case.signaling);
        let values = shown.as_array().expect("a list of values");
        let value = values.iter().find(|value| value["key"] == key.as_str()).expect("the backend has this key");
        assert_eq!(value["source"], "blink node add", "{value}");
    }
}
