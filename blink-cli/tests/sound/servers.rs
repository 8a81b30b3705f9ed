//! Sound servers of the tests: each with its own directory, and without a sound card.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Time in which a server is up.
const UP: Duration = Duration::from_secs(30);

/// A sound server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    PulseAudio,
    PipeWire,
}

/// A running sound server, killed on drop with all that it started.
pub(crate) struct Server {
    directory: TempDir,
    socket: PathBuf,
    leader: Child,
}

/// Starts PipeWire, its session manager and its PulseAudio server, and waits for them.
const PIPEWIRE: &str = "pipewire & \
    until [ -S \"$XDG_RUNTIME_DIR/pipewire-0\" ]; do sleep 0.05; done; \
    wireplumber & pipewire-pulse & wait";

impl Server {
    /// Starts a server with a microphone and a speaker for each of these people: `a_mic`, which
    /// hears what is played to `a_feed`, and `a_speaker`.
    pub(crate) fn start(kind: Kind, people: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let (mut command, socket) = match kind {
            Kind::PulseAudio => {
                let socket = path.join("native");
                let mut command = Command::new("pulseaudio");
                let protocol = "module-native-protocol-unix auth-anonymous=1 socket=";
                command.args(["-n", "--daemonize=no", "--exit-idle-time=-1", "--realtime=no", "--high-priority=no"]);
                command.arg(format!("--load={protocol}{}", socket.display()));
                (command, socket)
            }
            Kind::PipeWire => {
                let mut command = Command::new("dbus-run-session");
                command.args(["--", "sh", "-c", PIPEWIRE]);
                (command, path.join("pulse/native"))
            }
        };
        let log = std::fs::File::create(path.join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        command.env("HOME", path).env("XDG_RUNTIME_DIR", path).env_remove("PULSE_RUNTIME_PATH");
        command.env("PULSE_STATE_PATH", path.join("state")).env_remove("DBUS_SESSION_BUS_ADDRESS");
        let leader = command.spawn().unwrap_or_else(|error| panic!("{kind:?}: {error}; run script/setup --tests"));
        let server = Self { directory, socket, leader };
        let deadline = Instant::now() + UP;
        while server.pactl(&["info"]).is_none() {
            let log = || std::fs::read_to_string(server.directory.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "{kind:?} is not up within {UP:?}: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
        for person in people {
            server.add_sink(&format!("{person}_feed"));
            server.add_sink(&format!("{person}_speaker"));
            let source = format!("source_name={person}_mic");
            server.load(&["module-remap-source", &source, &format!("master={person}_feed.monitor")]);
        }
        server
    }

    /// Adds a null sink. Returns its module.
    pub(crate) fn add_sink(&self, name: &str) -> String {
        // Without `norewinds`, the first seconds of PulseAudio's null sinks stall.
        let format = ["rate=48000", "channels=2", "format=float32le", "norewinds=1"];
        self.load(&[&["module-null-sink", &format!("sink_name={name}")], &format[..]].concat())
    }

    fn load(&self, module: &[&str]) -> String {
        let loaded = self.pactl(&[&["load-module"], module].concat());
        loaded.unwrap_or_else(|| panic!("{module:?} cannot be loaded")).trim().to_owned()
    }

    /// Removes a module, such as a sink.
    pub(crate) fn unload(&self, module: &str) {
        self.pactl(&["unload-module", module]).expect("the module is loaded");
    }

    /// Runs `pactl`. Returns its output where it succeeds.
    fn pactl(&self, arguments: &[&str]) -> Option<String> {
        let output = self.client("pactl").args(arguments).output().expect("pactl is installed: script/setup --tests");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A client program of this server.
    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.envs(self.environment()).stdin(Stdio::null());
        command
    }

    /// Variables that lead a client to this server.
    pub(crate) fn environment(&self) -> [(&'static str, String); 4] {
        let path = self.directory.path().display().to_string();
        [
            ("PULSE_SERVER", format!("unix:{}", self.socket.display())),
            ("XDG_RUNTIME_DIR", path.clone()),
            ("HOME", path),
            ("BLINK_MEDIA_HOST", r#"["cpal", "synthetic"]"#.to_owned()),
        ]
    }

    /// Records what a source hears, 48 kHz mono, until that is ended.
    pub(crate) fn record(&self, source: &str) -> Recording {
        let path = self.directory.path().join(format!("{source}.raw"));
        let file = std::fs::File::create(&path).unwrap();
        let mut command = self.client("parec");
        command.args(["--raw", "--format=s16le", "--rate=48000", "--channels=1", "--device", source]);
        Recording { child: command.stdout(file).spawn().unwrap(), path }
    }

    /// Starts to play samples, 48 kHz mono, to a sink.
    pub(crate) fn play(&self, sink: &str, samples: &[f32]) -> Child {
        let path = self.directory.path().join(format!("{sink}.raw"));
        let bytes: Vec<u8> = samples.iter().flat_map(|sample| ((sample * 32_767.0) as i16).to_le_bytes()).collect();
        std::fs::write(&path, bytes).unwrap();
        let mut command = self.client("paplay");
        command.args(["--raw", "--format=s16le", "--rate=48000", "--channels=1", "--device", sink]);
        command.arg(path).spawn().unwrap()
    }

    /// Kills the server at once.
    pub(crate) fn kill(&mut self) {
        self.signal("KILL");
        self.leader.wait().unwrap();
    }

    /// Stops the server where it is: it does not answer any longer.
    pub(crate) fn hang(&self) {
        self.signal("STOP");
    }

    fn signal(&self, signal: &str) {
        let group = format!("kill -{signal} -{}", self.leader.id());
        Command::new("sh").arg("-c").arg(group).status().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.leader.try_wait(), Ok(None)) {
            self.kill();
        }
    }
}

/// A recording that goes on.
pub(crate) struct Recording {
    child: Child,
    path: PathBuf,
}

impl Recording {
    /// Ends the recording. Returns what was recorded.
    pub(crate) fn end(mut self) -> Vec<f32> {
        self.child.kill().ok();
        self.child.wait().ok();
        read(&self.path)
    }
}

fn read(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    bytes.chunks_exact(2).map(|bytes| f32::from(i16::from_le_bytes([bytes[0], bytes[1]])) / 32_768.0).collect()
}
