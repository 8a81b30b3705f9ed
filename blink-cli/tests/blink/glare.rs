//! Glare between two processes.

use std::net::TcpListener;
use std::path::Path;

use crate::program::{Ended, Program, run};

/// Runs `blink call` on both sides towards each other, until glare has replaced one of the two
/// calls.
#[test]
fn glare_results_in_one_call_that_both_sides_end_after_their_time() {
    let directory = tempfile::tempdir().unwrap();
    let dids = ["a", "b"].map(|name| {
        let id = run(directory.path(), &["id", "--json", "--set", &format!("data_dir={name}")]);
        id.last()["did"].as_str().expect("a DID is text").to_owned()
    });
    for _ in 0..3 {
        let ports = free_ports();
        let both = [0, 1].map(|one| start(directory.path(), one, &dids[1 - one], ports));
        let ended = both.map(Program::end);
        let last = ended.each_ref().map(Ended::last);
        for (ended, last) in ended.iter().zip(&last) {
            assert_eq!((ended.status, last["ok"].as_bool()), (0, Some(true)), "{ended:#?}");
            assert_eq!(last["participants"].as_array().map(Vec::len), Some(1), "{last}");
        }
        assert_eq!(last[0]["call"], last[1]["call"], "both are in one call");
        let replaced = |ended: &Ended| ended.lines.iter().any(|line| line.contains("\"call_replaced\""));
        if ended.iter().any(replaced) {
            return;
        }
    }
    panic!("no glare in three attempts");
}

fn start(directory: &Path, one: usize, other: &str, ports: [u16; 2]) -> Program {
    let [own, others] = [ports[one], ports[1 - one]];
    let settings = [
        format!("data_dir={}", ["a", "b"][one]),
        format!(r#"signalings.libp2p.listen=["/ip4/127.0.0.1/tcp/{own}"]"#),
        format!(r#"signalings.libp2p.bootstrap=["/ip4/127.0.0.1/tcp/{others}"]"#),
        "signalings.libp2p.mdns=false".to_owned(),
        r#"ice.interfaces=["127.0.0.1"]"#.to_owned(),
        "microphone=speech".to_owned(),
    ];
    let settings = settings.iter().flat_map(|setting| ["--set", setting.as_str()]);
    let arguments: Vec<_> = ["call", "--json", other, "--seconds", "1"].into_iter().chain(settings).collect();
    Program::start(directory, &arguments)
}

/// Two ports that were just free.
fn free_ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
