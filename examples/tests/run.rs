//! Runs the examples as their reader would, and checks what they print.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Longest duration of an example on a machine that runs other tests.
const LIMIT: Duration = Duration::from_secs(120);

/// An example with its arguments, in a directory of its own and without settings of the tester.
fn command(program: &str, directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BLINK_") {
            command.env_remove(name);
        }
    }
    // This machine only.
    command.env("BLINK_ICE__INTERFACES", r#"["127.0.0.1"]"#);
    // Others do not have this backend, and refuse its keys.
    if [env!("CARGO_BIN_EXE_bot"), env!("CARGO_BIN_EXE_place_call")].contains(&program) {
        command.env("BLINK_SIGNALINGS__LIBP2P__MDNS", "false").env("BLINK_SIGNALINGS__LIBP2P__UPNP", "false");
        command.env("BLINK_SIGNALINGS__LIBP2P__LISTEN", r#"["/ip4/127.0.0.1/tcp/0"]"#);
    }
    command
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Running {
    fn start(mut command: Command) -> Self {
        Self(command.spawn().unwrap())
    }

    /// Lines of standard output as they come.
    fn lines(&mut self) -> mpsc::Receiver<String> {
        let (sender, lines) = mpsc::channel();
        let output = BufReader::new(self.0.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        lines
    }

    /// Waits for a successful end, and returns the lines.
    fn finish(mut self) -> Vec<String> {
        let lines = self.lines();
        let end = Instant::now() + LIMIT;
        let status = loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < end, "it does not end: {:?}", lines.try_iter().collect::<Vec<_>>());
            std::thread::sleep(Duration::from_millis(20));
        };
        let lines: Vec<_> = lines.iter().collect();
        let mut errors = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        assert!(status.success(), "{status}: {errors}\n{lines:?}");
        lines
    }
}

fn run(program: &str, directory: &Path, arguments: &[&str]) -> Vec<String> {
    Running::start(command(program, directory, arguments)).finish()
}

/// The number before a word in a line.
fn number_before(line: &str, word: &str) -> u64 {
    let before = line.split(word).next().unwrap_or_default();
    before.split_whitespace().last().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{line}"))
}

/// Duration in seconds and peak of a WAV file.
fn heard(path: &Path) -> (f64, i32) {
    let mut file = hound::WavReader::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let seconds = f64::from(file.duration()) / f64::from(file.spec().sample_rate);
    (seconds, file.samples::<i32>().map(|sample| sample.unwrap().abs()).max().unwrap_or(0))
}

#[test]
fn a_bot_answers_plays_records_and_hangs_up() {
    let directory = tempfile::tempdir().unwrap();
    let mut bot = Running::start(command(env!("CARGO_BIN_EXE_bot"), directory.path(), &["recordings"]));
    let lines = bot.lines();
    let wait = || lines.recv_timeout(LIMIT).expect("the bot prints a line");
    let line = wait();
    let (did, address) = line.split_once(' ').unwrap_or_else(|| panic!("{line}"));
    let events = run(env!("CARGO_BIN_EXE_place_call"), directory.path(), &[did, address]);
    assert!(events.iter().any(|event| event.contains("CallEnded")), "{events:#?}");
    let (seconds, peak) = heard(&directory.path().join("heard.wav"));
    assert!(seconds > 2.0 && peak > 1_000, "{seconds} s, peak {peak}");
    let recorded = loop {
        let line = wait();
        if let Some(path) = line.strip_prefix("recorded ") {
            break directory.path().join(path);
        }
    };
    let (seconds, _) = heard(&recorded);
    assert!(seconds > 1.5, "{}: {seconds} s", recorded.display());
}

#[test]
fn a_group_over_three_configurations_hears_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let lines = run(env!("CARGO_BIN_EXE_group"), directory.path(), &[]);
    assert_eq!(lines.len(), 6, "{lines:#?}");
    for line in &lines {
        assert!(number_before(line, " packets") > 5, "{line}");
    }
    let sends = |codec: &str| lines.iter().filter(|line| line.to_lowercase().contains(&format!(" {codec},"))).count();
    assert_eq!((sends("opus"), sends("pcmu")), (2, 4), "{lines:#?}");
}

