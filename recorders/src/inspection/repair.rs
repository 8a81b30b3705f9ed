//! Completion of files whose writer was killed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use blink_api::{Result, private};
use mp4_atom::{Decode, Moov};
use serde::Serialize;

use super::{Content, beside, failed};
use crate::box_reader::Movie;
use crate::mp4::fragments;
use crate::mp4::movie::SampleTable;
use crate::wav_file::{self, Header};

/// What a repair did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RepairReport {
    /// The complete file, beside the damaged one, which is unchanged; `None` where the file was
    /// complete.
    pub file: Option<PathBuf>,
    /// Bytes at the end that could not be used.
    pub dropped_bytes: u64,
}

/// Writes a complete copy of a file whose writer was killed.
///
/// # Errors
/// As [`info`](super::info), and [`Io`](blink_api::ErrorKind::Io) where the copy cannot be written:
/// it is then removed. A copy that exists is not replaced.
pub fn repair(path: &Path) -> Result<RepairReport> {
    let (mut file, content) = Content::open(path)?;
    let (extension, dropped_bytes) = match &content {
        Content::Mp4(movie) if movie.complete => return Ok(RepairReport { file: None, dropped_bytes: 0 }),
        Content::Wav(header) if header.declared == header.present => {
            return Ok(RepairReport { file: None, dropped_bytes: 0 });
        }
        Content::RtpLog(log) if log.torn() == 0 => return Ok(RepairReport { file: None, dropped_bytes: 0 }),
        Content::Mp4(movie) => ("mp4", movie.torn),
        Content::Wav(header) => ("wav", header.present % u64::from(header.block)),
        Content::RtpLog(log) => ("rtplog", log.torn()),
    };
    let target = beside(path, None, "-repaired", extension);
    let mut copy = private::create_new(&target)
        .map_err(|source| failed("the repaired file cannot be created", &target, source))?;
    let result = match content {
        Content::Mp4(movie) => complete_movie(&mut file, &mut copy, &movie),
        Content::Wav(header) => complete_wav(&mut file, &mut copy, &header),
        Content::RtpLog(log) => copy.write_all(log.whole()),
    };
    if let Err(source) = result {
        // Half a copy is worth nothing: the damaged file is still there.
        std::fs::remove_file(&target).ok();
        return Err(failed("the file cannot be repaired", path, source));
    }
    Ok(RepairReport { file: Some(target), dropped_bytes })
}

/// Copies everything up to the last whole box, and lists the samples behind it.
fn complete_movie(file: &mut File, copy: &mut File, movie: &Movie) -> io::Result<()> {
    let descriptions = decode_moov(&movie.moov)?;
    let mut tracks = Vec::new();
    for description in descriptions.trak {
        let Some(track) = movie.tracks.iter().find(|track| track.id == description.tkhd.track_id) else { continue };
        let mut table = SampleTable::default();
        for sample in &track.samples {
            table.add(sample.position, sample.ticks, sample.size, sample.sync);
        }
        let mut first = 0;
        for samples in &track.chunks {
            let Some(sample) = track.samples.get(first) else { break };
            table.add_chunk(sample.offset, *samples);
            first += *samples as usize;
        }
        tracks.push((description, table));
    }
    file.rewind()?;
    io::copy(&mut file.take(movie.end), copy)?;
    fragments::complete(copy, movie.moov_at, movie.end, tracks)
}

/// Decodes the description of the tracks. Its reader is a library's, and the file anybody's: what
/// makes it panic is an error.
fn decode_moov(bytes: &[u8]) -> io::Result<Moov> {
    let decoded = std::panic::catch_unwind(|| Moov::decode(&mut &bytes[..]));
    let damaged = |source: Box<dyn std::error::Error + Send + Sync>| io::Error::new(io::ErrorKind::InvalidData, source);
    decoded
        .map_err(|_| damaged("the MP4 file's description is damaged".into()))?
        .map_err(|source| damaged(source.into()))
}

fn complete_wav(file: &mut File, copy: &mut File, header: &Header) -> io::Result<()> {
    let present = header.present - header.present % u64::from(header.block);
    file.seek(SeekFrom::Start(0))?;
    io::copy(&mut file.take(header.data + present), copy)?;
    wav_file::write_lengths(copy, header, present)
}
