//! MP4 files, read with bounded memory and time: complete ones, and ones that grow by fragments.
//!
//! Only what samples depend on is read. Every count is checked against the bytes that are there,
//! every position against the file, and nothing recurses.

use std::io::{self, Read, Seek, SeekFrom};

/// Boxes at the top level, at most.
const MOST_BOXES: u32 = 2_000_000;
/// Bytes of one `moov` or `moof`, at most.
const LARGEST_DESCRIPTION: u64 = 64 << 20;
/// Samples of all tracks, at most: ten hours of four tracks.
const MOST_SAMPLES: usize = 8_000_000;
const MOST_TRACKS: usize = 1_024;
const LONGEST_NAME: usize = 256;

/// A file's description and samples.
#[derive(Debug, Clone, Default)]
pub(crate) struct Movie {
    /// Whether the file was completed; otherwise it has fragments.
    pub(crate) complete: bool,
    pub(crate) tracks: Vec<MovieTrack>,
    /// The first `moov`, header included, and its position.
    pub(crate) moov: Vec<u8>,
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
        let mut budget = MOST_SAMPLES;
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
                    if movie.moov.is_empty() {
                        (movie.moov, movie.moov_at) = (content, at);
                    }
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
        if movie.moov.is_empty() {
            return Err(invalid("the MP4 file does not describe its tracks"));
        }
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

/// Boxes within a box.
struct Boxes<'a>(&'a [u8]);

impl<'a> Iterator for Boxes<'a> {
    type Item = ([u8; 4], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let size = u32_at(self.0, 0)? as usize;
        let kind = *self.0.get(4..8)?.first_chunk()?;
        let (header, size) = match size {
            0 => (8, self.0.len()),
            1 => (16, usize::try_from(u64_at(self.0, 8)?).ok()?),
            _ => (8, size),
        };
        let body = self.0.get(header..size)?;
        self.0 = &self.0[size..];
        Some((kind, body))
    }
}

fn has_box(content: &[u8], wanted: &[u8; 4]) -> bool {
    Boxes(content).any(|(kind, _)| kind == *wanted)
}

/// The box at a path of types.
fn find<'a>(content: &'a [u8], path: &[&[u8; 4]]) -> Option<&'a [u8]> {
    path.iter()
        .try_fold(content, |content, wanted| Boxes(content).find(|(kind, _)| kind == *wanted).map(|(_, body)| body))
}

fn read_moov(moov: &[u8], budget: &mut usize) -> io::Result<(u32, Vec<MovieTrack>)> {
    let timescale =
        find(moov, &[b"mvhd"]).and_then(|mvhd| u32_at(mvhd, if mvhd.first() == Some(&1) { 20 } else { 12 }));
    let mut tracks = Vec::new();
    for (_, trak) in Boxes(moov).filter(|(kind, _)| kind == b"trak").take(MOST_TRACKS) {
        tracks.push(read_trak(trak, budget)?);
    }
    Ok((timescale.unwrap_or(1), tracks))
}

fn read_trak(trak: &[u8], budget: &mut usize) -> io::Result<MovieTrack> {
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

/// Reads the tables of samples (ISO/IEC 14496-12 §8.6, §8.7).
fn read_tables(stbl: &[u8], track: &mut MovieTrack, budget: &mut usize) -> io::Result<()> {
    let damaged = || invalid("the MP4 file's sample tables are damaged");
    let stsz = find(stbl, &[b"stsz"]).unwrap_or_default();
    let (each, count) = (u32_at(stsz, 4).unwrap_or(0), u32_at(stsz, 8).unwrap_or(0) as usize);
    if count == 0 {
        return Ok(());
    }
    *budget = budget.checked_sub(count).ok_or_else(|| invalid("the MP4 file has too many samples"))?;
    let sizes = stsz.get(12..).unwrap_or_default();
    if each == 0 && sizes.len() / 4 < count {
        return Err(damaged());
    }
    let size = |index: usize| if each > 0 { Some(each) } else { u32_at(sizes, index * 4) };
    let mut durations = Runs::new(find(stbl, &[b"stts"]).unwrap_or_default(), 8);
    let offsets = match find(stbl, &[b"co64"]) {
        Some(co64) => Offsets { table: co64.get(8..).unwrap_or_default(), width: 8 },
        None => Offsets { table: find(stbl, &[b"stco"]).and_then(|stco| stco.get(8..)).unwrap_or_default(), width: 4 },
    };
    let runs = find(stbl, &[b"stsc"]).and_then(|stsc| stsc.get(8..)).unwrap_or_default();
    let mut run = 0;
    let mut position = 0u64;
    for chunk in 0.. {
        if track.samples.len() == count {
            break;
        }
        while u32_at(runs, (run + 1) * 12).is_some_and(|first| first as usize <= chunk + 1) {
            run += 1;
        }
        let in_chunk = u32_at(runs, run * 12 + 4).filter(|samples| *samples > 0).ok_or_else(damaged)?;
        let mut offset = offsets.at(chunk).ok_or_else(damaged)?;
        let in_chunk = (in_chunk as usize).min(count - track.samples.len());
        for _ in 0..in_chunk {
            let (size, ticks) = (size(track.samples.len()).ok_or_else(damaged)?, durations.next().ok_or_else(damaged)?);
            track.samples.push(SampleRef { offset, position, size, ticks, sync: !track.video });
            offset = offset.checked_add(u64::from(size)).ok_or_else(damaged)?;
            position = position.saturating_add(u64::from(ticks));
        }
        track.chunks.push(in_chunk as u32);
    }
    let sync = find(stbl, &[b"stss"]).and_then(|stss| stss.get(8..)).unwrap_or_default();
    for number in sync.chunks_exact(4).filter_map(|number| u32_at(number, 0)) {
        if let Some(sample) = (number as usize).checked_sub(1).and_then(|index| track.samples.get_mut(index)) {
            sample.sync = true;
        }
    }
    Ok(())
}

/// Durations in runs (`stts`).
struct Runs<'a> {
    table: &'a [u8],
    left: u32,
    ticks: u32,
}