#[test]
fn a_clip_is_shown() {
    let directory = tempfile::tempdir().unwrap();
    let lines = run(env!("CARGO_BIN_EXE_show_video"), directory.path(), &[]);
    assert_eq!(lines.len(), 30, "{lines:#?}");
    assert!(lines[0].ends_with("key frame: true"), "{lines:#?}");
}

#[test]
fn own_backends_take_part_in_calls() {
    let directory = tempfile::tempdir().unwrap();
    let metronome = run(env!("CARGO_BIN_EXE_own_media_host"), directory.path(), &[]);
    let loudest = metronome.last().unwrap().rsplit("0.").next().unwrap().parse::<u32>().unwrap();
    assert!(loudest > 300, "{metronome:#?}");

    let codec = run(env!("CARGO_BIN_EXE_own_codec"), directory.path(), &[]);
    assert!(codec.len() == 1 && codec[0].to_lowercase().contains("l16"), "{codec:#?}");
    assert!(number_before(&codec[0], " packets") > 20, "{codec:#?}");

    let gate = run(env!("CARGO_BIN_EXE_own_processor"), directory.path(), &[]);
    assert!(number_before(&gate[0], " passed") > 20 && number_before(&gate[0], " silenced") > 0, "{gate:#?}");

    let recorder = run(env!("CARGO_BIN_EXE_own_recorder"), directory.path(), &["levels"]);
    let levels = std::fs::read_to_string(directory.path().join(&recorder[0])).unwrap();
    assert!(levels.lines().count() >= 4, "two tracks for two seconds: {levels}");
    assert!(levels.lines().any(|line| !line.ends_with("0.000")), "{levels}");
}

#[test]
fn the_program_knows_a_further_backend() {
    let directory = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_own_program");
    let own = |line: &&String| line.contains("attenuator") && line.contains("lowers the microphone");
    assert_eq!(run(program, directory.path(), &["backends"]).iter().filter(own).count(), 1);
    let demo = ["demo", "--seconds", "3", "--set", "processor=[\"attenuator\"]"];
    let memory = ["--set", "transport=memory", "--signaling", "memory"];
    let lines = run(program, directory.path(), &[&demo[..], &memory].concat());
    assert!(lines.iter().any(|line| line.starts_with("Good speech quality")), "{lines:#?}");
    let (_, peak) = heard(&directory.path().join("blink-out/bob-heard.wav"));
    let lowered = ["--set", "processors.attenuator.factor=0.1", "--out", "low"];
    run(program, directory.path(), &[&demo[..], &memory, &lowered].concat());
    let (_, low) = heard(&directory.path().join("low/bob-heard.wav"));
    assert!(low * 3 < peak, "a fifth of the factor: {low} and {peak}");
}

#[test]
fn metrics_follow_a_call() {
    let directory = tempfile::tempdir().unwrap();
    let lines = run(env!("CARGO_BIN_EXE_show_metrics"), directory.path(), &[]);
    let split = lines.iter().position(|line| line == "# afterwards").unwrap();
    let value = |lines: &[String], metric: &str| -> f64 {
        let line = lines.iter().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {metric} in {lines:#?}")).parse().unwrap()
    };
    let (during, after) = lines.split_at(split);
    assert_eq!(value(during, "blink_calls"), 2.0);
    assert_eq!(value(during, r#"blink_participants{state="connected"}"#), 2.0);
    assert_eq!(value(during, "blink_calls_offered_total"), 1.0);
    assert_eq!(value(during, "blink_call_setup_seconds_count"), 2.0);
    assert!(value(during, r#"blink_call_setup_seconds_bucket{le="30"}"#) == 2.0);
    assert_eq!(value(after, "blink_calls"), 0.0);
    assert_eq!(value(after, r#"blink_participants{state="connected"}"#), 0.0);
    assert_eq!(value(after, r#"blink_calls_ended_total{reason="left"}"#), 1.0);
    assert_eq!(value(after, r#"blink_calls_ended_total{reason="remote_left"}"#), 1.0);
    assert!(value(after, r#"blink_packets_total{direction="received"}"#) > 50.0);
    assert!(value(after, r#"blink_bytes_total{direction="sent"}"#) > 1_000.0);
    assert!(value(after, r#"blink_audio_packets_total{result="decoded"}"#) > 50.0);
    assert!(value(after, r#"blink_signaling_publishes_total{result="published"}"#) > 2.0);
    assert!(!lines.iter().any(|line| line.contains("did:key")), "no identity is a label");
}
