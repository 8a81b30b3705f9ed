//! Opening of files named by the user.

use std::fs::File;
use std::path::Path;

use blink_api::{Error, ErrorKind, Result};

/// Size limit of a file in bytes.
const MAX_FILE_BYTES: u64 = 512 * 1024 * 1024;

/// Opens a file to be read completely; returns its size in bytes, which is not 0.
///
/// # Errors
/// [`NotFound`](ErrorKind::NotFound) if there is none, [`Invalid`](ErrorKind::Invalid) if it is not
/// a regular file, is empty, or is larger than 512 MiB. [`named`] adds the path.
pub(crate) fn open(path: &Path) -> Result<(File, u64)> {
    let unreadable = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound if path.as_os_str().is_empty() => invalid("expected a path after the colon"),
        std::io::ErrorKind::NotFound => Error::new(ErrorKind::NotFound, "there is no such file"),
        _ => invalid("the file cannot be opened").source(source),
    };
    // Checked before opening, because opening a FIFO blocks until it has a writer.
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(invalid(if metadata.is_dir() { "this is a directory" } else { "this is not a regular file" }));
    }
    if metadata.len() == 0 {
        return Err(invalid("the file is empty"));
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(invalid("the file is larger than 512 MiB").with("bytes", metadata.len()));
    }
    Ok((File::open(path).map_err(unreadable)?, metadata.len()))
}

/// Adds the path of the file to an error.
pub(crate) fn named(error: Error, path: &Path) -> Error {
    let path = if path.as_os_str().is_empty() { "(empty)".into() } else { path.display().to_string() };
    error.with("path", path)
}

/// Creates an error about user input.
pub(crate) fn invalid(why: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, why)
}
