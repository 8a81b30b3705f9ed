//! Opening files that somebody named.

use std::fs::File;
use std::path::Path;

use blink_api::{Error, ErrorKind, Result};

/// Largest file, in bytes.
const LARGEST: u64 = 512 * 1024 * 1024;

/// Opens a file to read it whole; with its size in bytes, which is not 0.
///
/// # Errors
/// [`NotFound`](ErrorKind::NotFound) where there is none, [`Invalid`](ErrorKind::Invalid) for what
/// is no regular file, is empty, or is larger than 512 MiB. The path is not in it: [`named`] adds
/// it.
pub(crate) fn open(path: &Path) -> Result<(File, u64)> {
    let unreadable = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound if path.as_os_str().is_empty() => invalid("a path belongs after the colon"),
        std::io::ErrorKind::NotFound => Error::new(ErrorKind::NotFound, "there is no such file"),
        _ => invalid("the file cannot be opened").source(source),
    };
    // Asked before opening: to open a pipe would wait for its writer.
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(invalid(if metadata.is_dir() { "this is a directory" } else { "this is no regular file" }));
    }
    if metadata.len() == 0 {
        return Err(invalid("the file is empty"));
    }
    if metadata.len() > LARGEST {
        return Err(invalid("the file is larger than 512 MiB").with("bytes", metadata.len()));
    }
    Ok((File::open(path).map_err(unreadable)?, metadata.len()))
}

/// The error with the path of the file that it is about.
pub(crate) fn named(error: Error, path: &Path) -> Error {
    let path = if path.as_os_str().is_empty() { "(empty)".into() } else { path.display().to_string() };
    error.with("path", path)
}

/// An error about what somebody gave.
pub(crate) fn invalid(why: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, why)
}
