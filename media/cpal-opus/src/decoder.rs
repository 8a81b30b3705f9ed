//! Opus decoder with FEC, deep redundancy and concealment.

use std::time::Duration;

use blink_api::{AudioDecoder, AudioDecoderConfig, AudioFormat, DecoderInput, Error, ErrorKind, Result};

use crate::codec::check_format;
use crate::libopus::{self, RawDecoder, check_packet};
use crate::{NAME, OpusConfig};

/// RTP clock rate of Opus (RFC 7587 §4.1); every frame is a whole number of its ticks.
const CLOCK_RATE: u32 = 48_000;

/// Decoder complexity from which libopus conceals by neural networks and decodes deep redundancy.
const DRED_MIN_COMPLEXITY: u8 = 5;

/// Maximum span of deep redundancy, longer than any gap that is restored.
const MAX_DRED_SPAN: Duration = Duration::from_secs(1);

/// Initial capacity for the packet whose deep redundancy was parsed last.
const PACKET_CAPACITY: usize = 1_500;

/// Decoder of one audio stream.
pub(crate) struct OpusDecoder {
    opus: RawDecoder,
    format: AudioFormat,
    channels: usize,
    supports_dred: bool,
    /// Packet whose deep redundancy is parsed, cached because several frames are restored from the
    /// same packet, and the redundancy's span in samples per channel.
    dred_packet: Vec<u8>,
    dred_span: usize,
}

impl OpusDecoder {
    pub(crate) fn new(settings: &OpusConfig, config: AudioDecoderConfig) -> Result<Self> {
        check_format(config.format)?;
        let mut opus = RawDecoder::new(config.format.sample_rate, config.format.channels)?;
        opus.set_complexity(settings.decoder_complexity)?;
        Ok(Self {
            opus,
            format: config.format,
            channels: config.format.channels.into(),
            supports_dred: settings.decoder_complexity >= DRED_MIN_COMPLEXITY,
            dred_packet: Vec::with_capacity(PACKET_CAPACITY),
            dred_span: 0,
        })
    }

    /// Samples per channel in a duration.
    fn samples_in(&self, duration: Duration) -> usize {
        self.format.samples_in(duration) / self.channels
    }

    fn restore(&mut self, later: &[u8], distance: Duration, out: &mut [f32]) -> Result<usize> {
        check_packet("restore", later)?;
        let offset = self.samples_in(distance);
        if !self.supports_dred || offset > self.samples_in(MAX_DRED_SPAN) {
            return self.opus.decode(None, out, false);
        }
        if self.dred_packet != later {
            self.dred_packet.clear();
            self.dred_span = self.opus.redundancy(later, self.samples_in(MAX_DRED_SPAN), true)?;
            self.dred_packet.extend_from_slice(later);
        }
        if self.dred_span == 0 { self.opus.decode(None, out, false) } else { self.opus.restore(offset, out) }
    }
}

impl AudioDecoder for OpusDecoder {
    fn decode(&mut self, input: DecoderInput<'_>, out: &mut [f32]) -> Result<usize> {
        if out.is_empty() || !out.len().is_multiple_of(self.channels) {
            return Err(invalid("decode", "the buffer is not a whole number of frames").with("samples", out.len()));
        }
        match input {
            DecoderInput::Packet(packet) => {
                check_packet("decode", packet)?;
                self.opus.decode(Some(packet), out, false)
            }
            DecoderInput::Fec(next) => {
                check_packet("decode", next)?;
                self.opus.decode(Some(next), out, true)
            }
            DecoderInput::Dred { later, distance } => self.restore(later, distance, out),
            DecoderInput::Conceal => self.opus.decode(None, out, false),
        }
    }

    fn duration(&self, packet: &[u8]) -> Result<Duration> {
        check_packet("duration", packet)?;
        match libopus::packet_ticks(packet)? {
            0 => Err(invalid("duration", "the packet has no frames")),
            ticks => Ok(Duration::from_secs(ticks as u64) / CLOCK_RATE),
        }
    }

    fn has_fec(&self, packet: &[u8]) -> bool {
        check_packet("has_fec", packet).is_ok() && libopus::has_fec(packet)
    }

    fn redundancy_span(&mut self, packet: &[u8]) -> Duration {
        if !self.supports_dred || check_packet("redundancy_span", packet).is_err() {
            return Duration::ZERO;
        }
        // Parsing overwrites the redundancy that was cached for restoring.
        self.dred_packet.clear();
        let most = self.samples_in(MAX_DRED_SPAN);
        let samples = self.opus.redundancy(packet, most, false).unwrap_or(0);
        Duration::from_secs(samples as u64) / self.format.sample_rate
    }

    fn save_state(&mut self) -> bool {
        self.opus.save_state();
        true
    }

    fn restore_state(&mut self) {
        self.opus.restore_state();
    }
}

