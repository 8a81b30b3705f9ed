//! Participant with names that contain terminal escape sequences.

use blink_api::TrackKind;
use blink_engine::{CallConfig, Event, StreamConfig};

use crate::program::{ALONE, Program};
use crate::test_engine::TestEngine;

/// Clipboard, a forged line, an 8-bit CSI, a right-to-left override, an invisible character: at
/// most 64 bytes.
const NAME: &str = "\u{1b}]52;c;Zm9v\u{7}\n   0.000 s  connected\u{9b}2J\u{202e}\u{200b}\u{2028}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn remote_names_have_no_effect_on_the_terminal() {
    let directory = tempfile::tempdir().unwrap();
    for json in [false, true] {
        let form: &[&str] = if json { &["--json"] } else { &[] };
        let arguments = [&["listen", "--answer"], &ALONE[..], form].concat();
        let mut listener = Program::start_in(directory.path(), &arguments, &[("RUST_LOG", "trace")]);
        let line = listener.line("the address", |line| line.contains("/ip4/127.0.0.1/tcp/"));
        let target = line.split(['"', ' ']).find(|word| word.contains('@')).expect("it listens");
        let (did, address) = target.split_once('@').expect("just found");
        let mut mallory = TestEngine::start("mallory", &["transport=str0m", "signaling=libp2p"]).await;
        mallory.blink.connect(address).await.unwrap();
        mallory.blink.offer_call(&[did.parse().unwrap()], CallConfig::default()).await.unwrap();
        mallory.sees("bob", |event| matches!(event, Event::ParticipantJoined { .. }).then_some(())).await;
        let config = StreamConfig { kind: TrackKind::Audio, source: "tone:440".to_owned(), name: NAME.to_owned() };
        mallory.blink.offer_stream(config).await.unwrap();
        listener.line("the stream", |line| line.contains("stream_offered") || line.contains(" offers "));
        mallory.blink.shutdown().await;
        listener.interrupt();
        let ended = listener.end();
        assert_eq!(ended.status, 130, "{ended:#?}");
        assert!(ended.lines.iter().any(|line| line.contains("Zm9v")), "the name is shown, escaped");
        for line in ended.lines.iter().map(String::as_str).chain(ended.errors.lines()) {
            let acts = |c: char| c.is_control() || "\u{202e}\u{200b}\u{2028}".contains(c);
            assert!(!line.contains(acts) && !line.starts_with("   0.000 s  connected"), "{line:?}");
        }
    }
}
