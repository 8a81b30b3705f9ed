//! RTP payload formats of video codecs.

use bytes::Bytes;
use serde::Serialize;

use crate::{EncodedVideoFrame, Result, RtpCodec};

/// The RTP payload format of a video codec, such as RFC 7741 (VP8) and RFC 6184 (H.264): frames to
/// payloads and back. Registered separately, so that the crate of a codec can add its own.
pub trait PayloadFormat: Send + Sync {
    /// Capabilities of this format, as in its registry entry.
    fn capabilities(&self) -> PayloadFormatCapabilities;

    /// The codec's name and parameters in SDP. The clock rate is 90 kHz.
    fn rtp(&self) -> RtpCodec;

    /// A packetizer for one stream.
    fn packetizer(&self) -> Box<dyn FramePacketizer>;

    /// Parses a payload; `None` for one that does not follow this format. An empty payload
    /// (padding) is an empty fragment.
    fn parse(&self, payload: &Bytes) -> Option<FrameFragment>;

    /// Joins all fragments of a frame to its bitstream, with whether it is a key frame; `None`
    /// where they do not fit together.
    fn join(&self, fragments: &[&FrameFragment]) -> Option<(Bytes, bool)>;
}

/// Capabilities of a payload format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct PayloadFormatCapabilities {
    /// Marking of the first packet of every frame ([`FrameFragment::begins`]).
    pub marks_frame_start: bool,
}

impl PayloadFormatCapabilities {
    /// No capability: the base for entries, which stay valid when a field is added.
    pub const NONE: Self = Self { marks_frame_start: false };
}

/// Splits the frames of one stream into payloads.
pub trait FramePacketizer: Send {
    /// The payloads of the next frame in order, at most `max` bytes each.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for a frame without data.
    fn packetize(&mut self, frame: &EncodedVideoFrame, max: usize) -> Result<Vec<Bytes>>;
}

/// The part of a frame that one packet carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameFragment {
    /// The data, in the form that [`PayloadFormat::join`] takes. Empty for a packet without
    /// payload.
    pub data: Bytes,
    /// Whether it is the first of its frame.
    pub begins: bool,
    /// Whether its frame can be a key frame.
    pub key: bool,
}
