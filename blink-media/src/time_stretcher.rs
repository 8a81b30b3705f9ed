//! Playing a little faster or slower without changing the pitch.

use blink_api::AudioFormat;

/// The shortest and the longest piece that is left out or repeated, in fractions of a second:
/// periods of voices from 400 down to 67 Hz.
const SHORTEST: u32 = 400;
const LONGEST: u32 = 67;
/// Pieces are joined over at least so long: 2.5 ms.
const JOINT: u32 = 400;
/// Likeness is looked for in every fourth sample first (at 48 kHz, every 12,000th of a second).
const COARSE: u32 = 12_000;

/// How alike two pieces must be to be joined. In what nobody hears, anything may be:
/// [`TimeStretcher::leave_out`], [`TimeStretcher::repeat`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Care {
    /// Where it is hardly heard.
    Great,
    /// Where it is not too bad.
    Little,
    /// Anywhere.
    None,
}

impl Care {
    fn likeness(self) -> f32 {
        match self {
            Self::Great => 0.85,
            Self::Little => 0.5,
            Self::None => -2.0,
        }
    }
}

/// Leaves out or repeats a period of the sound, by overlap-add of the most similar pieces (WSOLA;
/// Verhelst and Roelands, 1993).
#[derive(Debug, Clone, Copy)]
pub(super) struct TimeStretcher {
    channels: usize,
    shortest: usize,
    longest: usize,
    joint: usize,
    stride: usize,
}

impl TimeStretcher {
    pub(super) fn new(format: AudioFormat) -> Self {
        let samples = |fraction: u32| (format.sample_rate / fraction).max(1) as usize;
        Self {
            channels: format.channels.max(1).into(),
            shortest: samples(SHORTEST),
            longest: samples(LONGEST),
            joint: samples(JOINT),
            stride: (format.sample_rate / COARSE).max(1) as usize,
        }
    }

    /// Samples of all channels that a sound becomes longer by at most.
    pub(super) fn most(&self) -> usize {
        self.longest * self.channels
    }

    /// Leaves out a period of at most `most` samples from whole frames of interleaved sound.
    /// Returns how many samples are left, from the beginning on.
    pub(super) fn shorten(&self, sound: &mut [f32], most: usize, care: Care) -> usize {
        self.period(sound, most, care).map_or(sound.len(), |period| self.leave_out(sound, period * self.channels))
    }

    /// Leaves out so many samples, whole frames, as far as no fewer are left than a joint takes.
    /// Returns how many are left.
    pub(super) fn leave_out(&self, sound: &mut [f32], period: usize) -> usize {
        let length = sound.len();
        let period = period.min(length.saturating_sub(self.joint * self.channels));
        let joint = period.min(length - period);
        for n in 0..joint {
            let share = n as f32 / joint as f32;
            sound[n] += (sound[n + period] - sound[n]) * share;
        }
        sound.copy_within(joint + period.., joint);
        length - period
    }

    /// Repeats a period of at most `most` samples of the first `length` samples of `sound`, which
    /// has room for [`most`](Self::most) more. Returns the length then.
    pub(super) fn lengthen(&self, sound: &mut [f32], length: usize, most: usize, care: Care) -> usize {
        let most = most.min(sound.len() - length);
        let period = self.period(&sound[..length], most, care);
        period.map_or(length, |period| self.repeat(sound, length, period * self.channels))
    }

    /// Repeats so many samples, whole frames, as far as there is room for them and more sound than
    /// them by a joint. Returns the length then.
    pub(super) fn repeat(&self, sound: &mut [f32], length: usize, period: usize) -> usize {
        let period = period.min(length.saturating_sub(self.joint * self.channels)).min(sound.len() - length);
        let joint = period.min(length - period);
        // What follows the first period again is the sound from its beginning.
        sound.copy_within(..length, period);
        // `sound[period..]` is the whole sound now, and what came after the first period stands a
        // period further on.
        for n in 0..joint {
            let (again, on) = (sound[period + n], sound[2 * period + n]);
            let share = n as f32 / joint as f32;
            sound[period + n] = on + (again - on) * share;
        }
        length + period
    }

