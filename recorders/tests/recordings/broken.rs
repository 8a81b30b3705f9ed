//! Full disks, limits, missing directories and permissions: the error is named, and what was
//! written stays good.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use blink_api::{Error, ErrorKind, Recorder, RecordingSummary};
use blink_recorders::{Mp4Config, Mp4Recorder, RtpLogConfig, RtpLogRecorder, WavConfig, WavRecorder};

use crate::call::{Participant, Stream, record};
use crate::tools;

/// Directory to which the child records, and the text of the error that it expects.
const DIRECTORY: &str = "BLINK_TEST_LIMITED_DIRECTORY";
const EXPECTED: &str = "BLINK_TEST_EXPECTED_ERROR";
const FOREVER: Duration = Duration::from_secs(600);

fn recorders() -> [Box<dyn Recorder>; 3] {
    [
        Box::new(WavRecorder::new(WavConfig::default()).unwrap()),
        Box::new(Mp4Recorder::new(Mp4Config::default()).unwrap()),
        Box::new(RtpLogRecorder::new(RtpLogConfig { payload: true, ..RtpLogConfig::default() }).unwrap()),
    ]
}

/// Records two participants and a stream.
fn record_for(recorder: &dyn Recorder, directory: &Path, duration: Duration) -> Result<RecordingSummary, Error> {
    let mut people = [Participant::new(1, "one"), Participant::new(2, "two")];
    let mut streams = [Stream::vp8(&people[0], Duration::ZERO)];
    record(recorder, directory, &mut people, &mut streams, duration, |_| ())
}

/// Runs where the disk has a limit; does nothing without one.
#[test]
fn child() {
    let (Ok(directory), Ok(expected)) = (std::env::var(DIRECTORY), std::env::var(EXPECTED)) else { return };
    for (number, recorder) in recorders().into_iter().enumerate() {
        let own = Path::new(&directory).join(number.to_string());
        std::fs::create_dir(&own).expect("a directory takes no room");
        let error = record_for(&*recorder, &own, FOREVER).expect_err("the disk has a limit");
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert!(error.to_string().contains(&expected), "{error}");
        for file in files_below(&own) {
            assert!(error.to_string().contains(own.to_str().unwrap()), "{error}");
            assert_good(&file);
        }
        std::fs::remove_dir_all(&own).unwrap();
    }
}

/// A file of a failed recording is readable in all programs. An incomplete one can be repaired.
fn assert_good(file: &Path) {
    let about = blink_recorders::info(file).unwrap_or_else(|error| panic!("{error}"));
    if file.extension().is_some_and(|extension| extension == "rtplog") {
        blink_recorders::analyze(file).unwrap();
    } else if about.tracks.iter().any(|track| track.samples > 0) {
        tools::decode_all(file);
    }
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Runs [`child`] by a shell script, in which `$0` is this program.
fn run_child(program: &str, script: &str, directory: &Path, expected: &str) {
    let script = format!("{script} exec \"$0\" broken::child --exact --nocapture");
    let test = std::env::current_exe().unwrap();
    let (program, arguments) = (program.split(' ').next().unwrap(), program.split(' ').skip(1));
    let output = Command::new(program)
        .args(arguments)
        .args(["-c", &script])
        .arg(test)
        .env(DIRECTORY, directory)
        .env(EXPECTED, expected)
        .output()
        .unwrap_or_else(|error| panic!("{program} cannot be run ({error}): script/setup installs it"));
    let printed = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&printed));
    assert!(String::from_utf8_lossy(&printed).contains("1 passed"), "{}", String::from_utf8_lossy(&printed));
}

#[test]
fn a_limit_of_file_size_is_named_and_what_was_written_stays_good() {
    let directory = tempfile::tempdir().unwrap();
    // `ulimit -f` counts 512 or 1,024 bytes, depending on the shell.
    for blocks in [100, 301, 402, 555] {
        let script = format!("trap '' XFSZ; ulimit -f {blocks};");
        run_child("sh", &script, directory.path(), "File too large");
    }
}

/// The disk is full at another moment each time.
#[cfg(target_os = "linux")]
#[test]
fn full_disks_are_named_and_what_was_written_stays_good() {
    let directory = tempfile::tempdir().unwrap();
    let rounds = std::env::var("BLINK_TEST_FULL_DISKS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(10);
    for round in 0..rounds {
        let kibibytes = 100 + 37 * round;
        let script = format!("mount -t tmpfs -o size={kibibytes}k tmpfs \"${DIRECTORY}\" &&");
        // The file system is visible to the child only, and ends with it.
        run_child("unshare --map-root-user --mount sh", &script, directory.path(), "No space left");
    }
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let directory = tempfile::tempdir().unwrap();
    for recorder in recorders() {
        let error = record_for(&*recorder, &directory.path().join("gone"), FOREVER).expect_err("it is not there");
        assert!(error.kind() == ErrorKind::Io && error.to_string().contains("gone"), "{error}");
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = record_for(&*recorder, &file, FOREVER).expect_err("it is no directory");
        assert!(error.kind() == ErrorKind::Io && error.to_string().contains("file"), "{error}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_directory_without_permission_is_named() {
    use std::os::unix::fs::PermissionsExt as _;

    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o500)).unwrap();
    let path = directory.path().to_owned();
    // A thread of its own: without capabilities, root has no more rights than others.
    let recorded = std::thread::spawn(move || {
        let none = CapabilitySet::empty();
        set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
            .expect("a thread may give up its capabilities");
        recorders().map(|recorder| record_for(&*recorder, &path, FOREVER))
    });
    for result in recorded.join().unwrap() {
        let error = result.expect_err("nothing can be written there");
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert!(error.to_string().contains("Permission denied"), "{error}");
        assert!(error.to_string().contains(directory.path().to_str().unwrap()), "{error}");
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
