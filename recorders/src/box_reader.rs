//! MP4 files, read with bounded memory and time: complete ones, and ones that grow by fragments.
//!
//! Only what samples depend on is read. Every count is checked against the bytes that are there,
//! every position against the file, and nothing recurses.

mod boxes;
mod samples;

use std::io::{self, Read, Seek, SeekFrom};

use boxes::{Boxes, find, has_box, invalid, text, u16_at, u32_at, u64_at};
use samples::{Budget, read_moof, read_tables};

/// Boxes at the top level, at most.
const MOST_BOXES: u32 = 2_000_000;
/// Bytes of one `moov` or `moof`, at most.
const LARGEST_DESCRIPTION: u64 = 64 << 20;
const MOST_TRACKS: usize = 1_024;

/// A file's description and samples.
#[derive(Debug, Clone, Default)]
pub(crate) struct Movie {
    /// Whether the file was completed; otherwise it has fragments.
    pub(crate) complete: bool,
    pub(crate) tracks: Vec<MovieTrack>,
    /// Position of the first `moov`.
    pub(crate) moov_at: u64,
    /// End of the last whole box.
    pub(crate) end: u64,
    /// Bytes behind it: what was being written when the process was killed.
    pub(crate) torn: u64,
}

/// A track and its samples.
#[derive(Debug, Clone, Default)]
pub(crate) struct MovieTrack {
    pub(crate) id: u32,
    pub(crate) video: bool,
    pub(crate) name: String,
    /// Type of the sample entry, such as `Opus`.
    pub(crate) codec: [u8; 4],
    pub(crate) channels: u16,
    /// Parameter sets of H.264 (`avcC`), empty for other codecs.
    pub(crate) avcc: Vec<u8>,
    pub(crate) width: u16,
    pub(crate) height: u16,
    pub(crate) timescale: u32,
    /// Time before the first sample in seconds, and media that is not shown in ticks.
    pub(crate) delay: f64,
    pub(crate) skip: u64,
    pub(crate) samples: Vec<SampleRef>,
    /// Numbers of samples that are behind each other in the file.
    pub(crate) chunks: Vec<u32>,
}

impl MovieTrack {
    /// End of the last sample in ticks.
    pub(crate) fn end(&self) -> u64 {
        self.samples.last().map_or(0, |sample| sample.position.saturating_add(u64::from(sample.ticks)))
    }
}

/// Where a sample is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SampleRef {
    pub(crate) offset: u64,
    pub(crate) position: u64,
    pub(crate) size: u32,
    pub(crate) ticks: u32,
    pub(crate) sync: bool,
}

impl Movie {
    /// Reads a file.
    ///
    /// # Errors
    /// [`InvalidData`](io::ErrorKind::InvalidData) with the reason, and those of reading.
    pub(crate) fn read<F: Read + Seek>(file: &mut F) -> io::Result<Self> {
        let length = file.seek(SeekFrom::End(0))?;
        let mut movie = Self::default();
        let mut timescale = 1;
        let mut budget = Budget::of(length);
        let mut moov_at = None;
        let mut at = 0;
        for number in 0..=MOST_BOXES {
            let Some((kind, header, size)) = top_level(file, at, length)? else { break };
            if number == 0 && &kind != b"ftyp" {
                return Err(invalid("this is no MP4 file"));
            }
            let Some(end) = at.checked_add(size).filter(|end| *end <= length) else { break };
            match &kind {
                b"moov" => {
                    let content = read_box(file, at, size)?;
                    (timescale, movie.tracks) = read_moov(&content[header..], &mut budget)?;
                    movie.complete = !has_box(&content[header..], b"mvex");
                    moov_at.get_or_insert(at);
                }
                b"moof" if !movie.complete => {
                    let content = read_box(file, at, size)?;
                    read_moof(&content[header..], at, &mut movie.tracks, &mut budget)?;
                }
                _ => {}
            }
            at = end;
            if number == MOST_BOXES {
                return Err(invalid("the MP4 file has too many boxes"));
            }
        }
        movie.moov_at = moov_at.ok_or_else(|| invalid("the MP4 file does not describe its tracks"))?;
        (movie.end, movie.torn) = (at, length - at);
        for track in &mut movie.tracks {
            track.delay /= f64::from(timescale.max(1));
            let outside = |sample: &SampleRef| sample.offset.saturating_add(u64::from(sample.size)) > length;
            if track.samples.iter().any(outside) {
                return Err(invalid("the MP4 file lists samples that it does not have"));
            }
        }
        Ok(movie)
    }
}

