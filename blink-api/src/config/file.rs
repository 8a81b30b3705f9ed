//! Configuration files. Each is read once, because it may be a pipe.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::{Error, ErrorKind, Result, private};

/// Largest configuration file, in bytes.
const LARGEST: usize = 1024 * 1024;

/// The text of a configuration file, which can be added to any number of configurations.
#[derive(Clone)]
pub struct ConfigurationFile {
    pub(super) name: String,
    pub(super) text: String,
    others_can_write: bool,
}

impl ConfigurationFile {
    /// Reads a file or a pipe to its end.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for a file that does not exist,
    /// [`Invalid`](ErrorKind::Invalid) for one that cannot be read, is not UTF-8 or is larger than
    /// 1 MiB; the error names the file. TOML is parsed by [`ConfigurationBuilder::file_read`].
    ///
    /// [`ConfigurationBuilder::file_read`]: super::ConfigurationBuilder::file_read
    pub fn read(path: &Path) -> Result<Self> {
        let failed = |kind, why: &'static str| Error::new(kind, why).with("file", path.display());
        let unreadable = |source: std::io::Error| {
            let is_missing = source.kind() == std::io::ErrorKind::NotFound;
            let kind = if is_missing { ErrorKind::NotFound } else { ErrorKind::Invalid };
            failed(kind, "the configuration file cannot be read").source(source)
        };
        let file = File::open(path).map_err(unreadable)?;
        let others_can_write = private::others_can_write(&file.metadata().map_err(unreadable)?);
        let mut text = Vec::new();
        // A device or a pipe may go on for ever.
        file.take(LARGEST as u64 + 1).read_to_end(&mut text).map_err(unreadable)?;
        if text.len() > LARGEST {
            return Err(failed(ErrorKind::Invalid, "the configuration file is larger than 1 MiB"));
        }
        let not_text = |_| failed(ErrorKind::Invalid, "the configuration file is not UTF-8");
        let text = String::from_utf8(text).map_err(not_text)?;
        Ok(Self { name: path.display().to_string(), text, others_can_write })
    }

    /// Whether another user of this system, other than root, may change it. `false` where there are
    /// no Unix permissions.
    pub fn others_can_write(&self) -> bool {
        self.others_can_write
    }
}

/// Shows no text: it may hold passwords.
impl std::fmt::Debug for ConfigurationFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConfigurationFile").field("name", &self.name).finish_non_exhaustive()
    }
}
