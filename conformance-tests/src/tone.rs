//! Tones that the suites send and detect.

use std::f32::consts::TAU;

/// A sine wave with this number of samples.
pub(crate) fn wave(hertz: f32, amplitude: f32, sample_rate: u32, samples: usize) -> Vec<f32> {
    let step = f64::from(hertz) / f64::from(sample_rate);
    (0..samples).map(|n| amplitude * ((n as f64 * step).fract() as f32 * TAU).sin()).collect()
}

/// Amplitude of a frequency in received audio (one bin of a discrete Fourier transform).
pub(crate) fn amplitude(heard: &[f32], hertz: f32, sample_rate: u32) -> f32 {
    let step = f64::from(hertz) / f64::from(sample_rate);
    let (mut real, mut imaginary) = (0.0, 0.0);
    for (n, sample) in heard.iter().enumerate() {
        let (sine, cosine) = ((n as f64 * step).fract() * std::f64::consts::TAU).sin_cos();
        real += f64::from(*sample) * cosine;
        imaginary += f64::from(*sample) * sine;
    }
    (real.hypot(imaginary) * 2.0 / heard.len().max(1) as f64) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amplitude_of_a_tone_is_measured_and_other_frequencies_are_absent() {
        let heard = wave(500.0, 0.3, 48_000, 48_000);
        assert!((amplitude(&heard, 500.0, 48_000) - 0.3).abs() < 0.001);
        assert!(amplitude(&heard, 700.0, 48_000) < 0.001);
    }
}