/// Type, header length and size of the box at a position; `None` at the end of the file.
fn top_level<F: Read + Seek>(file: &mut F, at: u64, length: u64) -> io::Result<Option<([u8; 4], usize, u64)>> {
    let mut header = [0; 16];
    let there = length.saturating_sub(at).min(16) as usize;
    if there < 8 {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut header[..there])?;
    let kind = [header[4], header[5], header[6], header[7]];
    let size = u64::from(u32_at(&header, 0).unwrap_or(0));
    match size {
        0 => Ok(Some((kind, 8, length - at))),
        1 if there == 16 => match u64_at(&header, 8) {
            Some(size) if size >= 16 => Ok(Some((kind, 16, size))),
            _ => Err(invalid("a box of the MP4 file has an impossible size")),
        },
        1 => Ok(None),
        2..8 => Err(invalid("a box of the MP4 file has an impossible size")),
        _ => Ok(Some((kind, 8, size))),
    }
}

fn read_box<F: Read + Seek>(file: &mut F, at: u64, size: u64) -> io::Result<Vec<u8>> {
    if size > LARGEST_DESCRIPTION {
        return Err(invalid("the description of the MP4 file's tracks is too large"));
    }
    file.seek(SeekFrom::Start(at))?;
    let mut content = vec![0; size as usize];
    file.read_exact(&mut content)?;
    Ok(content)
}

fn read_moov(moov: &[u8], budget: &mut Budget) -> io::Result<(u32, Vec<MovieTrack>)> {
    let timescale =
        find(moov, &[b"mvhd"]).and_then(|mvhd| u32_at(mvhd, if mvhd.first() == Some(&1) { 20 } else { 12 }));
    let mut tracks = Vec::new();
    for (_, trak) in Boxes(moov).filter(|(kind, _)| kind == b"trak").take(MOST_TRACKS) {
        tracks.push(read_trak(trak, budget)?);
    }
    Ok((timescale.unwrap_or(1), tracks))
}

fn read_trak(trak: &[u8], budget: &mut Budget) -> io::Result<MovieTrack> {
    let incomplete = || invalid("the MP4 file describes a track incompletely");
    let tkhd = find(trak, &[b"tkhd"]).ok_or_else(incomplete)?;
    let mdhd = find(trak, &[b"mdia", b"mdhd"]).ok_or_else(incomplete)?;
    let hdlr = find(trak, &[b"mdia", b"hdlr"]).ok_or_else(incomplete)?;
    let stbl = find(trak, &[b"mdia", b"minf", b"stbl"]).ok_or_else(incomplete)?;
    let entry = find(stbl, &[b"stsd"]).and_then(|stsd| stsd.get(8..)).unwrap_or_default();
    let (codec, description) = Boxes(entry).next().unwrap_or_default();
    let version_1 = |content: &[u8]| content.first() == Some(&1);
    let mut track = MovieTrack {
        id: u32_at(tkhd, if version_1(tkhd) { 20 } else { 12 }).ok_or_else(incomplete)?,
        video: hdlr.get(8..12) == Some(b"vide"),
        name: text(hdlr.get(24..).unwrap_or_default()),
        codec,
        timescale: u32_at(mdhd, if version_1(mdhd) { 20 } else { 12 })
            .filter(|rate| *rate > 0)
            .ok_or_else(incomplete)?,
        ..MovieTrack::default()
    };
    if track.video {
        track.width = u16_at(description, 24).unwrap_or(0);
        track.height = u16_at(description, 26).unwrap_or(0);
        // Boxes follow the 78 bytes of a visual sample entry (ISO/IEC 14496-12 §12.1.3).
        track.avcc = find(description.get(78..).unwrap_or_default(), &[b"avcC"]).unwrap_or_default().to_vec();
    } else {
        track.channels = u16_at(description, 16).unwrap_or(0);
    }
    read_edits(find(trak, &[b"edts", b"elst"]).unwrap_or_default(), &mut track);
    read_tables(stbl, &mut track, budget)?;
    Ok(track)
}

fn read_edits(elst: &[u8], track: &mut MovieTrack) {
    let long = elst.first() == Some(&1);
    let entries = elst.get(8..).unwrap_or_default().chunks_exact(if long { 20 } else { 12 });
    for entry in entries.take(16) {
        let (duration, time) = if long {
            (u64_at(entry, 0).unwrap_or(0), u64_at(entry, 8).unwrap_or(0) as i64)
        } else {
            (u64::from(u32_at(entry, 0).unwrap_or(0)), i64::from(u32_at(entry, 4).unwrap_or(0) as i32))
        };
        if time < 0 {
            track.delay += duration as f64;
        } else {
            track.skip = time.unsigned_abs();
        }
    }
}
