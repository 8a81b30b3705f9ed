//! Tones that suites send and listen for.

use std::f32::consts::TAU;

/// A sine of so many samples.
pub(crate) fn wave(hertz: f32, amplitude: f32, sample_rate: u32, samples: usize) -> Vec<f32> {
    let step = f64::from(hertz) / f64::from(sample_rate);
    (0..samples).map(|n| amplitude * ((n as f64 * step).fract() as f32 * TAU).sin()).collect()
}

/// How loud a pitch is in what was heard: its amplitude (Goertzel's algorithm, as one correlation
/// with a turning pointer).
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
    fn a_tone_is_as_loud_as_it_was_made_and_others_are_not_there() {
        let heard = wave(500.0, 0.3, 48_000, 48_000);
        assert!((amplitude(&heard, 500.0, 48_000) - 0.3).abs() < 0.001);
        assert!(amplitude(&heard, 700.0, 48_000) < 0.001);
    }
}
