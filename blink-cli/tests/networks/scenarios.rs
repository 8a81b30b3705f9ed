//! The scenarios.

use std::path::Path;
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};

use crate::caller::ROLE;
use crate::invites;
use crate::program::{Program, SOON};
use crate::world::{NODE, Nat, Place, World};

pub(crate) const SIGNALINGS: [&str; 2] = ["libp2p", "ipfs"];
pub(crate) const TRANSPORTS: [&str; 2] = ["str0m", "webrtc-rs"];
/// Calls of a test, by what is known before each.
const ROUNDS: [&str; 3] = ["cold", "warm", "warm again"];
/// Limit of the time to a connection with nothing known.
const COLD: u64 = 5_000;
/// Time in which a better path is taken.
const SETTLED: Duration = Duration::from_secs(5);
/// Pair of routers between which holes can be punched.
pub(crate) const OPEN: [Nat; 2] = [Nat::PortPreserving, Nat::PortPreserving];
/// Pair of routers between which only relays help.
pub(crate) const CLOSED: [Nat; 2] = [Nat::Symmetric, Nat::Symmetric];
/// Routers of different kinds: the first of a pair decides, the second is symmetric.
const DIFFERENT: [(Nat, &str); 2] = [(Nat::FullCone, "direct"), (Nat::PortPreserving, "relayed")];

/// Tests by name.
pub(crate) fn all() -> Vec<Trial> {
    let mut trials = Vec::new();
    for (signaling, transports) in pairs() {
        let name = |what: &str| format!("{what}_{signaling}_{}_calls_{}", transports[0], transports[1]);
        let direct = Case { nats: OPEN, signaling, transports, path: "direct" };
        trials.push(Trial::test(name("punched"), move || run(|| direct.calls())));
        let relayed = Case { nats: CLOSED, path: "relayed", ..direct };
        trials.push(Trial::test(name("relayed"), move || run(|| relayed.calls())));
        for (nat, path) in DIFFERENT {
            // Each backend of signaling has the symmetric router on another side.
            let nats = if signaling == SIGNALINGS[0] { [nat, Nat::Symmetric] } else { [Nat::Symmetric, nat] };
            let different = Case { nats, path, ..direct };
            trials.push(Trial::test(name(&format!("different_{path}")), move || run(|| different.calls())));
        }
    }
    trials.extend(invites::all());
    for signaling in SIGNALINGS {
        let case = Case { nats: OPEN, signaling, transports: [TRANSPORTS[0]; 2], path: "direct" };
        trials.push(Trial::test(format!("node_restarts_in_a_punched_call_{signaling}"), move || {
            run(|| case.survives_the_node())
        }));
        let case = Case { nats: CLOSED, path: "relayed", ..case };
        for transport in TRANSPORTS {
            let case = Case { transports: [transport; 2], ..case };
            let name = format!("node_restarts_in_a_relayed_call_{signaling}_{transport}");
            trials.push(Trial::test(name, move || run(|| case.survives_the_node())));
        }
        trials.push(Trial::test(format!("command_calls_by_did_{signaling}"), move || run(|| case.command_calls())));
    }
    trials
}

fn pairs() -> impl Iterator<Item = (&'static str, [&'static str; 2])> {
    let transports = || TRANSPORTS.iter().flat_map(|a| TRANSPORTS.iter().map(move |b| [*a, *b]));
    SIGNALINGS.iter().flat_map(move |signaling| transports().map(move |pair| (*signaling, pair)))
}

pub(crate) fn run(test: impl FnOnce() + std::panic::UnwindSafe) -> Result<(), Failed> {
    std::panic::catch_unwind(test).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default().into()
    })
}

/// Networks, backends, and the expected path of media.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) nats: [Nat; 2],
    pub(crate) signaling: &'static str,
    /// Of the caller A and the callee B.
    pub(crate) transports: [&'static str; 2],
    pub(crate) path: &'static str,
}

