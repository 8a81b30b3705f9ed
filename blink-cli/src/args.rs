//! Command-line arguments.

mod benchmarks;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use self::benchmarks::{
    Bench, BenchArguments, BenchAudioArguments, BenchCallsArguments, BenchEchoArguments, BenchLatencyArguments,
    BenchRecordingArguments, BenchSetupArguments,
};
use crate::configuration::File;
use crate::conformance::ConformanceArguments;
use crate::files::path;
use crate::inviting::InviteArguments;
use crate::node::NodeArguments;
use crate::people::ContactsArguments;
use crate::record::RecordArguments;
use crate::shell::{CompletionsArguments, ManArguments};

/// Encrypted peer-to-peer calls without a server, with pluggable WebRTC, signaling, codec and
/// device backends
#[derive(Debug, Parser)]
#[command(name = "blink", version, override_help = crate::help::HELP)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    /// Without one, the full-screen program runs in a terminal.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Read this configuration file instead of `blink.toml` in the working directory, which is
    /// optional and refused if other users can change it
    #[arg(long, global = true, value_name = "FILE", value_parser = path(), help_heading = "Options of every command")]
    pub(crate) config: Option<PathBuf>,
    /// Content of the configuration file.
    #[arg(skip)]
    pub(crate) file: File,
    /// Data directory whose nodes are used although nothing else is kept.
    #[arg(skip)]
    pub(crate) nodes_of: Option<PathBuf>,
    /// Set a configuration key, such as `transport=str0m` or `call.ring_time=20s`; may be repeated.
    /// `blink config` lists all keys
    #[arg(long, global = true, value_name = "KEY=VALUE", help_heading = "Options of every command")]
    pub(crate) set: Vec<String>,
    /// Keep nothing: a new identity for this run, no history, no contacts
    #[arg(long, global = true, help_heading = "Options of every command")]
    pub(crate) ephemeral: bool,
    /// Print JSON for programs, one object per line
    #[arg(long, global = true, help_heading = "Options of every command")]
    pub(crate) json: bool,
    /// Print only results and errors
    #[arg(short, long, global = true, help_heading = "Options of every command")]
    pub(crate) quiet: bool,
    /// Write logs to stderr; -vv and -vvv for more detail. `RUST_LOG` sets filters, `log.addresses`
    /// and `log.libraries` include addresses and library logs
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Options of every command")]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Contacts, calls, devices and settings on the whole terminal; also without any command
    #[command(long_about = crate::ui::ABOUT)]
    Ui(crate::ui::UiArguments),
    /// Run a call between two engines on this machine, and rate the received speech
    #[command(long_about = DEMO)]
    Demo(DemoArguments),
    /// Wait for calls; prints the DID@ADDRESS lines that `blink call` accepts
    #[command(long_about = LISTEN)]
    Listen(ListenArguments),
    /// Call one or more people
    #[command(long_about = CALL)]
    Call(CallArguments),
    /// Print an invite with which others can call you, and its QR code
    #[command(long_about = crate::inviting::ABOUT)]
    Invite(InviteArguments),
    /// Keep people by name
    #[command(long_about = crate::people::ABOUT)]
    Contacts(ContactsArguments),
    /// List the available backends: transports, signaling, media hosts, codecs
    Backends,
    /// List microphones and speakers, and test them
    #[command(long_about = DEVICES)]
    Devices(DevicesArguments),
    /// Show every configuration key with its value and source
    Config,
    /// Show the local DID and device, and whether they are stored
    Id,
    /// List past calls, newest first; requires `data_dir`
    History(HistoryArguments),
    /// Check devices, network, clock and files, and say what to do
    #[command(long_about = crate::doctor::ABOUT)]
    Doctor,
    /// Print completions for a shell
    Completions(CompletionsArguments),
    /// Print the manual page of the program or of a command, in roff
    Man(ManArguments),
    /// Inspect, repair and export the files of recordings
    Recording(crate::recording::RecordingArguments),
    /// Analyze logs of RTP packets
    Rtp(crate::rtp::RtpArguments),
    /// Run call scenarios over every pairing of backends, and report which pass
    #[command(long_about = crate::conformance::ABOUT)]
    Conformance(ConformanceArguments),
    /// Write the crate of a new backend, with its conformance tests
    #[command(long_about = crate::new_backend::ABOUT)]
    NewBackend(crate::new_backend::NewBackendArguments),
    /// Run a public node for a group of people, or use one by its invite
    #[command(long_about = crate::node::ABOUT)]
    Node(NodeArguments),
    /// Measure audio quality, latency and CPU time
    Bench(BenchArguments),
}

