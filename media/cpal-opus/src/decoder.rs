//! Decoding, restoring and concealing.

use std::time::Duration;

use blink_api::{Decoder, DecoderConfig, DecoderInput, Error, ErrorKind, Result};

use crate::NAME;
use crate::codec::{channels_of, refused};

/// RTP's clock for Opus (RFC 7587 §4.1); every frame length is a whole number of its ticks.
const CLOCK_RATE: u32 = 48_000;

/// Longer than any packet a network brings; libopus takes lengths as 32-bit integers.
const LONGEST_PACKET: usize = 65_535;

/// One stream of speech on its way in.
pub(crate) struct OpusDecoder {
    opus: opus::Decoder,
    channels: usize,
}

impl OpusDecoder {
    pub(crate) fn new(config: DecoderConfig) -> Result<Self> {
        let channels = channels_of(config.format)?;
        let opus =
            opus::Decoder::new(config.format.sample_rate, channels).map_err(|source| refused("decoder", source))?;
        Ok(Self { opus, channels: config.format.channels.into() })
    }

    fn run(&mut self, packet: &[u8], out: &mut [f32], recover: bool) -> Result<usize> {
        let frames = self.opus.decode_float(packet, out, recover).map_err(|source| refused("decode", source))?;
        Ok(frames * self.channels)
    }
}

impl Decoder for OpusDecoder {
    fn decode(&mut self, input: DecoderInput<'_>, out: &mut [f32]) -> Result<usize> {
        if out.is_empty() || !out.len().is_multiple_of(self.channels) {
            return Err(invalid("decode", "the buffer holds no whole frames").with("samples", out.len()));
        }
        match input {
            DecoderInput::Packet(packet) => {
                check_length("decode", packet)?;
                self.run(packet, out, false)
            }
            DecoderInput::Recover(next) => {
                check_length("decode", next)?;
                self.run(next, out, true)
            }
            // To libopus no bytes are a lost packet.
            DecoderInput::Lost => self.run(&[], out, false),
        }
    }

    fn duration(&self, packet: &[u8]) -> Result<Duration> {
        check_length("duration", packet)?;
        let ticks = opus::packet::get_nb_samples(packet, CLOCK_RATE).map_err(|source| refused("duration", source))?;
        if ticks == 0 {
            return Err(invalid("duration", "a packet without frames"));
        }
        Ok(Duration::from_secs(ticks as u64) / CLOCK_RATE)
    }
}

fn check_length(operation: &'static str, packet: &[u8]) -> Result<()> {
    if (1..=LONGEST_PACKET).contains(&packet.len()) {
        return Ok(());
    }
    Err(invalid(operation, "not an Opus packet").with("bytes", packet.len()))
}

fn invalid(operation: &'static str, why: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, why).backend(NAME).operation(operation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OpusCodec, OpusConfig};
    use blink_api::{AudioFormat, Codec, EncoderConfig};
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    fn decoder(format: AudioFormat) -> OpusDecoder {
        OpusDecoder::new(DecoderConfig { format }).unwrap()
    }

    fn packet(frame_ms: u64) -> Vec<u8> {
        let codec = OpusCodec::new(OpusConfig::default()).unwrap();
        let frame = Duration::from_millis(frame_ms);
        let mut encoder = codec.encoder(EncoderConfig { format: AudioFormat::CALL, frame, bitrate: None }).unwrap();
        let sound: Vec<f32> = (0..encoder.frame_samples()).map(|n| 0.3 * (n as f32 * 0.05).sin()).collect();
        let mut out = Vec::new();
        encoder.encode(&sound, &mut out).unwrap();
        out
    }

    #[test]
    fn duration_is_that_of_the_frame_in_rtp_time() {
        let decoder = decoder(AudioFormat { sample_rate: 8_000, channels: 1 });
        for frame_ms in [10, 20, 40, 60] {
            assert_eq!(decoder.duration(&packet(frame_ms)).unwrap(), Duration::from_millis(frame_ms));
        }
        assert_eq!(decoder.duration(&[0xf8, 0xff, 0xfe]).unwrap(), Duration::from_millis(20));
        assert_eq!(decoder.duration(&[0xe0]).unwrap(), Duration::from_micros(2_500));
    }

    #[test]
    fn packets_without_a_length_are_refused() {
        let decoder = decoder(AudioFormat::CALL);
        // Nothing; code 3 without its count; code 3 with no frames; code 3 with 48 frames of 60 ms.
        for bytes in [&[][..], &[0x03], &[0x03, 0x00], &[0x1b, 48]] {
            assert_eq!(decoder.duration(bytes).unwrap_err().kind(), ErrorKind::Invalid, "{bytes:?}");
        }
    }

    #[test]
    fn hostile_bytes_are_an_error_or_sound_and_the_decoder_goes_on() {
        for (seed, format) in [(1, AudioFormat::CALL), (2, AudioFormat { sample_rate: 16_000, channels: 2 })] {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let mut decoder = decoder(format);
            let mut out = vec![0.0; format.samples_in(Duration::from_millis(120))];
            let good = packet(20);
            for _ in 0..3_000 {
                let mut bytes = vec![0; random.next_u32() as usize % 200];
                random.fill_bytes(&mut bytes);
                let decoded = decoder.decode(DecoderInput::Packet(&bytes), &mut out);
                let recovered = decoder.decode(DecoderInput::Recover(&bytes), &mut out);
                for written in [decoded, recovered] {
                    match written {
                        Ok(samples) => assert!(samples <= out.len() && samples > 0),
                        Err(error) => assert_eq!(error.kind(), ErrorKind::Invalid, "seed {seed}: {bytes:?}: {error}"),
                    }
                }
                if let Ok(duration) = decoder.duration(&bytes) {
                    assert!(duration <= Duration::from_millis(120));
                }
            }
            for length in 0..good.len() {
                // Whether a cut packet is one is libopus' to say.
                let _maybe = decoder.decode(DecoderInput::Packet(&good[..length]), &mut out);
            }
            let samples = decoder.decode(DecoderInput::Packet(&good), &mut out).unwrap();
            assert_eq!(samples, format.samples_in(Duration::from_millis(20)));
        }
    }

    #[test]
    fn lost_and_recovered_sound_fills_exactly_what_is_missing() {
        let stereo = AudioFormat { sample_rate: 48_000, channels: 2 };
        for format in [AudioFormat::CALL, stereo] {
            let mut decoder = decoder(format);
            let next = packet(20);
            for missing_ms in [10, 20, 40, 60] {
                let mut out = vec![0.0; format.samples_in(Duration::from_millis(missing_ms))];
                assert_eq!(decoder.decode(DecoderInput::Lost, &mut out).unwrap(), out.len());
                assert_eq!(decoder.decode(DecoderInput::Recover(&next), &mut out).unwrap(), out.len());
            }
        }
    }

    #[test]
    fn a_buffer_that_does_not_fit_is_refused() {
        let mut mono = decoder(AudioFormat::CALL);
        assert!(mono.decode(DecoderInput::Packet(&packet(20)), &mut [0.0; 959]).is_err());
        assert!(mono.decode(DecoderInput::Lost, &mut []).is_err());
        assert!(mono.decode(DecoderInput::Lost, &mut [0.0; 7]).is_err());
        let mut stereo = decoder(AudioFormat { sample_rate: 48_000, channels: 2 });
        assert!(stereo.decode(DecoderInput::Lost, &mut [0.0; 961]).is_err());
    }
}
