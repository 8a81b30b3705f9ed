//! The background of a place while nothing comes from there.

use blink_api::AudioFormat;

/// Sound that is up to so much more powerful than the quietest of late is background: 6 dB.
const BACKGROUND: f32 = 4.0;
/// Nothing louder than this mean square (−35 dBov) is taken for background.
const LOUDEST: f32 = 3.2e-4;
/// How fast the quietest is forgotten, with each frame: 3 dB in some 3 s.
const FORGET: f32 = 1.005;
/// How much of the background is kept, and how much of it is played in one go, in fractions of a
/// second: 100 and 10 ms.
const KEPT: u32 = 10;
const GRAIN: u32 = 100;

/// Remembers what a place sounds like when nobody speaks, and goes on with it during pauses of the
/// sender (comfort noise, as RFC 3389 calls it).
///
/// Grains of what was heard are laid over each other in random order: whatever colour the noise
/// has, it keeps.
#[derive(Debug)]
pub(super) struct ComfortNoise {
    channels: usize,
    floor: f32,
    /// A ring of background, of which the newest is before `at`.
    background: Vec<f32>,
    at: usize,
    filled: usize,
    grain: usize,
    /// How a grain begins, from 0 to 1; the one before ends the other way round. Of noises that
    /// have nothing to do with each other, the powers add up.
    fade: Vec<f32>,
    /// The second half of the last grain, which fades while the next one begins.
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

    /// Sound of this mean square came and was played.
    pub(super) fn observe(&mut self, sound: &[f32], power: f32) {
        self.floor = (self.floor * FORGET + 1e-12).min(power.max(1e-12)).min(LOUDEST);
        if power > self.floor * BACKGROUND || power > LOUDEST {
            return;
        }
        let mut left = sound;
        while !left.is_empty() {
            let (piece, rest) = left.split_at(left.len().min(self.background.len() - self.at));
            self.background[self.at..self.at + piece.len()].copy_from_slice(piece);
            self.at = (self.at + piece.len()) % self.background.len();
            left = rest;
        }
        self.filled = (self.filled + sound.len()).min(self.background.len());
    }

    /// Fills `out`, whole frames, with background; with silence where none is known.
    pub(super) fn fill(&mut self, out: &mut [f32]) {
        out.fill(0.0);
        if self.filled < self.background.len() {
            return;
        }
        let frames = (self.background.len() - 2 * self.grain) / self.channels;
        for piece in out.chunks_mut(self.grain) {
            // Numerical Recipes' generator: that grains differ is all that is asked for.
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

/// Once around a ring, from a place on.
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

    fn observe(comfort: &mut ComfortNoise, sound: &[f32]) {
        comfort.observe(sound, power(sound));
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
