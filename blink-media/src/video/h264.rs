//! RTP payload format of H.264 (RFC 6184): single NAL units, STAP-A and FU-A, the three of
//! packetization modes 0 and 1.
//!
//! Not read by `rtc-rtp`, which panics on a STAP-A with one byte too many and does not notice
//! fragments that do not fit together.

use blink_api::{CodecName, FrameFragment, FramePacketizer, PayloadFormat, PayloadFormatCapabilities, RtpCodec};
use bytes::{BufMut, Bytes, BytesMut};

use rtc_rtp::codec::h264::H264Payloader;

use super::limits::CLOCK_RATE;
use super::rtc_packetizer::RtcPacketizer;

/// `nal_unit_type` (H.264 table 7-1, RFC 6184 table 1).
const IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;
const DELIMITER: u8 = 9;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// Bits in the second byte of an FU-A: a NAL unit begins, ends here (RFC 6184 §5.8).
const START: u8 = 0x80;
const END: u8 = 0x40;

/// Start code of NAL units in a byte stream (H.264 Annex B).
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// The payload format of H.264 (RFC 6184) in packetization mode 1.
pub(super) struct H264;

impl H264 {
    pub(super) const CAPABILITIES_OF_FORMAT: PayloadFormatCapabilities =
        PayloadFormatCapabilities { marks_frame_start: false };
}

impl PayloadFormat for H264 {
    fn capabilities(&self) -> PayloadFormatCapabilities {
        Self::CAPABILITIES_OF_FORMAT
    }

    fn rtp(&self) -> RtpCodec {
        RtpCodec {
            name: CodecName::new("H264"),
            clock_rate: CLOCK_RATE,
            channels: 0,
            fmtp: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f".to_owned(),
        }
    }

    fn packetizer(&self) -> Box<dyn FramePacketizer> {
        Box::new(RtcPacketizer(Box::new(H264Payloader::default())))
    }

    fn parse(&self, payload: &Bytes) -> Option<FrameFragment> {
        if payload.is_empty() {
            return Some(FrameFragment { data: Bytes::new(), begins: false, key: false });
        }
        read(payload)
    }

    fn join(&self, fragments: &[&FrameFragment]) -> Option<(Bytes, bool)> {
        join(fragments.iter().copied())
    }
}

/// Checks a payload from its first byte to its last.
fn read(payload: &Bytes) -> Option<FrameFragment> {
    let first = *payload.first()?;
    let fragment = |begins, key| Some(FrameFragment { data: payload.clone(), begins, key });
    let (begins, key) = (|kind| matches!(kind, SPS | DELIMITER), |kind| kind == IDR);
    match kind(first)? {
        single @ 1..=23 => fragment(begins(single), key(single)),
        STAP_A => {
            let kinds: Vec<u8> = Aggregated(&payload[1..]).map(|nal| kind(*nal?.first()?)).collect::<Option<_>>()?;
            let plain = !kinds.is_empty() && kinds.iter().all(|kind| (1..=23).contains(kind));
            plain.then(|| fragment(begins(kinds[0]), kinds.iter().any(|kind| key(*kind))))?
        }
        FU_A => {
            let header = *payload.get(1)?;
            let kind = header & 0x1f;
            let is_valid = (1..=23).contains(&kind) && header & (START | END) != START | END;
            is_valid.then(|| fragment(header & START != 0 && begins(kind), key(kind)))?
        }
        _ => None,
    }
}

/// Assembles an access unit in the byte stream format. A key frame has an IDR picture and its
/// parameter sets.
fn join<'a>(fragments: impl Iterator<Item = &'a FrameFragment> + Clone) -> Option<(Bytes, bool)> {
    let most = fragments.clone().map(|fragment| fragment.data.len() + 2 * START_CODE.len()).sum();
    let mut unit = AccessUnit { data: BytesMut::with_capacity(most), kinds: 0 };
    let mut open = false;
    for FrameFragment { data, .. } in fragments {
        let Some(&first) = data.first() else { continue };
        let kind = kind(first)?;
        if kind == FU_A {
            let header = *data.get(1)?;
            if (header & START != 0) == open {
                return None;
            }
            if header & START != 0 {
                unit.add(&[first & 0xe0 | header & 0x1f]);
            }
            unit.data.put_slice(&data[2..]);
            open = header & END == 0;
        } else if open {
            return None;
        } else if kind == STAP_A {
            for nal in Aggregated(&data[1..]) {
                unit.add(nal?);
            }
        } else {
            unit.add(data);
        }
    }
    let key = unit.has(IDR) && unit.has(SPS) && unit.has(PPS);
    (!open && !unit.data.is_empty()).then(|| (unit.data.freeze(), key))
}

