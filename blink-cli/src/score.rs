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
/// Maximum part of either end of the sent speech that may be missing in [`pesq_wb_of_call`], in
/// samples: 300 ms, the time from the first packets until both sides hear each other.
const TRIMMED: usize = RATE as usize * 3 / 10;

/// Rates `heard` against `said`; mono, both at `rate` Hz. `heard` may begin with up to a minute of
/// other audio, and is cut at the length of `said`. `None` for silence and for less than 250 ms.
pub(crate) fn pesq_wb(said: &[f32], heard: &[f32], rate: u32) -> Option<f32> {
    let (said, heard) = align(said, heard, rate)?;
    rate_aligned(&said, &heard)
}

/// Rates as [`pesq_wb`], but only the part of `said` that was received, if at most 300 ms are
/// missing at either end: a recording of a call begins with the first packet that arrived, and ends
/// with the last one. What is missing beyond that, and within the call, counts.
pub(crate) fn pesq_wb_of_call(said: &[f32], heard: &[f32], rate: u32) -> Option<f32> {
    let (said, heard) = align(said, heard, rate)?;
    let first = heard.iter().position(|sample| is_loud(*sample))?;
    let last = heard.iter().rposition(|sample| is_loud(*sample))?;
    let range = first.min(TRIMMED)..(last + 1).max(heard.len().saturating_sub(TRIMMED));
    rate_aligned(said.get(range.clone())?, heard.get(range)?)
}

/// Both at 16 kHz and of the length of `said`; `None` if one of them is silent or too short.
fn align(said: &[f32], heard: &[f32], rate: u32) -> Option<(Vec<f32>, Vec<f32>)> {
    let said = resample(said, rate, RATE);
    let heard = resample(heard, rate, RATE);
    if said.len() < SHORTEST || !is_audible(&said) || !is_audible(&heard) {
        return None;
    }
    let heard = cut(&heard, delay(&said, &heard), said.len());
    is_audible(&heard).then_some((said, heard))
}

fn rate_aligned(said: &[f32], heard: &[f32]) -> Option<f32> {
    if said.len() < SHORTEST || !is_audible(said) {
        return None;
    }
    pesq::pesq_wb(&to_i16(said), &to_i16(heard)).ok().filter(|score| score.is_finite())
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
    samples.iter().any(|sample| is_loud(*sample))
}

fn is_loud(sample: f32) -> bool {
    sample.abs() > 2.0 / 32_768.0
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

    /// In three seconds as in twenty, up to 300 ms at both ends cost nothing, and more does.
    #[test]
    fn what_a_call_cuts_off_costs_nothing_at_any_length() {
        let ms = |ms: usize| CALL as usize / 1_000 * ms;
        for seconds in [3, 5, 8, 20] {
            let said = speech_clip(0, Duration::from_secs(seconds));
            let end = said.len();
            for (missing, late) in [(0, 0), (120, 0), (250, 40), (300, 900)] {
                let mut heard = vec![0.0; ms(late)];
                heard.extend_from_slice(&said[ms(missing)..end - ms(missing)]);
                let score = pesq_wb_of_call(&said, &heard, CALL).unwrap();
                assert!(score > 4.2, "{seconds} s without {missing} ms at both ends: {score}");
            }
            let middle = end / 2;
            let mut gap = said.clone();
            gap[middle - ms(700)..middle + ms(700)].fill(0.0);
            let whole = pesq_wb(&said, &gap, CALL).unwrap();
            let score = pesq_wb_of_call(&said, &gap, CALL).unwrap();
            assert!((score - whole).abs() < 0.3 && score < 4.2, "{seconds} s with a gap: {score}, {whole}");
        }
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