/// A running node and what others must know of it.
pub(crate) struct Node {
    program: Program,
    addresses: Value,
    /// Setting of the node's TURN server.
    ice_servers: String,
    pub(crate) invite: String,
}

impl Node {
    pub(crate) fn start(world: &World, state: &Path) -> Self {
        let command = world.command(Place::Node, env!("CARGO_BIN_EXE_blink"));
        let state_text = state.to_str().expect("the path is text");
        let arguments = ["node", "--json", "--state", state_text, "--external", NODE];
        let mut program = Program::start_command(command, state, &arguments, &[]);
        let ready = program.event("ready");
        let servers = ready["ice_servers"].as_array().expect("the node has a TURN server");
        let ice_servers = format!("ice.servers=[{}]", servers.iter().map(toml_table).collect::<Vec<_>>().join(","));
        let invite = ready["invite"].as_str().expect("the node has an invite").to_owned();
        Self { program, addresses: ready["addresses"].clone(), ice_servers, invite }
    }
}

impl Case {
    /// A calls B by DID: with nothing known, and again.
    ///
    /// Where the NATs allow a direct path, at least one call takes it: a stack whose relayed pair
    /// answers first nominates that, and keeps it.
    fn calls(self) {
        let (world, directory) = (World::create(self.nats).unwrap(), tempfile::tempdir().unwrap());
        let node = Node::start(&world, directory.path());
        let (mut callee, did) = self.callee(&world, &node, directory.path());
        let mut caller = self.caller(&world, &node, directory.path());
        let mut as_expected = 0;
        for round in ROUNDS {
            let called = self.call(&mut caller, &did);
            let taken = self.takes_path(&mut caller);
            eprintln!("{self:?}: {round} {} ms, path as expected: {taken}", called["ms"]);
            assert!(called["ms"].as_u64().is_some_and(|ms| ms <= COLD), "{self:?}: {round} {called}");
            as_expected += usize::from(taken);
            caller.type_line("leave");
            assert_eq!(caller.event("left")["ended"], true);
            callee.event("call_ended");
        }
        let least = if self.path == "direct" { 1 } else { ROUNDS.len() };
        assert!(as_expected >= least, "{self:?}: media took this path in {as_expected} calls of {}", ROUNDS.len());
    }

    /// The node is killed and restarted in mid-call.
    fn survives_the_node(self) {
        let (world, directory) = (World::create(self.nats).unwrap(), tempfile::tempdir().unwrap());
        let node = Node::start(&world, directory.path());
        let (mut callee, did) = self.callee(&world, &node, directory.path());
        let mut caller = self.caller(&world, &node, directory.path());
        self.call(&mut caller, &did);
        self.until_path(&mut caller);
        node.program.signal("KILL");
        drop(node);
        let node = Node::start(&world, directory.path());
        let before = received(&mut caller);
        let begin = Instant::now();
        self.until("media flows again", &mut caller, |status| packets(status) > before + 100);
        eprintln!("{self:?}: media {} ms after the restart", begin.elapsed().as_millis());
        caller.type_line("leave");
        assert_eq!(caller.event("left")["ended"], true);
        callee.event("call_ended");
        // Both are found again: by a caller that knows the node only.
        let mut stranger = self.caller(&world, &node, directory.path());
        let called = self.call(&mut stranger, &did);
        eprintln!("{self:?}: found again in {} ms", called["ms"]);
    }

    /// `blink call DID`, without an address.
    fn command_calls(self) {
        let (world, directory) = (World::create(self.nats).unwrap(), tempfile::tempdir().unwrap());
        let node = Node::start(&world, directory.path());
        let (_callee, did) = self.callee(&world, &node, directory.path());
        let settings = self.settings(0, &node);
        let mut arguments = vec!["call", did.as_str(), "--ephemeral", "--json", "--seconds", "3"];
        settings.iter().for_each(|setting| arguments.extend(["--set", setting.as_str()]));
        let command = world.command(Place::A, env!("CARGO_BIN_EXE_blink"));
        let ended = Program::start_command(command, directory.path(), &arguments, &[]).end();
        assert_eq!(ended.status, 0, "{ended:?}");
        let last = ended.last();
        assert_eq!((&last["ok"], &last["participants"][0]["session"]["path"]), (&json!(true), &json!(self.path)));
    }

