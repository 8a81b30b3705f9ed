//! Tests of `blink demo`.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::program::{Ended, Program, SEEN};

/// Timeout of a run of a few seconds, on a machine that runs other tests.
const RUN: Duration = Duration::from_secs(90);

fn demo(directory: &Path, arguments: &[&str]) -> Ended {
    Program::start(directory, &[&["demo", "--json"], arguments].concat()).end_within(RUN)
}

/// Verifies that both sides connected and received audio, and that the report has exactly these
/// fields.
fn both_heard(directory: &Path, ended: &Ended, transports: [&str; 2], signalings: [&str; 2]) {
    assert_eq!((ended.status, ended.errors.as_str()), (0, ""), "{ended:#?}");
    let report = ended.last();
    assert_eq!(report["ok"], true);
    let participants = report["participants"].as_array().unwrap();
    assert_eq!(participants.len(), 2);
    for (n, participant) in participants.iter().enumerate() {
        assert_eq!(participant["name"], ["Alice", "Bob"][n]);
        assert_eq!(participant["transport"], transports[n]);
        assert_eq!(participant["signaling"], signalings[n]);
        assert_eq!(participant["codec"], "opus");
        let number = |key: &str| participant[key].as_f64().unwrap_or_else(|| panic!("{key} of {participant}"));
        assert!(number("connected_ms") >= 0.0 && number("connected_ms") <= number("first_audio_ms"), "{participant}");
        assert!(number("packets_received") > 100.0 && number("packets_lost") >= 0.0, "{participant}");
        assert!(number("pesq_wb") >= 3.0, "{participant}");
        assert!(participant["rtt_ms"].is_null() || number("rtt_ms") >= 0.0, "{participant}");
        let heard = hound::WavReader::open(directory.join(participant["heard"].as_str().unwrap())).unwrap();
        assert!(heard.duration() > 3 * heard.spec().sample_rate, "{} samples", heard.duration());
        let mut keys: Vec<_> = participant.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(
            keys,
            [
                "codec",
                "connected_ms",
                "first_audio_ms",
                "heard",
                "name",
                "packets_lost",
                "packets_received",
                "pesq_wb",
                "rtt_ms",
                "signaling",
                "transport"
            ]
        );
    }
}

fn pair_over_libp2p(alice: &str, bob: &str) {
    pair([alice, bob], ["libp2p"; 2]);
}

fn pair(transports: [&str; 2], signalings: [&str; 2]) {
    let directory = tempfile::tempdir().unwrap();
    let of = |n: usize| [format!("transport={}", transports[n]), format!("signaling={}", signalings[n])];
    let ([a, over_a], [b, over_b]) = (of(0), of(1));
    let arguments = ["--a", &a, "--a", &over_a, "--b", &b, "--b", &over_b, "--seconds", "6"];
    both_heard(directory.path(), &demo(directory.path(), &arguments), transports, signalings);
}

#[test]
fn webrtc_rs_and_str0m_hear_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let ended = demo(directory.path(), &[]);
    both_heard(directory.path(), &ended, ["webrtc-rs", "str0m"], ["libp2p"; 2]);
    assert!(ended.last()["participants"][0]["heard"].as_str().unwrap().starts_with("blink-out"));
}

#[test]
fn str0m_and_webrtc_rs_hear_each_other() {
    pair_over_libp2p("str0m", "webrtc-rs");
}

#[test]
fn str0m_and_str0m_hear_each_other() {
    pair_over_libp2p("str0m", "str0m");
}

#[test]
fn webrtc_rs_and_webrtc_rs_hear_each_other() {
    pair_over_libp2p("webrtc-rs", "webrtc-rs");
}

#[test]
fn libp2p_and_ipfs_carry_a_call() {
    pair(["str0m", "webrtc-rs"], ["libp2p", "ipfs"]);
}

#[test]
fn ipfs_and_libp2p_carry_a_call() {
    pair(["webrtc-rs", "str0m"], ["ipfs", "libp2p"]);
}

#[test]
fn ipfs_and_ipfs_carry_a_call() {
    pair(["str0m", "str0m"], ["ipfs", "ipfs"]);
}

#[test]
fn memory_backends_work_and_repetitions_give_medians() {
    let directory = tempfile::tempdir().unwrap();
    let arguments =
        ["--set", "transport=memory", "--signaling", "memory", "--seconds", "4", "--repeat", "2", "--out", "heard"];
    let ended = demo(directory.path(), &arguments);
    both_heard(directory.path(), &ended, ["memory"; 2], ["memory"; 2]);
    assert_eq!(ended.last()["repeat"], 2);
    let answered = ended.lines.iter().filter(|line| line.contains("\"call_joined\"")).count();
    assert_eq!(answered, 4, "{:#?}", ended.lines);
}

/// Speech of any length is judged alike, although the beginning of a call is never heard.
#[test]
fn short_and_long_speech_is_rated_good() {
    for pair in [["3", "20"], ["5", "8"]] {
        std::thread::scope(|scope| {
            for seconds in pair {
                scope.spawn(move || {
                    let directory = tempfile::tempdir().unwrap();
                    let memory = ["--set", "transport=memory", "--signaling", "memory"];
                    let ended = demo(directory.path(), &[&memory[..], &["--seconds", seconds]].concat());
                    assert_eq!((ended.status, ended.errors.as_str()), (0, ""), "{seconds} s: {ended:#?}");
                    for participant in ended.last()["participants"].as_array().unwrap() {
                        assert!(participant["pesq_wb"].as_f64().unwrap() > 3.8, "{seconds} s: {participant}");
                    }
                });
            }
        });
    }
}

/// A side that receives silence fails the demo, and the report is still the last line.
#[test]
fn a_demo_with_a_silent_side_fails() {
    let directory = tempfile::tempdir().unwrap();
    let arguments =
        ["--set", "transport=memory", "--signaling", "memory", "--seconds", "3", "--a", "microphone=silence"];
    let ended = demo(directory.path(), &arguments);
    assert_eq!(ended.status, 1, "{ended:#?}");
    assert!(ended.errors.contains("Bob received no audio") && ended.errors.lines().count() == 1, "{}", ended.errors);
    let report = ended.last();
    assert_eq!((&report["ok"], &report["participants"][1]["pesq_wb"]), (&Value::Bool(false), &Value::Null));
}

#[test]
fn a_demo_without_json_ends_with_a_table() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["demo", "--set", "transport=memory", "--signaling", "memory", "--seconds", "3"];
    let ended = Program::start(directory.path(), &arguments).end_within(RUN);
    assert_eq!(ended.status, 0, "{ended:#?}");
    let text = ended.lines.join("\n");
    for part in
        ["Alice calls Bob", "Bob answers", "PESQ-WB", "alice-heard.wav", "Good speech quality in both directions."]
    {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
}

/// Ctrl-C while ringing, connecting or talking: status 130, and the last line is the error.
#[test]
fn a_demo_can_be_interrupted_in_every_phase() {
    for event in ["incoming_call", "call_joined", "media_started"] {
        let directory = tempfile::tempdir().unwrap();
        let mut program = Program::start(directory.path(), &["demo", "--json"]);
        program.event(event);
        program.interrupt();
        let ended = program.end_within(2 * SEEN);
        assert_eq!((ended.status, ended.errors.as_str()), (130, "blink: interrupted\n"), "at {event}: {ended:#?}");
        assert_eq!(ended.last()["error"], "interrupted");
    }
}
