//! Sample rate conversion of whole clips.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler, WindowFunction};

/// Minimum FFT block size in frames. Longer blocks have a steeper filter and keep more of the
/// highest frequencies.
const BLOCK: usize = 2_048;

/// Resamples mono audio. The duration stays the same to within a sample, without delay.
///
/// # Panics
/// A rate is 0 Hz.
pub fn resample(samples: &[f32], from: u32, to: u32) -> Vec<f32> {
    resample_interleaved(samples, 1, from, to)
}

/// Resamples interleaved audio, as [`resample`].
pub(crate) fn resample_interleaved(samples: &[f32], channels: usize, from: u32, to: u32) -> Vec<f32> {
    assert!(from > 0 && to > 0, "a sample rate of 0 Hz");
    if from == to || samples.is_empty() {
        return samples.to_vec();
    }
    let frames = samples.len() / channels;
    let (from, to) = (from as usize, to as usize);
    // An even multiple of the smallest block for these rates: the filter delay of half a block is
    // then a whole number of samples at both rates and can be cut off exactly.
    let smallest = from / greatest_common_divisor(from, to);
    let block = 2 * smallest * BLOCK.div_ceil(2 * smallest);
    let window = WindowFunction::BlackmanHarris2;
    let mut resampler = Fft::<f32>::new_custom(from, to, block, 1, channels, window, FixedSync::Input)
        .expect("rates, block and channels are greater than 0");
    let input = InterleavedSlice::new(samples, channels, frames).expect("the frames were counted from the samples");
    let output = resampler.process_all(&input, frames, None).expect("the output is allocated by the resampler");
    output.take_data()
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(rate: u32, hertz: f64, frames: usize) -> Vec<f32> {
        (0..frames).map(|n| (n as f64 * hertz / f64::from(rate) * std::f64::consts::TAU).sin() as f32).collect()
    }

    #[test]
    fn a_resampled_tone_keeps_frequency_and_phase() {
        for (from, to) in [(16_000, 48_000), (48_000, 16_000), (44_100, 48_000), (8_000, 192_000), (47_999, 48_000)] {
            let resampled = resample(&sine(from, 1_000.0, from as usize), from, to);
            let expected = sine(to, 1_000.0, to as usize);
            assert!(resampled.len().abs_diff(expected.len()) <= 1, "{from} to {to}: {}", resampled.len());
            // The filter rings at the abrupt ends of the tone.
            let middle = expected.len() / 10..expected.len() * 9 / 10;
            let worst = middle.map(|n| (resampled[n] - expected[n]).abs()).fold(0.0, f32::max);
            assert!(worst < 0.001, "{from} to {to}: {worst}");
        }
    }

    #[test]
    fn channels_stay_separate_and_short_clips_keep_their_duration() {
        let stereo: Vec<f32> = sine(16_000, 500.0, 1_600).into_iter().flat_map(|sample| [sample, 0.0]).collect();
        let resampled = resample_interleaved(&stereo, 2, 16_000, 48_000);
        assert_eq!(resampled.len(), 2 * 4_800);
        assert!(resampled.chunks_exact(2).all(|frame| frame[1].abs() < 1e-6));
        assert!(resampled.chunks_exact(2).any(|frame| frame[0] > 0.9));
        assert!(resample(&[], 16_000, 48_000).is_empty());
        assert_eq!(resample(&[0.5], 16_000, 48_000).len(), 3);
        assert_eq!(resample(&[0.5, 0.25], 48_000, 48_000), [0.5, 0.25]);
    }
}
