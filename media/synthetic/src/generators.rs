//! Generators of silence, tones and noise.

use std::time::Duration;

use blink_api::{AudioFormat, AudioSource, ReadResult, Result};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Source of silence.
pub(crate) struct Silence {
    format: AudioFormat,
}

impl Silence {
    pub(crate) fn new(format: AudioFormat) -> Self {
        Self { format }
    }
}

impl AudioSource for Silence {
    fn format(&self) -> AudioFormat {
        self.format
    }

    fn read(&mut self, out: &mut [f32]) -> Result<ReadResult> {
        Ok(fill(self.format, out, || 0.0))
    }

    fn latency(&self) -> Duration {
        Duration::ZERO
    }
}

/// Source of a sine tone, identical on all channels.
pub(crate) struct Tone {
    format: AudioFormat,
    amplitude: f32,
    /// Phase in turns, 0.0 to 1.0.
    phase: f64,
    /// Phase increment per frame in turns.
    step: f64,
}

impl Tone {
    pub(crate) fn new(format: AudioFormat, hertz: f64, amplitude: f32) -> Self {
        Self { format, amplitude, phase: 0.0, step: hertz / f64::from(format.sample_rate) }
    }
}

impl AudioSource for Tone {
    fn format(&self) -> AudioFormat {
        self.format
    }

    fn read(&mut self, out: &mut [f32]) -> Result<ReadResult> {
        Ok(fill(self.format, out, || {
            let sample = self.amplitude * (self.phase * std::f64::consts::TAU).sin() as f32;
            self.phase = (self.phase + self.step).fract();
            sample
        }))
    }

    fn latency(&self) -> Duration {
        Duration::ZERO
    }
}

/// Source of uniformly distributed white noise with the power of a sine of the given amplitude;
/// identical on all channels and reproducible by its seed.
pub(crate) struct Noise {
    format: AudioFormat,
    amplitude: f32,
    random: ChaCha8Rng,
}

impl Noise {
    pub(crate) fn new(format: AudioFormat, seed: u64, amplitude: f32) -> Self {
        // Equal power: a sine has a²/2, a uniform distribution a²/3.
        let amplitude = (amplitude * 1.5f32.sqrt()).min(1.0);
        Self { format, amplitude, random: ChaCha8Rng::seed_from_u64(seed) }
    }
}

impl AudioSource for Noise {
    fn format(&self) -> AudioFormat {
        self.format
    }

    fn read(&mut self, out: &mut [f32]) -> Result<ReadResult> {
        Ok(fill(self.format, out, || {
            let even = self.random.next_u32().cast_signed() as f32 / 2_147_483_648.0;
            self.amplitude * even
        }))
    }

    fn latency(&self) -> Duration {
        Duration::ZERO
    }
}

/// Fills whole frames with the same sample on all channels.
fn fill(format: AudioFormat, out: &mut [f32], mut sample: impl FnMut() -> f32) -> ReadResult {
    let frames = out.chunks_exact_mut(format.channels.into());
    let samples = frames.len() * usize::from(format.channels);
    for frame in frames {
        frame.fill(sample());
    }
    ReadResult::new(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEREO: AudioFormat = AudioFormat { sample_rate: 48_000, channels: 2 };

    fn level(samples: &[f32]) -> f32 {
        let power = samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32;
        10.0 * (2.0 * power).log10()
    }

    #[test]
    fn a_tone_keeps_its_frequency_and_level_across_reads() {
        let mut tone = Tone::new(AudioFormat::CALL, 440.0, 0.1);
        let mut second = vec![0.0; 48_000];
        for chunk in second.chunks_mut(333) {
            tone.read(chunk).unwrap();
        }
        let rising = second.windows(2).filter(|two| two[0] <= 0.0 && two[1] > 0.0).count();
        assert_eq!(rising, 440);
        assert!((level(&second) + 20.0).abs() < 0.01);
    }

    #[test]
    fn noise_has_its_level_and_depends_on_its_seed_only() {
        let read = |seed| {
            let mut second = vec![0.0; 48_000];
            Noise::new(AudioFormat::CALL, seed, 0.1).read(&mut second).unwrap();
            second
        };
        assert!((level(&read(1)) + 20.0).abs() < 0.1);
        assert_eq!(read(1), read(1));
        assert_ne!(read(1), read(2));
    }

    #[test]
    fn channels_are_identical_and_partial_frames_untouched() {
        let mut out = [9.0; 7];
        let captured = Tone::new(STEREO, 1_000.0, 0.5).read(&mut out).unwrap();
        assert_eq!(captured.samples, 6);
        assert!(out[..6].chunks_exact(2).all(|frame| frame[0] == frame[1]));
        assert_eq!(out[6], 9.0);
    }
}