    /// The length of the piece after which the sound is most like itself, in samples of one
    /// channel.
    fn period(&self, sound: &[f32], most: usize, care: Care) -> Option<usize> {
        let frames = sound.len() / self.channels;
        let longest = self.longest.min(most / self.channels).min(frames.saturating_sub(self.joint));
        if longest < self.shortest {
            return None;
        }
        let window = frames - longest;
        let coarse = (self.shortest..=longest).step_by(self.stride);
        let (near, _) = self.best(sound, coarse, window, self.stride)?;
        let fine = near.saturating_sub(self.stride - 1).max(self.shortest)..=(near + self.stride - 1).min(longest);
        let (period, likeness) = self.best(sound, fine, window, 1)?;
        (likeness >= care.likeness()).then_some(period)
    }

    fn best(
        &self,
        sound: &[f32],
        lags: impl Iterator<Item = usize>,
        window: usize,
        stride: usize,
    ) -> Option<(usize, f32)> {
        let scored = lags.map(|lag| (lag, self.likeness(sound, lag, window, stride)));
        scored.max_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// The normalized correlation of the sound with itself `lag` later: 1 for the same, 0 for
    /// silence.
    fn likeness(&self, sound: &[f32], lag: usize, window: usize, stride: usize) -> f32 {
        let (mut product, mut first, mut second) = (0.0f32, 1e-9f32, 1e-9f32);
        for n in (0..window).step_by(stride) {
            let (a, b) = (sound[n * self.channels], sound[(n + lag) * self.channels]);
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
    fn a_voice_loses_and_gains_whole_periods_and_is_the_same_otherwise() {
        for (rate, channels) in [(48_000, 1), (48_000, 2), (16_000, 1), (8_000, 1)] {
            let format = AudioFormat { sample_rate: rate, channels };
            let (stretch, channels) = (TimeStretcher::new(format), usize::from(channels));
            let (frames, period) = (rate as usize / 50, rate as usize / 160);
            let original = voice(frames * 2, period, channels);
            let mut shorter = original[..frames * channels].to_vec();
            let length = stretch.shorten(&mut shorter, usize::MAX, Care::Great);
            let left_out = frames * channels - length;
            assert!(left_out > 0 && left_out.is_multiple_of(period * channels), "{rate}: {left_out}");
            assert!(furthest(&shorter[..length], &original) < 0.05, "{rate}");

            let mut longer = original[..frames * channels].to_vec();
            longer.resize(frames * channels + stretch.most(), 0.0);
            let length = stretch.lengthen(&mut longer, frames * channels, usize::MAX, Care::Great);
            let gained = length - frames * channels;
            assert!(gained > 0 && gained.is_multiple_of(period * channels), "{rate}: {gained}");
            assert!(furthest(&longer[..length], &original) < 0.05, "{rate}");
        }
    }

    #[test]
    fn what_is_unlike_itself_is_left_as_it_is_unless_it_must_change() {
        let stretch = TimeStretcher::new(AudioFormat::CALL);
        let mut state = 1u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        };
        let original: Vec<f32> = (0..960).map(|_| noise()).collect();
        let mut sound = original.clone();
        assert_eq!(stretch.shorten(&mut sound, usize::MAX, Care::Great), 960);
        assert_eq!(sound, original);
        let length = stretch.shorten(&mut sound, 300, Care::None);
        assert!((660..960).contains(&length), "no more than may be: {length}");
        assert_eq!(sound[length - 200..length], original[760..], "it ends as it did");
        assert_eq!(sound[0], original[0], "it begins as it did");
    }

    #[test]
    fn as_much_is_left_out_or_repeated_as_leaves_a_joint() {
        let stretch = TimeStretcher::new(AudioFormat::CALL);
        for (frames, period, changed) in
            [(960, 480, 480), (480, 480, 360), (480, 960, 360), (480, 1, 1), (120, 48, 0), (0, 48, 0)]
        {
            let mut sound = voice(frames, 300, 1);
            sound.resize(frames + stretch.most(), 0.0);
            assert_eq!(stretch.leave_out(&mut sound.clone()[..frames], period), frames - changed);
            assert_eq!(stretch.repeat(&mut sound, frames, period), frames + changed);
        }
    }

    #[test]
    fn what_is_too_short_for_a_period_stays() {
        let stretch = TimeStretcher::new(AudioFormat::CALL);
        for frames in [0, 1, 100, 239] {
            let mut sound = vec![0.1; frames + stretch.most()];
            assert_eq!(stretch.shorten(&mut sound[..frames], usize::MAX, Care::None), frames);
            assert_eq!(stretch.lengthen(&mut sound, frames, usize::MAX, Care::None), frames);
        }
        assert_eq!(stretch.shorten(&mut [0.1; 960], 100, Care::None), 960, "less may go than a period");
    }
}
