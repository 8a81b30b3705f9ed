//! Mixing and limiting.

/// Level up to which samples are unchanged; above, they are compressed to stay below 1.
const KNEE: f32 = 0.9;

/// Adds `sound` to `mix` while its gain goes linearly from `from` to `to`. `sound` may be shorter;
/// the rest counts as silence.
pub(super) fn add(mix: &mut [f32], sound: &[f32], from: f32, to: f32) {
    if from == to {
        for (mixed, sample) in mix.iter_mut().zip(sound) {
            *mixed += sample * to;
        }
        return;
    }
    let step = (to - from) / mix.len().max(1) as f32;
    for (n, (mixed, sample)) in mix.iter_mut().zip(sound).enumerate() {
        *mixed += sample * (from + step * (n + 1) as f32);
    }
}

/// Limits samples to −1.0..=1.0: unchanged up to 0.9, compressed softly above. NaN becomes silence.
pub(super) fn limit(mix: &mut [f32]) {
    // Nearly always all of it is below the knee, and a look without a branch for each sample tells.
    if mix.iter().fold(true, |below, sample| below & (sample.abs() <= KNEE)) {
        return;
    }
    for sample in mix {
        let size = sample.abs();
        if size > KNEE {
            let room = 1.0 - KNEE;
            *sample = (KNEE + room * ((size - KNEE) / room).tanh()).min(1.0).copysign(*sample);
        } else if sample.is_nan() {
            *sample = 0.0;
        }
    }
}

/// The mean square of samples; no finite number where one of them is none.
pub(super) fn power(samples: &[f32]) -> f32 {
    // Several sums at a time: in a single one, each addition waits for the one before.
    let (chunks, rest) = samples.as_chunks::<16>();
    let mut sums = [0.0; 16];
    for chunk in chunks {
        sums.iter_mut().zip(chunk).for_each(|(sum, sample)| *sum += sample * sample);
    }
    let squares = sums.iter().sum::<f32>() + rest.iter().map(|sample| sample * sample).sum::<f32>();
    squares / samples.len().max(1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_stay_within_full_scale_and_soft_sound_is_untouched() {
        let mut mix = [0.0, 0.5, -0.9, 0.95, 2.0, -7.0, f32::INFINITY, f32::NAN];
        limit(&mut mix);
        assert_eq!(mix[..3], [0.0, 0.5, -0.9]);
        assert!(mix.iter().all(|sample| sample.abs() <= 1.0));
        assert!(mix[3] > 0.9 && mix[4] > mix[3] && mix[5] < -0.99);
        assert_eq!(mix[7], 0.0);
    }

    #[test]
    fn power_is_the_mean_square_of_all_samples() {
        for length in [0, 1, 15, 16, 37] {
            let samples: Vec<f32> = (1..=length).map(|n| n as f32).collect();
            let squares: f32 = samples.iter().map(|sample| sample * sample).sum();
            assert_eq!(power(&samples), squares / samples.len().max(1) as f32);
        }
        for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut samples = [0.1; 37];
            for at in [0, 20, 36] {
                samples[at] = odd;
                assert!(!power(&samples).is_finite());
                samples[at] = 0.1;
            }
        }
    }

    #[test]
    fn a_gain_goes_evenly_from_one_value_to_the_other() {
        let mut mix = [0.0; 4];
        add(&mut mix, &[1.0; 4], 0.0, 1.0);
        assert_eq!(mix, [0.25, 0.5, 0.75, 1.0]);
        add(&mut mix, &[1.0; 2], 0.5, 0.5);
        assert_eq!(mix, [0.75, 1.0, 0.75, 1.0]);
    }
}