    /// Starts the callee, which answers every call; returns its DID.
    fn callee(self, world: &World, node: &Node, directory: &Path) -> (Program, String) {
        let settings = self.settings(1, node);
        let mut arguments = vec!["listen", "--ephemeral", "--answer", "--json"];
        settings.iter().for_each(|setting| arguments.extend(["--set", setting.as_str()]));
        let command = world.command(Place::B, env!("CARGO_BIN_EXE_blink"));
        let mut callee = Program::start_command(command, directory, &arguments, &[]);
        let did = callee.event("listening")["did"].as_str().expect("a DID").to_owned();
        (callee, did)
    }

    fn caller(self, world: &World, node: &Node, directory: &Path) -> Program {
        let own = std::env::current_exe().expect("this program has a path");
        let command = world.command(Place::A, own.to_str().expect("the path is text"));
        let settings = serde_json::to_string(&self.settings(0, node)).expect("strings");
        Program::start_command(command, directory, &[], &[(ROLE, &settings)])
    }

    /// Settings of a participant: nothing but what the node prints, and the devices of tests.
    fn settings(self, side: usize, node: &Node) -> Vec<String> {
        let mut settings = self.own_settings(side);
        settings.push(format!("signalings.{}.bootstrap={}", self.signaling, node.addresses));
        settings.push(node.ice_servers.clone());
        settings
    }

    /// Settings of a participant who knows of no node: backends, and the devices of tests.
    pub(crate) fn own_settings(self, side: usize) -> Vec<String> {
        vec![
            format!("signaling={}", self.signaling),
            format!("transport={}", self.transports[side]),
            "media_host=synthetic".to_owned(),
            "codec=opus".to_owned(),
            "microphone=speech".to_owned(),
            "speaker=null".to_owned(),
        ]
    }

    fn call(self, caller: &mut Program, did: &str) -> Value {
        caller.type_line(&format!("call {did}"));
        let called = caller.event_within("called", SOON * 3);
        assert_eq!(called["connected"], true, "{self:?}: {called}");
        called
    }

    /// Waits until media takes the expected path.
    fn until_path(self, caller: &mut Program) {
        self.until("the path of media", caller, |status| {
            status["session"]["path"] == self.path && packets(status) > 50
        });
    }

    /// Whether media takes the expected path soon.
    fn takes_path(self, caller: &mut Program) -> bool {
        self.until("media flows", caller, |status| packets(status) > 50);
        let deadline = Instant::now() + SETTLED;
        loop {
            caller.type_line("status");
            if caller.event("status")["session"]["path"] == self.path {
                return true;
            }
            if Instant::now() >= deadline {
                caller.type_line("status");
                eprintln!("{self:?}: the path is {}", caller.event("status")["session"]);
                return false;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn until(self, what: &str, caller: &mut Program, is: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + SOON * 2;
        loop {
            caller.type_line("status");
            let status = caller.event("status");
            if is(&status) {
                return;
            }
            assert!(Instant::now() < deadline, "{self:?}: {what}: {status}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

fn received(caller: &mut Program) -> u64 {
    caller.type_line("status");
    packets(&caller.event("status"))
}

fn packets(status: &Value) -> u64 {
    status["session"]["packets_received"].as_u64().unwrap_or_default()
}

/// Inline table in TOML.
fn toml_table(server: &Value) -> String {
    let fields = server.as_object().expect("a server has fields").iter();
    format!("{{{}}}", fields.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(","))
}