fn invalid(operation: &'static str, why: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, why).backend(NAME).operation(operation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OpusCodec, OpusConfig};
    use blink_api::{AudioCodec, AudioEncoderConfig, AudioFormat};
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    fn decoder(format: AudioFormat) -> OpusDecoder {
        OpusDecoder::new(&OpusConfig::default(), AudioDecoderConfig { format }).unwrap()
    }

    fn packet(frame_ms: u64) -> Vec<u8> {
        let codec = OpusCodec::new(OpusConfig::default()).unwrap();
        let frame = Duration::from_millis(frame_ms);
        let mut encoder =
            codec.encoder(AudioEncoderConfig { format: AudioFormat::CALL, frame, bitrate: None }).unwrap();
        let audio: Vec<f32> = (0..encoder.frame_samples()).map(|n| 0.3 * (n as f32 * 0.05).sin()).collect();
        let mut out = Vec::new();
        encoder.encode(&audio, &mut out).unwrap();
        out
    }

    #[test]
    fn duration_is_that_of_the_frame() {
        let decoder = decoder(AudioFormat { sample_rate: 8_000, channels: 1 });
        for frame_ms in [10, 20, 40, 60] {
            assert_eq!(decoder.duration(&packet(frame_ms)).unwrap(), Duration::from_millis(frame_ms));
        }
        assert_eq!(decoder.duration(&[0xf8, 0xff, 0xfe]).unwrap(), Duration::from_millis(20));
        assert_eq!(decoder.duration(&[0xe0]).unwrap(), Duration::from_micros(2_500));
    }

    #[test]
    fn decoding_after_restore_state_equals_decoding_without_interruption() {
        let codec = OpusCodec::new(OpusConfig::default()).unwrap();
        let (format, frame) = (AudioFormat { sample_rate: 48_000, channels: 2 }, Duration::from_millis(20));
        let mut encoder = codec.encoder(AudioEncoderConfig { format, frame, bitrate: None }).unwrap();
        let audio =
            |n: usize| (0..1_920).map(move |m| 0.3 * ((n * 1_920 + m) as f32 * 0.03).sin()).collect::<Vec<f32>>();
        let mut packet = Vec::new();
        let packets: Vec<_> =
            (0..20).map(|n| encoder.encode(&audio(n), &mut packet).map(|()| packet.clone()).unwrap()).collect();
        let (mut straight, mut back) = (decoder(format), decoder(format));
        back.restore_state();
        let (mut expected, mut got) = (vec![0.0; 1_920], vec![0.0; 1_920]);
        for (n, packet) in packets.iter().enumerate() {
            straight.decode(DecoderInput::Packet(packet), &mut expected).unwrap();
            if n % 3 == 2 {
                assert!(back.save_state());
                back.decode(DecoderInput::Conceal, &mut got).unwrap();
                back.decode(DecoderInput::Packet(&packets[0]), &mut got).unwrap();
                back.restore_state();
            }
            back.decode(DecoderInput::Packet(packet), &mut got).unwrap();
            assert_eq!(got, expected, "packet {n}");
        }
    }

    #[test]
    fn packets_without_a_duration_are_refused() {
        let decoder = decoder(AudioFormat::CALL);
        // Empty; code 3 without its count; code 3 with no frames; code 3 with 48 frames of 60 ms.
        for bytes in [&[][..], &[0x03], &[0x03, 0x00], &[0x1b, 48]] {
            assert_eq!(decoder.duration(bytes).unwrap_err().kind(), ErrorKind::Invalid, "{bytes:?}");
        }
    }

    #[test]
    fn random_bytes_give_an_error_or_audio_and_leave_the_decoder_usable() {
        for (seed, format) in [(1, AudioFormat::CALL), (2, AudioFormat { sample_rate: 16_000, channels: 2 })] {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let mut decoder = decoder(format);
            let mut out = vec![0.0; format.samples_in(Duration::from_millis(120))];
            let good = packet(20);
            for _ in 0..3_000 {
                let mut bytes = vec![0; random.next_u32() as usize % 200];
                random.fill_bytes(&mut bytes);
                let decoded = decoder.decode(DecoderInput::Packet(&bytes), &mut out);
                let recovered = decoder.decode(DecoderInput::Fec(&bytes), &mut out);
                let distance = Duration::from_millis(u64::from(random.next_u32() % 1_200));
                let restored = decoder.decode(DecoderInput::Dred { later: &bytes, distance }, &mut out);
                decoder.has_fec(&bytes);
                assert!(decoder.redundancy_span(&bytes) <= Duration::from_secs(2), "{bytes:?}");
                for written in [decoded, recovered, restored] {
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
                // libopus decides whether a truncated packet is valid.
                let _maybe = decoder.decode(DecoderInput::Packet(&good[..length]), &mut out);
            }
            let samples = decoder.decode(DecoderInput::Packet(&good), &mut out).unwrap();
            assert_eq!(samples, format.samples_in(Duration::from_millis(20)));
        }
    }

    #[test]
    fn concealed_and_recovered_audio_fills_the_gap_exactly() {
        let stereo = AudioFormat { sample_rate: 48_000, channels: 2 };
        for format in [AudioFormat::CALL, stereo] {
            let mut decoder = decoder(format);
            let next = packet(20);
            for missing_ms in [10, 20, 40, 60] {
                let mut out = vec![0.0; format.samples_in(Duration::from_millis(missing_ms))];
                assert_eq!(decoder.decode(DecoderInput::Conceal, &mut out).unwrap(), out.len());
                assert_eq!(decoder.decode(DecoderInput::Fec(&next), &mut out).unwrap(), out.len());
            }
        }
    }

    #[test]
    fn a_buffer_of_the_wrong_size_is_refused() {
        let mut mono = decoder(AudioFormat::CALL);
        assert!(mono.decode(DecoderInput::Packet(&packet(20)), &mut [0.0; 959]).is_err());
        assert!(mono.decode(DecoderInput::Conceal, &mut []).is_err());
        assert!(mono.decode(DecoderInput::Conceal, &mut [0.0; 7]).is_err());
        let mut stereo = decoder(AudioFormat { sample_rate: 48_000, channels: 2 });
        assert!(stereo.decode(DecoderInput::Conceal, &mut [0.0; 961]).is_err());
    }
}
