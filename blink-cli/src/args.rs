//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::configuration::File;
use crate::conformance::ConformanceArguments;
use crate::files::path;

const EXAMPLES: &str = "\
Try it:
  blink demo                              two people on this machine, two different WebRTC stacks, real speech
  blink listen --answer --out heard       in one terminal: prints DID@ADDRESS lines and waits
  blink call DID@ADDRESS --in hello.wav   in another terminal, with one of those lines

Exit status: 0 success, 1 the call failed, 2 something given cannot be used, 130 interrupted (Ctrl-C).";

/// Encrypted peer-to-peer calls without a server, made of parts that can be swapped.
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
    /// Read this configuration file instead of `blink.toml` in the working directory, which may be
    /// absent and is refused where other users can change it
    #[arg(long, global = true, value_name = "FILE", value_parser = path(), help_heading = "Options of every command")]
    pub(crate) config: Option<PathBuf>,
    /// Content of that file.
    #[arg(skip)]
    pub(crate) file: File,
    /// Set one key of the configuration, such as `transport=str0m` or `call.ring_time=20s`; may be
    /// repeated. `blink config` lists the keys
    #[arg(long, global = true, value_name = "KEY=VALUE", help_heading = "Options of every command")]
    pub(crate) set: Vec<String>,
    /// Print JSON, one object a line, for programs to read
    #[arg(long, global = true, help_heading = "Options of every command")]
    pub(crate) json: bool,
    /// Print results and errors only
    #[arg(short, long, global = true, help_heading = "Options of every command")]
    pub(crate) quiet: bool,
    /// Write logs to stderr; more with -vv and -vvv. The variable `RUST_LOG` chooses in detail.
    /// `log.addresses` and `log.libraries` show more
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Options of every command")]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Let two people talk on this machine, and judge what each one heard
    #[command(long_about = DEMO)]
    Demo(DemoArguments),
    /// Wait for calls; prints the DID@ADDRESS lines that `blink call` takes
    #[command(long_about = LISTEN)]
    Listen(ListenArguments),
    /// Call one person, or several at once
    #[command(long_about = CALL)]
    Call(CallArguments),
    /// List the parts that can be swapped: transports, signaling, media hosts, codecs
    Backends,
    /// Show every configuration key, its value, and where that comes from
    Config,
    /// Show who this is: the DID and the device, and whether they are kept
    Id,
    /// List the calls that were, the newest first; needs `data_dir`
    History(HistoryArguments),
    /// Run call situations over every pairing of backends, and say which hold
    #[command(long_about = crate::conformance::ABOUT)]
    Conformance(ConformanceArguments),
    /// Measure what this program does
    Bench(BenchArguments),
}

#[derive(Debug, Args)]
pub(crate) struct HistoryArguments {
    /// Mend a damaged data directory first: the identity and whatever else can be read are kept,
    /// and the damaged file is put aside
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
    /// Send speech over bad networks and judge what is heard
    #[command(long_about = BENCH_AUDIO)]
    Audio(BenchAudioArguments),
    /// Measure the time from mouth to ear through two engines on this machine
    #[command(long_about = BENCH_LATENCY)]
    Latency(BenchLatencyArguments),
    /// Measure what one more call costs
    #[command(long_about = BENCH_CALLS)]
    Calls(BenchCallsArguments),
}

const BENCH_LATENCY: &str = "\
Lets two complete engines talk over loopback, for each pair of transports, and measures the time from mouth to ear in both directions.

Each side says chirps of 20 ms (400 to 3400 Hz) at uneven times, read in periods of 10 ms as from a device: what is read was said in the period before. What the \
other side plays is kept with the time of its playing, and the chirps are looked for in it by correlation. So the figures hold framing, encoding, network, jitter buffer, \
decoding, mixing and the ticks of both sides, and the look-ahead of the codec; no device's own delay. Measure on an idle machine.";

const BENCH_CALLS: &str = "\
Runs more and more calls in this process, each between two complete engines over loopback with recorded speech in both directions, and measures the processor \
time of the process. The slope over the number of calls is what one more call costs; each of its two ends, which both run here, has half of that. The time within the codec's \
encoders and decoders is measured in the same run and told apart. The engines share threads for sound, as those of one program can.

The transport is the configured one (`--set transport=NAME`). Measure on an idle machine; the build's profile matters. What came too late \
and was made up is shown: where that is much, the machine had no time for the calls.";

#[derive(Debug, Args)]
pub(crate) struct BenchLatencyArguments {
    /// Sound in each packet: 10, 20, 40 or 60 ms [default: 20, then 10]
    #[arg(long, value_name = "MS")]
    pub(crate) frame: Option<u64>,
    /// How long each pair talks, 1 to 600 s
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) seconds: u64,
}

#[derive(Debug, Args)]
pub(crate) struct BenchCallsArguments {
    /// Most calls at once, 2 to 64
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(crate) n: usize,
    /// How long each number of calls is measured, 1 to 600 s
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) seconds: u64,
}

const BENCH_AUDIO: &str = "\
Sends recorded speech through encoder, a network that loses and delays, jitter buffer and decoder, on virtual time, and judges what is \
heard by PESQ-WB (ITU-T P.862.2: 1 bad, 4.6 perfect). Every figure is a mean over the seeds. Beside it stands what a fixed buffer of \
60 ms with Opus' own error correction makes of the same packets lost and delayed.

Delay is the time from a sample's capture to its playing: framing, encoding, network, buffer and decoding, no devices. The bitrate is that \
of all payloads, redundancy included, without headers. Without `--loss` and `--jitter` a table over both is made.

