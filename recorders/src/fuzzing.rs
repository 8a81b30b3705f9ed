//! File readers for the fuzz targets in `fuzz/`; not part of the public API.

use std::io::{self, Cursor};

use blink_api::RtpTime;

use crate::RecordingInfo;
use crate::analysis::analyze_log;
use crate::inspection::{Content, repaired, write_track};
use crate::opus_packet;
use crate::rtp_log::captures;

/// Reads a file of any format.
///
/// # Errors
/// As [`info`](crate::info).
pub fn read_info(file: &[u8]) -> io::Result<RecordingInfo> {
    Content::read(&mut Cursor::new(file)).map(|content| RecordingInfo::of(&content))
}

/// Repairs a file of any format; `None` if it is complete.
///
/// # Errors
/// As [`repair`](crate::repair).
pub fn repair(file: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut source = Cursor::new(file);
    let content = Content::read(&mut source)?;
    if content.is_complete() {
        return Ok(None);
    }
    let mut copy = Cursor::new(Vec::new());
    repaired(&content, &mut source, &mut copy)?;
    Ok(Some(copy.into_inner()))
}

/// Exports a file of any format; returns the size of all exported files.
///
/// # Errors
/// As [`export`](crate::export).
pub fn export(file: &[u8]) -> io::Result<usize> {
    let mut source = Cursor::new(file);
    match Content::read(&mut source)? {
        Content::Mp4(movie) => {
            let mut out = Vec::new();
            movie.tracks.iter().try_for_each(|track| write_track(&mut source, track, &mut out))?;
            Ok(out.len())
        }
        Content::RtpLog(log) => Ok(captures::rtpdump(&log).len() + captures::pcapng(&log).len()),
        Content::Wav(_) => Ok(0),
    }
}

/// Analyses an RTP log; returns its packets.
///
/// # Errors
/// As [`analyze`](crate::analyze).
pub fn count_packets(log: &[u8]) -> io::Result<u64> {
    let analysis = analyze_log(log)?;
    // Drawing must not fail either.
    crate::delay_svg(&analysis);
    Ok(analysis.tracks.iter().map(|track| track.packets + track.duplicates).sum())
}

/// Bytes of the blocks of a payload of redundant audio, and the time of the first.
pub fn red(payload: &[u8], timestamp: u32) -> Option<(usize, RtpTime)> {
    let blocks = opus_packet::red_blocks(payload);
    let first = blocks.first()?;
    Some((blocks.iter().map(|block| block.payload.len()).sum(), RtpTime(timestamp.wrapping_sub(first.earlier))))
}
