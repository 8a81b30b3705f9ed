//! SDP parameters of Opus, and the audio formats it supports.

use blink_api::{
    AudioCodec, AudioCodecCapabilities, AudioDecoder, AudioDecoderConfig, AudioEncoder, AudioEncoderConfig,
    AudioFormat, CodecName, Error, ErrorKind, Result, RtpCodec,
};

use crate::decoder::OpusDecoder;
use crate::encoder::OpusEncoder;
use crate::{NAME, OpusConfig};

pub(crate) const CAPABILITIES: AudioCodecCapabilities = AudioCodecCapabilities {
    forward_error_correction: true,
    deep_redundancy: true,
    concealment: true,
    discontinuous: true,
    variable_bitrate: true,
    max_channels: 2,
};

/// Opus audio codec at 8, 12, 16, 24 or 48 kHz, mono or stereo.
#[derive(Debug, Clone, Copy)]
pub struct OpusCodec {
    config: OpusConfig,
}

impl OpusCodec {
    /// Creates the codec.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for values out of range, with the key.
    pub fn new(config: OpusConfig) -> Result<Self> {
        config.check()?;
        Ok(Self { config })
    }
}

impl AudioCodec for OpusCodec {
    fn capabilities(&self) -> AudioCodecCapabilities {
        CAPABILITIES
    }

    fn rtp(&self) -> RtpCodec {
        RtpCodec {
            name: CodecName::new("opus"),
            clock_rate: 48_000,
            channels: 2,
            fmtp: "minptime=10;useinbandfec=1".to_owned(),
        }
    }

    fn encoder(&self, config: AudioEncoderConfig) -> Result<Box<dyn AudioEncoder>> {
        Ok(Box::new(OpusEncoder::new(&self.config, config)?))
    }

    fn decoder(&self, config: AudioDecoderConfig) -> Result<Box<dyn AudioDecoder>> {
        Ok(Box::new(OpusDecoder::new(&self.config, config)?))
    }
}

/// Checks that Opus supports a format.
pub(crate) fn check_format(format: AudioFormat) -> Result<()> {
    let unusable = |why: &'static str| {
        let format = format!("{} Hz, {} channels", format.sample_rate, format.channels);
        Err(Error::new(ErrorKind::Invalid, why).backend(NAME).with("format", format))
    };
    match format {
        AudioFormat { sample_rate: 8_000 | 12_000 | 16_000 | 24_000 | 48_000, channels: 1 | 2 } => Ok(()),
        AudioFormat { channels: 1 | 2, .. } => unusable("Opus supports 8, 12, 16, 24 and 48 kHz"),
        _ => unusable("Opus supports one or two channels"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn exactly_the_opus_formats_are_supported() {
        let codec = OpusCodec::new(OpusConfig::default()).unwrap();
        let frame = Duration::from_millis(20);
        for sample_rate in [8_000, 12_000, 16_000, 24_000, 48_000] {
            for channels in [1, 2] {
                let format = AudioFormat { sample_rate, channels };
                let encoder = codec.encoder(AudioEncoderConfig { format, frame, bitrate: None }).unwrap();
                assert_eq!(encoder.frame_samples(), format.samples_in(frame));
                codec.decoder(AudioDecoderConfig { format }).unwrap();
            }
        }
        for (sample_rate, channels) in [(44_100, 1), (0, 1), (96_000, 2), (48_000, 0), (48_000, 3)] {
            let format = AudioFormat { sample_rate, channels };
            let encoder = codec.encoder(AudioEncoderConfig { format, frame, bitrate: None }).err().unwrap();
            assert_eq!(encoder.kind(), ErrorKind::Invalid);
            assert_eq!(codec.decoder(AudioDecoderConfig { format }).err().unwrap().kind(), ErrorKind::Invalid);
        }
    }
}
