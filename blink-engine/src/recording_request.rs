//! Requests for recordings.

use std::collections::BTreeMap;
use std::path::PathBuf;

use blink_api::Did;
use blink_media::TrackSelection;

/// A recording to start. Everything that is not set is as configured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecordingRequest {
    /// Directory for the files; created where it is missing. Default: `recording.directory`.
    pub directory: Option<PathBuf>,
    /// Names of recorders. Empty: all that the engine has.
    pub recorders: Vec<String>,
    /// Tracks to record: of this device and of all others, those of now and later ones.
    pub tracks: TrackSelection,
    /// Names of participants, for the names of files and tracks. Any text.
    pub names: BTreeMap<Did, String>,
}

impl RecordingRequest {
    /// A recording of all tracks into this directory, with all recorders.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: Some(directory.into()), ..Self::default() }
    }

    /// Records with these recorders only.
    pub fn recorders<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.recorders = names.into_iter().map(Into::into).collect();
        self
    }

    /// Records these tracks only.
    pub fn tracks(mut self, tracks: TrackSelection) -> Self {
        self.tracks = tracks;
        self
    }

    /// Names a participant.
    pub fn name(mut self, participant: Did, name: impl Into<String>) -> Self {
        self.names.insert(participant, name.into());
        self
    }
}
