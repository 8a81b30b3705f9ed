//! Encoding.

use std::time::Duration;

use blink_api::{AudioEncoder, AudioEncoderConfig, EncoderHint, Result};

use crate::Law;
use crate::codec::{RATE, UNIT, check_format, invalid};
use crate::rate::Converter;

/// One stream of sound on its way out.
pub(crate) struct G711Encoder {
    law: Law,
    channels: usize,
    frame_samples: usize,
    converter: Converter,
    /// 10 ms of one channel, at the call's rate and at that of the wire.
    mono: Vec<f32>,
    narrow: [f32; UNIT],
    lookahead: Duration,
}

impl G711Encoder {
    pub(crate) fn new(law: Law, config: AudioEncoderConfig) -> Result<Self> {
        let format = config.format;
        check_format(law, format)?;
        if ![10, 20, 40, 60].map(Duration::from_millis).contains(&config.frame) {
            let frame = format!("{:?}", config.frame);
            return Err(invalid(law, "encoder", "a frame lasts 10, 20, 40 or 60 ms").with("frame", frame));
        }
        let converts = format.sample_rate != RATE;
        Ok(Self {
            law,
            channels: format.channels.into(),
            frame_samples: format.samples_in(config.frame),
            converter: Converter::new(format.sample_rate, RATE)?,
            mono: vec![0.0; format.sample_rate as usize / 100],
            narrow: [0.0; UNIT],
            // Both ways, half a unit each.
            lookahead: if converts { Duration::from_millis(10) } else { Duration::ZERO },
        })
    }
}

impl AudioEncoder for G711Encoder {
    fn frame_samples(&self) -> usize {
        self.frame_samples
    }

    fn encode(&mut self, samples: &[f32], out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        if samples.len() != self.frame_samples {
            return Err(invalid(self.law, "encode", "this is not one frame of samples")
                .with("samples", samples.len())
                .with("frame", self.frame_samples));
        }
        for unit in samples.chunks_exact(self.mono.len() * self.channels) {
            for (mono, frame) in self.mono.iter_mut().zip(unit.chunks_exact(self.channels)) {
                let mean = frame.iter().sum::<f32>() / self.channels as f32;
                // What is no number would stay in the filter.
                *mono = if mean.is_finite() { mean.clamp(-1.0, 1.0) } else { 0.0 };
            }
            self.converter.convert(&self.mono, &mut self.narrow)?;
            // The conversion saturates.
            out.extend(self.narrow.iter().map(|sample| self.law.compress((sample * 32_767.0) as i16)));
        }
        Ok(())
    }

    fn hint(&mut self, hint: EncoderHint) -> Result<()> {
        if (0.0..=1.0).contains(&hint.loss) {
            return Ok(());
        }
        Err(invalid(self.law, "hint", "the share of lost packets is 0.0 to 1.0").with("loss", hint.loss))
    }

    fn lookahead(&self) -> Duration {
        self.lookahead
    }
}
