//! Parser of H.264 files in the byte stream format (H.264 Annex B): NAL units with start codes and
//! without timestamps.

use std::time::Duration;

use blink_api::{CodecName, Error, ErrorKind, Result, RtpCodec, VideoFormat};
use bytes::{BufMut, Bytes, BytesMut};
use h264_reader::nal::sps::SeqParameterSet;
use h264_reader::rbsp::{BitReader, decode_nal};

use super::{ClipFrame, EncodedClip, check, mean_rate};
use crate::file::invalid;

/// Frame rate of files without timing information, as in ffmpeg.
const DEFAULT_RATE: f64 = 25.0;

/// Start code before each NAL unit in the output.
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// NAL unit types (`nal_unit_type`, H.264 table 7-1).
mod kind {
    pub(super) const SLICE: u8 = 1;
    pub(super) const IDR: u8 = 5;
    pub(super) const SPS: u8 = 7;
    pub(super) const PPS: u8 = 8;
    pub(super) const DELIMITER: u8 = 9;
    pub(super) const FILLER: u8 = 12;
}

/// Parses a whole file.
pub(crate) fn parse(file: &Bytes) -> Result<EncodedClip> {
    let mut frames = Vec::new();
    let mut unit = AccessUnit::default();
    let mut parameters = Vec::new();
    let mut sps = None;
    for nal in nal_units(file)? {
        check_nal(&nal).map_err(|error| error.with("frame", frames.len()))?;
        if unit.ends_before(&nal) {
            frames.push(std::mem::take(&mut unit).finish(&mut parameters));
        }
        match nal[0] & 0x1f {
            // Redundant, since frames are delimited by their slices.
            kind::DELIMITER..=kind::FILLER => {}
            kind::SPS => {
                sps.get_or_insert_with(|| nal.clone());
                unit.nals.push(nal);
            }
            _ => unit.nals.push(nal),
        }
    }
    if unit.has_picture() {
        frames.push(unit.finish(&mut parameters));
    }
    if frames.is_empty() {
        return Err(invalid("the file contains no frame"));
    }
    let sps = sps.ok_or_else(|| invalid("the file has no sequence parameter set"))?;
    let (codec, width, height, rate) = read_sps(&sps)?;
    let duration = Duration::from_secs_f64(1.0 / rate);
    let frames: Vec<_> = frames.into_iter().map(|(data, key)| ClipFrame { data, key, duration }).collect();
    check(&frames)?;
    Ok(EncodedClip { codec, format: VideoFormat { width, height, frame_rate: mean_rate(&frames) }, frames })
}

/// NAL units of one frame.
#[derive(Default)]
struct AccessUnit {
    nals: Vec<Bytes>,
}

impl AccessUnit {
    fn has(&self, wanted: u8) -> bool {
        self.nals.iter().any(|nal| nal[0] & 0x1f == wanted)
    }

    fn has_picture(&self) -> bool {
        self.has(kind::SLICE) || self.has(kind::IDR)
    }

    /// Returns whether `nal` starts the next frame (H.264 §7.4.1.2.3). Slices of a frame are in
    /// order, so the slice with the first macroblock starts a new frame.
    fn ends_before(&self, nal: &[u8]) -> bool {
        let begins = match nal[0] & 0x1f {
            kind::SLICE | kind::IDR => nal[1] & 0x80 != 0,
            6..=9 | 14..=18 => true,
            _ => false,
        };
        begins && self.has_picture()
    }

    /// Serialises the frame; returns it and whether it is a key frame. Key frames without parameter
    /// sets get the latest ones, so that decoding can start at any of them.
    fn finish(self, parameters: &mut Vec<Bytes>) -> (Bytes, bool) {
        let is_parameter = |nal: &&Bytes| matches!(nal[0] & 0x1f, kind::SPS | kind::PPS);
        let whole = self.has(kind::SPS) && self.has(kind::PPS);
        if whole {
            *parameters = self.nals.iter().filter(is_parameter).cloned().collect();
        }
        let missing = self.has(kind::IDR) && !whole;
        let before: &[Bytes] = if missing { parameters } else { &[] };
        let key = self.has(kind::IDR) && (whole || !parameters.is_empty());
        let mut data = BytesMut::new();
        for nal in before.iter().chain(&self.nals) {
            data.put_slice(&START_CODE);
            data.put_slice(nal);
        }
        (data.freeze(), key)
    }
}

/// Splits at start codes and strips the zeros around NAL units.
fn nal_units(file: &Bytes) -> Result<Vec<Bytes>> {
    let codes: Vec<usize> =
        file.windows(3).enumerate().filter(|(_, code)| *code == [0, 0, 1]).map(|(at, _)| at).collect();
    let Some(first) = codes.first() else { return Err(invalid("the file has no H.264 start code")) };
    if file[..*first].iter().any(|byte| *byte != 0) {
        return Err(invalid("the file does not begin with an H.264 start code"));
    }
    let ends = codes.iter().skip(1).copied().chain([file.len()]);
    let units = codes.iter().zip(ends).map(|(code, end)| {
        let nal = file.slice(code + 3..end);
        let zeros = nal.iter().rev().take_while(|byte| **byte == 0).count();
        nal.slice(..nal.len() - zeros)
    });
    Ok(units.filter(|nal| !nal.is_empty()).collect())
}

fn check_nal(nal: &[u8]) -> Result<()> {
    let kind = nal[0] & 0x1f;
    let slice = matches!(kind, kind::SLICE | kind::IDR);
    if nal[0] & 0x80 != 0 || kind == 0 || kind >= 24 || slice && nal.len() < 2 {
        return Err(invalid("the file is not H.264, or damaged"));
    }
    let unsupported = |why: &'static str| Err(Error::new(ErrorKind::Unsupported, why));
    if matches!(kind, 2..=4) {
        return unsupported("H.264 with data partitioning is not supported");
    }
    // `first_mb_in_slice` is 0 (one bit: 1), then `slice_type` (Exp-Golomb) is 1 (010) or 6
    // (00111): H.264 §7.3.3, table 7-6.
    let bidirectional = slice && (nal[1] & 0xf0 == 0xa0 || nal[1] & 0xfc == 0x9c);
    if bidirectional {
        return unsupported("H.264 with B frames is not supported: calls carry frames in presentation order");
    }
    Ok(())
}

/// Parses codec, width, height and frame rate from a sequence parameter set.
fn read_sps(nal: &[u8]) -> Result<(RtpCodec, u32, u32, f64)> {
    let broken = || invalid("the sequence parameter set is damaged");
    let bits = decode_nal(nal).map_err(|source| broken().source(source))?;
    let sps = SeqParameterSet::from_bits(BitReader::new(&*bits))
        .map_err(|source| broken().with("why", format!("{source:?}")))?;
    let (width, height) = sps.pixel_dimensions().map_err(|source| broken().with("why", format!("{source:?}")))?;
    let rate = sps.fps().filter(|rate| (1.0..=240.0).contains(rate)).unwrap_or(DEFAULT_RATE);
    let [profile, constraints, level] = nal.get(1..).and_then(<[u8]>::first_chunk).copied().ok_or_else(broken)?;
    let fmtp = format!(
        "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile:02x}{constraints:02x}{level:02x}"
    );
    let codec = RtpCodec { name: CodecName::new("H264"), clock_rate: 90_000, channels: 0, fmtp };
    Ok((codec, width, height, rate))
}
