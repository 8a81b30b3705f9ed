//! Time stretching: playout a little faster or slower at the same pitch.

use blink_api::AudioFormat;

/// Shortest and longest period that is removed or repeated, in fractions of a second: pitch periods
/// of voices from 400 down to 67 Hz.
const SHORTEST_PERIOD: u32 = 400;
const LONGEST_PERIOD: u32 = 67;
/// Shortest cross-fade, in fractions of a second: 2.5 ms.
const CROSS_FADE: u32 = 400;
/// Rate of the coarse search for the period; at 48 kHz it looks at every fourth sample.
const COARSE_RATE: u32 = 12_000;

/// Removes or repeats a pitch period, cross-fading the most similar segments (WSOLA; Verhelst and
/// Roelands, 1993). NetEQ calls the two *accelerate* and *preemptive expand*.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimeStretcher {
    channels: usize,
    shortest: usize,
    longest: usize,
    cross_fade: usize,
    stride: usize,
}

impl TimeStretcher {
    /// `min_similarity` at which any waveform is stretched.
    pub(super) const ANY: f32 = f32::NEG_INFINITY;

    pub(super) fn new(format: AudioFormat) -> Self {
        let samples = |fraction: u32| (format.sample_rate / fraction).max(1) as usize;
        Self {
            channels: format.channels.max(1).into(),
            shortest: samples(SHORTEST_PERIOD),
            longest: samples(LONGEST_PERIOD),
            cross_fade: samples(CROSS_FADE),
            stride: (format.sample_rate / COARSE_RATE).max(1) as usize,
        }
    }

    /// Most samples of all channels that one call inserts.
    pub(super) fn most(&self) -> usize {
        self.longest * self.channels
    }

    /// Removes a period of at most `most` samples from whole frames of interleaved audio, if the
    /// segments that meet then have a normalized correlation of at least `min_similarity`. Returns
    /// how many samples are left, from the beginning on.
    pub(super) fn accelerate(&self, audio: &mut [f32], most: usize, min_similarity: f32) -> usize {
        let period = self.period(audio, most, min_similarity);
        period.map_or(audio.len(), |period| self.remove(audio, period * self.channels))
    }

    /// Removes exactly `samples`, whole frames, wherever they are; fewer where not even a
    /// cross-fade would be left. Returns how many samples are left. For silence and background,
    /// where no period needs to fit.
    pub(super) fn remove(&self, audio: &mut [f32], samples: usize) -> usize {
        let length = audio.len();
        let samples = samples.min(length.saturating_sub(self.cross_fade * self.channels));
        // The beginning fades out while what stands `samples` later fades in. The fade is as long
        // as the removed segment: a long fade is heard less than a short one.
        let fade = samples.min(length - samples);
        for n in 0..fade {
            let share = n as f32 / fade as f32;
            audio[n] += (audio[n + samples] - audio[n]) * share;
        }
        // The rest moves up to the end of the fade.
        audio.copy_within(fade + samples.., fade);
        length - samples
    }

    /// Repeats a period of at most `most` samples of the first `length` samples of `audio`, which
    /// has room for [`most`](Self::most) more, if the segments that meet then have a normalized
    /// correlation of at least `min_similarity`. Returns the length then.
    pub(super) fn preemptive_expand(
        &self,
        audio: &mut [f32],
        length: usize,
        most: usize,
        min_similarity: f32,
    ) -> usize {
        let most = most.min(audio.len() - length);
        let period = self.period(&audio[..length], most, min_similarity);
        period.map_or(length, |period| self.repeat(audio, length, period * self.channels))
    }

    /// Repeats exactly `samples`, whole frames, as far as there is room for them and a cross-fade
    /// more audio than them. Returns the length then.
    pub(super) fn repeat(&self, audio: &mut [f32], length: usize, samples: usize) -> usize {
        let samples = samples.min(length.saturating_sub(self.cross_fade * self.channels)).min(audio.len() - length);
        let fade = samples.min(length - samples);
        // `audio[samples..]` is the whole audio now, behind its own first segment. What came after
        // that segment in the original stands one segment further on.
        audio.copy_within(..length, samples);
        // Where the copy begins, the original goes on for the length of the fade: at its start
        // nothing jumps, and at its end the repetition has taken over.
        for n in 0..fade {
            let (again, on) = (audio[samples + n], audio[2 * samples + n]);
            let share = n as f32 / fade as f32;
            audio[samples + n] = on + (again - on) * share;
        }
        length + samples
    }

    /// Lag at which the audio is most similar to itself, in samples of one channel; `None` where it
    /// is too short, or the similarity is below `min_similarity`.
    fn period(&self, audio: &[f32], most: usize, min_similarity: f32) -> Option<usize> {
        let frames = audio.len() / self.channels;
        let longest = self.longest.min(most / self.channels).min(frames.saturating_sub(self.cross_fade));
        if longest < self.shortest {
            return None;
        }
        let window = frames - longest;
        // A full search at 48 kHz takes 16 times as many products as one at a quarter of the rate,
        // and a correlation has no peak narrower than that at the frequencies of voices. So: coarse
        // first, then every lag around the best one.
        let coarse = (self.shortest..=longest).step_by(self.stride);
        let (near, _) = self.best(audio, coarse, window, self.stride)?;
        let fine = near.saturating_sub(self.stride - 1).max(self.shortest)..=(near + self.stride - 1).min(longest);
        let (period, similarity) = self.best(audio, fine, window, 1)?;
        (similarity >= min_similarity).then_some(period)
    }

