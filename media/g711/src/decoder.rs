//! Decoding.

use std::time::Duration;

use blink_api::{AudioDecoder, AudioDecoderConfig, AudioFormat, DecoderInput, Result};

use crate::Law;
use crate::codec::{RATE, UNIT, check_format, invalid};
use crate::rate::Converter;

/// The longest packet, 120 ms.
const LONGEST: usize = 12 * UNIT;

/// One stream of sound on its way in.
pub(crate) struct G711Decoder {
    law: Law,
    format: AudioFormat,
    converter: Converter,
    /// 10 ms of one channel, at the call's rate and at that of the wire.
    mono: Vec<f32>,
    narrow: [f32; UNIT],
}

impl G711Decoder {
    pub(crate) fn new(law: Law, config: AudioDecoderConfig) -> Result<Self> {
        check_format(law, config.format)?;
        Ok(Self {
            law,
            format: config.format,
            converter: Converter::new(RATE, config.format.sample_rate)?,
            mono: vec![0.0; config.format.sample_rate as usize / 100],
            narrow: [0.0; UNIT],
        })
    }
}

impl AudioDecoder for G711Decoder {
    fn decode(&mut self, input: DecoderInput<'_>, out: &mut [f32]) -> Result<usize> {
        let DecoderInput::Packet(packet) = input else {
            // A packet says nothing of another one.
            self.converter.reset();
            out.fill(0.0);
            return Ok(out.len());
        };
        let samples = self.format.samples_in(self.duration(packet)?);
        let Some(out) = out.get_mut(..samples) else {
            return Err(invalid(self.law, "decode", "no room for the packet's sound").with("samples", samples));
        };
        let channels = usize::from(self.format.channels);
        for (unit, out) in packet.chunks_exact(UNIT).zip(out.chunks_exact_mut(self.mono.len() * channels)) {
            for (sample, byte) in self.narrow.iter_mut().zip(unit) {
                *sample = f32::from(self.law.expand(*byte)) / 32_768.0;
            }
            self.converter.convert(&self.narrow, &mut self.mono)?;
            for (frame, sample) in out.chunks_exact_mut(channels).zip(&self.mono) {
                frame.fill(sample.clamp(-1.0, 1.0));
            }
        }
        Ok(samples)
    }

    /// RFC 3551 §4.2: a sample is a byte. Frames are whole units of 10 ms.
    fn duration(&self, packet: &[u8]) -> Result<Duration> {
        if packet.is_empty() || packet.len() > LONGEST || !packet.len().is_multiple_of(UNIT) {
            let why = "a packet holds 10 to 120 ms, in whole units of 10 ms";
            return Err(invalid(self.law, "duration", why).with("bytes", packet.len()));
        }
        Ok(Duration::from_millis(10) * (packet.len() / UNIT) as u32)
    }
}
