//! RTP payload format of VP8 (RFC 7741).
//!
//! Not read by `rtc-rtp`, which refuses the short last packets of senders without picture ids.

use blink_api::{CodecName, FrameFragment, FramePacketizer, PayloadFormat, PayloadFormatCapabilities, RtpCodec};
use bytes::{Bytes, BytesMut};

use rtc_rtp::codec::vp8::Vp8Payloader;

use super::limits::CLOCK_RATE;
use super::rtc_packetizer::RtcPacketizer;

/// The payload format of VP8 (RFC 7741), with picture ids.
pub(super) struct Vp8;

impl Vp8 {
    pub(super) const CAPABILITIES_OF_FORMAT: PayloadFormatCapabilities =
        PayloadFormatCapabilities { marks_frame_start: true };
}

impl PayloadFormat for Vp8 {
    fn capabilities(&self) -> PayloadFormatCapabilities {
        Self::CAPABILITIES_OF_FORMAT
    }

    fn rtp(&self) -> RtpCodec {
        RtpCodec { name: CodecName::new("VP8"), clock_rate: CLOCK_RATE, channels: 0, fmtp: String::new() }
    }

    fn packetizer(&self) -> Box<dyn FramePacketizer> {
        let mut payloader = Vp8Payloader::default();
        payloader.enable_picture_id = true;
        Box::new(RtcPacketizer(Box::new(payloader)))
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

/// Removes the payload descriptor (RFC 7741 §4.2).
fn read(payload: &Bytes) -> Option<FrameFragment> {
    let first = *payload.first()?;
    let mut length = 1;
    if first & 0x80 != 0 {
        let extensions = *payload.get(1)?;
        length += 1;
        // I: the picture id has 7 or, with M, 15 bits.
        if extensions & 0x80 != 0 {
            length += if payload.get(length)? & 0x80 != 0 { 2 } else { 1 };
        }
        // L; then one byte for T and K.
        length += usize::from(extensions & 0x40 != 0) + usize::from(extensions & 0x30 != 0);
    }
    let data = payload.get(length..).filter(|data| !data.is_empty())?;
    // S, and PID 0: the beginning of the first partition.
    let begins = first & 0x17 == 0x10;
    Some(FrameFragment { key: begins && data[0] & 1 == 0, begins, data: payload.slice(length..) })
}

/// Assembles a frame.
fn join<'a>(fragments: impl Iterator<Item = &'a FrameFragment> + Clone) -> Option<(Bytes, bool)> {
    let in_one = fragments.clone().enumerate().all(|(at, fragment)| fragment.begins == (at == 0));
    let mut data = BytesMut::with_capacity(fragments.clone().map(|fragment| fragment.data.len()).sum());
    for fragment in fragments {
        data.extend_from_slice(&fragment.data);
    }
    // The frame tag, and what follows it in key frames (RFC 6386 §9.1).
    let key = data.first()? & 1 == 0;
    let whole = if key { data.len() >= 10 && data[3..6] == [0x9d, 0x01, 0x2a] } else { data.len() >= 3 };
    (in_one && whole).then(|| (data.freeze(), key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(payload: &'static [u8]) -> Option<(&'static [u8], bool, bool)> {
        let fragment = read(&Bytes::from_static(payload))?;
        Some((&payload[payload.len() - fragment.data.len()..], fragment.begins, fragment.key))
    }

    #[test]
    fn descriptors_of_every_length_are_taken_off() {
        assert_eq!(parsed(&[0x10, 0x00]), Some((&[0x00][..], true, true)));
        assert_eq!(parsed(&[0x10, 0x01, 2]), Some((&[0x01, 2][..], true, false)));
        assert_eq!(parsed(&[0x00, 0x00]), Some((&[0x00][..], false, false)));
        assert_eq!(parsed(&[0x11, 0x00]), Some((&[0x00][..], false, false)));
        assert_eq!(parsed(&[0x90, 0x80, 0x7f, 9]), Some((&[9][..], true, false)));
        assert_eq!(parsed(&[0x90, 0x80, 0x80, 0xff, 9]), Some((&[9][..], true, false)));
        assert_eq!(parsed(&[0x90, 0xe0, 0x01, 1, 2, 9]), Some((&[9][..], true, false)));
        assert_eq!(parsed(&[0x90, 0xf0, 0x81, 0, 1, 2, 8, 9]), Some((&[8, 9][..], true, true)));
        assert_eq!(parsed(&[0x90, 0x10, 1, 9]), Some((&[9][..], true, false)));
    }

    #[test]
    fn descriptors_without_anything_after_them_are_refused() {
        for payload in
            [&[0x10][..], &[0x90], &[0x90, 0x00], &[0x90, 0x80], &[0x90, 0x80, 0x80, 1], &[0x90, 0xf0, 1, 2, 3]]
        {
            assert!(read(&Bytes::copy_from_slice(payload)).is_none(), "{payload:?}");
        }
    }
}
