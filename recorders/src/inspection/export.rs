//! Export to a file per track, or to captures of packets.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use blink_api::{Error, ErrorKind, Result, private};
use ogg::writing::{PacketWriteEndInfo, PacketWriter};

use super::{Content, beside, failed};
use crate::box_reader::{Movie, MovieTrack, SampleRef};
use crate::opus_packet::PRE_SKIP;
use crate::rtp_log::captures;
use crate::rtp_log::records::Log;

/// Exports a file into a directory, or beside it: an MP4 file to a file per track (`.opus`,
/// `.ivf`, `.h264`), an RTP log to `.rtpdump` and `.pcapng`. Returns the files.
///
/// # Errors
/// As [`info`](super::info), [`Unsupported`](ErrorKind::Unsupported) for a WAV file, which every
/// program reads, and [`Io`](ErrorKind::Io) where a file cannot be written. Existing files are not
/// replaced.
pub fn export(path: &Path, directory: Option<&Path>) -> Result<Vec<PathBuf>> {
    let (mut file, content) = Content::open(path)?;
    match content {
        Content::Wav(_) => {
            Err(Error::new(ErrorKind::Unsupported, "a WAV file needs no export: every program reads it")
                .with("path", path.display()))
        }
        Content::Mp4(movie) => export_movie(path, directory, &mut file, &movie),
        Content::RtpLog(log) => export_log(path, directory, &log),
    }
}

fn export_movie(path: &Path, directory: Option<&Path>, file: &mut File, movie: &Movie) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for (number, track) in (1..).zip(&movie.tracks).filter(|(_, track)| !track.samples.is_empty()) {
        let Some(extension) = extension(track) else { continue };
        let target = beside(path, directory, &format!("-track{number}"), extension);
        let written = create_whole(&target, |out| {
            let mut out = BufWriter::new(out);
            write_track(file, track, &mut out)?;
            out.flush()
        });
        written.map_err(|source| failed("a track cannot be exported", &target, source))?;
        files.push(target);
    }
    Ok(files)
}

fn export_log(path: &Path, directory: Option<&Path>, log: &Log) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for (extension, content) in [("rtpdump", captures::rtpdump(log)), ("pcapng", captures::pcapng(log))] {
        let target = beside(path, directory, "", extension);
        let written = create_whole(&target, |out| out.write_all(&content));
        written.map_err(|source| failed("the log cannot be exported", &target, source))?;
        files.push(target);
    }
    Ok(files)
}

/// Creates a file and fills it; one that cannot be completed is removed.
fn create_whole(target: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut file = private::create_new(target)?;
    fill(&mut file).inspect_err(|_| {
        // It may be gone already.
        std::fs::remove_file(target).ok();
    })
}

/// Reads one sample, which is within the file.
pub(super) fn read_sample<F: Read + Seek>(file: &mut F, sample: &SampleRef) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    file.seek(SeekFrom::Start(sample.offset))?;
    file.take(u64::from(sample.size)).read_to_end(&mut data)?;
    Ok(data)
}

/// Ending of a track's file; `None` for a codec that is not exported.
fn extension(track: &MovieTrack) -> Option<&'static str> {
    match &track.codec {
        b"Opus" => Some("opus"),
        b"vp08" => Some("ivf"),
        b"avc3" | b"avc1" => Some("h264"),
        _ => None,
    }
}

/// Writes a track in the simplest format of its codec.
pub(crate) fn write_track<F: Read + Seek>(file: &mut F, track: &MovieTrack, out: &mut impl Write) -> io::Result<()> {
    match &track.codec {
        b"Opus" => write_ogg(file, track, out),
        b"vp08" => write_ivf(file, track, out),
        _ => write_annex_b(file, track, out),
    }
}

/// Ogg Opus (RFC 7845).
fn write_ogg<F: Read + Seek>(file: &mut F, track: &MovieTrack, out: &mut impl Write) -> io::Result<()> {
    let mut writer = PacketWriter::new(out);
    let mut head = b"OpusHead\x01".to_vec();
    head.push(track.channels.clamp(1, 2) as u8);
    head.extend(u16::try_from(track.skip).unwrap_or(PRE_SKIP).to_le_bytes());
    head.extend(48_000u32.to_le_bytes());
    head.extend([0, 0, 0]);
    writer.write_packet(head, track.id, PacketWriteEndInfo::EndPage, 0)?;
    let mut tags = b"OpusTags".to_vec();
    for text in ["blink", &format!("TITLE={}", track.name)] {
        if text != "blink" {
            tags.extend(1u32.to_le_bytes());
        }
        tags.extend((text.len() as u32).to_le_bytes());
        tags.extend(text.as_bytes());
    }
    writer.write_packet(tags, track.id, PacketWriteEndInfo::EndPage, 0)?;
    for (index, sample) in track.samples.iter().enumerate() {
        let last = index + 1 == track.samples.len();
        let end = if last { PacketWriteEndInfo::EndStream } else { PacketWriteEndInfo::NormalPacket };
        let position = sample.position.saturating_add(u64::from(sample.ticks));
        writer.write_packet(read_sample(file, sample)?, track.id, end, position)?;
    }
    Ok(())
}

/// IVF, in units of the track's timescale.
fn write_ivf<F: Read + Seek>(file: &mut F, track: &MovieTrack, out: &mut impl Write) -> io::Result<()> {
    out.write_all(b"DKIF\0\0\x20\0VP80")?;
    out.write_all(&track.width.to_le_bytes())?;
    out.write_all(&track.height.to_le_bytes())?;
    out.write_all(&track.timescale.to_le_bytes())?;
    out.write_all(&1u32.to_le_bytes())?;
    out.write_all(&(track.samples.len() as u32).to_le_bytes())?;
    out.write_all(&[0; 4])?;
    for sample in &track.samples {
        let data = read_sample(file, sample)?;
        out.write_all(&(data.len() as u32).to_le_bytes())?;
        out.write_all(&sample.position.to_le_bytes())?;
        out.write_all(&data)?;
    }
    Ok(())
}

/// H.264 in the byte stream format.
fn write_annex_b<F: Read + Seek>(file: &mut F, track: &MovieTrack, out: &mut impl Write) -> io::Result<()> {
    for sample in &track.samples {
        let data = read_sample(file, sample)?;
        let mut rest = &data[..];
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            let (unit, after) = after
                .split_at_checked(length)
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a frame is damaged"))?;
            out.write_all(&[0, 0, 0, 1])?;
            out.write_all(unit)?;
            rest = after;
        }
    }
    Ok(())
}