#[derive(Debug, Args)]
pub(crate) struct HistoryArguments {
    /// Repair a damaged data directory first: keeps the identity and all other readable data, and
    /// moves the damaged file aside
    #[arg(long)]
    pub(crate) repair: bool,
}

const DEVICES: &str = "\
Lists the microphones and speakers of each media host, and the sound system that was chosen with the reason. Every name can be used \
with `--microphone` and `--speaker`, and in the configuration; `HOST/NAME` names a device of that host only.

With `--test`, the level of the microphone is shown while you speak, a tone is played, and the round trip from the speaker to the \
microphone is measured by chirps, where the two can hear each other.";

#[derive(Debug, Args)]
pub(crate) struct DevicesArguments {
    /// Test the microphone and the speaker
    #[arg(long)]
    pub(crate) test: bool,
    #[command(flatten)]
    pub(crate) devices: DeviceOptions,
    /// Duration of the level meter, 1 to 60 s
    #[arg(long, value_name = "N", default_value_t = 3, requires = "test")]
    pub(crate) seconds: u64,
}

/// Devices and processors of a call.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct DeviceOptions {
    /// Microphone: a name from `blink devices`, `default`, `none`, `speech`, `wav:FILE` …
    #[arg(long, value_name = "NAME")]
    pub(crate) microphone: Option<String>,
    /// Speaker: a name from `blink devices`, `default`, `none`, `wav:FILE` …
    #[arg(long, value_name = "NAME")]
    pub(crate) speaker: Option<String>,
    /// Audio processors in processing order, such as `sonora,nnnoiseless`; `none` for none
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    processors: Option<Vec<String>>,
}

impl DeviceOptions {
    /// Whether one of them was given.
    pub(crate) fn is_any(&self) -> bool {
        self.microphone.is_some() || self.speaker.is_some() || self.processors.is_some()
    }

    /// Chosen processors, empty for `none`; `None` without the option.
    pub(crate) fn processors(&self) -> Option<Vec<String>> {
        let names = self.processors.as_ref()?.iter();
        Some(names.filter(|name| *name != "none" && !name.is_empty()).cloned().collect())
    }
}

const DEMO: &str = "\
Runs a call between two engines on this machine, and rates the received speech.

Alice and Bob are complete engines with an identity and a network node each, both in this process. Alice calls, Bob answers, and \
recorded speech flows in both directions over real sockets. The received audio is written to WAV files and compared with the sent \
speech by PESQ-WB (ITU-T P.862.2: 1 bad, 4.6 perfect). The demo succeeds if both directions reach 3.0.

By default, Alice uses the transport `webrtc-rs` and Bob `str0m`.";

#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Set a configuration key for Alice only, such as `transport=memory`; may be repeated
    #[arg(long = "a", value_name = "KEY=VALUE")]
    pub(crate) alice: Vec<String>,
    /// Set a configuration key for Bob only; may be repeated
    #[arg(long = "b", value_name = "KEY=VALUE")]
    pub(crate) bob: Vec<String>,
    /// Signaling backend of both sides; `--a` and `--b` take precedence
    #[arg(long, value_name = "NAME")]
    pub(crate) signaling: Option<String>,
    /// WAV file that Alice sends instead of 8 s of recorded speech
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub(crate) speech_a: Option<PathBuf>,
    /// WAV file that Bob sends instead of 8 s of recorded speech
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub(crate) speech_b: Option<PathBuf>,
    /// Directory for the received audio, and with `--record` for the recordings of each side in
    /// `alice` and `bob`
    #[arg(long, value_name = "DIR", value_parser = path(), default_value = "blink-out")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) record: RecordArguments,
    /// Duration of the speech once both are connected, 3 to 300 s [default: all of it]
    #[arg(long, value_name = "N")]
    pub(crate) seconds: Option<f64>,
    /// Number of runs, 1 to 1000, each with new engines; the results are medians
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) repeat: usize,
}

