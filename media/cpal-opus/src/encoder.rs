//! Opus encoder.

use std::time::Duration;

use blink_api::{AudioEncoder, AudioEncoderConfig, EncoderHint, Error, ErrorKind, Result};

use crate::codec::check_format;
use crate::config::BITRATES;
use crate::libopus::{Control, FULLBAND, RawEncoder, VOICE, WIDEBAND};
use crate::{NAME, OpusConfig};

/// Maximum packet size: the RTP payload limit minus the byte of the RED header that precedes the
/// primary block (RFC 2198 §3).
const MAX_PACKET: usize = 1_199;

/// Bitrate per channel below which audio is limited to wideband (8 kHz): PESQ-WB 4.3 instead of 4.1
/// at 16 kbit/s.
const WIDEBAND_BELOW: u32 = 20_000;

/// Maximum size of a DTX packet, which signals silence and need not be sent (`opus_encode`, "DTX").
const MAX_DTX_PACKET: usize = 2;

/// Mean burst length from which deep redundancy is sent. Independent losses have 1.1 at 10 % and
/// 1.4 at 30 %.
const DRED_MIN_BURST: f32 = 1.6;

/// Packet loss below which no redundancy is sent.
const REDUNDANCY_MIN_LOSS: f32 = 0.005;

/// Encoder of one audio stream.
pub(crate) struct OpusEncoder {
    opus: RawEncoder,
    settings: OpusConfig,
    frame_samples: usize,
    bitrate: u32,
    channels: u32,
    lookahead: Duration,
}

impl OpusEncoder {
    pub(crate) fn new(settings: &OpusConfig, config: AudioEncoderConfig) -> Result<Self> {
        let format = config.format;
        check_format(format)?;
        if ![10, 20, 40, 60].map(Duration::from_millis).contains(&config.frame) {
            let frame = format!("{:?}", config.frame);
            return Err(invalid("encoder", "a frame must be 10, 20, 40 or 60 ms").with("frame", frame));
        }
        let bitrate = config.bitrate.unwrap_or(settings.bitrate);
        check_bitrate("encoder", bitrate)?;

        let mut opus = RawEncoder::new(format.sample_rate, format.channels)?;
        opus.set(Control::SIGNAL, VOICE)?;
        opus.set(Control::COMPLEXITY, settings.complexity.into())?;
        opus.set(Control::DTX, settings.dtx.into())?;
        let lookahead = Duration::from_secs(opus.lookahead()?.into()) / format.sample_rate;
        let frame_samples = format.samples_in(config.frame);
        let mut encoder =
            Self { opus, settings: *settings, frame_samples, bitrate, channels: format.channels.into(), lookahead };
        encoder.set_bitrate(bitrate)?;
        encoder.adapt_redundancy(f32::from(settings.expected_loss) / 100.0, 1.0)?;
        Ok(encoder)
    }

    fn set_bitrate(&mut self, bitrate: u32) -> Result<()> {
        let bandwidth = if bitrate < WIDEBAND_BELOW * self.channels { WIDEBAND } else { FULLBAND };
        self.opus.set(Control::MAX_BANDWIDTH, bandwidth)?;
        self.opus.set(Control::BITRATE, bitrate.cast_signed())
    }

    /// Adapts the redundancy to a loss rate and a mean burst length.
    fn adapt_redundancy(&mut self, loss: f32, burst: f32) -> Result<()> {
        let has_loss = loss >= REDUNDANCY_MIN_LOSS;
        let sends_dred = has_loss && burst >= DRED_MIN_BURST;
        let redundancy = if sends_dred { i32::from(self.settings.redundancy_ms / 10) } else { 0 };
        self.opus.set(Control::INBAND_FEC, (self.settings.fec && has_loss).into())?;
        self.opus.set(Control::DRED_DURATION, redundancy)?;
        self.opus.set(Control::PACKET_LOSS, (loss * 100.0).round() as i32)
    }
}

impl AudioEncoder for OpusEncoder {
    fn frame_samples(&self) -> usize {
        self.frame_samples
    }

    fn encode(&mut self, samples: &[f32], out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        if samples.len() != self.frame_samples {
            return Err(invalid("encode", "expected exactly one frame of samples")
                .with("samples", samples.len())
                .with("frame", self.frame_samples));
        }
        // Zeroing is cheap compared with encoding, and the buffer is not reallocated.
        out.resize(MAX_PACKET, 0);
        match self.opus.encode(samples, out) {
            Ok(length) if self.settings.dtx && length <= MAX_DTX_PACKET => out.clear(),
            Ok(length) => out.truncate(length),
            Err(source) => {
                out.clear();
                return Err(source);
            }
        }
        Ok(())
    }

    fn hint(&mut self, hint: EncoderHint) -> Result<()> {
        if !(0.0..=1.0).contains(&hint.loss) {
            return Err(invalid("hint", "the loss must be 0.0 to 1.0").with("loss", hint.loss));
        }
        if let Some(bitrate) = hint.bitrate {
            check_bitrate("hint", bitrate)?;
            self.set_bitrate(bitrate)?;
        }
        self.adapt_redundancy(hint.loss, hint.burst)
    }

