//! `blink node`: what it prints, its shutdown, and calls relayed through it.

use std::io::{Read as _, Write as _};
use std::path::Path;

use serde_json::Value;

use crate::call_command::{call, listen};
use crate::program::{Program, run};

/// Options of a node on loopback, on free ports.
const LOCAL: [&str; 8] = [
    "--listen",
    "/ip4/127.0.0.1/tcp/0",
    "--allow-private",
    "--turn",
    "127.0.0.1:0",
    "--metrics",
    "127.0.0.1:0",
    "--json",
];

fn start(directory: &Path, options: &[&str]) -> (Program, Value) {
    let mut node = Program::start(directory, &[&["node", "--state", "state"][..], &LOCAL, options].concat());
    let ready = node.event("ready");
    (node, ready)
}

/// Value of a metric of a node.
fn metric(ready: &Value, name: &str) -> u64 {
    let address = ready["metrics"].as_str().unwrap().strip_prefix("http://").unwrap().strip_suffix("/metrics").unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let value = response.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("{name} is missing in {response}")).parse().unwrap()
}

#[test]
fn a_node_keeps_its_address_and_ends_cleanly() {
    let directory = tempfile::tempdir().unwrap();
    let (node, first) = start(directory.path(), &[]);
    assert!(first["addresses"][0].as_str().unwrap().ends_with(first["peer"].as_str().unwrap()), "{first}");
    assert!(first["invite"].as_str().unwrap().starts_with("blink:"), "{first}");
    node.signal("TERM");
    let ended = node.end();
    assert_eq!((ended.status, ended.errors.as_str()), (0, ""), "{ended:#?}");
    let (node, again) = start(directory.path(), &["--user", "alice", "--valid", "1h"]);
    assert_eq!(again["peer"], first["peer"]);
    assert!(again["ice_servers"][0]["username"].as_str().unwrap().ends_with(":alice"), "{again}");
    assert!(again["expires"].as_u64().unwrap() < first["expires"].as_u64().unwrap());
    node.interrupt();
    assert_eq!(node.end().status, 0);
}

#[test]
fn the_printed_lines_are_a_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let options: Vec<_> = LOCAL.into_iter().filter(|option| *option != "--json").collect();
    let mut node = Program::start(directory.path(), &[&["node", "--state", "state"][..], &options].concat());
    node.line("the metrics", |line| line.starts_with("# Metrics:"));
    node.interrupt();
    let ended = node.end();
    assert_eq!(ended.status, 0, "{ended:#?}");
    let copied: Vec<_> = ended.lines.iter().take_while(|line| !line.starts_with("blink:")).cloned().collect();
    std::fs::write(directory.path().join("copied.toml"), copied.join("\n")).unwrap();
    let shown = run(directory.path(), &["config", "--config", "copied.toml"]);
    assert_eq!((shown.status, shown.errors.as_str()), (0, ""), "{shown:#?}");
    let bootstrap = shown.lines.iter().find(|line| line.contains("signalings.libp2p.bootstrap")).unwrap();
    assert!(bootstrap.contains("/p2p/12D3Koo"), "{bootstrap}");
}

#[test]
fn credentials_are_issued_beside_a_running_node() {
    let directory = tempfile::tempdir().unwrap();
    let (node, ready) = start(directory.path(), &["--valid", "1h"]);
    let asked = ["node", "credentials", "--state", "state", "--user", "bob", "--valid", "2d", "--json"];
    let issued = run(directory.path(), &asked);
    assert_eq!(issued.status, 0, "{issued:#?}");
    let issued = issued.last();
    assert!(issued["username"].as_str().unwrap().ends_with(":bob"), "{issued}");
    assert!(issued["expires"].as_u64().unwrap() > ready["expires"].as_u64().unwrap() + 46 * 3600, "{issued}");
    let refused = run(directory.path(), &["node", "credentials", "--state", "state", "--user", "a b"]);
    assert_eq!(refused.status, 2, "{refused:#?}");
    let elsewhere = run(directory.path(), &["node", "credentials", "--state", "nowhere"]);
    assert_eq!(elsewhere.status, 2, "{elsewhere:#?}");
    assert!(elsewhere.errors.contains("nowhere/turn.secret") && !directory.path().join("nowhere").exists());
    node.interrupt();
    assert_eq!(node.end().status, 0);
}

