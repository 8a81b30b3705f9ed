//! Arguments of `blink conformance`.

use std::path::PathBuf;

use clap::Args;

pub(crate) const ABOUT: &str = "\
Runs call scenarios over every pairing of backends on this machine, and reports which pass.

A pairing is an ordered pair of transports and an ordered pair of signaling backends: the first participant uses the first of each. \
The scenarios run complete engines in real time over real sockets on the loopback interface; a participant counts as heard if its tone \
was decoded. Several scenarios run concurrently; those that assert uninterrupted audio run last, a quarter as many at a time.

The exit status is 0 if no scenario failed and every pairing ran at least one.";

/// Arguments of `blink conformance`
#[derive(Debug, Args)]
pub(crate) struct ConformanceArguments {
    /// Transports to pair, by name [default: all that use the network]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) transports: Vec<String>,
    /// Signaling backends to pair, by name [default: all that use the network]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) signalings: Vec<String>,
    /// Scenarios by number, such as 1-20,44 [default: all]
    #[arg(long, value_name = "NUMBERS")]
    pub(crate) scenarios: Option<String>,
    /// Run a selection that covers every part of a call
    #[arg(long, conflicts_with = "scenarios")]
    pub(crate) quick: bool,
    /// List the cases without running them
    #[arg(long)]
    pub(crate) list: bool,
    /// Write report.html, report.json, report.xml (JUnit), badge.svg, and matrix.svg, a picture of
    /// the table, to this directory
    #[arg(long, value_name = "DIR", value_parser = crate::files::path())]
    pub(crate) report: Option<PathBuf>,
    /// Number of scenarios that run concurrently, 1 to 64
    #[arg(long, value_name = "N", default_value_t = 24)]
    pub(crate) lanes: usize,
}
