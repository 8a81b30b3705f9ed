//! The files of one RTP log.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use blink_api::Result;

use super::NAME;
use crate::output_file::{OutputFiles, write_error};

/// The files of one log, of which the last one is written. Each is a log of its own, with header
/// and all tracks so far.
pub(super) struct Parts {
    files: OutputFiles,
    /// Size at which the log continues in a new file.
    max_file_bytes: u64,
    /// Header and tracks, with which each file begins.
    beginning: Vec<u8>,
    file: File,
    /// Bytes in the present file.
    size: u64,
    paths: Vec<PathBuf>,
    /// Bytes in the files before.
    before: u64,
}

impl Parts {
    /// Creates the first file with its header.
    pub(super) fn create(files: OutputFiles, header: Vec<u8>, max_file_bytes: u64) -> Result<Self> {
        let (file, path) = begin(&files, &header, 1)?;
        let size = header.len() as u64;
        Ok(Self { files, max_file_bytes, beginning: header, file, size, paths: vec![path], before: 0 })
    }

    /// Appends whole records, in a new file where this one is full.
    pub(super) fn write(&mut self, records: &[u8]) -> Result<()> {
        let has_records = self.size > self.beginning.len() as u64;
        if has_records && self.size + records.len() as u64 > self.max_file_bytes {
            self.continue_in_next()?;
        }
        self.append(records)
    }

    /// Appends a track, which further files begin with.
    pub(super) fn write_track(&mut self, record: &[u8]) -> Result<()> {
        self.append(record)?;
        self.beginning.extend_from_slice(record);
        Ok(())
    }

    /// The files and their size in bytes.
    pub(super) fn finish(self) -> (Vec<PathBuf>, u64) {
        (self.paths, self.before + self.size)
    }

    fn append(&mut self, records: &[u8]) -> Result<()> {
        if let Err(source) = self.file.write_all(records) {
            // A record that is cut off is no harm to readers; without it the file is as before.
            self.file.set_len(self.size).ok();
            let path = self.paths.last().map(PathBuf::as_path).unwrap_or_else(|| "".as_ref());
            return Err(write_error(NAME, path, source));
        }
        self.size += records.len() as u64;
        Ok(())
    }

    fn continue_in_next(&mut self) -> Result<()> {
        let (file, path) = begin(&self.files, &self.beginning, self.paths.len() as u32 + 1)?;
        self.paths.push(path);
        self.file = file;
        self.before += self.size;
        self.size = self.beginning.len() as u64;
        Ok(())
    }
}

/// Creates a file; one whose beginning cannot be written is removed.
fn begin(files: &OutputFiles, beginning: &[u8], part: u32) -> Result<(File, PathBuf)> {
    let (mut file, path) = files.create(part, "rtplog")?;
    file.write_all(beginning).map_err(|source| {
        OutputFiles::discard(&path);
        write_error(NAME, &path, source)
    })?;
    Ok((file, path))
}
