//! Parser of IVF files: a header of 32 bytes with the codec, then frames, each with its length and
//! timestamp.

use std::time::Duration;

use blink_api::{CodecName, Error, ErrorKind, Result, RtpCodec, VideoFormat};
use bytes::Bytes;

use super::{ClipFrame, EncodedClip, check, mean_rate};
use crate::file::invalid;

/// Size of a frame header: length (32 bits) and timestamp in units of the header's time base (64
/// bits), little endian.
const FRAME_HEADER: usize = 12;

/// IVF file header.
struct Header {
    /// Offset of the first frame.
    length: usize,
    codec: [u8; 4],
    /// Time base: a unit is `scale / rate` seconds.
    rate: u32,
    scale: u32,
}

/// Parses a whole file.
pub(crate) fn parse(file: &Bytes) -> Result<EncodedClip> {
    let header = header(file)?;
    if &header.codec != b"VP80" {
        let codec = String::from_utf8_lossy(&header.codec).into_owned();
        return Err(Error::new(ErrorKind::Unsupported, "only IVF files with VP8 are supported").with("codec", codec));
    }
    let mut frames: Vec<ClipFrame> = Vec::new();
    let mut size = None;
    let mut before: Option<u128> = None;
    let mut rest = file.slice(header.length..);
    for number in 0.. {
        if rest.is_empty() {
            break;
        }
        let at_frame = |error: Error| error.with("frame", number);
        let (data, time) = next_frame(&mut rest).map_err(at_frame)?;
        // Encoders write an empty frame for each one they drop.
        if data.is_empty() {
            continue;
        }
        let time = u128::from(time) * u128::from(header.scale) * 1_000_000_000 / u128::from(header.rate);
        if let (Some(before), Some(last)) = (before, frames.last_mut()) {
            let gap = time.checked_sub(before).ok_or_else(|| at_frame(invalid("the frame timestamps go back")))?;
            last.duration = Duration::from_nanos(u64::try_from(gap).unwrap_or(u64::MAX));
        }
        before = Some(time);
        let key = key_size(&data).map_err(at_frame)?;
        size = size.or(key);
        frames.push(ClipFrame { data, key: key.is_some(), duration: Duration::ZERO });
    }
    let unit = Duration::from_secs_f64(f64::from(header.scale) / f64::from(header.rate));
    let before_last = frames.len().checked_sub(2).map_or(unit, |number| frames[number].duration);
    if let Some(last) = frames.last_mut() {
        last.duration = before_last;
    }
    check(&frames)?;
    let (width, height) = size.unwrap_or_default();
    let codec = RtpCodec { name: CodecName::new("VP8"), clock_rate: 90_000, channels: 0, fmtp: String::new() };
    Ok(EncodedClip { codec, format: VideoFormat { width, height, frame_rate: mean_rate(&frames) }, frames })
}

fn header(file: &[u8]) -> Result<Header> {
    if !file.starts_with(b"DKIF") {
        return Err(invalid("this is not an IVF file"));
    }
    let truncated = || invalid("the file is truncated within its header");
    let length = usize::from(u16::from_le_bytes(array(file, 6).ok_or_else(truncated)?));
    if file.len() < length.max(32) {
        return Err(truncated());
    }
    let header = Header {
        length: length.max(32),
        codec: array(file, 8).ok_or_else(truncated)?,
        rate: u32::from_le_bytes(array(file, 16).ok_or_else(truncated)?),
        scale: u32::from_le_bytes(array(file, 20).ok_or_else(truncated)?),
    };
    if header.rate == 0 || header.scale == 0 {
        return Err(invalid("the header's time base is 0"));
    }
    Ok(header)
}

/// Takes the next frame and its timestamp.
fn next_frame(rest: &mut Bytes) -> Result<(Bytes, u64)> {
    let truncated = || invalid("the file is truncated within a frame");
    let length = u32::from_le_bytes(array(rest, 0).ok_or_else(truncated)?);
    let time = u64::from_le_bytes(array(rest, 4).ok_or_else(truncated)?);
    let length = usize::try_from(length).map_err(|_| truncated())?;
    let mut frame = rest.split_off(FRAME_HEADER);
    if frame.len() < length {
        return Err(truncated());
    }
    *rest = frame.split_off(length);
    Ok((frame, time))
}

/// Width and height of a key frame (RFC 6386 §9.1); `None` for other frames.
fn key_size(frame: &[u8]) -> Result<Option<(u32, u32)>> {
    let tag: [u8; 3] = array(frame, 0).ok_or_else(|| invalid("a frame is too short for VP8"))?;
    if tag[0] & 1 != 0 {
        return Ok(None);
    }
    // The upper two bits of each dimension are a scaling factor.
    let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
    match array(frame, 3) {
        Some([0x9d, 0x01, 0x2a, width, width_high, height, height_high]) => {
            Ok(Some((side(width, width_high), side(height, height_high))))
        }
        _ => Err(invalid("a frame is not VP8")),
    }
}

/// Reads `N` bytes at an offset, if available.
fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}
