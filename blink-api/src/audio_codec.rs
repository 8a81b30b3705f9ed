//! Audio codecs. All methods are synchronous; a steady stream allocates nothing.

use web_time::Duration;

use serde::Serialize;

use crate::{AudioFormat, Result, RtpCodec};

/// An audio codec: makes encoders and decoders, and gives its name in SDP.
pub trait AudioCodec: Send + Sync {
    /// Capabilities of this codec, as in its registry entry.
    fn capabilities(&self) -> AudioCodecCapabilities;

    /// Name, clock rate, channels and format parameters in SDP.
    fn rtp(&self) -> RtpCodec;

    /// A new encoder.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for a format, frame duration or bitrate that it does
    /// not support.
    fn encoder(&self, config: AudioEncoderConfig) -> Result<Box<dyn AudioEncoder>>;

    /// A new decoder.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for a format that it does not support.
    fn decoder(&self, config: AudioDecoderConfig) -> Result<Box<dyn AudioDecoder>>;
}

/// Capabilities of an audio codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct AudioCodecCapabilities {
    /// In-band forward error correction: a packet may carry a copy of the frame before it
    /// ([`DecoderInput::Fec`]).
    pub forward_error_correction: bool,
    /// Deep redundancy: a packet may describe up to a second of audio before it
    /// ([`DecoderInput::Dred`]).
    pub deep_redundancy: bool,
    /// Packet loss concealment: [`DecoderInput::Conceal`] extrapolates the audio instead of writing
    /// silence.
    pub concealment: bool,
    /// Discontinuous transmission: silence is sent with fewer packets.
    pub discontinuous: bool,
    /// Bitrate changes of a running encoder ([`EncoderHint::bitrate`]).
    pub variable_bitrate: bool,
    /// Maximum number of channels.
    pub max_channels: u16,
}

impl AudioCodecCapabilities {
    /// No capability: the base for entries, which stay valid when a field is added.
    pub const NONE: Self = Self {
        forward_error_correction: false,
        deep_redundancy: false,
        concealment: false,
        discontinuous: false,
        variable_bitrate: false,
        max_channels: 0,
    };
}

/// Configuration of an audio encoder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AudioEncoderConfig {
    /// Format of the samples to encode.
    pub format: AudioFormat,
    /// Duration of a packet: 10, 20, 40 or 60 ms. Every codec takes 20 ms, which is the default of
    /// calls, and refuses other durations that it cannot encode.
    pub frame: Duration,
    /// Target in bits per second; `None` for the codec's own choice.
    pub bitrate: Option<u32>,
}

/// Configuration of an audio decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioDecoderConfig {
    /// Format of the decoded samples.
    pub format: AudioFormat,
}

/// Network conditions for an encoder to adapt to.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct EncoderHint {
    /// Fraction of packets lost, 0.0 to 1.0.
    pub loss: f32,
    /// Mean length of a loss burst in packets; 1.0 where losses are isolated or nothing is known.
    /// Values below 1.0 count as 1.0.
    pub burst: f32,
    /// Target in bits per second; `None` keeps the current one.
    pub bitrate: Option<u32>,
}

/// Encodes one stream of audio.
pub trait AudioEncoder: Send {
    /// Samples per frame, all channels counted.
    fn frame_samples(&self) -> usize;

    /// Encodes exactly one frame of interleaved samples. `out` is cleared first; it stays empty
    /// where no packet needs to be sent (discontinuous transmission). A packet has at most 1,200
    /// bytes ([`RtpOut::MAX_PAYLOAD`](crate::RtpOut::MAX_PAYLOAD)), for every configuration that
    /// [`AudioCodec::encoder`] accepts: a transport refuses longer ones.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for another number of samples than
    /// [`frame_samples`](Self::frame_samples).
    fn encode(&mut self, samples: &[f32], out: &mut Vec<u8>) -> Result<()>;

    /// Adapts to network conditions from the next frame on.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for values out of range; the encoder is unchanged.
    fn hint(&mut self, hint: EncoderHint) -> Result<()>;

    /// Target bitrate at creation in bits per second, redundancy included, unaffected by hints;
    /// `None` for a codec of a fixed bitrate.
    fn bitrate(&self) -> Option<u32> {
        None
    }

    /// Algorithmic delay of encoder and decoder together, beyond the duration of a frame.
    fn lookahead(&self) -> Duration;
}

/// Input of a decoder for one frame of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecoderInput<'a> {
    /// The frame's own packet.
    Packet(&'a [u8]),
    /// The packet after a lost one, which may carry a copy of the lost frame. It is decoded again
    /// as `Packet` later.
    Fec(&'a [u8]),
    /// A later packet, which may describe the lost frame. It is decoded again as `Packet` later.
    Dred {
        /// The later packet.
        later: &'a [u8],
        /// Distance from the beginning of the lost audio to the beginning of the later packet's own
        /// audio.
        distance: Duration,
    },
    /// No packet: the frame is lost and to be concealed.
    Conceal,
}

/// Decodes one stream of audio.
pub trait AudioDecoder: Send {
    /// Decodes one frame of interleaved samples and returns how many were written, all channels
    /// counted.
    ///
    /// * `Packet` writes the whole packet; `out` must have room for it. 120 ms suffice for every
    ///   codec of this project.
    /// * `Fec`, `Dred` and `Conceal` fill `out` exactly: its length is that of the lost audio.
    ///   Audio that the packet does not cover ([`has_fec`](AudioDecoder::has_fec),
    ///   [`redundancy_span`](AudioDecoder::redundancy_span)) is concealed as by `Conceal`.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for bytes that are no packet of this codec, and for
    /// an `out` that is too short. The decoder stays usable.
    fn decode(&mut self, input: DecoderInput<'_>, out: &mut [f32]) -> Result<usize>;

    /// Duration of the audio in a packet, without decoding it.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for bytes that are no packet of this codec.
    fn duration(&self, packet: &[u8]) -> Result<Duration>;

    /// Whether a packet carries a copy of the frame right before its own, for
    /// [`DecoderInput::Fec`], without decoding it. `false` for bytes that are no packet of this
    /// codec. Called for every packet, and therefore cheap.
    fn has_fec(&self, _packet: &[u8]) -> bool {
        false
    }

    /// Duration of the audio before its own that a packet describes: the largest distance for
    /// [`DecoderInput::Dred`]. Zero for bytes that are no packet of this codec.
    fn redundancy_span(&mut self, _packet: &[u8]) -> Duration {
        Duration::ZERO
    }

    /// Saves the decoder's state for [`restore_state`](AudioDecoder::restore_state); `false` where
    /// the codec does not support it.
    fn save_state(&mut self) -> bool {
        false
    }

    /// Restores the state saved last. Has no effect where none was saved.
    fn restore_state(&mut self) {}
}
