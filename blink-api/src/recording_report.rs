//! Results of recordings, as the engine reports them.

use serde::Serialize;

use crate::{RecordingId, RecordingSummary};

/// Result of a recording: of each of its recorders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RecordingReport {
    /// The recording.
    pub recording: RecordingId,
    /// Its recorders, in the order in which they were asked for.
    pub recorders: Vec<RecorderReport>,
}

impl RecordingReport {
    /// The report of a recording.
    pub fn new(recording: RecordingId, recorders: Vec<RecorderReport>) -> Self {
        Self { recording, recorders }
    }
}

/// Result of one recorder of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RecorderReport {
    /// Name of the recorder, as in the configuration.
    pub recorder: String,
    /// Files, durations and tracks. After a failure: what was written before, as far as that is
    /// known.
    pub summary: RecordingSummary,
    /// Packets, frames and blocks of 10 ms that were not written, because the disk did not keep up.
    pub dropped: u64,
    /// Error with which it ended early; `None` where it went on to the end.
    pub error: Option<String>,
}

impl RecorderReport {
    /// The report of a recorder that went on to the end and wrote everything.
    pub fn new(recorder: impl Into<String>, summary: RecordingSummary) -> Self {
        Self { recorder: recorder.into(), summary, dropped: 0, error: None }
    }

    /// Sets how much was not written.
    pub fn dropped(mut self, dropped: u64) -> Self {
        self.dropped = dropped;
        self
    }

    /// Sets the error with which it ended early.
    pub fn failed(mut self, error: Option<String>) -> Self {
        self.error = error;
        self
    }
}
