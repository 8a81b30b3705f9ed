//! Tones that tell participants apart, and an ear that finds them again.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How loud everybody talks.
pub(crate) const AMPLITUDE: f32 = 0.2;
/// A tone is there where it is at least so loud; less comes from the beginning or end of another.
const AUDIBLE: f32 = 0.05;
/// The length of a block.
pub(crate) const BLOCK: Duration = Duration::from_millis(10);
/// What a loudspeaker has in store, so that sound goes on while nothing more comes: a sound card
/// plays what was written late one after the other.
pub(crate) const STORE: Duration = Duration::from_millis(60);
/// Of the samples at 48 kHz every sixth is kept: 8 kHz, with room for all tones.
const KEEP_EVERY: usize = 6;
/// Samples of a block that are kept.
const KEPT: usize = 80;

/// The tone of the participant with this number: multiples of 100 Hz, so that in a block of 10 ms
/// each is blind to all others.
pub(crate) fn tone_of(number: usize) -> f32 {
    400.0 + 200.0 * number as f32
}

/// 10 ms of what a loudspeaker played.
struct Block {
    at: Duration,
    samples: [f32; KEPT],
}

impl Block {
    /// A tone is audible in it.
    fn has(&self, hertz: f32) -> bool {
        amplitude(&self.samples, hertz) >= AUDIBLE
    }
}

/// Everything a participant's loudspeaker played.
#[derive(Default)]
pub(crate) struct Ear(Mutex<Heard>);

#[derive(Default)]
struct Heard {
    blocks: Vec<Block>,
    partial: Vec<f32>,
    skip: usize,
}

impl Ear {
    /// Takes samples at 48 kHz that are played now.
    pub(crate) fn take(&self, at: Duration, samples: &[f32]) {
        let mut heard = self.heard();
        let kept: Vec<f32> = samples.iter().skip(heard.skip).step_by(KEEP_EVERY).copied().collect();
        heard.skip = (heard.skip + kept.len() * KEEP_EVERY).saturating_sub(samples.len());
        heard.partial.extend(kept);
        while heard.partial.len() >= KEPT {
            let rest = heard.partial.split_off(KEPT);
            let whole = std::mem::replace(&mut heard.partial, rest);
            let samples = std::array::from_fn(|n| whole[n]);
            heard.blocks.push(Block { at, samples });
        }
    }

    /// The share of a stretch of time in which a tone was audible, 0 to 1. Time in which nothing
    /// was played counts as silent.
    pub(crate) fn share(&self, hertz: f32, from: Duration, to: Duration) -> f32 {
        let expected = (to.saturating_sub(from).as_secs_f32() / BLOCK.as_secs_f32()).max(1.0);
        self.times(hertz, from, to).len() as f32 / expected
    }

    /// The times within a stretch in which a tone was not audible, each from one block in which it
    /// was to the next. Blocks that are late by at most [`STORE`] follow those before them.
    pub(crate) fn gaps(&self, hertz: f32, from: Duration, to: Duration) -> Vec<Range<Duration>> {
        let heard = self.heard();
        // The first block is played when it comes.
        let (mut last, mut end) = (from, to);
        let mut gaps = Vec::new();
        for block in within(&heard.blocks, from, to) {
            let played = end.clamp(block.at.saturating_sub(STORE), block.at);
            end = played + BLOCK;
            if block.has(hertz) {
                gaps.push(std::mem::replace(&mut last, played)..played);
            }
        }
        // What is still in store when the stretch ends was not played in it, and is no gap.
        gaps.push(last..end.max(to.saturating_sub(STORE)));
        gaps
    }

    /// How loud a tone was on average over a stretch of time.
    pub(crate) fn loudness(&self, hertz: f32, from: Duration, to: Duration) -> f32 {
        let heard = self.heard();
        let loudness: Vec<f32> =
            within(&heard.blocks, from, to).iter().map(|block| amplitude(&block.samples, hertz)).collect();
        loudness.iter().sum::<f32>() / loudness.len().max(1) as f32
    }

    /// When a tone was audible.
    fn times(&self, hertz: f32, from: Duration, to: Duration) -> Vec<Duration> {
        let heard = self.heard();
        within(&heard.blocks, from, to).iter().filter(|block| block.has(hertz)).map(|block| block.at).collect()
    }

