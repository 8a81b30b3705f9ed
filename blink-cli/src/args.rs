//! Command-line arguments.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::configuration::File;
use crate::conformance::ConformanceArguments;
use crate::files::path;
use crate::record::RecordArguments;

const EXAMPLES: &str = "\
Try it:
  blink demo                              two engines in this process, two WebRTC stacks, recorded speech
  blink listen --answer --out heard       in one terminal: prints DID@ADDRESS lines and waits
  blink call DID@ADDRESS --in hello.wav   in another terminal, with one of those lines

Exit status: 0 success, 1 the call failed, 2 invalid arguments or configuration, 130 interrupted (Ctrl-C).";

/// Encrypted peer-to-peer calls without a server, with pluggable WebRTC, signaling, codec and
/// device backends
#[derive(Debug, Parser)]
#[command(name = "blink", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Read this configuration file instead of `blink.toml` in the working directory, which is
    /// optional and refused if other users can change it
    #[arg(long, global = true, value_name = "FILE", value_parser = path(), help_heading = "Options of every command")]
    pub(crate) config: Option<PathBuf>,
    /// Content of the configuration file.
    #[arg(skip)]
    pub(crate) file: File,
    /// Set a configuration key, such as `transport=str0m` or `call.ring_time=20s`; may be repeated.
    /// `blink config` lists all keys
    #[arg(long, global = true, value_name = "KEY=VALUE", help_heading = "Options of every command")]
    pub(crate) set: Vec<String>,
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
    /// Run a call between two engines on this machine, and rate the received speech
    #[command(long_about = DEMO)]
    Demo(DemoArguments),
    /// Wait for calls; prints the DID@ADDRESS lines that `blink call` accepts
    #[command(long_about = LISTEN)]
    Listen(ListenArguments),
    /// Call one or more people
    #[command(long_about = CALL)]
    Call(CallArguments),
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
    /// Inspect, repair and export the files of recordings
    Recording(crate::recording::RecordingArguments),
    /// Analyze logs of RTP packets
    Rtp(crate::rtp::RtpArguments),
    /// Run call scenarios over every pairing of backends, and report which pass
    #[command(long_about = crate::conformance::ABOUT)]
    Conformance(ConformanceArguments),
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

#[derive(Debug, Args)]
pub(crate) struct BenchArguments {
    #[command(subcommand)]
    pub(crate) bench: Bench,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Simulate speech over impaired networks, and rate the received audio
    #[command(long_about = BENCH_AUDIO)]
    Audio(BenchAudioArguments),
    /// Measure capture-to-playout latency between two engines on this machine
    #[command(long_about = BENCH_LATENCY)]
    Latency(BenchLatencyArguments),
    /// Measure echo cancellation, noise suppression and gain control in simulated rooms
    #[command(long_about = BENCH_ECHO)]
    Echo(BenchEchoArguments),
    /// Measure the CPU time per call
    #[command(long_about = BENCH_CALLS)]
    Calls(BenchCallsArguments),
    /// Measure the CPU time per recorded participant
    #[command(long_about = BENCH_RECORDING)]
    Recording(BenchRecordingArguments),
}

const BENCH_RECORDING: &str = "\
Records synthetic participants, as fast as possible, with each of the recorders that are configured (all, if none is), and measures the \
CPU time of the recording thread, writing to the file system included. Audio is not encoded or decoded in that time. Files go to the \
temporary directory and are removed. Measure a release build on an idle machine.";

#[derive(Debug, Args)]
pub(crate) struct BenchRecordingArguments {
    /// Number of participants, 1 to 64
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) participants: u8,
    /// Recorded seconds, 1 to 36000
    #[arg(long, value_name = "N", default_value_t = 600)]
    pub(crate) seconds: u64,
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
#[derive(Debug, Default, Args)]
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

const BENCH_LATENCY: &str = "\
Runs a call between two complete engines over loopback, for each pair of transports, and measures the capture-to-playout latency in both directions.

Each side sends chirps of 20 ms (400 to 3400 Hz) at irregular intervals, read in periods of 10 ms as from a device: a period contains \
the audio captured before the read. The playback of the other side is recorded with its times, and the chirps are located by \
correlation. The latency includes framing, encoding, network, jitter buffer, decoding, mixing, the ticks of both sides and the \
look-ahead of the codec, but no device latency. Measure on an idle machine.

With `--device`, chirps are played to the sink `--mouth`, which the microphone of the caller hears, and recorded by the source `--ear`, \
which hears the speaker of the callee. The latency from mouth to ear is compared with that of the same call without devices, and with \
the latencies that the devices report.";

const BENCH_ECHO: &str = "\
Runs recorded speech through chains of audio processors, in virtual time. A simulated room adds the echo of the far end, 40 to 400 ms \
late, with reverberation and a noise floor; the devices report the delay, or report none.