    fn best(
        &self,
        audio: &[f32],
        lags: impl Iterator<Item = usize>,
        window: usize,
        stride: usize,
    ) -> Option<(usize, f32)> {
        let scored = lags.map(|lag| (lag, self.similarity(audio, lag, window, stride)));
        scored.max_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// Normalized correlation of the first channel with itself `lag` later: 1 for equal waveforms,
    /// −1 for inverted ones, 0 for silence.
    fn similarity(&self, audio: &[f32], lag: usize, window: usize, stride: usize) -> f32 {
        // The small sums keep silence from dividing by zero.
        let (mut product, mut first, mut second) = (0.0f32, 1e-9f32, 1e-9f32);
        for n in (0..window).step_by(stride) {
            let (a, b) = (audio[n * self.channels], audio[(n + lag) * self.channels]);
            product += a * b;
            first += a * a;
            second += b * b;
        }
        product / (first * second).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voice(frames: usize, period: usize, channels: usize) -> Vec<f32> {
        let sample = |n: usize| {
            let angle = n as f32 / period as f32 * std::f32::consts::TAU;
            0.4 * angle.sin() + 0.2 * (3.0 * angle).cos()
        };
        (0..frames).flat_map(|n| std::iter::repeat_n(sample(n), channels)).collect()
    }

    fn furthest(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn a_voice_loses_and_gains_whole_periods_and_is_unchanged_otherwise() {
        for (rate, channels) in [(48_000, 1), (48_000, 2), (16_000, 1), (8_000, 1)] {
            let format = AudioFormat { sample_rate: rate, channels };
            let (stretch, channels) = (TimeStretcher::new(format), usize::from(channels));
            let (frames, period) = (rate as usize / 50, rate as usize / 160);
            let original = voice(frames * 2, period, channels);
            let mut shorter = original[..frames * channels].to_vec();
            let length = stretch.accelerate(&mut shorter, usize::MAX, 0.85);
            let removed = frames * channels - length;
            assert!(removed > 0 && removed.is_multiple_of(period * channels), "{rate}: {removed}");
            assert!(furthest(&shorter[..length], &original) < 0.05, "{rate}");

            let mut longer = original[..frames * channels].to_vec();
            longer.resize(frames * channels + stretch.most(), 0.0);
            let length = stretch.preemptive_expand(&mut longer, frames * channels, usize::MAX, 0.85);
            let gained = length - frames * channels;
            assert!(gained > 0 && gained.is_multiple_of(period * channels), "{rate}: {gained}");
            assert!(furthest(&longer[..length], &original) < 0.05, "{rate}");
        }
    }

    #[test]
    fn audio_without_a_period_is_unchanged_unless_any_similarity_will_do() {
        let stretch = TimeStretcher::new(AudioFormat::CALL);
        let mut state = 1u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        };
        let original: Vec<f32> = (0..960).map(|_| noise()).collect();
        let mut audio = original.clone();
        assert_eq!(stretch.accelerate(&mut audio, usize::MAX, 0.85), 960);
        assert_eq!(audio, original);
        let length = stretch.accelerate(&mut audio, 300, TimeStretcher::ANY);
        assert!((660..960).contains(&length), "no more than may be: {length}");
        assert_eq!(audio[length - 200..length], original[760..], "it ends as it did");
        assert_eq!(audio[0], original[0], "it begins as it did");
    }

    #[test]
    fn exact_amounts_are_removed_and_repeated_as_far_as_a_cross_fade_is_left() {
        let stretch = TimeStretcher::new(AudioFormat::CALL);
        for (frames, period, changed) in
            [(960, 480, 480), (480, 480, 360), (480, 960, 360), (480, 1, 1), (120, 48, 0), (0, 48, 0)]
        {
            let mut audio = voice(frames, 300, 1);
            audio.resize(frames + stretch.most(), 0.0);
            assert_eq!(stretch.remove(&mut audio.clone()[..frames], period), frames - changed);
            assert_eq!(stretch.repeat(&mut audio, frames, period), frames + changed);
        }
    }

    #[test]
    fn audio_shorter_than_a_period_is_unchanged() {
        let stretch = TimeStretcher::new(AudioFormat::CALL);
        for frames in [0, 1, 100, 239] {
            let mut audio = vec![0.1; frames + stretch.most()];
            assert_eq!(stretch.accelerate(&mut audio[..frames], usize::MAX, TimeStretcher::ANY), frames);
            assert_eq!(stretch.preemptive_expand(&mut audio, frames, usize::MAX, TimeStretcher::ANY), frames);
        }
        assert_eq!(stretch.accelerate(&mut [0.1; 960], 100, TimeStretcher::ANY), 960, "less may go than a period");
    }
}
