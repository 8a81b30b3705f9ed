//! Video frames, sources, sinks and codecs.

use web_time::{Duration, Instant};

use bytes::Bytes;
use serde::Serialize;

use crate::{Result, RtpCodec};

/// Size and rate of video.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct VideoFormat {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Frames per second, at most.
    pub frame_rate: f32,
}

/// A frame of video.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum VideoFrame {
    /// Pixels.
    Raw(RawVideoFrame),
    /// A codec's bitstream.
    Encoded(EncodedVideoFrame),
}

impl VideoFrame {
    /// The encoded frame; `None` for a raw one.
    pub fn into_encoded(self) -> Option<EncodedVideoFrame> {
        match self {
            Self::Encoded(frame) => Some(frame),
            Self::Raw(_) => None,
        }
    }

    /// The time at which it was captured.
    pub fn at(&self) -> Instant {
        match self {
            Self::Raw(frame) => frame.at,
            Self::Encoded(frame) => frame.at,
        }
    }
}

impl From<RawVideoFrame> for VideoFrame {
    fn from(frame: RawVideoFrame) -> Self {
        Self::Raw(frame)
    }
}

impl From<EncodedVideoFrame> for VideoFrame {
    fn from(frame: EncodedVideoFrame) -> Self {
        Self::Encoded(frame)
    }
}

/// A frame of pixels in I420: a full-size plane of luma (Y), then planes of chroma (U, V) of half
/// the width and height, rounded up; 8 bits a sample, no padding between rows or planes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawVideoFrame {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The three planes; [`length`](Self::length) bytes.
    pub data: Bytes,
    /// The time at which it was captured.
    pub at: Instant,
}

impl RawVideoFrame {
    /// Bytes of a frame of this size.
    pub const fn length(width: u32, height: u32) -> usize {
        let chroma = width.div_ceil(2) as usize * height.div_ceil(2) as usize;
        width as usize * height as usize + 2 * chroma
    }
}

/// One encoded frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedVideoFrame {
    /// The codec's bitstream of exactly one frame. VP8: as in RFC 6386 §9. H.264: an access unit in
    /// the byte stream format (H.264 Annex B), each NAL unit behind the start code `00 00 00 01`.
    pub data: Bytes,
    /// Whether it can be decoded without any other. H.264: it holds an IDR picture and the
    /// parameter sets for it.
    pub key: bool,
    /// The time at which it was captured, on this device's clock; for a received frame, the arrival
    /// of its first packet.
    pub at: Instant,
}

/// A source of video: a camera, a screen, a file. Used by one thread, which it never blocks.
pub trait VideoSource: Send {
    /// Size and rate of the frames.
    fn format(&self) -> VideoFormat;

    /// The codec of the frames as SDP names it; `None` for a source of raw frames. It does not
    /// change.
    fn codec(&self) -> Option<RtpCodec>;

    /// The next frame that is due at `now` and was not given before; `None` where none is. Call it
    /// until there is none.
    ///
    /// * Frames are [`Encoded`](VideoFrame::Encoded) where [`codec`](Self::codec) is given, and
    ///   [`Raw`](VideoFrame::Raw) otherwise.
    /// * The first encoded frame is a key frame, and so is the first after a dropped one: frames
    ///   can be decoded in the order in which they are given.
    /// * A caller that is late gets frames from the newest key frame on; older ones are dropped.
    /// * Capture times grow from frame to frame, and are not after `now`.
    /// * A source without a hardware clock (a file, a generator) runs on `now`, which does not go
    ///   back; its first frame is due at the first call.
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed) where the device is gone, for good.
    fn read_frame(&mut self, now: Instant) -> Result<Option<VideoFrame>>;

    /// Requests that the next frame be a key frame, such as for a new receiver. A second request
    /// before it came has no effect. Sources of raw frames ignore it.
    fn request_keyframe(&mut self);
}

/// A destination of video: a window, a file. Used by one thread, which it never blocks.
pub trait VideoSink: Send {
    /// Takes a frame. Size and codec may change from one frame to the next.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) for a frame that it cannot take,
    /// [`Closed`](crate::ErrorKind::Closed) where the device is gone for good.
    fn write_frame(&mut self, frame: &VideoFrame) -> Result<()>;

    /// Completes the output. Idempotent; also done by dropping, where errors are lost.
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io).
    fn finish(&mut self) -> Result<()>;
}

/// A video codec: makes encoders and decoders, and gives its name in SDP.
pub trait VideoCodec: Send + Sync {
    /// Capabilities of this codec, as in its registry entry.
    fn capabilities(&self) -> VideoCodecCapabilities;

    /// Its name and parameters in SDP. There must be a [`PayloadFormat`](crate::PayloadFormat) of
    /// that name.
    fn rtp(&self) -> RtpCodec;

    /// A new encoder.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for a size, rate or bitrate that it does not support.
    fn encoder(&self, config: VideoEncoderConfig) -> Result<Box<dyn VideoEncoder>>;

    /// A new decoder.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where it only encodes.
    fn decoder(&self) -> Result<Box<dyn VideoDecoder>>;
}

/// Capabilities of a video codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct VideoCodecCapabilities {
    /// Encoding ([`VideoCodec::encoder`]).
    pub encoder: bool,
    /// Decoding ([`VideoCodec::decoder`]).
    pub decoder: bool,
    /// Bitrate changes of a running encoder ([`VideoEncoder::hint`]).
    pub variable_bitrate: bool,
}

impl VideoCodecCapabilities {
    /// No capability: the base for entries, which stay valid when a field is added.
    pub const NONE: Self = Self { encoder: false, decoder: false, variable_bitrate: false };
}

/// The configuration of a video encoder.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct VideoEncoderConfig {
    /// Size and rate of the frames.
    pub format: VideoFormat,
    /// Target in bits per second; `None` for the codec's own choice.
    pub bitrate: Option<u32>,
    /// Longest interval between key frames without a request; `None` for as long as possible.
    pub keyframe_interval: Option<Duration>,
}

impl VideoEncoderConfig {
    /// A configuration with the codec's own bitrate and key frames on request only.
    pub const fn new(format: VideoFormat) -> Self {
        Self { format, bitrate: None, keyframe_interval: None }
    }
}

/// Encodes one stream of video. Used by one thread of its own.
pub trait VideoEncoder: Send {
    /// Encodes a frame; `None` where the encoder dropped it to keep its bitrate.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for a frame whose data do not fit its size.
    fn encode(&mut self, frame: &RawVideoFrame) -> Result<Option<EncodedVideoFrame>>;

    /// Sets the bitrate in bits per second, from the next frame on.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for a value out of range; the encoder is unchanged.
    fn hint(&mut self, bitrate: u32) -> Result<()>;

    /// Makes the next frame a key frame.
    fn request_keyframe(&mut self);
}

/// Decodes one stream of video. Used by one thread of its own.
pub trait VideoDecoder: Send {
    /// Decodes a frame; `None` where the codec shows none for it.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for bytes that are no frame of this codec. The
    /// decoder goes on with the next key frame.
    fn decode(&mut self, frame: &EncodedVideoFrame) -> Result<Option<RawVideoFrame>>;
}