    /// Bytes that it remembers.
    pub(crate) fn size(&self) -> usize {
        self.heard().blocks.capacity() * size_of::<Block>()
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn within(blocks: &[Block], from: Duration, to: Duration) -> &[Block] {
    let first = blocks.partition_point(|block| block.at < from);
    let last = blocks.partition_point(|block| block.at < to);
    &blocks[first..last.max(first)]
}

/// The amplitude of one frequency in a block (Goertzel's algorithm).
fn amplitude(samples: &[f32; KEPT], hertz: f32) -> f32 {
    let turn = std::f32::consts::TAU * hertz / (48_000 / KEEP_EVERY) as f32;
    let factor = 2.0 * turn.cos();
    let (mut last, mut before) = (0.0_f32, 0.0_f32);
    for sample in samples {
        let next = sample + factor * last - before;
        before = last;
        last = next;
    }
    let power = last * last + before * before - factor * last * before;
    2.0 * power.max(0.0).sqrt() / KEPT as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ear_hears_each_tone_of_a_mixture_and_no_other() {
        let ear = Ear::default();
        let sound: Vec<f32> = (0..48_000)
            .map(|n| {
                let at = |hertz: f32| (std::f32::consts::TAU * hertz * n as f32 / 48_000.0).sin() * AMPLITUDE;
                at(tone_of(0)) + at(tone_of(2))
            })
            .collect();
        let mut at = Duration::ZERO;
        for chunk in sound.chunks(470) {
            ear.take(at, chunk);
            at += Duration::from_micros(470_000 / 48);
        }
        let share = |number| ear.share(tone_of(number), Duration::ZERO, at);
        assert!(share(0) > 0.95 && share(2) > 0.95, "{} {}", share(0), share(2));
        assert_eq!((share(1), share(3)), (0.0, 0.0));
        let gaps = |number| ear.gaps(tone_of(number), Duration::ZERO, at);
        assert!(gaps(0).iter().all(|gap| gap.end - gap.start < Duration::from_millis(25)));
        let end = at - BLOCK..=at + BLOCK;
        assert!(matches!(&gaps(1)[..], [all] if all.start.is_zero() && end.contains(&all.end)), "{:?}", gaps(1));
        assert!((ear.loudness(tone_of(0), Duration::ZERO, at) - AMPLITUDE).abs() < 0.01);
    }

    /// What an ear took that was written block by block: when, and whether a tone was in it.
    fn heard(blocks: impl Iterator<Item = (u64, bool)>) -> Ear {
        let ear = Ear::default();
        for (number, (at_ms, audible)) in blocks.enumerate() {
            let amplitude = if audible { AMPLITUDE } else { 0.0 };
            let sample = |n: usize| (std::f32::consts::TAU * tone_of(0) * n as f32 / 48_000.0).sin() * amplitude;
            let samples: Vec<f32> = (number * 480..(number + 1) * 480).map(sample).collect();
            ear.take(Duration::from_millis(at_ms), &samples);
        }
        ear
    }

    fn longest_gap(ear: &Ear, to_ms: u64) -> u128 {
        let gaps = ear.gaps(tone_of(0), Duration::ZERO, Duration::from_millis(to_ms));
        gaps.iter().map(|gap| (gap.end - gap.start).as_millis()).max().unwrap_or(0)
    }

    #[test]
    fn what_is_written_late_is_no_pause_and_what_is_left_out_or_silent_is() {
        let late = (0..100).map(|n| (if (40..46).contains(&n) { 459 } else { n * 10 }, true));
        assert_eq!(longest_gap(&heard(late), 1_000), 10, "six blocks at once");
        let silent = (0..100).map(|n| (n * 10, !(40..46).contains(&n)));
        assert_eq!(longest_gap(&heard(silent), 1_000), 70, "six silent blocks");
        let left_out = (0..100).filter(|n| !(40..50).contains(n)).map(|n| (n * 10, true));
        assert_eq!(longest_gap(&heard(left_out), 1_000), 50, "100 ms left out, 60 ms in store");
        let again_and_again = (0..200).filter(|n| n % 20 > 3).map(|n| (n * 10, true));
        assert_eq!(longest_gap(&heard(again_and_again), 2_000), 50, "40 ms left out each time");
        let over = (0..100).map(|n| (n * 10, true));
        assert_eq!(longest_gap(&heard(over), 1_200), 150, "nothing any more");
    }
}
