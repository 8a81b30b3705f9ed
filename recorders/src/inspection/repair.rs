//! Completion of files whose writer was killed.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use blink_api::{Result, private};
use serde::Serialize;

use super::{Content, beside, failed};
use crate::box_reader::{Movie, MovieTrack};
use crate::mp4::fragments;
use crate::mp4::media::Media;
use crate::mp4::movie::{self, MOVIE_RATE, SampleTable};
use crate::wav_file::{self, Header};

/// Result of a repair.
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
    if content.is_complete() {
        return Ok(RepairReport { file: None, dropped_bytes: 0 });
    }
    let (extension, dropped_bytes) = match &content {
        Content::Mp4(movie) => ("mp4", movie.torn),
        Content::Wav(header) => ("wav", header.present % u64::from(header.block)),
        Content::RtpLog(log) => ("rtplog", log.torn()),
    };
    let target = beside(path, None, "-repaired", extension);
    let mut copy = private::create_new(&target)
        .map_err(|source| failed("the repaired file cannot be created", &target, source))?;
    if let Err(source) = repaired(&content, &mut file, &mut copy) {
        // Half a copy is worth nothing: the damaged file is still there.
        std::fs::remove_file(&target).ok();
        return Err(failed("the file cannot be repaired", path, source));
    }
    Ok(RepairReport { file: Some(target), dropped_bytes })
}

/// Writes a complete copy of a file with this content.
pub(crate) fn repaired<F: Read + Seek>(
    content: &Content,
    file: &mut F,
    copy: &mut (impl Write + Seek),
) -> io::Result<()> {
    match content {
        Content::Mp4(movie) => complete_movie(file, copy, movie),
        Content::Wav(header) => complete_wav(file, copy, header),
        Content::RtpLog(log) => copy.write_all(log.whole()),
    }
}

/// Copies everything up to the last whole box, and lists the samples behind it.
fn complete_movie<F: Read + Seek>(file: &mut F, copy: &mut (impl Write + Seek), movie: &Movie) -> io::Result<()> {
    let mut tracks = Vec::new();
    for track in &movie.tracks {
        let description = Media::of_track(track).and_then(|media| {
            let delay = track.delay * f64::from(MOVIE_RATE);
            movie::track(track.id, &media, &track.name, delay.round() as u64)
        });
        let foreign = || io::Error::new(io::ErrorKind::InvalidData, "the MP4 file has tracks of another program");
        tracks.push((description.ok_or_else(foreign)?, sample_table(track)));
    }
    file.rewind()?;
    io::copy(&mut file.take(movie.end), copy)?;
    fragments::complete(copy, movie.moov_at, movie.end, tracks)
}

fn sample_table(track: &MovieTrack) -> SampleTable {
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
    table
}

fn complete_wav<F: Read + Seek>(file: &mut F, copy: &mut (impl Write + Seek), header: &Header) -> io::Result<()> {
    let present = header.present - header.present % u64::from(header.block);
    file.seek(SeekFrom::Start(0))?;
    io::copy(&mut file.take(header.data + present), copy)?;
    wav_file::write_lengths(copy, header, present)
}
