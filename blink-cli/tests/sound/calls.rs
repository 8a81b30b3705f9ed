//! Calls between two processes, from microphone to speaker.

use std::time::{Duration, Instant};

use blink_media_synthetic::speech_clip;
use serde_json::Value;

use crate::program::{ALONE, Program};
use crate::score::pesq_wb;
use crate::servers::{Kind, Server};

const RATE: u32 = 48_000;
/// Least PESQ-WB of a call on a server that passes speech on unharmed.
const GOOD: f32 = 3.8;
/// PESQ-WB that a call may cost on a server that harms speech by itself: PipeWire without real-time
/// scheduling has dropouts of its own, 3.1 from its sink to the sink's monitor.
const COST: f32 = 0.6;
/// Calls of which one must be good: dropouts of the server are at random, while a fault of the call
/// is in each.
const CALLS: usize = 3;

/// A program on the devices of one person.
fn start(server: &Server, directory: &tempfile::TempDir, person: &str, arguments: &[&str]) -> Program {
    let (microphone, speaker) = (format!("{person}_mic"), format!("{person}_speaker"));
    let devices = ["--microphone", &microphone, "--speaker", &speaker, "--processors", "none", "--json"];
    start_with(server, directory, &[arguments, &devices[..]].concat())
}

fn start_with(server: &Server, directory: &tempfile::TempDir, arguments: &[&str]) -> Program {
    let environment = server.environment();
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Program::start_in(directory.path(), &[arguments, &ALONE[..]].concat(), &environment)
}

/// Starts a call of two in which both hear each other.
fn call(server: &Server, directory: &tempfile::TempDir, seconds: &str) -> [Program; 2] {
    let mut listener = start(server, directory, "b", &["listen", "--answer"]);
    let listening = listener.event("listening");
    let address = listening["addresses"].as_array().and_then(|all| all.last()).unwrap().as_str().unwrap().to_owned();
    let mut caller = start(server, directory, "a", &["call", &address, "--seconds", seconds]);
    caller.event("media_started");
    listener.event("media_started");
    [caller, listener]
}

fn lines(program: &mut Program) -> Value {
    program.event_within("device_lost", Duration::from_secs(20))
}

/// Speech that does not clip: PipeWire's conversions between mono and stereo add 3 dB each.
fn quiet(speech: Vec<f32>) -> Vec<f32> {
    speech.into_iter().map(|sample| 0.35 * sample).collect()
}

/// PESQ-WB from a sink to the microphone that hears it, without a call.
fn without_a_call(server: &Server, said: &[f32]) -> f32 {
    let heard = server.record("a_mic");
    assert!(server.play("a_feed", said).wait().unwrap().success());
    // What is on its way.
    std::thread::sleep(Duration::from_secs(1));
    pesq_wb(said, &heard.end(), RATE).expect("the microphone hears the sink")
}

fn speech_arrives_both_ways(kind: Kind) {
    let mut poor = Vec::new();
    while let Err(scores) = speech_in_a_call(kind) {
        poor.push(scores);
        assert!(poor.len() < CALLS, "{poor:#?}");
    }
}

/// Verifies the speech of one call.
///
/// # Errors
/// The scores, where one is poor.
fn speech_in_a_call(kind: Kind) -> Result<(), String> {
    let server = Server::start(kind, &["a", "b"]);
    let unharmed = without_a_call(&server, &quiet(speech_clip(0, Duration::from_secs(9))));
    let directory = tempfile::tempdir().unwrap();
    let [caller, listener] = call(&server, &directory, "25");
    let [said_by_a, said_by_b] = [0, 1].map(|clip| quiet(speech_clip(clip, Duration::from_secs(9))));
    let (heard_by_a, heard_by_b) = (server.record("a_speaker.monitor"), server.record("b_speaker.monitor"));
    let players = [server.play("a_feed", &said_by_a), server.play("b_feed", &said_by_b)];
    for mut player in players {
        assert!(player.wait().unwrap().success());
    }
    // What is on its way.
    std::thread::sleep(Duration::from_secs(1));
    let (heard_by_a, heard_by_b) = (heard_by_a.end(), heard_by_b.end());
    let scores = [pesq_wb(&said_by_a, &heard_by_b, RATE), pesq_wb(&said_by_b, &heard_by_a, RATE)];
    let least = GOOD.min(unharmed - COST);
    let is_good = |score: &Option<f32>| score.is_some_and(|score| score >= least);
    drop((caller, listener));
    match scores.iter().all(is_good) {
        true => Ok(()),
        false => Err(format!("{kind:?}: {scores:?}, without a call {unharmed}")),
    }
}

