//! What the two laws are called in SDP, and which formats they take.

use blink_api::{
    AudioCodec, AudioCodecCapabilities, AudioDecoder, AudioDecoderConfig, AudioEncoder, AudioEncoderConfig,
    AudioFormat, CodecName, Error, ErrorKind, Result, RtpCodec,
};

use crate::decoder::G711Decoder;
use crate::encoder::G711Encoder;

pub(crate) const CAPABILITIES: AudioCodecCapabilities = AudioCodecCapabilities {
    forward_error_correction: false,
    deep_redundancy: false,
    concealment: false,
    discontinuous: false,
    variable_bitrate: false,
    max_channels: 2,
};

/// Samples per second on the wire.
pub(crate) const RATE: u32 = 8_000;

/// Samples on the wire in 10 ms, the unit of all frames.
pub(crate) const UNIT: usize = 80;

/// How samples are companded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Law {
    /// µ-law: PCMU.
    Mu,
    /// A-law: PCMA.
    A,
}

impl Law {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mu => "PCMU",
            Self::A => "PCMA",
        }
    }

    pub(crate) fn compress(self, sample: i16) -> u8 {
        match self {
            Self::Mu => audio_codec_algorithms::encode_ulaw(sample),
            Self::A => audio_codec_algorithms::encode_alaw(sample),
        }
    }

    pub(crate) fn expand(self, byte: u8) -> i16 {
        match self {
            Self::Mu => audio_codec_algorithms::decode_ulaw(byte),
            Self::A => audio_codec_algorithms::decode_alaw(byte),
        }
    }
}

/// One of the two codecs. Sound of 8, 16, 24, 32 or 48 kHz and one or two channels is converted to
/// 8 kHz and one channel, and back.
#[derive(Debug, Clone, Copy)]
pub struct G711Codec {
    law: Law,
}

impl G711Codec {
    /// The codec of a law.
    pub fn new(law: Law) -> Self {
        Self { law }
    }
}

impl AudioCodec for G711Codec {
    fn capabilities(&self) -> AudioCodecCapabilities {
        CAPABILITIES
    }

    fn rtp(&self) -> RtpCodec {
        RtpCodec { name: CodecName::new(self.law.name()), clock_rate: RATE, channels: 1, fmtp: String::new() }
    }

    fn encoder(&self, config: AudioEncoderConfig) -> Result<Box<dyn AudioEncoder>> {
        Ok(Box::new(G711Encoder::new(self.law, config)?))
    }

    fn decoder(&self, config: AudioDecoderConfig) -> Result<Box<dyn AudioDecoder>> {
        Ok(Box::new(G711Decoder::new(self.law, config)?))
    }
}

/// Refuses formats that cannot be converted in units of 10 ms.
pub(crate) fn check_format(law: Law, format: AudioFormat) -> Result<()> {
    if matches!(format, AudioFormat { sample_rate: 8_000 | 16_000 | 24_000 | 32_000 | 48_000, channels: 1 | 2 }) {
        return Ok(());
    }
    let format = format!("{} Hz, {} channels", format.sample_rate, format.channels);
    Err(invalid(law, "open", "G.711 takes 8, 16, 24, 32 and 48 kHz, one or two channels").with("format", format))
}

pub(crate) fn invalid(law: Law, operation: &'static str, why: &'static str) -> Error {
    let name = match law {
        Law::Mu => "pcmu",
        Law::A => "pcma",
    };
    Error::new(ErrorKind::Invalid, why).backend(name).operation(operation)
}

#[cfg(test)]
mod tests;
