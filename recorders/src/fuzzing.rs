//! File readers for the fuzz targets in `fuzz/`; not part of the public API.

use std::io::Cursor;

use blink_api::RtpTime;

use crate::RecordingInfo;
use crate::analysis::analyze_log;
use crate::inspection::Content;
use crate::opus_packet;

/// Reads a file of any format.
///
/// # Errors
/// As [`info`](crate::info).
pub fn read_info(file: &[u8]) -> std::io::Result<RecordingInfo> {
    Content::read(&mut Cursor::new(file)).map(|content| RecordingInfo::of(&content))
}

/// Analyses an RTP log; returns its packets.
///
/// # Errors
/// As [`analyze`](crate::analyze).
pub fn count_packets(log: &[u8]) -> std::io::Result<u64> {
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
