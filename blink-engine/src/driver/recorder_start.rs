//! Recorders before and beside their workers: chosen by name, started, and completed unused.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use blink_api::{Error, ErrorKind, RecorderCapabilities, Recording, RecordingConfig, Result, private};

use super::parts::NamedRecorder;

/// A recorder that was started, or not.
pub(super) type Started = (String, RecorderCapabilities, Result<Box<dyn Recording>>);

/// The recorders of these names; all for none.
pub(super) fn chosen(known: &[NamedRecorder], names: &[String]) -> Result<Vec<NamedRecorder>> {
    if known.is_empty() {
        return Err(Error::new(ErrorKind::Invalid, "no recorder is configured").with("key", "recorder"));
    }
    if names.is_empty() {
        return Ok(known.to_vec());
    }
    let find = |name: &String| {
        known.iter().find(|(known, _)| known == name).cloned().ok_or_else(|| {
            let all: Vec<_> = known.iter().map(|(name, _)| name.as_str()).collect();
            let why = format!("the recorder `{name}` is not configured; there is: {}", all.join(", "));
            Error::new(ErrorKind::NotFound, why)
        })
    };
    let mut seen = BTreeSet::new();
    names.iter().filter(|name| seen.insert(*name)).map(find).collect()
}

/// Starts a recorder, which is foreign code.
pub(super) fn start(recorder: &dyn blink_api::Recorder, config: RecordingConfig) -> Result<Box<dyn Recording>> {
    catch_unwind(AssertUnwindSafe(|| recorder.start(config)))
        .unwrap_or_else(|_| Err(Error::new(ErrorKind::Unexpected, "the recorder panicked")))
}

/// Completes the files of recorders that got nothing to record. Takes its time.
pub(super) fn complete_unused(started: Vec<Started>) {
    for (recorder, _, recording) in started {
        let Ok(recording) = recording else { continue };
        let finished = catch_unwind(AssertUnwindSafe(|| recording.finish()));
        if !matches!(finished, Ok(Ok(_))) {
            tracing::warn!(recorder, "the files of a recording that was not used cannot be completed");
        }
    }
}

/// Creates the directory of a recording, for its owner only, unless it exists.
pub(super) fn create_directory(directory: &Path) -> Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    private::create_directory(directory).map_err(|source| {
        Error::new(ErrorKind::Io, "the directory of the recording cannot be created")
            .with("path", directory.display())
            .source(source)
    })
}
