//! Runs the program, with deadlines.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Timeout of anything that should happen soon, on a machine that runs other tests.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// Timeout until the other side detects that one left: 1 s on an idle machine.
pub(crate) const SEEN: Duration = Duration::from_secs(5);

/// Settings of a node on this machine that no other node discovers.
pub(crate) const ALONE: [&str; 10] = [
    "--set",
    r#"signalings.libp2p.listen=["/ip4/127.0.0.1/tcp/0"]"#,
    "--set",
    "signalings.libp2p.mdns=false",
    "--set",
    r#"signalings.ipfs.listen=["/ip4/127.0.0.1/tcp/0"]"#,
    "--set",
    "signalings.ipfs.mdns=false",
    "--set",
    r#"ice.interfaces=["127.0.0.1"]"#,
];

/// A running program, killed on drop.
pub(crate) struct Program {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    seen: Vec<String>,
    errors: Option<JoinHandle<String>>,
    /// Data directory by default: no two programs share an identity unless a test says so.
    _data: tempfile::TempDir,
}

/// A program that has exited.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: i32,
    pub(crate) lines: Vec<String>,
    pub(crate) errors: String,
}

impl Program {
    /// Starts `blink` in a directory, without the user's configuration.
    pub(crate) fn start(directory: &Path, arguments: &[&str]) -> Self {
        Self::start_in(directory, arguments, &[])
    }

    /// Starts `blink` with additional environment variables.
    pub(crate) fn start_in(directory: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::start_command(Command::new(env!("CARGO_BIN_EXE_blink")), directory, arguments, environment)
    }

    /// Starts `blink` with these signals ignored, as `nohup` does.
    pub(crate) fn start_ignoring(directory: &Path, signals: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("trap '' {signals}; exec \"$0\" \"$@\"")).arg(env!("CARGO_BIN_EXE_blink"));
        Self::start_command(command, directory, arguments, &[])
    }

    /// Starts a command that runs `blink`, or another program of a test.
    pub(crate) fn start_command(
        mut command: Command,
        directory: &Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("BLINK_") || name == "RUST_LOG" {
                command.env_remove(name);
            }
        }
        // Tests leave the devices of the machine alone.
        command.env("BLINK_MEDIA_HOST", "synthetic");
        let data = tempfile::tempdir().expect("there is a temporary directory");
        command.env("XDG_DATA_HOME", data.path());
        command.args(arguments).envs(environment.iter().copied()).current_dir(directory);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program was built");
        let output = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let mut errors = child.stderr.take().expect("stderr is a pipe");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let errors = std::thread::spawn(move || {
            let mut text = String::new();
            errors.read_to_string(&mut text).expect("errors are text");
            text
        });
        let input = child.stdin.take();
        Self { child, input, lines, seen: Vec::new(), errors: Some(errors), _data: data }
    }

    /// Types a line.
    pub(crate) fn type_line(&mut self, line: &str) {
        writeln!(self.input.as_mut().expect("stdin is open"), "{line}").expect("the program reads");
    }

    /// Types bytes, which need not be text.
    pub(crate) fn type_bytes(&mut self, bytes: &[u8]) {
        self.input.as_mut().expect("stdin is open").write_all(bytes).expect("the program reads");
    }

    /// Closes the input, as `</dev/null` does.
    pub(crate) fn type_nothing(&mut self) {
        self.input = None;
    }

    /// Waits for a line that matches.
    pub(crate) fn line(&mut self, what: &str, is: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + SOON;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if is(&line) {
                        return line;
                    }
                }
                Err(error) => panic!("no {what} within {SOON:?} ({error}); seen: {:#?}", self.seen),
            }
        }
    }

    /// Waits for a JSON event.
    pub(crate) fn event(&mut self, name: &str) -> Value {
        self.event_within(name, SOON)
    }

    /// Waits for a JSON event, with a timeout.
    pub(crate) fn event_within(&mut self, name: &str, limit: Duration) -> Value {
        let deadline = Instant::now() + limit;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let value: Value = serde_json::from_str(&line).expect("each line is JSON");
                    self.seen.push(line);
                    if value["event"] == name {
                        return value;
                    }
                }
                Err(error) => panic!("no {name} within {limit:?} ({error}); seen: {:#?}", self.seen),
            }
        }
    }

    /// Interrupts the program as Ctrl-C does, or with SIGTERM if the tests run with SIGINT ignored,
    /// which the program inherits.
    pub(crate) fn interrupt(&self) {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored =
            status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
        self.signal(if ignored.is_some_and(|ignored| ignored & 0b10 != 0) { "TERM" } else { "INT" });
    }

    /// Sends a signal with the shell's `kill`, which every system has.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.child.id())).status();
        assert!(status.expect("there is a shell").success());
    }

    /// Waits for the exit.
    pub(crate) fn end(mut self) -> Ended {
        self.end_within(SOON)
    }

    /// Waits for the exit, with a timeout.
    pub(crate) fn end_within(&mut self, limit: Duration) -> Ended {
        let deadline = Instant::now() + limit;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("no end within {limit:?}; seen: {:#?}", self.seen),
            }
        }
        // Its output has ended, so that it is about to exit.
        let status = self.child.wait().expect("the program can be waited for");
        let errors = self.errors.take().expect("waited for once").join().expect("errors were read");
        Ended { status: status.code().unwrap_or(-1), lines: std::mem::take(&mut self.seen), errors }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It has already exited if the test passed.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Ended {
    /// All lines as one array.
    pub(crate) fn objects(&self) -> Value {
        let object =
            |line: &String| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        self.lines.iter().map(object).collect::<Value>()
    }

    /// Last line of stdout, as JSON.
    pub(crate) fn last(&self) -> Value {
        let line = self.lines.last().unwrap_or_else(|| panic!("nothing was printed; errors: {}", self.errors));
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }
}

/// Runs `blink` to its exit.
pub(crate) fn run(directory: &Path, arguments: &[&str]) -> Ended {
    Program::start(directory, arguments).end()
}
