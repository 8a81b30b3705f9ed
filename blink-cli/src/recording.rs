//! `blink recording`: inspection, repair and export of recordings.

use std::path::PathBuf;
use std::sync::Arc;

use blink_api::{AudioCodec, Context, Registry, SystemClock};
use clap::{Args, Subcommand};

use crate::args::Global;
use crate::configuration;
use crate::failure::Failure;
use crate::files;
use crate::files::path;
use crate::output::Output;

#[derive(Debug, Args)]
pub(crate) struct RecordingArguments {
    #[command(subcommand)]
    pub(crate) command: RecordingCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RecordingCommand {
    /// Show the tracks of a recording: MP4, WAV or RTP log
    Info {
        /// The recording
        #[arg(value_name = "FILE", value_parser = path())]
        file: PathBuf,
    },
    /// Write a complete copy of a recording whose writer was killed, beside it
    Repair {
        /// The recording
        #[arg(value_name = "FILE", value_parser = path())]
        file: PathBuf,
    },
    /// Export an MP4 file to a file per track, or an RTP log to rtpdump and pcapng
    Export {
        /// The recording
        #[arg(value_name = "FILE", value_parser = path())]
        file: PathBuf,
        /// Directory for the files; beside the recording by default
        #[arg(long, value_name = "DIR", value_parser = path())]
        out: Option<PathBuf>,
        /// Export an MP4 file with all voices in one audio track, for players that play one at a
        /// time
        #[arg(long)]
        merge: bool,
    },
}

/// `blink recording`
pub(crate) async fn run(command: &RecordingCommand, global: &Global, output: &Output) -> Result<(), Failure> {
    match command {
        RecordingCommand::Info { file } => {
            let info = blink_recorders::info(file)?;
            output.json_result(&info);
            let state = if info.complete { "complete" } else { "not finished: `blink recording repair` completes it" };
            output.result(&format!("{:.3} s, {state}", info.duration));
            for track in &info.tracks {
                output.result(&format!(
                    "{}  {}  from {:.3} s for {:.3} s  {} samples, {} bytes",
                    track.name, track.codec, track.delay, track.duration, track.samples, track.bytes
                ));
            }
        }
        RecordingCommand::Repair { file } => {
            let report = blink_recorders::repair(file)?;
            output.json_result(&report);
            match &report.file {
                Some(repaired) => output.result(&repaired.display().to_string()),
                None => output.result("the recording is complete"),
            }
        }
        RecordingCommand::Export { file, out, merge } => {
            if let Some(directory) = out {
                files::create_directory(directory)?;
            }
            let written = match merge {
                true => vec![blink_recorders::merge(file, out.as_deref(), &*opus(global).await?)?],
                false => blink_recorders::export(file, out.as_deref())?,
            };
            output.json_result(&written);
            written.iter().for_each(|file| output.result(&file.display().to_string()));
        }
    }
    Ok(())
}

/// The codec of MP4 recordings, as configured.
async fn opus(global: &Global) -> Result<Arc<dyn AudioCodec>, Failure> {
    let registry = Registry::discovered()?;
    let configuration = configuration::options(configuration::base(&registry, global), global).build()?;
    let context = Context { clock: Arc::new(SystemClock), shared: registry.shared() };
    Ok(registry.entry::<dyn AudioCodec>("opus")?.create(&configuration, &context).await?)
}