const LISTEN: &str = "\
Waits for calls until it is interrupted with Ctrl-C.

Prints one DID@ADDRESS line for each address of this node; pass one of them to `blink call`. The last ones work on this machine only.

When a call rings, type `y` to answer or `n` to reject it. `h` hangs up, `j` rejoins the group call that was left or lists the ongoing \
calls, and `j 1` joins the first one of the list. With `--answer` every call is answered. If stdin is closed, a call rings until the \
caller cancels.";

#[derive(Debug, Args)]
pub(crate) struct ListenArguments {
    /// Answer every call
    #[arg(long)]
    pub(crate) answer: bool,
    #[command(flatten)]
    pub(crate) devices: DeviceOptions,
    /// WAV file to send in every call, followed by silence
    #[arg(long = "in", value_name = "WAV", value_parser = path(), conflicts_with = "microphone")]
    pub(crate) input: Option<PathBuf>,
    /// Video to send in every call: `clip:vp8`, `clip:h264`, or `clip:FILE` with an .ivf or .h264
    /// file
    #[arg(long, value_name = "SOURCE")]
    pub(crate) video: Option<String>,
    #[command(flatten)]
    pub(crate) record: RecordArguments,
    /// Directory for recordings: `heard-1.wav`, `heard-2.wav`, … with the audio of each call, and
    /// `seen-1.ivf` or `seen-1.h264`, … with received video
    #[arg(long, value_name = "DIR", value_parser = path(), conflicts_with = "speaker")]
    pub(crate) out: Option<PathBuf>,
    /// Whether the terminal's bell and a ring tone tell of calls, and the end of the input ends it.
    #[arg(skip)]
    pub(crate) interactive: bool,
}

const CALL: &str = "\
Calls one or more people, and stays in the call until all others have left or Ctrl-C is pressed.

A person is named by a contact's name (`blink contacts`), an invite that `blink invite` printed on the other side, or a DID@ADDRESS line \
of `blink listen` there. A DID may be given several times with different addresses, or without an address if the nodes find each \
other: on the same local network, or through a node that both have in `bootstrap`.";

#[derive(Debug, Args)]
pub(crate) struct CallArguments {
    /// People to call: names of contacts, invites (`blink:…`), DIDs, or DID@ADDRESS
    #[arg(required = true, value_name = "NAME|INVITE|DID[@ADDRESS]")]
    pub(crate) targets: Vec<String>,
    #[command(flatten)]
    pub(crate) devices: DeviceOptions,
    /// WAV file to send, followed by silence
    #[arg(long = "in", value_name = "WAV", value_parser = path(), conflicts_with = "microphone")]
    pub(crate) input: Option<PathBuf>,
    /// Video to send: `clip:vp8`, `clip:h264`, or `clip:FILE` with an .ivf or .h264 file
    #[arg(long, value_name = "SOURCE")]
    pub(crate) video: Option<String>,
    #[command(flatten)]
    pub(crate) record: RecordArguments,
    /// Directory for recordings: `heard.wav` with the received audio, and `seen-1.ivf` or
    /// `seen-1.h264`, … with received video
    #[arg(long, value_name = "DIR", value_parser = path(), conflicts_with = "speaker")]
    pub(crate) out: Option<PathBuf>,
    /// Leave the call this many seconds after connecting, at most 2592000 (30 days)
    #[arg(long, value_name = "N")]
    pub(crate) seconds: Option<f64>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn clap_accepts_the_command_definition() {
        Arguments::command().debug_assert();
    }
}
