//! Arguments of `blink bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::DeviceOptions;
use crate::failure::Failure;
use crate::files::path;

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
    /// Measure the time from the answer to the first audio
    #[command(long_about = BENCH_SETUP)]
    Setup(BenchSetupArguments),
    /// Measure CPU time and memory per call
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

const BENCH_SETUP: &str = "\
Runs calls between two complete engines in this process, over the configured signaling on loopback, for each pair of transports, and \
measures the time from `answer_call` to the first sample of decoded audio at both ends, with a time line of the steps between.

With `--rtt` and `--loss`, media passes a network in user space that delays and drops packets; signaling is delayed alike. The first \
call of a process is not counted, unless `--cold` measures only that, each in a process of its own. Measure a release build on an idle \
machine.";

#[derive(Debug, Args)]
pub(crate) struct BenchSetupArguments {
    /// Round-trip time of the network, 0 to 2000 ms
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub(crate) rtt: u64,
    /// Packet loss of media in percent, 0 to 90
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    pub(crate) loss: f64,
    /// Number of calls of each pair, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) repeat: usize,
    /// Measure the first call of a process
    #[arg(long)]
    pub(crate) cold: bool,
    /// Measure only this pair of transports
    #[arg(long, value_name = "CALLER,CALLEE", value_delimiter = ',')]
    pub(crate) pair: Vec<String>,
}

impl BenchSetupArguments {
    /// Checks the ranges.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.rtt > 2_000 {
            return Err(Failure::input("--rtt is 0 to 2000"));
        }
        if !(0.0..=90.0).contains(&self.loss) {
            return Err(Failure::input("--loss is 0 to 90"));
        }
        if !(1..=1_000).contains(&self.repeat) {
            return Err(Failure::input("--repeat is 1 to 1000"));
        }
        if ![0, 2].contains(&self.pair.len()) {
            return Err(Failure::input("--pair names two transports, such as `str0m,webrtc-rs`"));
        }
        Ok(())
    }
}
