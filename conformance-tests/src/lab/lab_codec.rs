//! µ-law codecs for tests, 8 bits at 24 kHz: cheap, without dependencies, and good enough to carry
//! tones.
//!
//! They use the names of well-known codecs in SDP, because real stacks negotiate no others.
//! Transports do not inspect payloads.

use std::time::Duration;

use blink_api::{
    AudioCodec, AudioCodecCapabilities, AudioDecoder, AudioDecoderConfig, AudioEncoder, AudioEncoderConfig,
    AudioFormat, CodecName, DecoderInput, EncoderHint, Error, ErrorKind, Result, RtpCodec,
};

/// Duration of the audio in one packet.
const FRAME: Duration = Duration::from_millis(20);
/// Decimation from 48 kHz, the call's format, to 24 kHz.
const STEP: usize = 2;
/// Bytes per packet: 20 ms at 24 kHz.
const PAYLOAD: usize = 480;
/// µ of the companding law (ITU-T G.711 approximates it by segments).
const MU: f32 = 255.0;

/// A codec of the lab. Two with different names are incompatible.
pub(crate) struct LabCodec {
    /// Encoding name in SDP, with clock rate and channels.
    name: &'static str,
    clock_rate: u32,
    channels: u16,
}

impl LabCodec {
    /// The codec of most participants, named Opus (RFC 7587 §7).
    pub(crate) const DEFAULT: Self = Self { name: "opus", clock_rate: 48_000, channels: 2 };
    /// A codec that only some participants have, named PCMU (RFC 3551 §4.5.14).
    pub(crate) const UNSHARED: Self = Self { name: "PCMU", clock_rate: 8_000, channels: 1 };
}

impl AudioCodec for LabCodec {
    fn capabilities(&self) -> AudioCodecCapabilities {
        AudioCodecCapabilities { max_channels: 1, ..AudioCodecCapabilities::default() }
    }

    fn rtp(&self) -> RtpCodec {
        let Self { name, clock_rate, channels } = *self;
        RtpCodec { name: CodecName::new(name), clock_rate, channels, fmtp: String::new() }
    }

    fn encoder(&self, config: AudioEncoderConfig) -> Result<Box<dyn AudioEncoder>> {
        check(config.format)?;
        if config.frame != FRAME {
            return Err(Error::new(ErrorKind::Invalid, "frames must be 20 ms long").backend(self.name));
        }
        Ok(Box::new(LabEncoder))
    }

    fn decoder(&self, config: AudioDecoderConfig) -> Result<Box<dyn AudioDecoder>> {
        check(config.format)?;
        Ok(Box::new(LabDecoder::new()))
    }
}

fn check(format: AudioFormat) -> Result<()> {
    if format == AudioFormat::CALL {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Invalid, "the format must be 48 kHz, one channel"))
}

struct LabEncoder;

impl AudioEncoder for LabEncoder {
    fn frame_samples(&self) -> usize {
        PAYLOAD * STEP
    }

    fn encode(&mut self, samples: &[f32], out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        if samples.len() != self.frame_samples() {
            return Err(Error::new(ErrorKind::Invalid, "the input is not one frame").with("samples", samples.len()));
        }
        out.extend(samples.chunks_exact(STEP).map(|two| compress((two[0] + two[1]) / 2.0)));
        Ok(())
    }

    fn hint(&mut self, _: EncoderHint) -> Result<()> {
        Ok(())
    }

    fn lookahead(&self) -> Duration {
        Duration::ZERO
    }
}

/// Plays silence for lost packets instead of concealing them, so that tests detect every loss.
struct LabDecoder {
    expanded: [f32; 256],
    last: f32,
}

impl LabDecoder {
    fn new() -> Self {
        Self { expanded: std::array::from_fn(|byte| expand(byte as u8)), last: 0.0 }
    }
}

impl AudioDecoder for LabDecoder {
    fn decode(&mut self, input: DecoderInput<'_>, out: &mut [f32]) -> Result<usize> {
        let DecoderInput::Packet(packet) = input else {
            self.last = 0.0;
            out.fill(0.0);
            return Ok(out.len());
        };
        self.duration(packet)?;
        let Some(out) = out.get_mut(..PAYLOAD * STEP) else {
            return Err(Error::new(ErrorKind::Invalid, "the output buffer is shorter than a frame"));
        };
        for (two, byte) in out.chunks_exact_mut(STEP).zip(packet) {
            let sample = self.expanded[usize::from(*byte)];
            two[0] = (self.last + sample) / 2.0;
            two[1] = sample;
            self.last = sample;
        }
        Ok(out.len())
    }

    fn duration(&self, packet: &[u8]) -> Result<Duration> {
        if packet.len() == PAYLOAD {
            return Ok(FRAME);
        }
        Err(Error::new(ErrorKind::Invalid, "the packet has the wrong length").with("bytes", packet.len()))
    }
}

fn compress(sample: f32) -> u8 {
    let mean_amplitude = (1.0 + MU * sample.abs().min(1.0)).ln() / (1.0 + MU).ln();
    (mean_amplitude.copysign(sample) * 127.0).round() as i8 as u8
}

fn expand(byte: u8) -> f32 {
    let value = f32::from(byte.cast_signed()) / 127.0;
    (((1.0 + MU).powf(value.abs()) - 1.0) / MU).copysign(value).clamp(-1.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoded_frame_approximates_the_input() {
        let codec = LabCodec::DEFAULT;
        let mut encoder =
            codec.encoder(AudioEncoderConfig { format: AudioFormat::CALL, frame: FRAME, bitrate: None }).unwrap();
        let mut decoder = codec.decoder(AudioDecoderConfig { format: AudioFormat::CALL }).unwrap();
        let audio: Vec<f32> = (0..960).map(|n| 0.2 * (n as f32 * std::f32::consts::TAU / 120.0).sin()).collect();
        let (mut packet, mut decoded) = (Vec::new(), vec![0.0; 5_760]);
        encoder.encode(&audio, &mut packet).unwrap();
        assert_eq!(decoder.decode(DecoderInput::Packet(&packet), &mut decoded).unwrap(), 960);
        let worst = audio.iter().zip(&decoded).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
        assert!(worst < 0.02, "{worst}");
    }

    #[test]
    fn packets_of_wrong_length_are_rejected() {
        let mut decoder = LabDecoder::new();
        assert!(decoder.decode(DecoderInput::Packet(&[1, 2, 3]), &mut [0.0; 960]).is_err());
        assert!(decoder.decode(DecoderInput::Packet(&[0; PAYLOAD]), &mut [0.0; 10]).is_err());
    }
}
