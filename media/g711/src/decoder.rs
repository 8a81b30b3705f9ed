//! G.711 decoder.

use std::time::Duration;

use blink_api::{AudioDecoder, AudioDecoderConfig, AudioFormat, DecoderInput, Result};

use crate::Law;
use crate::codec::{BLOCK, CLOCK_RATE, check_format, invalid};
use crate::resampler::BlockResampler;

/// Maximum packet size in bytes: 120 ms.
const MAX_PACKET: usize = 12 * BLOCK;

/// Decoder of one audio stream.
pub(crate) struct G711Decoder {
    law: Law,
    format: AudioFormat,
    resampler: BlockResampler,
    /// Blocks of 10 ms mono at the output rate and at the wire rate.
    mono: Vec<f32>,
    wire_block: [f32; BLOCK],
}

impl G711Decoder {
    pub(crate) fn new(law: Law, config: AudioDecoderConfig) -> Result<Self> {
        check_format(law, config.format)?;
        Ok(Self {
            law,
            format: config.format,
            resampler: BlockResampler::new(CLOCK_RATE, config.format.sample_rate)?,
            mono: vec![0.0; config.format.sample_rate as usize / 100],
            wire_block: [0.0; BLOCK],
        })
    }
}

impl AudioDecoder for G711Decoder {
    fn decode(&mut self, input: DecoderInput<'_>, out: &mut [f32]) -> Result<usize> {
        let DecoderInput::Packet(packet) = input else {
            // G.711 has no redundancy and no concealment: a lost packet is silence here.
            self.resampler.reset();
            out.fill(0.0);
            return Ok(out.len());
        };
        let samples = self.format.samples_in(self.duration(packet)?);
        let Some(out) = out.get_mut(..samples) else {
            return Err(
                invalid(self.law, "decode", "the output is smaller than the packet's audio").with("samples", samples)
            );
        };
        let channels = usize::from(self.format.channels);
        for (block, out) in packet.chunks_exact(BLOCK).zip(out.chunks_exact_mut(self.mono.len() * channels)) {
            for (sample, byte) in self.wire_block.iter_mut().zip(block) {
                *sample = f32::from(self.law.expand(*byte)) / 32_768.0;
            }
            self.resampler.resample(&self.wire_block, &mut self.mono)?;
            for (frame, sample) in out.chunks_exact_mut(channels).zip(&self.mono) {
                frame.fill(sample.clamp(-1.0, 1.0));
            }
        }
        Ok(samples)
    }

    /// Duration of a packet, at one byte per sample (RFC 3551 §4.2) and whole blocks of 10 ms.
    fn duration(&self, packet: &[u8]) -> Result<Duration> {
        if packet.is_empty() || packet.len() > MAX_PACKET || !packet.len().is_multiple_of(BLOCK) {
            let why = "a packet must have 10 to 120 ms in whole blocks of 10 ms";
            return Err(invalid(self.law, "duration", why).with("bytes", packet.len()));
        }
        Ok(Duration::from_millis(10) * (packet.len() / BLOCK) as u32)
    }
}
