//! `blink rtp`: analysis of RTP logs.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::failure::Failure;
use crate::files::path;
use crate::output::Output;

#[derive(Debug, Args)]
pub(crate) struct RtpArguments {
    #[command(subcommand)]
    pub(crate) command: RtpCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RtpCommand {
    /// Report loss, jitter, reordering and delay of each track, and rate its audibility
    Analyze {
        /// A log of the recorder `rtp-log`
        #[arg(value_name = "FILE", value_parser = path())]
        file: PathBuf,
        /// Write the delay over time to this SVG file
        #[arg(long, value_name = "FILE", value_parser = path())]
        svg: Option<PathBuf>,
    },
}

/// `blink rtp`
pub(crate) fn run(command: &RtpCommand, output: &Output) -> Result<(), Failure> {
    let RtpCommand::Analyze { file, svg } = command;
    let analysis = blink_recorders::analyze(file)?;
    if let Some(svg) = svg {
        let drawing = blink_recorders::delay_svg(&analysis);
        blink_api::private::write(svg, drawing).map_err(|source| {
            blink_api::Error::new(blink_api::ErrorKind::Io, "the drawing cannot be written")
                .with("path", svg.display())
                .source(source)
        })?;
    }
    output.json_result(&analysis);
    for track in &analysis.tracks {
        let name = if track.name.is_empty() { &track.track } else { &track.name };
        output.result(&format!("{name}: {:?}, {}", track.verdict, track.reason));
        output.event(&format!(
            "  {} packets, {} lost, {} reordered, {} twice; jitter {:.1} ms; delay {:.0} ms median, {:.0} ms 95 %; MOS {:.1}",
            track.packets,
            track.lost,
            track.reordered,
            track.duplicates,
            track.jitter,
            track.delay.median,
            track.delay.p95,
            track.audible.mos
        ));
    }
    Ok(())
}