    fn bitrate(&self) -> Option<u32> {
        Some(self.bitrate)
    }

    fn lookahead(&self) -> Duration {
        self.lookahead
    }
}

fn check_bitrate(operation: &'static str, bitrate: u32) -> Result<()> {
    if BITRATES.contains(&bitrate) {
        return Ok(());
    }
    Err(invalid(operation, "Opus supports 6,000 to 510,000 bits per second").with("bitrate", bitrate))
}

fn invalid(operation: &'static str, why: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, why).backend(NAME).operation(operation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use blink_api::AudioFormat;

    fn encoder(settings: OpusConfig, frame_ms: u64) -> OpusEncoder {
        let frame = Duration::from_millis(frame_ms);
        OpusEncoder::new(&settings, AudioEncoderConfig { format: AudioFormat::CALL, frame, bitrate: None }).unwrap()
    }

    fn tone(samples: usize) -> Vec<f32> {
        (0..samples).map(|n| 0.3 * (n as f32 * 440.0 * std::f32::consts::TAU / 48_000.0).sin()).collect()
    }

    #[test]
    fn invalid_lengths_frames_bitrates_and_hints_are_refused() {
        let mut encoder = encoder(OpusConfig::default(), 20);
        let mut out = vec![1, 2, 3];
        for length in [0, 1, 480, 959, 961, 1920] {
            assert_eq!(encoder.encode(&vec![0.0; length], &mut out).unwrap_err().kind(), ErrorKind::Invalid);
            assert!(out.is_empty());
        }
        encoder.encode(&[0.0; 960], &mut out).unwrap();

        for loss in [-0.1, 1.1, f32::NAN, f32::INFINITY] {
            assert!(encoder.hint(EncoderHint { loss, ..EncoderHint::default() }).is_err(), "{loss}");
        }
        assert!(encoder.hint(EncoderHint { bitrate: Some(100), ..EncoderHint::default() }).is_err());
        encoder.hint(EncoderHint { loss: 1.0, burst: 3.0, bitrate: Some(16_000) }).unwrap();

        for (frame, bitrate) in [(Duration::from_millis(30), None), (Duration::from_millis(20), Some(0))] {
            let config = AudioEncoderConfig { format: AudioFormat::CALL, frame, bitrate };
            assert!(OpusEncoder::new(&OpusConfig::default(), config).is_err());
        }
    }

    /// Encoding does not reallocate the caller's buffer.
    #[test]
    fn the_output_buffer_is_reused() {
        let mut encoder = encoder(OpusConfig::default(), 20);
        let audio = tone(960 * 50);
        let mut out = Vec::new();
        encoder.encode(&audio[..960], &mut out).unwrap();
        let (place, capacity) = (out.as_ptr(), out.capacity());
        for frame in audio.chunks_exact(960) {
            encoder.encode(frame, &mut out).unwrap();
            assert_eq!((out.as_ptr(), out.capacity()), (place, capacity));
        }
    }

    #[test]
    fn packets_fit_into_rtp_at_every_bitrate_and_with_non_finite_samples() {
        for frame_ms in [10, 20, 40, 60] {
            let mut encoder = encoder(OpusConfig { bitrate: 510_000, ..OpusConfig::default() }, frame_ms);
            let mut out = Vec::new();
            for value in [f32::NAN, f32::INFINITY, f32::MIN, 1e30, 5.0, 0.0] {
                encoder.encode(&vec![value; encoder.frame_samples()], &mut out).unwrap();
                assert!((1..=1_200).contains(&out.len()));
            }
            encoder.encode(&tone(encoder.frame_samples()), &mut out).unwrap();
            assert!((1..=1_200).contains(&out.len()), "{}", out.len());
        }
    }

    #[test]
    fn a_lower_bitrate_gives_smaller_packets() {
        let mut encoder = encoder(OpusConfig::default(), 20);
        let audio = tone(960 * 50);
        let bytes = |encoder: &mut OpusEncoder| {
            let mut out = Vec::new();
            audio
                .chunks_exact(960)
                .map(|frame| encoder.encode(frame, &mut out).map(|()| out.len()).unwrap())
                .sum::<usize>()
        };
        let usual = bytes(&mut encoder);
        encoder.hint(EncoderHint { bitrate: Some(8_000), ..EncoderHint::default() }).unwrap();
        let low = bytes(&mut encoder);
        assert!(low * 2 < usual, "{low} against {usual}");
    }

    #[test]
    fn silence_is_sent_only_without_dtx() {
        for dtx in [true, false] {
            let mut encoder = encoder(OpusConfig { dtx, ..OpusConfig::default() }, 20);
            let mut out = Vec::new();
            let mut sent = 0;
            for _ in 0..100 {
                encoder.encode(&[0.0; 960], &mut out).unwrap();
                sent += usize::from(!out.is_empty());
            }
            assert!(if dtx { sent < 50 } else { sent == 100 }, "dtx {dtx}: {sent} of 100 silent frames were sent");
        }
    }

    #[test]
    fn lookahead_is_that_of_libopus() {
        assert_eq!(encoder(OpusConfig::default(), 20).lookahead(), Duration::from_micros(6_500));
    }
}