#[test]
fn a_node_is_used_by_its_invite() {
    let directory = tempfile::tempdir().unwrap();
    let (node, ready) = start(directory.path(), &[]);
    let invite = ready["invite"].as_str().unwrap();
    let blink = |arguments: &[&str]| run(directory.path(), &[arguments, &["--set", "data_dir=ada"]].concat());
    let added = blink(&["node", "add", invite, "--json"]);
    assert_eq!((added.status, added.errors.as_str()), (0, ""), "{added:#?}");
    assert_eq!(added.last()["node"]["addresses"], ready["addresses"]);
    let value = |key: &str| {
        let shown = blink(&["config", "--json"]).objects();
        shown.as_array().unwrap().iter().find(|value| value["key"] == key).unwrap().clone()
    };
    for key in ["signalings.libp2p.bootstrap", "signalings.ipfs.bootstrap"] {
        assert_eq!((&value(key)["source"], &value(key)["value"]), (&"blink node add".into(), &ready["addresses"]));
    }
    assert_eq!(value("ice.servers")["value"][0]["url"], ready["ice_servers"][0]["url"]);
    let hidden = value("ice.servers").to_string();
    assert!(!hidden.contains(ready["ice_servers"][0]["credential"].as_str().unwrap()), "{hidden}");

    // Each command that gets the wrong kind of invite names the right command.
    let invited = blink(&["invite", "--json"]).last();
    let (invited, servers) = (invited["invite"].as_str().unwrap(), &invited["servers"]);
    assert_eq!(servers, 1, "the STUN server");
    for (arguments, expected) in [
        (["node", "add", invited], "blink call"),
        (["node", "add", &invite[..40]], "cut off"),
        (["node", "remove", "12D3KooWx"], "blink node list"),
    ] {
        let refused = blink(&arguments);
        assert!(refused.status == 2 && refused.errors.contains(expected), "{refused:#?}");
    }
    for arguments in [&["call", invite][..], &["contacts", "add", "Node", invite]] {
        let refused = blink(arguments);
        assert!(refused.status == 2 && refused.errors.contains("blink node add"), "{refused:#?}");
    }
    let peer = ready["peer"].as_str().unwrap();
    assert_eq!(blink(&["node", "list", "--json"]).last()["nodes"][0]["peer"], peer);
    assert_eq!(blink(&["node", "remove", peer]).status, 0);
    assert_eq!(value("signalings.libp2p.bootstrap")["source"], "default");
    node.interrupt();
    assert_eq!(node.end().status, 0);
}

#[test]
fn mistakes_are_named_with_what_was_expected() {
    let directory = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let (multiaddr, socket) = (format!("/ip4/127.0.0.1/tcp/{port}"), format!("127.0.0.1:{port}"));
    let cases: [(&[&str], &[&str]); 9] = [
        (&["node"], &["--state"]),
        (&["node", "--state", "s", "--external", "1.2.3.4:5"], &["IP address or a DNS name"]),
        (&["node", "--state", "s", "--turn", "3478"], &["IP:PORT"]),
        (&["node", "--state", "s", "--turn-ports", "9-3"], &["FROM-TO"]),
        (&["node", "--state", "s", "--listen", "0.0.0.0:4001"], &["expected a multiaddress", "0.0.0.0:4001"]),
        (&["node", "--state", "s", "--listen", "/ip4/127.0.0.1/tcp/0"], &["no public address", "--external"]),
        (&["node", "--state", "s", "--allow-private", "--listen", &multiaddr], &["in use", "--listen"]),
        (
            &["node", "--state", "s", "--allow-private", "--listen", "/ip4/127.0.0.1/tcp/0", "--turn", &socket],
            &["in use", "--turn"],
        ),
        (&["node", "--state", "s", "--max-connections", "3"], &["16 to 65,536"]),
    ];
    for (arguments, expected) in cases {
        let ended = run(directory.path(), arguments);
        assert_eq!(ended.status, 2, "{arguments:?}: {ended:#?}");
        for text in expected {
            assert!(ended.errors.contains(text), "{arguments:?}: {}", ended.errors);
        }
    }
}

/// Two people behind routers that let nothing through have only relayed candidates: their calls
/// pass the node, with each pair of transports.
#[test]
fn calls_are_relayed_through_the_node() {
    let directory = tempfile::tempdir().unwrap();
    let (node, ready) = start(directory.path(), &[]);
    let server = &ready["ice_servers"][0];
    let [url, username, credential] = ["url", "username", "credential"].map(|key| server[key].as_str().unwrap());
    let servers = format!("ice.servers=[{{url={url:?},username={username:?},credential={credential:?}}}]");
    let relayed = ["--ephemeral", "--set", &servers, "--set", "ice.relay_only=true", "--set", "microphone=speech"];
    let mut before = 0;
    for (bob, alice) in [("str0m", "webrtc-rs"), ("webrtc-rs", "str0m"), ("str0m", "str0m"), ("webrtc-rs", "webrtc-rs")]
    {
        let (bob, alice) = (format!("transport={bob}"), format!("transport={alice}"));
        let (mut listener, address) =
            listen(directory.path(), &[&["--answer", "--set", bob.as_str()], &relayed[..]].concat());
        let options = [&[address.as_str(), "--seconds", "2", "--set", alice.as_str()], &relayed[..]].concat();
        let ended = call(directory.path(), &options).end();
        assert_eq!((ended.status, ended.errors.as_str()), (0, ""), "{alice} {bob}: {ended:#?}");
        let received = ended.last()["participants"][0]["session"]["packets_received"].as_u64().unwrap();
        assert!(received > 50, "{alice} {bob}: {received}");
        listener.event("call_ended");
        listener.interrupt();
        assert_eq!(listener.end().status, 130);
        let bytes = metric(&ready, "blink_node_turn_bytes_to_peers_total");
        assert!(bytes > before + 5_000, "{alice} {bob}: {} bytes passed the node", bytes - before);
        before = bytes;
    }
    node.interrupt();
    assert_eq!(node.end().status, 0);
}
