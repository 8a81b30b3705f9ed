//! Speech quality: PESQ-WB (ITU-T P.862.2), 1.0 to 4.6.

use blink_media_synthetic::resample;

/// Sampling rate of PESQ-WB in Hz.
const RATE: u32 = 16_000;
/// Samples per point of an envelope: 4 ms, as in P.862 §10.
const HOP: usize = 64;
/// Maximum missing beginning of the received speech, in points: 1 s.
const EARLIEST: usize = RATE as usize / HOP;
/// Maximum delay of the received speech, in points: 60 s.
const LATEST: usize = 60 * EARLIEST;
/// Minimum input of PESQ in samples: 250 ms.
const SHORTEST: usize = RATE as usize / 4;

/// Rates `heard` against `said`; mono, both at `rate` Hz. `heard` may begin with up to a minute of
/// other audio, and is cut at the length of `said`. `None` for silence and for less than 250 ms.
pub(crate) fn pesq_wb(said: &[f32], heard: &[f32], rate: u32) -> Option<f32> {
    let said = resample(said, rate, RATE);
    let heard = resample(heard, rate, RATE);
    if said.len() < SHORTEST || !is_audible(&said) || !is_audible(&heard) {
        return None;
    }
    let heard = cut(&heard, delay(&said, &heard), said.len());
    if !is_audible(&heard) {
        return None;
    }
    pesq::pesq_wb(&to_i16(&said), &to_i16(&heard)).ok().filter(|score| score.is_finite())
}

/// Delay of `heard` in samples, to within one point; PESQ aligns the rest.
fn delay(said: &[f32], heard: &[f32]) -> isize {
    let said = envelope(said);
    let heard = envelope(heard);
    let earliest = -(EARLIEST as isize);
    let latest = heard.len().min(LATEST) as isize;
    let likeness = |delay: &isize| {
        let pairs = said.iter().enumerate().filter_map(|(n, said)| {
            let heard = heard.get(usize::try_from(n as isize + delay).ok()?)?;
            Some(said * heard)
        });
        pairs.sum::<f32>()
    };
    let best = (earliest..latest).map(|delay| (delay, likeness(&delay))).max_by(|a, b| a.1.total_cmp(&b.1));
    best.map_or(0, |(delay, _)| delay) * HOP as isize
}

/// Amplitude of each 4 ms, minus its mean.
fn envelope(samples: &[f32]) -> Vec<f32> {
    let power = |chunk: &[f32]| chunk.iter().map(|sample| sample * sample).sum::<f32>();
    let mut envelope: Vec<f32> = samples.chunks(HOP).map(|chunk| power(chunk).sqrt()).collect();
    let mean = envelope.iter().sum::<f32>() / envelope.len().max(1) as f32;
    envelope.iter_mut().for_each(|point| *point -= mean);
    envelope
}

/// `length` samples from `start` on, padded with silence.
fn cut(samples: &[f32], start: isize, length: usize) -> Vec<f32> {
    let sample = |n: usize| usize::try_from(start + n as isize).ok().and_then(|n| samples.get(n));
    (0..length).map(|n| sample(n).copied().unwrap_or(0.0)).collect()
}

/// Whether any sample is above the least significant bit of 16.
fn is_audible(samples: &[f32]) -> bool {
    samples.iter().any(|sample| sample.abs() > 2.0 / 32_768.0)
}

fn to_i16(samples: &[f32]) -> Vec<i16> {
    samples.iter().map(|sample| (sample.clamp(-1.0, 1.0) * 32_767.0).round() as i16).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use blink_media_synthetic::speech_clip;

    use super::*;

    const CALL: u32 = 48_000;

    fn speech() -> Vec<f32> {
        speech_clip(0, Duration::from_secs(8))
    }

    /// Deterministic white noise: a linear congruential generator (Knuth's MMIX).
    fn noise(amplitude: f32) -> impl FnMut() -> f32 {
        let mut state = 1u64;
        move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * amplitude
        }
    }

    #[test]
    fn an_identical_signal_scores_best_at_any_delay() {
        let said = speech();
        for late_ms in [0, 3, 80, 300, 1_000, 2_500, 20_000] {
            let mut heard = vec![0.0; CALL as usize * late_ms / 1_000];
            heard.extend(speech_clip(0, Duration::from_secs(10)));
            let score = pesq_wb(&said, &heard, CALL).unwrap();
            assert!(score > 4.3, "{late_ms} ms late: {score}");
        }
    }

    #[test]
    fn short_missing_parts_cost_little_and_half_the_signal_much() {
        let said = speech();
        let heard_from_late = pesq_wb(&said, &said[CALL as usize / 5..], CALL).unwrap();
        assert!(heard_from_late > 3.8, "{heard_from_late}");
        let half = pesq_wb(&said, &said[..said.len() / 2], CALL).unwrap();
        assert!(half < 3.0, "{half}");
    }

    #[test]
    fn noise_and_other_speech_score_low() {
        let said = speech();
        let mut noise = noise(0.1);
        let noisy: Vec<_> = said.iter().map(|sample| sample + noise()).collect();
        let score = pesq_wb(&said, &noisy, CALL).unwrap();
        assert!(score < 2.0, "{score}");
        let other = pesq_wb(&said, &speech_clip(2, Duration::from_secs(8)), CALL).unwrap();
        assert!(other < 2.0, "{other}");
    }

    #[test]
    fn silence_and_short_signals_have_no_score() {
        let said = speech();
        assert_eq!(pesq_wb(&said, &vec![0.0; 8 * CALL as usize], CALL), None);
        assert_eq!(pesq_wb(&vec![0.0; 8 * CALL as usize], &said, CALL), None);
        for (said, heard) in [(&said[..0], &said[..]), (&said[..], &said[..0]), (&said[..4_000], &said[..])] {
            assert_eq!(pesq_wb(said, heard, CALL), None);
        }
    }

    /// Any audio yields a score or `None`.
    #[test]
    fn unusual_signals_do_not_panic() {
        let said = speech();
        let click = |at: usize| (0..8 * CALL as usize).map(|n| if n == at { 1.0 } else { 0.0 }).collect::<Vec<f32>>();
        let square: Vec<f32> = (0..8 * CALL as usize).map(|n| if n / 50 % 2 == 0 { 1.0 } else { -1.0 }).collect();
        for strange in [click(0), click(200_000), click(383_999), square, vec![1.0; 400_000], said[..1].to_vec()] {
            for (said, heard) in [(&said, &strange), (&strange, &said), (&strange, &strange)] {
                let score = pesq_wb(said, heard, CALL);
                assert!(score.is_none_or(|score| (0.9..4.7).contains(&score)), "{score:?}");
            }
        }
    }
}
