//! Comfort noise: the background of a participant's place during pauses.

use blink_api::AudioFormat;

/// Power over the noise floor up to which audio counts as background: 6 dB.
const BACKGROUND: f32 = 4.0;
/// Mean square above which nothing counts as background: −35 dBov.
const LOUDEST: f32 = 3.2e-4;
/// Growth of the noise floor with each frame: 3 dB in some 3 s.
const FORGET: f32 = 1.005;
/// Length of the background that is kept, and of the grains that are played, in fractions of a
/// second: 100 and 10 ms.
const KEPT: u32 = 10;
const GRAIN: u32 = 100;

/// Learns the background noise and synthesizes it during pauses of the sender (comfort noise, RFC
/// 3389).
///
/// Grains of the recorded background are overlapped in random order, which keeps the spectrum of
/// the noise. RFC 3389's filter coefficients would have to be sent; this needs nothing of the
/// sender.
#[derive(Debug)]
pub(super) struct ComfortNoise {
    channels: usize,
    floor: f32,
    /// Ring of background samples, the newest before `at`.
    background: Vec<f32>,
    at: usize,
    filled: usize,
    grain: usize,
    /// Fade-in of a grain, from 0 to 1; the grain before fades out in reverse. It is a square root,
    /// since the powers of uncorrelated noises add up, not their amplitudes.
    fade: Vec<f32>,
    /// Second half of the last grain, which fades out while the next one begins.
    fading: Vec<f32>,
    random: u32,
}

impl ComfortNoise {
    pub(super) fn new(format: AudioFormat) -> Self {
        let channels = usize::from(format.channels.max(1));
        let samples = |fraction: u32| (format.sample_rate / fraction).max(2) as usize * channels;
        let grain = samples(GRAIN);
        Self {
            channels,
            floor: LOUDEST,
            background: vec![0.0; samples(KEPT)],
            at: 0,
            filled: 0,
            grain,
            fade: (0..=grain).map(|n| (n as f32 / grain as f32).sqrt()).collect(),
            fading: vec![0.0; grain],
            random: 1,
        }
    }

    /// Takes decoded audio of this mean square that is played.
    pub(super) fn observe(&mut self, audio: &[f32], power: f32) {
        // Minimum statistics: the floor follows quiet frames at once and rises slowly, so that
        // speech between them does not lift it.
        self.floor = (self.floor * FORGET + 1e-12).min(power.max(1e-12)).min(LOUDEST);
        if power > self.floor * BACKGROUND || power > LOUDEST {
            return;
        }
        let mut left = audio;
        while !left.is_empty() {
            let (piece, rest) = left.split_at(left.len().min(self.background.len() - self.at));
            self.background[self.at..self.at + piece.len()].copy_from_slice(piece);
            self.at = (self.at + piece.len()) % self.background.len();
            left = rest;
        }
        self.filled = (self.filled + audio.len()).min(self.background.len());
    }

    /// Fills `out`, whole frames, with background; with silence before a whole ring of it is known.
    pub(super) fn fill(&mut self, out: &mut [f32]) {
        out.fill(0.0);
        if self.filled < self.background.len() {
            return;
        }
        let frames = (self.background.len() - 2 * self.grain) / self.channels;
        for piece in out.chunks_mut(self.grain) {
            // Numerical Recipes' generator: the grains only need to differ.
            self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let begin = self.at + (self.random >> 8) as usize % frames.max(1) * self.channels;
            let fades = self.fade.iter().zip(self.fade.iter().rev());
            let sounds = self.fading.iter().zip(from(&self.background, begin));
            for (sample, ((old, new), (rising, falling))) in piece.iter_mut().zip(sounds.zip(fades)) {
                *sample = old * falling + new * rising;
            }
            for (fading, new) in self.fading.iter_mut().zip(from(&self.background, begin + self.grain)) {
                *fading = *new;
            }
        }
    }
}

/// Iterates once around a ring, from a place on.
fn from(ring: &[f32], place: usize) -> impl Iterator<Item = &f32> {
    let (end, beginning) = ring.split_at(place % ring.len());
    beginning.iter().chain(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mix::power;

    fn noise(seed: &mut u32, samples: usize, size: f32) -> Vec<f32> {
        let next = |_| {
            *seed = seed.wrapping_mul(22_695_477).wrapping_add(1);
            ((*seed >> 8) as f32 / 8_388_608.0 - 1.0) * size
        };
        (0..samples).map(next).collect()
    }

    fn observe(comfort: &mut ComfortNoise, audio: &[f32]) {
        comfort.observe(audio, power(audio));
    }

    #[test]
    fn pauses_are_as_loud_as_the_background_and_not_as_the_voice() {
        let mut comfort = ComfortNoise::new(AudioFormat::CALL);
        let mut out = vec![1.0; 48_000];
        comfort.fill(&mut out[..960]);
        assert_eq!(out[..960], [0.0; 960], "nothing is known yet");
        let mut seed = 1;
        for n in 0..200 {
            let size = if n % 4 < 2 { 0.3 } else { 0.01 };
            observe(&mut comfort, &noise(&mut seed, 960, size));
        }
        comfort.fill(&mut out);
        let expected = 0.01f32.powi(2) / 3.0;
        for tick in out.chunks(4_800).skip(1) {
            let decibels = 10.0 * (power(tick) / expected).log10();
            assert!(decibels.abs() < 2.0, "{decibels} dB");
        }
    }

    #[test]
    fn after_silence_there_is_silence() {
        let mut comfort = ComfortNoise::new(AudioFormat::CALL);
        let mut seed = 1;
        (0..50).for_each(|_| observe(&mut comfort, &noise(&mut seed, 960, 0.01)));
        (0..10).for_each(|_| observe(&mut comfort, &[0.0; 960]));
        let mut out = vec![1.0; 960];
        comfort.fill(&mut out);
        comfort.fill(&mut out);
        assert_eq!(out, [0.0; 960]);
    }
}
