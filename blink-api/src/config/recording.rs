//! `[recording]`: recording of calls by the engine.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::path::optional_path;
use crate::{Error, ErrorKind, Result};

/// `[recording]`: recording of calls by the engine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecordingSettings {
    /// Directory for the files of recordings that name none. A leading `~/` is the home directory.
    /// Created where it is missing.
    #[serde(deserialize_with = "optional_path")]
    pub directory: Option<PathBuf>,
    /// Whether every call is recorded, with all configured recorders, from the moment at which it
    /// is joined.
    pub automatic: bool,
}

impl RecordingSettings {
    /// Checks that automatic recordings have a directory.
    pub(super) fn check(&self) -> Result<()> {
        if self.automatic && self.directory.is_none() {
            let why = "`recording.automatic` needs a directory for the files";
            return Err(Error::new(ErrorKind::Invalid, why).with("key", "recording.directory"));
        }
        Ok(())
    }
}
