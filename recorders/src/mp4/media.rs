//! Sample entries and samples of the codecs that an MP4 file holds.

use blink_api::RtpCodec;
use h264_reader::nal::sps::SeqParameterSet;
use h264_reader::rbsp::{BitReader, decode_nal};
use mp4_atom::{Audio, Avc3, Avcc, Codec, Dops, Opus, Visual, Vp08, VpcC};

use crate::box_reader::MovieTrack;
use crate::opus_packet::PRE_SKIP;
use crate::timeline;

/// The codec of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Opus { channels: u8 },
    H264,
    Vp8,
}

impl Kind {
    /// The kind of a codec as SDP names it; `None` where an MP4 file cannot hold it.
    pub(crate) fn of(codec: &RtpCodec) -> Option<Self> {
        match codec.name.as_str().to_ascii_lowercase().as_str() {
            "opus" => {
                let stereo = codec.fmtp.split(';').any(|parameter| parameter.trim() == "sprop-stereo=1");
                Some(Self::Opus { channels: if stereo { 2 } else { 1 } })
            }
            "h264" => Some(Self::H264),
            "vp8" => Some(Self::Vp8),
            _ => None,
        }
    }
}

/// Content of a track's sample description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Media {
    Opus { channels: u8 },
    H264 { sps: Vec<u8>, pps: Vec<u8>, width: u16, height: u16 },
    Vp8 { width: u16, height: u16 },
}

impl Media {
    /// Describes a stream by its key frame; `None` where that cannot be decoded.
    pub(crate) fn of_key_frame(kind: Kind, frame: &[u8]) -> Option<Self> {
        match kind {
            Kind::Opus { channels } => Some(Self::Opus { channels }),
            Kind::H264 => {
                let units = nal_units(frame);
                let of_kind = |wanted: u8| units.iter().copied().find(|unit| unit[0] & 0x1f == wanted);
                let (sps, pps) = (of_kind(7)?, of_kind(8)?);
                let bits = decode_nal(sps).ok()?;
                let parsed = SeqParameterSet::from_bits(BitReader::new(&*bits)).ok()?;
                let (width, height) = parsed.pixel_dimensions().ok()?;
                let (width, height) = (u16::try_from(width).ok()?, u16::try_from(height).ok()?);
                // avcC counts the length of a parameter set in 16 bits.
                let fits = sps.len() >= 4 && sps.len() <= 1_024 && pps.len() <= 1_024;
                fits.then(|| Self::H264 { sps: sps.to_vec(), pps: pps.to_vec(), width, height })
            }
            // RFC 6386 §9.1: frame tag, start code, width and height of 14 bits.
            Kind::Vp8 => match frame {
                [first, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..] if first & 1 == 0 => {
                    let size = |low: u8, high: u8| u16::from_le_bytes([low, high]) & 0x3fff;
                    Some(Self::Vp8 { width: size(*w0, *w1), height: size(*h0, *h1) })
                }
                _ => None,
            },
        }
    }

    /// Describes the stream of a track of a file; `None` for one that this recorder does not write.
    pub(crate) fn of_track(track: &MovieTrack) -> Option<Self> {
        let (width, height) = (track.width, track.height);
        match &track.codec {
            b"Opus" => Some(Self::Opus { channels: track.channels.clamp(1, 2) as u8 }),
            b"avc3" | b"avc1" => {
                let (sps, pps) = parameter_sets(&track.avcc)?;
                Some(Self::H264 { sps, pps, width, height })
            }
            b"vp08" => Some(Self::Vp8 { width, height }),
            _ => None,
        }
    }

    pub(crate) fn is_audio(&self) -> bool {
        matches!(self, Self::Opus { .. })
    }

    /// Ticks per second.
    pub(crate) fn timescale(&self) -> u32 {
        if self.is_audio() { crate::opus_packet::RATE } else { timeline::FRAME_RATE }
    }

    /// Ticks that a decoder drops at the beginning.
    pub(crate) fn pre_skip(&self) -> u64 {
        if self.is_audio() { u64::from(PRE_SKIP) } else { 0 }
    }

    pub(crate) fn size(&self) -> (u16, u16) {
        match *self {
            Self::Opus { .. } => (0, 0),
            Self::H264 { width, height, .. } | Self::Vp8 { width, height } => (width, height),
        }
    }

    /// The sample entry; `None` for parameter sets that are too short.
    pub(crate) fn entry(&self) -> Option<Codec> {
        let (width, height) = self.size();
        let visual = Visual { data_reference_index: 1, width, height, ..Visual::default() };
        let codec = match self {
            Self::Opus { channels } => Opus {
                audio: Audio {
                    data_reference_index: 1,
                    channel_count: u16::from(*channels),
                    sample_size: 16,
                    sample_rate: 48_000u16.into(),
                },
                dops: Dops {
                    output_channel_count: *channels,
                    pre_skip: PRE_SKIP,
                    input_sample_rate: crate::opus_packet::RATE,
                    output_gain: 0,
                    channel_mapping: None,
                },
                btrt: None,
            }
            .into(),
            // `avc3`: parameter sets are in the key frames, so that the size may change.
            Self::H264 { sps, pps, .. } => Avc3 {
                visual,
                avcc: Avcc::new(sps, pps).ok()?,
                btrt: None,
                colr: None,
                pasp: None,
                taic: None,
                fiel: None,
                spatial: None,
            }
            .into(),
            Self::Vp8 { .. } => {
                let vpcc = VpcC { bit_depth: 8, chroma_subsampling: 1, level: 10, ..VpcC::default() };
                Vp08 { visual, vpcc, ..Vp08::default() }.into()
            }
        };
        Some(codec)
    }
}

/// The first parameter sets of an `avcC` box (ISO/IEC 14496-15 §5.3.3.1).
fn parameter_sets(avcc: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let set = |bytes: &[u8]| {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let (set, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        (!set.is_empty()).then(|| (set.to_vec(), rest.to_vec()))
    };
    let sps_count = avcc.get(5)? & 0x1f;
    let (sps, mut rest) = set(avcc.get(6..)?)?;
    for _ in 1..sps_count {
        (_, rest) = set(&rest)?;
    }
    let (pps, _) = set(rest.get(1..)?)?;
    (sps.len() >= 4).then_some((sps, pps))
}

/// A frame as a sample: H.264 with lengths instead of start codes (ISO/IEC 14496-15 §5.3.2).
pub(crate) fn sample(kind: Kind, frame: &[u8]) -> Vec<u8> {
    if kind != Kind::H264 {
        return frame.to_vec();
    }
    let mut sample = Vec::with_capacity(frame.len() + 16);
    for unit in nal_units(frame) {
        sample.extend_from_slice(&(unit.len() as u32).to_be_bytes());
        sample.extend_from_slice(unit);
    }
    sample
}

/// NAL units of a frame in the byte stream format (H.264 Annex B), none of them empty.
fn nal_units(frame: &[u8]) -> Vec<&[u8]> {
    let mut starts = Vec::new();
    let mut at = 0;
    while at + 3 <= frame.len() {
        if frame[at..at + 3] == [0, 0, 1] {
            starts.push(at + 3);
            at += 3;
        } else {
            at += 1;
        }
    }
    let ends = starts.iter().skip(1).map(|next| next - 3).chain([frame.len()]);
    let units = starts.iter().zip(ends).map(|(start, end)| {
        let unit = &frame[*start..end];
        let zeros = unit.iter().rev().take_while(|byte| **byte == 0).count();
        &unit[..unit.len() - zeros]
    });
    units.filter(|unit| !unit.is_empty()).collect()
}