/// Type of a NAL unit by its first byte; `None` where the forbidden bit is set.
fn kind(first: u8) -> Option<u8> {
    (first & 0x80 == 0).then_some(first & 0x1f)
}

struct AccessUnit {
    data: BytesMut,
    /// NAL unit types that were found, bit n for type n.
    kinds: u32,
}

impl AccessUnit {
    /// Adds a NAL unit, or its beginning.
    fn add(&mut self, nal: &[u8]) {
        self.data.put_slice(&START_CODE);
        self.data.put_slice(nal);
        self.kinds |= nal.first().map_or(0, |first| 1 << (first & 0x1f));
    }

    fn has(&self, kind: u8) -> bool {
        self.kinds & 1 << kind != 0
    }
}

/// NAL units of a STAP-A behind its first byte (RFC 6184 §5.7.1), each behind its length in two
/// bytes; `None` for one that is cut off.
struct Aggregated<'a>(&'a [u8]);

impl<'a> Iterator for Aggregated<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.0);
        let split = rest.split_first_chunk().and_then(|(length, rest)| {
            let length = usize::from(u16::from_be_bytes(*length));
            rest.split_at_checked(length)
        });
        Some(split.map(|(nal, rest)| {
            self.0 = rest;
            nal
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join_all(payloads: &[&'static [u8]]) -> Option<(Vec<u8>, bool)> {
        let fragments =
            payloads.iter().map(|payload| read(&Bytes::from_static(payload))).collect::<Option<Vec<_>>>()?;
        join(fragments.iter()).map(|(data, key)| (data.to_vec(), key))
    }

    #[test]
    fn parameter_sets_in_one_packet_and_a_picture_in_fragments_are_a_key_frame() {
        let sets = &[0x78, 0, 2, 0x67, 1, 0, 2, 0x68, 2];
        let whole = join_all(&[sets, &[0x7c, 0x85, 1], &[0x7c, 0x05, 2], &[0x7c, 0x45, 3]]);
        let data = [0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 2, 0, 0, 0, 1, 0x65, 1, 2, 3];
        assert_eq!(whole, Some((data.to_vec(), true)));
        assert_eq!(join_all(&[&[0x65, 1, 2]]), Some((vec![0, 0, 0, 1, 0x65, 1, 2], false)));
    }

    #[test]
    fn payloads_that_are_cut_off_or_of_other_kinds_are_refused() {
        for payload in [
            &[0x80][..],
            &[0xe5, 1],
            &[0x00, 1],
            &[0x78],
            &[0x78, 0],
            &[0x78, 0, 0],
            &[0x78, 0, 2, 0x67],
            &[0x78, 0, 2, 0x67, 1, 0],
            &[0x78, 0, 1, 0x78],
            &[0x78, 0, 1, 0xe7],
            &[0x7c],
            &[0x7c, 0xc5, 1],
            &[0x7c, 0x80, 1],
            &[0x7c, 0x98, 1],
            &[0x79, 1, 1],
            &[0x7d, 0x85, 1],
        ] {
            assert!(read(&Bytes::copy_from_slice(payload)).is_none(), "{payload:?}");
        }
    }

    #[test]
    fn fragments_that_do_not_fit_together_are_no_frame() {
        let (start, middle, end): (&[u8], &[u8], &[u8]) = (&[0x7c, 0x85, 1], &[0x7c, 0x05, 2], &[0x7c, 0x45, 3]);
        for payloads in [
            &[start][..],
            &[middle, end],
            &[start, start, end],
            &[start, &[0x65, 1], end],
            &[start, end, end],
            &[start, end, middle],
            &[],
        ] {
            assert_eq!(join_all(payloads), None, "{payloads:?}");
        }
        assert!(join_all(&[start, middle, end]).is_some());
    }
}
