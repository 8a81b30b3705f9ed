//! Processes that are killed while they record.

use std::io::{BufRead as _, BufReader};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use blink_recorders::{Mp4Config, Mp4Recorder, RtpLogConfig, RtpLogRecorder, WavConfig, WavRecorder};
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::call::{Participant, Stream, record};
use crate::tools;

/// Tells the child what to record, and where.
const RECORDER: &str = "BLINK_TEST_CHILD_RECORDER";
const DIRECTORY: &str = "BLINK_TEST_CHILD_DIRECTORY";
/// Kills per recorder; `BLINK_TEST_KILLS` sets another number.
const KILLS: u64 = 10;

/// The process that is killed: not a test where it is not told to record.
#[test]
fn child() {
    let (Ok(recorder), Ok(directory)) = (std::env::var(RECORDER), std::env::var(DIRECTORY)) else { return };
    let mut people = [Participant::new(1, "one"), Participant::new(2, "two"), Participant::new(3, "three")];
    people[1].loss = 0.1;
    people[2].present = vec![1.0..3.0, 4.0..f64::MAX];
    let mut streams = [Stream::vp8(&people[0], Duration::from_millis(500))];
    let tell = |now: Duration| {
        use std::io::Write as _;
        writeln!(std::io::stdout(), "recorded {}", now.as_millis()).expect("the parent reads");
    };
    let forever = Duration::from_secs(100_000);
    let directory = Path::new(&directory);
    let result = if recorder == "rtp-log" {
        let log = RtpLogRecorder::new(RtpLogConfig::default()).unwrap();
        record(&log, directory, &mut people, &mut [], forever, tell)
    } else if recorder == "wav" {
        let wav = WavRecorder::new(WavConfig::default()).unwrap();
        record(&wav, directory, &mut people, &mut [], forever, tell)
    } else {
        let mp4 = Mp4Recorder::new(Mp4Config::default()).unwrap();
        record(&mp4, directory, &mut people, &mut streams, forever, tell)
    };
    panic!("the child is to be killed: {result:?}");
}

/// Records until it is killed, after `lines` ticks and `extra` more; returns the last time that it
/// said it had recorded.
fn record_and_kill(recorder: &str, directory: &Path, lines: usize, extra: Duration) -> Duration {
    let program = std::env::current_exe().expect("a test has a program");
    let mut child = Command::new(program)
        .args(["killed::child", "--exact", "--nocapture"])
        .env(RECORDER, recorder)
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test's program can be run");
    let mut output = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let time = |line: String| line.rsplit_once("recorded ")?.1.trim().parse().ok().map(Duration::from_millis);
    let mut last = Duration::ZERO;
    for _ in 0..lines {
        let line = output.next().expect("the child goes on").expect("its output is text");
        last = time(line).unwrap_or(last);
    }
    std::thread::sleep(extra);
    child.kill().expect("the child runs");
    child.wait().expect("the child is this process's");
    // What it said until the kill counts, too.
    output.map_while(Result::ok).filter_map(time).fold(last, Duration::max)
}

/// Keeps the files of a failed round; returns where they are.
fn kept(directory: tempfile::TempDir) -> String {
    directory.keep().display().to_string()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn kills() -> u64 {
    std::env::var("BLINK_TEST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS)
}

fn kill_each(recorder: &str, check: impl Fn(&Path, Duration)) {
    let mut random = ChaCha8Rng::seed_from_u64(20);
    for round in 0..kills() {
        let directory = tempfile::tempdir().unwrap();
        let (lines, extra) = (random.random_range(20..80), Duration::from_micros(random.random_range(0..5_000)));
        let recorded = record_and_kill(recorder, directory.path(), lines, extra);
        let files = files(directory.path());
        let checked = catch_unwind(AssertUnwindSafe(|| files.iter().for_each(|file| check(file, recorded))));
        checked.unwrap_or_else(|_| panic!("round {round}, killed after {recorded:?}: {}", kept(directory)));
    }
}

#[test]
fn killed_mp4_recordings_lose_at_most_a_second_and_can_be_repaired() {
    kill_each("mp4", |file, recorded| {
        let counts: Vec<usize> = tools::probe(file).iter().map(|(.., packets)| *packets).collect();
        assert_eq!(tools::symphonia(file).len(), counts.len());
        let longest = tools::decode(file, 0).len() as f64 / 48_000.0;
        assert!(longest >= recorded.as_secs_f64() - 1.0, "{longest} s of {recorded:?}");
        tools::decode_all(file);
        let repaired = blink_recorders::repair(file).unwrap().file.expect("it was not complete");
        tools::decode_all(&repaired);
        assert_eq!(tools::crate_mp4(&repaired), tools::symphonia(&repaired));
        assert_eq!(tools::crate_mp4(&repaired), counts);
        assert!(blink_recorders::repair(&repaired).unwrap().file.is_none(), "a repaired file is complete");
    });
}

#[test]
fn killed_wav_recordings_lose_at_most_a_second() {
    kill_each("wav", |file, recorded| {
        let length = tools::decode(file, 0).len() as f64 / 48_000.0;
        tools::symphonia(file);
        let late = if file.to_string_lossy().contains("three") { 3.0 } else { 0.0 };
        assert!(length >= recorded.as_secs_f64() - 1.0 - late, "{length} s of {recorded:?}");
    });
}

#[test]
fn killed_rtp_logs_lose_at_most_a_second_and_can_be_repaired() {
    kill_each("rtp-log", |file, recorded| {
        let about = blink_recorders::info(file).unwrap();
        assert!(about.duration >= recorded.as_secs_f64() - 1.0, "{} s of {recorded:?}", about.duration);
        let analysis = blink_recorders::analyze(file).unwrap();
        assert_eq!(analysis.tracks.len(), about.tracks.len());
        let repaired = blink_recorders::repair(file).unwrap().file;
        assert_eq!(repaired.is_some(), about.torn_bytes > 0, "{about:?}");
        if let Some(repaired) = repaired {
            assert!(blink_recorders::info(&repaired).unwrap().complete);
        }
    });
}