Opus and `quality.prefer` are as configured.";

#[derive(Debug, Args)]
pub(crate) struct BenchAudioArguments {
    /// Lose so many percent of the packets [default: 0, 5, 10, 20 and 30]
    #[arg(long, value_name = "PERCENT")]
    pub(crate) loss: Option<f64>,
    /// Delay each packet by up to so many ms, evenly spread [default: 0, 20 and 60]
    #[arg(long, value_name = "MS")]
    pub(crate) jitter: Option<u64>,
    /// Lose packets in bursts of so many on average (Gilbert's model), instead of each for itself
    #[arg(long, value_name = "MEAN")]
    pub(crate) burst: Option<f64>,
    /// Round trip time of the network without jitter
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub(crate) rtt: u64,
    /// Sound in each packet: 10, 20, 40 or 60 ms
    #[arg(long, value_name = "MS", default_value_t = 20)]
    pub(crate) frame: u64,
    /// Receive as with `--set quality.prefer=speech`
    #[arg(long)]
    pub(crate) speech: bool,
    /// How many networks to take the mean of, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) seeds: u64,
    /// Draw the delay over time to this SVG file
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub(crate) plot: Option<PathBuf>,
}

const DEMO: &str = "\
Lets two people talk on this machine, and judges what each one heard.

Alice and Bob each get a complete engine with an identity and a network node of its own, all in this process. Alice calls, Bob answers, \
recorded speech goes both ways over real sockets and is written to WAV files, and PESQ-WB (ITU-T P.862.2: 1 bad, 4.6 perfect) \
compares what was heard with what was said. Success means that both heard the other with 3.0 or more.

Unless the configuration says otherwise, Alice uses the transport `webrtc-rs` and Bob `str0m`.";

#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Set a configuration key for Alice only, such as `transport=memory`; may be repeated
    #[arg(long = "a", value_name = "KEY=VALUE")]
    pub(crate) alice: Vec<String>,
    /// Set a configuration key for Bob only; may be repeated
    #[arg(long = "b", value_name = "KEY=VALUE")]
    pub(crate) bob: Vec<String>,
    /// Use this signaling backend for both; `--a` and `--b` win over it
    #[arg(long, value_name = "NAME")]
    pub(crate) signaling: Option<String>,
    /// Let Alice say this WAV file instead of 8 s of recorded speech
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub(crate) speech_a: Option<PathBuf>,
    /// Let Bob say this WAV file instead of 8 s of recorded speech
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub(crate) speech_b: Option<PathBuf>,
    /// Write what was heard to this directory
    #[arg(long, value_name = "DIR", value_parser = path(), default_value = "blink-out")]
    pub(crate) out: PathBuf,
    /// Talk so long, 1 to 300 s, once both are connected [default: the speech and half a second]
    #[arg(long, value_name = "N")]
    pub(crate) seconds: Option<f64>,
    /// Do it all again so many times, 1 to 1000, with new engines; figures are medians
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) repeat: usize,
}

const LISTEN: &str = "\
Waits for calls until it is interrupted with Ctrl-C.

Prints one DID@ADDRESS line for each address this node can be reached at; give one of them to `blink call`. The last ones work on this \
machine only.

When somebody calls, type `y` to answer or `n` to reject the call that was named; `h` hangs up, `j` joins a group's call again that was left, or lists those that go on, and \
`j 1` joins the first of the list. With `--answer` every call is answered. If nobody can type \
(stdin is not open), a call rings until the caller gives up.";

#[derive(Debug, Args)]
pub(crate) struct ListenArguments {
    /// Answer every call
    #[arg(long)]
    pub(crate) answer: bool,
    /// Say this WAV file, then silence, in every call
    #[arg(long = "in", value_name = "WAV", value_parser = path())]
    pub(crate) input: Option<PathBuf>,
    /// Show this video in every call: `clip:vp8`, `clip:h264`, or `clip:FILE` with an .ivf or .h264
    /// file
    #[arg(long, value_name = "SOURCE")]
    pub(crate) video: Option<String>,
    /// Write what is heard to `heard-1.wav`, `heard-2.wav`, … in this directory, one for each call,
    /// and the video that others show to `seen-1.ivf` or `seen-1.h264`, …
    #[arg(long, value_name = "DIR", value_parser = path())]
    pub(crate) out: Option<PathBuf>,
}

const CALL: &str = "\
Calls one person, or several at once, and stays until everybody has left or Ctrl-C is pressed.

Take the DID@ADDRESS from `blink listen` on the other side. A person may be named several times with different addresses, and without an \
address when the nodes find each other some other way, such as on the same local network.";

#[derive(Debug, Args)]
pub(crate) struct CallArguments {
    /// Whom to call, and where their node listens
    #[arg(required = true, value_name = "DID@ADDRESS")]
    pub(crate) targets: Vec<String>,
    /// Say this WAV file, then silence
    #[arg(long = "in", value_name = "WAV", value_parser = path())]
    pub(crate) input: Option<PathBuf>,
    /// Show this video: `clip:vp8`, `clip:h264`, or `clip:FILE` with an .ivf or .h264 file
    #[arg(long, value_name = "SOURCE")]
    pub(crate) video: Option<String>,
    /// Write what is heard to `heard.wav` in this directory, and the video that others show to
    /// `seen-1.ivf` or `seen-1.h264`, …
    #[arg(long, value_name = "DIR", value_parser = path())]
    pub(crate) out: Option<PathBuf>,
    /// Leave after so many seconds of being connected, at most 2592000 (30 days)
    #[arg(long, value_name = "N")]
    pub(crate) seconds: Option<f64>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}
