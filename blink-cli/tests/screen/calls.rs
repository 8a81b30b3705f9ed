//! Calls by keys.

use std::path::Path;

use crate::program::{ALONE, Program};
use crate::pseudo_terminal::Terminal;

/// The row of the screen that contains a text.
fn row(screen: &str, text: &str) -> String {
    screen.lines().find(|row| row.contains(text)).unwrap_or_default().to_owned()
}

/// Verifies that a WAV file is complete and not silent.
fn is_heard(path: &Path) {
    let mut reader = hound::WavReader::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let samples: Vec<i16> = reader.samples().map(Result::unwrap).collect();
    let loudest = samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0);
    assert!(loudest > 1_000, "{}: {} samples, the loudest {loudest}", path.display(), samples.len());
}

/// The only file below a directory with this ending.
fn file(directory: &Path, ending: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(file(&path, ending));
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
    found
}

#[test]
fn two_screens_have_a_whole_call_by_keys() {
    let directory = tempfile::tempdir().unwrap();
    let ring = ["ui", "--set", "ui.ring_speaker=wav:ring.wav"];
    let mut bob = Terminal::blink(directory.path(), "bob", &ring);
    bob.wait_for("none yet");
    assert!(bob.parser().screen().alternate_screen());
    let invite = bob.invite();
    // Without a command, a terminal gets the screen.
    let mut alice = Terminal::blink(directory.path(), "alice", &[]);
    alice.wait_for("none yet");
    alice.keys("a");
    alice.wait_for("Add contact");
    alice.keys("Bob ");
    alice.paste(&invite);
    alice.keys("\r");
    alice.wait("contact", |screen| screen.contains("› Bob"));
    alice.keys("\r");
    alice.wait_for("Calling Bob");
    bob.wait("incoming call", |screen| screen.contains("Incoming call") && screen.contains("y accepts"));
    bob.wait_for_state("bell and title", |parser| {
        parser.callbacks().bells > 0 && parser.callbacks().titles.iter().any(|title| title.ends_with(" calls"))
    });
    let ring = directory.path().join("ring.wav");
    bob.wait("ring tone", |_| std::fs::metadata(&ring).is_ok_and(|file| file.len() > 48_000));
    bob.keys("y");
    alice.wait("connection", |screen| screen.contains("Call with Bob") && screen.contains("ms, loss "));
    alice.wait("audio", |screen| row(screen, "› Bob").contains("[#") && row(screen, "› Bob").contains("speaking"));
    bob.wait("own level", |screen| row(screen, " you ").contains("[#"));
    is_heard(&ring);

    alice.keys("m");
    alice.wait_for("MUTED");
    bob.wait("mute", |screen| row(screen, "› z6Mk").contains("muted"));
    alice.keys("m");
    bob.wait("no mute", |screen| !row(screen, "› z6Mk").contains("muted"));
    alice.keys("e");
    bob.wait("deafened", |screen| row(screen, "› z6Mk").contains("deafened"));
    alice.keys("e");
    alice.keys("++-");
    alice.wait("volume", |screen| row(screen, "› Bob").contains("110 %"));

    alice.keys("r");
    alice.wait_for("RECORDING");
    bob.wait("recording", |screen| row(screen, "› z6Mk").contains("recording"));
    // Long enough for a burst of speech.
    alice.wait("a while", |screen| {
        let seconds = screen.split("Call with").next().and_then(|text| text.rsplit(':').next());
        seconds.and_then(|text| text.trim().parse::<u32>().ok()).is_some_and(|seconds| seconds >= 4)
    });
    alice.keys("r");
    alice.wait_for("recorded wav");
    bob.wait("end of the recording", |screen| !row(screen, "› z6Mk").contains("recording"));
    let recorded = file(&directory.path().join("alice/recordings"), "wav");
    assert!(!recorded.is_empty());
    recorded.iter().for_each(|path| is_heard(path));

    bob.keys("h");
    alice.wait("end", |screen| screen.contains("the remote side left") && screen.contains("Contacts"));
    bob.wait("end", |screen| screen.contains("Contacts") && screen.contains("from z6Mk"));
    alice.wait("past call", |screen| screen.contains("to   Bob"));
    for mut person in [alice, bob] {
        person.keys("q");
        assert_eq!(person.end(), 0);
        person.wait_for_state("normal screen", |parser| {
            !parser.screen().alternate_screen() && !parser.screen().hide_cursor()
        });
    }
}

#[test]
fn a_call_is_rejected_by_key_and_devices_and_streams_have_pages() {
    let directory = tempfile::tempdir().unwrap();
    let mut bob = Terminal::blink(directory.path(), "bob", &["ui"]);
    bob.wait_for("none yet");
    let invite = bob.invite();
    let call = |more: &[&str]| {
        let arguments = [&["call", "--json", "--ephemeral", invite.as_str()], &ALONE[..], more].concat();
        Program::start(directory.path(), &arguments)
    };
    let caller = call(&[]);
    bob.wait_for("Incoming call");
    bob.keys("n");
    let ended = caller.end();
    assert!(ended.status == 1 && ended.errors.contains("rejected"), "{ended:?}");
    bob.wait("past call", |screen| !screen.contains("Incoming call") && screen.contains("rejected"));

    let mut caller = call(&["--video", "clip:vp8", "--set", "microphone=speech"]);
    bob.wait_for("Incoming call");
    bob.keys("y");
    caller.event("participant_joined");
    bob.wait_for("streams: 1");
    bob.keys("w");
    bob.wait("stream", |screen| screen.contains("VP8") && screen.contains("not watched"));
    bob.keys("\r");
    bob.wait("frames", |screen| row(screen, "VP8").contains("frames") && !row(screen, "VP8").contains(" 0 frames"));
    bob.keys("\r");
    bob.wait_for("not watched");
    bob.keys("o");
    bob.wait_for("Offer a stream");
    bob.keys("clip:h264\r");
    caller.event("stream_offered");
    bob.wait("own stream", |screen| row(screen, "clip:h264").contains("offered"));
    bob.keys("\x1b[B\r");
    caller.event("stream_ended");

    bob.keys("d");
    bob.wait("devices", |screen| screen.contains("microphone") && screen.contains("synthetic/tone:HZ"));
    bob.keys("\x1b[B\r");
    bob.wait("no microphone", |screen| row(screen, "microphone none").contains("chosen"));
    bob.keys("s");
    bob.wait_for("key, value, source");
    bob.keys("?");
    bob.wait_for("Everywhere");
    bob.keys("\x1b");
    bob.wait_for("Call with");
    bob.keys("q");
    bob.wait_for("Leave the call and quit?");
    bob.keys("yes\r");
    assert_eq!(bob.end(), 0);
    assert_eq!(caller.end().status, 0);
}

#[test]
fn other_commands_use_the_running_screen() {
    let directory = tempfile::tempdir().unwrap();
    let mut blink = Terminal::blink(directory.path(), "a", &["ui"]);
    blink.wait_for("none yet");
    let of_it = |command: &[&str]| {
        let ours = ["--set", "data_dir=a"];
        crate::program::run(directory.path(), &[command, &ours, &ALONE].concat())
    };
    let second = of_it(&["listen"]);
    assert!(second.status == 2 && second.errors.contains("already runs"), "{second:?}");
    let did = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp";
    let added = of_it(&["contacts", "add", "Dave", did]);
    assert_eq!(added.status, 0, "{added:?}");
    blink.wait_for("› Dave");
    blink.keys("q");
    assert_eq!(blink.end(), 0);
}
