//! Contents of recorded files, their repair, and their export to simpler formats.

mod export;
mod info;
mod merge;
mod repair;

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use blink_api::{Error, ErrorKind, Result};

pub use export::export;
pub(crate) use export::write_track;
pub use info::{FileFormat, RecordingInfo, TrackInfo, info};
pub use merge::merge;
pub(crate) use repair::repaired;
pub use repair::{RepairReport, repair};

use crate::box_reader::Movie;
use crate::rtp_log::records::Log;
use crate::wav_file;

/// A file of any of the formats.
pub(crate) enum Content {
    Mp4(Movie),
    Wav(wav_file::Header),
    RtpLog(Log),
}

impl Content {
    /// Reads a file by its first bytes, whatever its name.
    pub(crate) fn read<F: Read + Seek>(file: &mut F) -> io::Result<Self> {
        let mut first = [0; 12];
        let mut known = 0;
        while known < first.len() {
            match file.read(&mut first[known..])? {
                0 => break,
                read => known += read,
            }
        }
        file.rewind()?;
        if first.starts_with(b"RIFF") {
            return wav_file::read_header(file).map(Self::Wav);
        }
        if first.starts_with(b"blinkrtp") {
            return Log::read(file).map(Self::RtpLog);
        }
        if &first[4..8] == b"ftyp" {
            return Movie::read(file).map(Self::Mp4);
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "this is no recording: neither MP4, nor WAV, nor an RTP log"))
    }

    /// Whether the recording was finished.
    pub(crate) fn is_complete(&self) -> bool {
        match self {
            Self::Mp4(movie) => movie.complete,
            Self::Wav(header) => header.declared == header.present,
            Self::RtpLog(log) => log.torn() == 0,
        }
    }

    fn open(path: &Path) -> Result<(File, Self)> {
        let mut file = File::open(path).map_err(|source| failed("the recording cannot be opened", path, source))?;
        let content = Self::read(&mut file).map_err(|source| failed("the recording cannot be read", path, source))?;
        Ok((file, content))
    }
}

/// The error of reading or writing a file: damaged content is invalid, the rest failed.
pub(crate) fn failed(why: &'static str, path: &Path, source: io::Error) -> Error {
    let kind = match source.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => ErrorKind::Invalid,
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        _ => ErrorKind::Io,
    };
    Error::new(kind, why).with("path", path.display()).source(source)
}

/// A path beside a file, with something added to its name.
pub(crate) fn beside(path: &Path, directory: Option<&Path>, added: &str, extension: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let directory = directory.or_else(|| path.parent()).unwrap_or(Path::new(""));
    directory.join(format!("{stem}{added}.{extension}"))
}
