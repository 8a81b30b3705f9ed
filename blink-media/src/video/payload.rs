//! RTP payload formats of the video codecs.

use blink_api::{CodecName, Error, ErrorKind, Result};
use bytes::Bytes;

use super::{h264, vp8};

/// RTP payload format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PayloadFormat {
    /// RFC 7741.
    Vp8,
    /// RFC 6184, packetization modes 0 and 1.
    H264,
}

/// Fragment of a frame in one packet.
#[derive(Debug, Clone)]
pub(super) struct Fragment {
    /// Bytes of the frame. VP8: a part of the bitstream. H.264: the payload as it is. Empty for a
    /// packet without payload.
    pub(super) data: Bytes,
    /// A frame begins here, whatever the packets before.
    pub(super) begins: bool,
    /// It belongs to a frame that can be a key frame.
    pub(super) key: bool,
}

impl PayloadFormat {
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) for other codecs than VP8 and H264.
    pub(super) fn of(codec: &CodecName) -> Result<Self> {
        if *codec == CodecName::new("VP8") {
            Ok(Self::Vp8)
        } else if *codec == CodecName::new("H264") {
            Ok(Self::H264)
        } else {
            let why = "video frames of this codec are not put into packets; those of VP8 and H264 are";
            Err(Error::new(ErrorKind::Unsupported, why).with("codec", codec))
        }
    }

    /// Reads a payload; `None` for one that is not of this format.
    pub(super) fn read(self, payload: &Bytes) -> Option<Fragment> {
        if payload.is_empty() {
            return Some(Fragment { data: Bytes::new(), begins: false, key: false });
        }
        match self {
            Self::Vp8 => vp8::read(payload),
            Self::H264 => h264::read(payload),
        }
    }

    /// Assembles a frame from its fragments, with whether it is a key frame; `None` where they do
    /// not fit together.
    pub(super) fn join<'a>(self, fragments: impl Iterator<Item = &'a Fragment> + Clone) -> Option<(Bytes, bool)> {
        match self {
            Self::Vp8 => vp8::join(fragments),
            Self::H264 => h264::join(fragments),
        }
    }

    /// Whether the first packet of every frame is marked as such ([`Fragment::begins`]).
    pub(super) fn marks_begin(self) -> bool {
        self == Self::Vp8
    }
}