#[test]
fn speech_arrives_both_ways_on_pulseaudio() {
    speech_arrives_both_ways(Kind::PulseAudio);
}

#[test]
fn speech_arrives_both_ways_on_pipewire() {
    speech_arrives_both_ways(Kind::PipeWire);
}

/// The server fails in mid-call: both sides say so once, and the call goes on to its end.
fn a_server_fails(seconds: &str, fail: fn(&mut Server)) {
    for kind in [Kind::PulseAudio, Kind::PipeWire] {
        let mut server = Server::start(kind, &["a", "b"]);
        let directory = tempfile::tempdir().unwrap();
        let [mut caller, mut listener] = call(&server, &directory, seconds);
        fail(&mut server);
        lines(&mut caller);
        lines(&mut listener);
        let ended = caller.end_within(Duration::from_secs(30));
        assert_eq!((ended.status, ended.last()["ok"].as_bool()), (0, Some(true)), "{kind:?}: {ended:#?}");
        listener.interrupt();
        let interrupted = Instant::now();
        assert_eq!(listener.end().status, 130);
        assert!(interrupted.elapsed() < Duration::from_secs(15), "the shutdown hangs");
    }
}

#[test]
fn a_killed_server_is_told_and_the_call_goes_on() {
    a_server_fails("12", Server::kill);
}

#[test]
fn a_server_that_hangs_is_told_and_the_call_goes_on() {
    a_server_fails("20", |server| server.hang());
}

/// A speaker is removed in mid-call: its user is told, and is heard on.
#[test]
fn a_removed_speaker_is_told_and_the_call_goes_on() {
    for kind in [Kind::PulseAudio, Kind::PipeWire] {
        let server = Server::start(kind, &["a", "b"]);
        let module = server.add_sink("headset");
        let directory = tempfile::tempdir().unwrap();
        let arguments = ["listen", "--answer", "--json", "--microphone", "b_mic", "--speaker", "headset"];
        let mut listener = start_with(&server, &directory, &[&arguments[..], &["--processors", "none"]].concat());
        let listening = listener.event("listening");
        let address = listening["addresses"].as_array().unwrap().last().unwrap().as_str().unwrap().to_owned();
        let mut caller = start(&server, &directory, "a", &["call", &address, "--seconds", "14"]);
        caller.event("media_started");
        listener.event("media_started");
        server.unload(&module);
        let lost = lines(&mut listener);
        assert!(lost["name"].as_str().unwrap().contains("headset"), "{kind:?}: {lost}");
        let ended = caller.end_within(Duration::from_secs(30));
        assert_eq!((ended.status, ended.last()["ok"].as_bool()), (0, Some(true)), "{kind:?}: {ended:#?}");
    }
}

/// `blink devices` lists the devices with the sound system, and measures a loop.
#[test]
fn devices_are_listed_and_tested() {
    for kind in [Kind::PulseAudio, Kind::PipeWire] {
        let server = Server::start(kind, &["a"]);
        let directory = tempfile::tempdir().unwrap();
        let loop_devices = ["--microphone", "a_speaker.monitor", "--speaker", "a_speaker"];
        let arguments = [&["devices", "--json", "--test", "--seconds", "1"][..], &loop_devices].concat();
        let environment = server.environment();
        let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let ended = Program::start_in(directory.path(), &arguments, &environment).end();
        assert_eq!(ended.status, 0, "{kind:?}: {ended:#?}");
        let listing: Value = serde_json::from_str(&ended.lines[0]).unwrap();
        assert_eq!(listing["host"], "cpal");
        assert!(listing["description"].as_str().unwrap().starts_with("PulseAudio: "), "{kind:?}: {listing}");
        let names: Vec<_> = listing["devices"].as_array().unwrap().iter().map(|device| &device["name"]).collect();
        assert!(
            names.iter().any(|name| *name == "a_mic") && names.iter().any(|name| *name == "a_speaker"),
            "{names:?}"
        );
        let round_trip = ended.last()["round_trip_ms"].as_f64().unwrap_or_else(|| panic!("{kind:?}: {ended:#?}"));
        assert!((5.0..250.0).contains(&round_trip), "{kind:?}: {round_trip} ms");
    }
}
