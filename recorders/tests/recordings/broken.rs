//! Disks that are full, directories that are gone.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use blink_api::{ErrorKind, Recorder};
use blink_recorders::{Mp4Config, Mp4Recorder, WavConfig, WavRecorder};

use crate::call::{Participant, Stream, record};
use crate::tools;

const DIRECTORY: &str = "BLINK_TEST_LIMITED_DIRECTORY";

fn recorders() -> [Box<dyn Recorder>; 2] {
    [
        Box::new(WavRecorder::new(WavConfig::default()).unwrap()),
        Box::new(Mp4Recorder::new(Mp4Config::default()).unwrap()),
    ]
}

/// Runs under a limit of file size; does nothing where there is none.
#[test]
fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    for recorder in recorders() {
        let mut people = [Participant::new(1, "one")];
        let mut streams = [Stream::vp8(&people[0], Duration::ZERO)];
        let result =
            record(&*recorder, Path::new(&directory), &mut people, &mut streams, Duration::from_secs(600), |_| ());
        let error = result.expect_err("the file has a limit");
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert!(error.to_string().contains("File too large"), "{error}");
    }
}

#[test]
fn a_limit_of_file_size_is_named_and_what_was_written_stays_good() {
    let directory = tempfile::tempdir().unwrap();
    let program = std::env::current_exe().unwrap();
    // `ulimit -f` counts 512 or 1,024 bytes, depending on the shell.
    let script = "trap '' XFSZ; ulimit -f 400; exec \"$0\" broken::child --exact --nocapture";
    let output =
        Command::new("sh").args(["-c", script]).arg(program).env(DIRECTORY, directory.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut seen = 0;
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let file = entry.unwrap().path();
        assert!(tools::decode(&file, 0).len() >= 48_000, "{}", file.display());
        tools::decode_all(&file);
        seen += 1;
    }
    assert_eq!(seen, 2);
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let directory = tempfile::tempdir().unwrap();
    for recorder in recorders() {
        let error = record(
            &*recorder,
            &directory.path().join("gone"),
            &mut [Participant::new(1, "one")],
            &mut [],
            Duration::from_secs(2),
            |_| (),
        )
        .expect_err("there is no directory");
        assert!(error.kind() == ErrorKind::Io && error.to_string().contains("gone"), "{error}");
    }
}

#[test]
fn a_directory_that_is_removed_meanwhile_does_not_stop_a_recording() {
    for recorder in recorders() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("removed");
        std::fs::create_dir(&path).unwrap();
        let mut people = [Participant::new(1, "one"), Participant::new(2, "two")];
        people[1].present = vec![1.0..f64::MAX];
        let remove = |now: Duration| {
            if now == Duration::from_millis(500) {
                std::fs::remove_dir_all(&path).unwrap();
            }
        };
        let result = record(&*recorder, &path, &mut people, &mut [], Duration::from_secs(2), remove);
        // A file that is open can be written; one for a new track cannot be created.
        if let Err(error) = result {
            assert!(error.kind() == ErrorKind::Io && error.to_string().contains("removed"), "{error}");
        }
    }
}
