//! SDP names of the two codecs, and the audio formats they accept.

use blink_api::{
    AudioCodec, AudioCodecCapabilities, AudioDecoder, AudioDecoderConfig, AudioEncoder, AudioEncoderConfig,
    AudioFormat, CodecName, Error, ErrorKind, Result, RtpCodec,
};

use crate::decoder::G711Decoder;
use crate::encoder::G711Encoder;

pub(crate) const CAPABILITIES: AudioCodecCapabilities =
    AudioCodecCapabilities { max_channels: 2, ..AudioCodecCapabilities::NONE };

/// Sample rate on the wire in Hz, which is also the RTP clock rate.
pub(crate) const CLOCK_RATE: u32 = 8_000;

/// Samples of a 10 ms block on the wire.
pub(crate) const BLOCK: usize = 80;

/// Companding law.
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

/// G.711 codec. Audio of 8, 16, 24, 32 or 48 kHz with one or two channels is converted to 8 kHz
/// mono and back.
#[derive(Debug, Clone, Copy)]
pub struct G711Codec {
    law: Law,
}

impl G711Codec {
    /// Creates the codec of a law.
    pub fn new(law: Law) -> Self {
        Self { law }
    }
}

impl AudioCodec for G711Codec {
    fn capabilities(&self) -> AudioCodecCapabilities {
        CAPABILITIES
    }

    fn rtp(&self) -> RtpCodec {
        RtpCodec { name: CodecName::new(self.law.name()), clock_rate: CLOCK_RATE, channels: 1, fmtp: String::new() }
    }

    fn encoder(&self, config: AudioEncoderConfig) -> Result<Box<dyn AudioEncoder>> {
        Ok(Box::new(G711Encoder::new(self.law, config)?))
    }

    fn decoder(&self, config: AudioDecoderConfig) -> Result<Box<dyn AudioDecoder>> {
        Ok(Box::new(G711Decoder::new(self.law, config)?))
    }
}

/// Checks that a format can be resampled in blocks of 10 ms.
pub(crate) fn check_format(law: Law, format: AudioFormat) -> Result<()> {
    if matches!(format, AudioFormat { sample_rate: 8_000 | 16_000 | 24_000 | 32_000 | 48_000, channels: 1 | 2 }) {
        return Ok(());
    }
    let format = format!("{} Hz, {} channels", format.sample_rate, format.channels);
    Err(invalid(law, "open", "G.711 accepts 8, 16, 24, 32 and 48 kHz with one or two channels").with("format", format))
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
