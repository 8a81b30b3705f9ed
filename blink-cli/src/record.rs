//! `--record`: recording of calls by the engine.

use std::path::{Path, PathBuf};

use blink_api::{ConfigurationBuilder, RecordingReport, Settings};
use blink_engine::Event;
use clap::Args;

use crate::failure::Failure;

#[derive(Debug, Default, Args)]
pub(crate) struct RecordArguments {
    /// Record every call with these recorders, into the directory of `--out`: any of `wav`, `mp4`
    /// and `rtp-log`, separated by commas. All participants see who records
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) record: Vec<String>,
}

impl RecordArguments {
    /// Directory of the files; `None` where nothing is recorded.
    ///
    /// # Errors
    /// An input failure without `--out`.
    pub(crate) fn directory<'a>(&self, out: Option<&'a Path>) -> Result<Option<&'a Path>, Failure> {
        match out {
            _ if self.record.is_empty() => Ok(None),
            None => Err(Failure::input("--record: also name a directory for the files with --out")),
            directory => Ok(directory),
        }
    }

    /// Chooses the recorders.
    pub(crate) fn choose(&self, builder: ConfigurationBuilder) -> ConfigurationBuilder {
        if self.record.is_empty() { builder } else { builder.set("--record", "recorder", self.record.clone()) }
    }

    /// Has every call recorded into a directory.
    ///
    /// # Errors
    /// As [`directory`](Self::directory).
    pub(crate) fn configure(
        &self,
        builder: ConfigurationBuilder,
        out: Option<&Path>,
    ) -> Result<ConfigurationBuilder, Failure> {
        let Some(directory) = self.directory(out)? else { return Ok(builder) };
        Ok(self.choose(builder).set("--out", "recording.directory", directory.to_string_lossy().as_ref()).set(
            "--record",
            "recording.automatic",
            true,
        ))
    }
}

/// Directory of recordings, below `data_dir` or else the working directory.
const RECORDINGS: (&str, &str) = ("recordings", "blink-recordings");

/// Directory of the recordings of an interactive program: `recording.directory`, else a directory
/// below `data_dir`, else one of the working directory.
pub(crate) fn recordings(settings: &Settings) -> PathBuf {
    let below = |data_dir: &PathBuf| data_dir.join(RECORDINGS.0);
    let chosen = settings.recording.directory.clone().or_else(|| settings.data_dir.as_ref().map(below));
    chosen.unwrap_or_else(|| RECORDINGS.1.into())
}

/// Texts of the events of recordings; `None` for other events.
pub(crate) fn words(event: &Event) -> Option<String> {
    Some(match event {
        Event::RecordingStarted { recorders, directory, .. } => {
            format!("recording with {} to {}", recorders.join(", "), directory.display())
        }
        Event::RecordingIncomplete { recorder, dropped, .. } => {
            format!("the disk does not keep up: the recorder `{recorder}` has dropped {dropped} packets or blocks")
        }
        Event::RecordingFailed { recorder, error, .. } => format!("the recorder `{recorder}` failed: {error}"),
        Event::RecordingStopped { report, .. } => stopped(report),
        _ => return None,
    })
}

fn stopped(report: &RecordingReport) -> String {
    let mut parts = Vec::new();
    for recorder in &report.recorders {
        let files: Vec<_> = recorder.summary.files.iter().map(|file| file.display().to_string()).collect();
        let seconds = recorder.summary.duration.as_secs_f64();
        let lost = if recorder.dropped == 0 { String::new() } else { format!(", {} dropped", recorder.dropped) };
        let bytes = recorder.summary.bytes;
        parts.push(format!("{} ({seconds:.3} s, {bytes} bytes{lost}): {}", recorder.recorder, files.join(" ")));
    }
    format!("recorded {}", parts.join("; "))
}

#[cfg(test)]
mod tests {
    use blink_api::{CallId, RecorderReport, RecordingId, RecordingSummary};

    use super::*;

    #[test]
    fn a_recording_without_a_directory_is_refused() {
        let arguments = RecordArguments { record: vec!["wav".to_owned()] };
        assert!(arguments.directory(None).is_err());
        assert_eq!(arguments.directory(Some(Path::new("out"))).unwrap(), Some(Path::new("out")));
        assert_eq!(RecordArguments { record: Vec::new() }.directory(None).unwrap(), None);
    }

    #[test]
    fn the_end_of_a_recording_names_each_file() {
        let summary = RecordingSummary::new(vec!["a.wav".into(), "b.wav".into()], 7);
        let report = RecorderReport::new("wav", summary).dropped(3);
        let report = RecordingReport::new(RecordingId::from_bytes([1; 16]), vec![report]);
        let event = Event::RecordingStopped { call: CallId::from_bytes([1; 16]), report };
        assert_eq!(words(&event).unwrap(), "recorded wav (0.000 s, 7 bytes, 3 dropped): a.wav b.wav");
    }
}