impl<'a> Runs<'a> {
    fn new(content: &'a [u8], header: usize) -> Self {
        Self { table: content.get(header..).unwrap_or_default(), left: 0, ticks: 0 }
    }

    fn next(&mut self) -> Option<u32> {
        while self.left == 0 {
            (self.left, self.ticks) = (u32_at(self.table, 0)?, u32_at(self.table, 4)?);
            self.table = &self.table[8..];
        }
        self.left -= 1;
        Some(self.ticks)
    }
}

struct Offsets<'a> {
    table: &'a [u8],
    width: usize,
}

impl Offsets<'_> {
    fn at(&self, index: usize) -> Option<u64> {
        let at = index.checked_mul(self.width)?;
        if self.width == 8 { u64_at(self.table, at) } else { u32_at(self.table, at).map(u64::from) }
    }
}

/// Reads a fragment (ISO/IEC 14496-12 §8.8).
fn read_moof(moof: &[u8], moof_at: u64, tracks: &mut [MovieTrack], budget: &mut usize) -> io::Result<()> {
    let damaged = || invalid("a fragment of the MP4 file is damaged");
    for (_, traf) in Boxes(moof).filter(|(kind, _)| kind == b"traf") {
        let tfhd = find(traf, &[b"tfhd"]).ok_or_else(damaged)?;
        let id = u32_at(tfhd, 4).ok_or_else(damaged)?;
        let track = tracks.iter_mut().find(|track| track.id == id).ok_or_else(damaged)?;
        let flags = u32_at(tfhd, 0).unwrap_or(0);
        let mut fields = Fields(tfhd.get(8..).unwrap_or_default());
        let base = fields.u64_if(flags & 1 != 0).unwrap_or(moof_at);
        fields.u32_if(flags & 2 != 0);
        let default_ticks = fields.u32_if(flags & 8 != 0).unwrap_or(0);
        let default_size = fields.u32_if(flags & 0x10 != 0).unwrap_or(0);
        let mut position = match find(traf, &[b"tfdt"]) {
            Some(tfdt) if tfdt.first() == Some(&1) => u64_at(tfdt, 4).ok_or_else(damaged)?,
            Some(tfdt) => u64::from(u32_at(tfdt, 4).ok_or_else(damaged)?),
            None => track.end(),
        };
        for (_, trun) in Boxes(traf).filter(|(kind, _)| kind == b"trun") {
            let (flags, count) = (u32_at(trun, 0).ok_or_else(damaged)?, u32_at(trun, 4).ok_or_else(damaged)?);
            *budget = budget.checked_sub(count as usize).ok_or_else(|| invalid("the MP4 file has too many samples"))?;
            let mut fields = Fields(trun.get(8..).unwrap_or_default());
            let shift = fields.u32_if(flags & 1 != 0).unwrap_or(0) as i32;
            fields.u32_if(flags & 4 != 0);
            let mut offset = base.checked_add_signed(shift.into()).ok_or_else(damaged)?;
            for _ in 0..count {
                let ticks = fields.value(flags & 0x100 != 0, default_ticks).ok_or_else(damaged)?;
                let size = fields.value(flags & 0x200 != 0, default_size).ok_or_else(damaged)?;
                let sample_flags = fields.value(flags & 0x400 != 0, 0).ok_or_else(damaged)?;
                fields.value(flags & 0x800 != 0, 0).ok_or_else(damaged)?;
                let sync = !track.video || flags & 0x400 != 0 && sample_flags & 0x0001_0000 == 0;
                track.samples.push(SampleRef { offset, position, size, ticks, sync });
                offset = offset.checked_add(u64::from(size)).ok_or_else(damaged)?;
                position = position.saturating_add(u64::from(ticks));
            }
            if count > 0 {
                track.chunks.push(count);
            }
        }
    }
    Ok(())
}

/// Optional fields behind each other.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn u32_if(&mut self, present: bool) -> Option<u32> {
        let value = present.then(|| u32_at(self.0, 0)).flatten()?;
        self.0 = &self.0[4..];
        Some(value)
    }

    fn u64_if(&mut self, present: bool) -> Option<u64> {
        let value = present.then(|| u64_at(self.0, 0)).flatten()?;
        self.0 = &self.0[8..];
        Some(value)
    }

    /// The field, or the default where it is absent; `None` where it is cut off.
    fn value(&mut self, present: bool, default: u32) -> Option<u32> {
        if present { self.u32_if(true) } else { Some(default) }
    }
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()).min(LONGEST_NAME);
    String::from_utf8_lossy(&bytes[..end]).chars().filter(|letter| !letter.is_control()).collect()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_be_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_be_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_be_bytes)
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
