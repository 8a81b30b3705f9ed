//! Behaviour with a wrong system clock. Each test runs itself again in a process whose clock is
//! shifted by `LD_PRELOAD`.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::nodes::{TCP, TOPIC, address, config, next, node, until_subscribed, within};
use crate::own::Node;
use blink_api::{ErrorKind, Signaling, Verdict};
use bytes::Bytes;

/// Runs an ignored test of this file in a process whose clock starts at this Unix time.
fn run_at(seconds: i64, test: &str) {
    let directory = tempfile::tempdir().unwrap();
    let library = directory.path().join("shifted_clock.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../kit/tests/network/shifted_clock.c");
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let compiled =
        Command::new(compiler).args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status().unwrap();
    assert!(compiled.success());

    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let shift = seconds - i64::try_from(now).unwrap();
    let offsets = directory.path().join("offsets");
    std::fs::write(&offsets, [shift.to_ne_bytes(), 0_i64.to_ne_bytes()].concat()).unwrap();
    let run = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", &format!("wrong_clock::{test}")])
        .env("LD_PRELOAD", &library)
        .env("FAKE_CLOCK", &offsets)
        .output()
        .unwrap();
    let output = [run.stdout, run.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).join("\n");
    assert!(run.status.success() && output.contains("1 passed"), "{output}");
    assert!(!output.contains("panicked"), "{output}");
}

#[test]
fn nodes_connect_with_a_clock_in_1970_except_over_quic() {
    run_at(600, "with_a_clock_of_1970");
}

#[test]
fn a_clock_before_1970_is_refused_with_a_clear_error() {
    run_at(-24 * 3600, "with_a_clock_of_1969");
}

#[ignore = "run by another test with a shifted clock"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_clock_of_1970() {
    assert!(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() < 3600);
    for listen in [TCP, "/ip4/127.0.0.1/tcp/0/ws"] {
        let (a, b) = (node(listen).await, node(listen).await);
        let mut at_a = a.subscribe(&TOPIC).await.unwrap();
        within("connecting", b.connect(&address(&a).await)).await.unwrap();
        until_subscribed(&b, &TOPIC, 1).await;
        b.publish(&TOPIC, Bytes::from_static(b"hello")).await.unwrap();
        assert_eq!(next(&a, &mut at_a, Verdict::Accept).await.message, "hello");
    }
    let quic = node("/ip4/127.0.0.1/udp/0/quic-v1").await;
    assert!(quic.addresses().await.unwrap().is_empty(), "no unreachable address is listed");
    let nowhere = "/ip4/127.0.0.1/udp/9/quic-v1";
    let refused = within("a refusal", quic.connect(nowhere)).await.unwrap_err();
    assert!(refused.to_string().contains("clock"), "{refused}");
}

#[ignore = "run by another test with a shifted clock"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_clock_of_1969() {
    assert!(SystemTime::now() < UNIX_EPOCH);
    let refused = Node::start(config(TCP)).await.expect_err("gossipsub cannot count from here");
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(refused.to_string().contains("clock"), "{refused}");
}
