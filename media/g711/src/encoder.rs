//! G.711 encoder.

use std::time::Duration;

use blink_api::{AudioEncoder, AudioEncoderConfig, EncoderHint, Result};

use crate::Law;
use crate::codec::{BLOCK, CLOCK_RATE, check_format, invalid};
use crate::resampler::BlockResampler;

/// Encoder of one audio stream.
pub(crate) struct G711Encoder {
    law: Law,
    channels: usize,
    frame_samples: usize,
    resampler: BlockResampler,
    /// Blocks of 10 ms mono at the input rate and at the wire rate.
    mono: Vec<f32>,
    wire_block: [f32; BLOCK],
    lookahead: Duration,
}

impl G711Encoder {
    pub(crate) fn new(law: Law, config: AudioEncoderConfig) -> Result<Self> {
        let format = config.format;
        check_format(law, format)?;
        if ![10, 20, 40, 60].map(Duration::from_millis).contains(&config.frame) {
            let frame = format!("{:?}", config.frame);
            return Err(invalid(law, "encoder", "a frame must be 10, 20, 40 or 60 ms").with("frame", frame));
        }
        let resamples = format.sample_rate != CLOCK_RATE;
        Ok(Self {
            law,
            channels: format.channels.into(),
            frame_samples: format.samples_in(config.frame),
            resampler: BlockResampler::new(format.sample_rate, CLOCK_RATE)?,
            mono: vec![0.0; format.sample_rate as usize / 100],
            wire_block: [0.0; BLOCK],
            // Half a block for each direction of resampling.
            lookahead: if resamples { Duration::from_millis(10) } else { Duration::ZERO },
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
            return Err(invalid(self.law, "encode", "expected exactly one frame of samples")
                .with("samples", samples.len())
                .with("frame", self.frame_samples));
        }
        for block in samples.chunks_exact(self.mono.len() * self.channels) {
            for (mono, frame) in self.mono.iter_mut().zip(block.chunks_exact(self.channels)) {
                let mean = frame.iter().sum::<f32>() / self.channels as f32;
                // A non-finite sample would stay in the resampler's filter.
                *mono = if mean.is_finite() { mean.clamp(-1.0, 1.0) } else { 0.0 };
            }
            self.resampler.resample(&self.mono, &mut self.wire_block)?;
            // `as` saturates.
            out.extend(self.wire_block.iter().map(|sample| self.law.compress((sample * 32_767.0) as i16)));
        }
        Ok(())
    }

    fn hint(&mut self, hint: EncoderHint) -> Result<()> {
        if (0.0..=1.0).contains(&hint.loss) {
            return Ok(());
        }
        Err(invalid(self.law, "hint", "the loss must be 0.0 to 1.0").with("loss", hint.loss))
    }

    fn lookahead(&self) -> Duration {
        self.lookahead
    }
}
