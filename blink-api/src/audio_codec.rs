//! Compressing sound and restoring it. The calls are synchronous; a steady stream allocates
//! nothing.

use web_time::Duration;

use serde::Serialize;

use crate::{AudioFormat, Result, RtpCodec};

/// An audio codec: makes encoders and decoders and says how SDP names it.
pub trait AudioCodec: Send + Sync {
    /// What this codec can do. The same value as in its registry entry.
    fn capabilities(&self) -> AudioCodecCapabilities;

    /// How SDP names it.
    fn rtp(&self) -> RtpCodec;

    /// A fresh encoder.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for a format, frame length or bitrate it does not
    /// have.
    fn encoder(&self, config: AudioEncoderConfig) -> Result<Box<dyn AudioEncoder>>;

    /// A fresh decoder.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for a format it does not have.
    fn decoder(&self, config: AudioDecoderConfig) -> Result<Box<dyn AudioDecoder>>;
}

/// Capabilities of an audio codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct AudioCodecCapabilities {
    /// A packet carries enough of the one before to restore it ([`DecoderInput::Fec`]).
    pub forward_error_correction: bool,
    /// A packet may carry a description of up to a second before it ([`DecoderInput::Dred`]).
    pub deep_redundancy: bool,
    /// [`DecoderInput::Conceal`] continues the sound instead of giving silence.
    pub concealment: bool,
    /// Sends less in silence.
    pub discontinuous: bool,
    /// [`EncoderHint::bitrate`] is honoured.
    pub variable_bitrate: bool,
    /// Most channels.
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

/// What an encoder is made for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AudioEncoderConfig {
    /// The samples it is given.
    pub format: AudioFormat,
    /// Sound per packet: 10, 20, 40 or 60 ms.
    pub frame: Duration,
    /// Bits per second; `None` for the codec's own choice.
    pub bitrate: Option<u32>,
}

/// What a decoder is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioDecoderConfig {
    /// The samples it gives.
    pub format: AudioFormat,
}

/// What the network told about itself, for the encoder to act on.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct EncoderHint {
    /// The share of packets that are lost, 0.0 to 1.0.
    pub loss: f32,
    /// How many packets are lost in a row, on average: 1.0 where losses are single or unknown.
    /// Values below count as 1.0.
    pub burst: f32,
    /// Bits per second to aim at; `None` keeps the rate.
    pub bitrate: Option<u32>,
}

/// Compresses one stream of sound.
pub trait AudioEncoder: Send {
    /// Samples per frame, all channels counted.
    fn frame_samples(&self) -> usize;

    /// Encodes exactly one frame of interleaved samples. `out` is cleared first; it stays empty
    /// where nothing needs to be sent (discontinuous transmission).
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for another number of samples.
    fn encode(&mut self, samples: &[f32], out: &mut Vec<u8>) -> Result<()>;

    /// Adapts to the network; takes effect from the next frame on.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for values out of range; the encoder is as it was.
    fn hint(&mut self, hint: EncoderHint) -> Result<()>;

    /// The bits per second it was made to aim at, redundancy included, whatever hints said since;
    /// `None` where it has no choice.
    fn bitrate(&self) -> Option<u32> {
        None
    }

    /// Sound that comes out later than it went in, through encoder and decoder together.
    fn lookahead(&self) -> Duration;
}

/// What a decoder is given for one frame of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecoderInput<'a> {
    /// The frame's own packet.
    Packet(&'a [u8]),
    /// The frame's packet is lost; this is the one after it, which may carry a copy. It will be
    /// given again as `Packet`.
    Fec(&'a [u8]),
    /// The frame's packet is lost; a later one may describe it. It will be given again as `Packet`.
    Dred {
        /// The later packet.
        later: &'a [u8],
        /// From the beginning of the missing sound to the beginning of that packet's own.
        distance: Duration,
    },
    /// The frame's packet is lost, and nothing that could restore it is there: continue the sound.
    Conceal,
}

/// Restores one stream of sound.
pub trait AudioDecoder: Send {
    /// Decodes one frame of interleaved samples and returns how many were written, all channels
    /// counted.
    ///
    /// * `Packet` writes what the packet holds; `out` must have room for it (120 ms suffice for
    ///   every codec here).
    /// * `Fec`, `Dred` and `Conceal` fill `out` exactly: its length says how much is missing. What
    ///   a packet does not carry ([`has_fec`](AudioDecoder::has_fec),
    ///   [`redundancy_span`](AudioDecoder::redundancy_span)) is continued as for `Conceal`.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for bytes that are no packet of this codec or for too
    /// small an `out`. The decoder can go on with the next one.
    fn decode(&mut self, input: DecoderInput<'_>, out: &mut [f32]) -> Result<usize>;

    /// How long the sound in a packet lasts, without decoding it.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for bytes that are no packet of this codec.
    fn duration(&self, packet: &[u8]) -> Result<Duration>;

    /// Whether a packet carries a copy of the frame right before its own, for
    /// [`DecoderInput::Fec`], without decoding it. `false` for bytes that are no packet of this
    /// codec. Asked of every packet: it costs next to nothing.
    fn has_fec(&self, _packet: &[u8]) -> bool {
        false
    }

    /// How far back a packet describes the sound before its own: [`DecoderInput::Dred`] works up to
    /// this distance. Nothing, for bytes that are no packet of this codec.
    fn redundancy_span(&mut self, _packet: &[u8]) -> Duration {
        Duration::ZERO
    }

    /// Remembers its state, for [`restore_state`](AudioDecoder::restore_state); `false` where it
    /// cannot.
    fn save_state(&mut self) -> bool {
        false
    }

    /// Goes back to the state remembered last. Nothing happens where there is none.
    fn restore_state(&mut self) {}
}