ERLE is the reduction of far-end speech in the microphone, after 2 s of adaptation (also after each change of a moving delay). \
Near-end speech is rated by PESQ-WB (ITU-T P.862.2: 1 bad, 4.6 perfect): alone, while both sides speak, and in noise. The CPU time is \
that of the double talk; measure a release build on an idle machine.

The settings of the processors are as configured, except for those that define a chain.";

const BENCH_CALLS: &str = "\
Runs an increasing number of calls in this process, each between two complete engines over loopback with recorded speech in both \
directions, and measures the CPU time of the process. The slope over the number of calls is the cost of one more call; each of its two \
ends, which both run here, causes half of it. The time within the codec's encoders and decoders is measured in the same run and \
reported separately. The engines share audio threads, as engines of one program can.

The transport is the configured one (`--set transport=NAME`). Measure a release build on an idle machine. The share of concealed audio \
is reported too: a high share means that the machine was overloaded.";

#[derive(Debug, Args)]
pub(crate) struct BenchLatencyArguments {
    /// Audio per packet: 10, 20, 40 or 60 ms [default: 20, then 10]
    #[arg(long, value_name = "MS")]
    pub(crate) frame: Option<u64>,
    /// Duration of the call for each pair of transports, 1 to 600 s
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) seconds: u64,
    /// Measure from mouth to ear through `--microphone` and `--speaker`, with the configured
    /// transport
    #[arg(long, requires_all = ["mouth", "ear"])]
    pub(crate) device: bool,
    /// With `--device`: sink that the microphone hears, such as a null sink
    #[arg(long, value_name = "NAME", requires = "device")]
    pub(crate) mouth: Option<String>,
    /// With `--device`: source that hears the speaker, such as the monitor of a null sink
    #[arg(long, value_name = "NAME", requires = "device")]
    pub(crate) ear: Option<String>,
    #[command(flatten)]
    pub(crate) devices: DeviceOptions,
}

#[derive(Debug, Args)]
pub(crate) struct BenchEchoArguments {
    /// Duration of each simulation, 8 to 120 s
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub(crate) seconds: u64,
}

#[derive(Debug, Args)]
pub(crate) struct BenchCallsArguments {
    /// Maximum number of concurrent calls, 2 to 64
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(crate) n: usize,
    /// Duration of each measurement, 1 to 600 s
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) seconds: u64,
}

const BENCH_AUDIO: &str = "\
Sends recorded speech through an encoder, a simulated network with loss and delay, the jitter buffer and a decoder, in virtual time, \
and rates the result by PESQ-WB (ITU-T P.862.2: 1 bad, 4.6 perfect). All values are means over the seeds. The baseline is a fixed \
buffer of 60 ms with Opus' in-band FEC, for the same losses and delays.

Delay is the time from the capture of a sample to its playback: framing, encoding, network, buffer and decoding, without devices. The \
bitrate is that of all payloads, including redundancy, without headers. The default is a table over several values of `--loss` and \
`--jitter`.

Opus and `quality.prefer` are as configured.";

#[derive(Debug, Args)]
pub(crate) struct BenchAudioArguments {
    /// Packet loss in percent [default: 0, 5, 10, 20 and 30]
    #[arg(long, value_name = "PERCENT")]
    pub(crate) loss: Option<f64>,
    /// Maximum additional packet delay in ms, uniformly distributed [default: 0, 20 and 60]
    #[arg(long, value_name = "MS")]
    pub(crate) jitter: Option<u64>,
    /// Mean length of loss bursts in packets (Gilbert model) [default: independent losses]
    #[arg(long, value_name = "MEAN")]
    pub(crate) burst: Option<f64>,
    /// Round-trip time of the network without jitter
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub(crate) rtt: u64,
    /// Audio per packet: 10, 20, 40 or 60 ms
    #[arg(long, value_name = "MS", default_value_t = 20)]
    pub(crate) frame: u64,
    /// Receive as with `--set quality.prefer=quality`
    #[arg(long)]
    pub(crate) quality: bool,
    /// Number of random seeds to average over, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) seeds: u64,
    /// Write a plot of delay over time to this SVG file
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub(crate) plot: Option<PathBuf>,
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
    /// Duration of the call once both are connected, 1 to 300 s [default: the speech and half a
    /// second]
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
}

const CALL: &str = "\
Calls one or more people, and stays in the call until all others have left or Ctrl-C is pressed.

Take the DID@ADDRESS from `blink listen` on the other side. A DID may be given several times with different addresses, or without an \
address if the nodes discover each other, for example on the same local network.";

#[derive(Debug, Args)]
pub(crate) struct CallArguments {
    /// DIDs to call, and the addresses of their nodes
    #[arg(required = true, value_name = "DID@ADDRESS")]
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
