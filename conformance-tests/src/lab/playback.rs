//! Tones that identify participants, and their detection in played audio.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Amplitude of every participant's tone.
pub(crate) const AMPLITUDE: f32 = 0.2;
/// Amplitude above which a tone is audible; less is leakage from the onset or end of another tone.
const AUDIBLE: f32 = 0.05;
/// Duration of a block.
pub(crate) const BLOCK: Duration = Duration::from_millis(10);
/// Buffer of an emulated loudspeaker: late blocks are played back to back, as by a playback card,
/// as long as it does not run empty.
pub(crate) const BUFFERED: Duration = Duration::from_millis(60);
/// Decimation of the samples at 48 kHz: to 8 kHz, enough for all tones.
const KEEP_EVERY: usize = 6;
/// Samples per block after decimation.
const KEPT_SAMPLES: usize = 80;

/// Frequency of a participant's tone in Hz. Multiples of 100 Hz are orthogonal within a block of 10
/// ms.
pub(crate) fn tone_of(number: usize) -> f32 {
    400.0 + 200.0 * number as f32
}

/// 10 ms of played audio.
struct Block {
    at: Duration,
    samples: [f32; KEPT_SAMPLES],
}

impl Block {
    /// Whether a tone is audible in it.
    fn has(&self, hertz: f32) -> bool {
        amplitude(&self.samples, hertz) >= AUDIBLE
    }
}

/// Recording of a participant's loudspeaker.
#[derive(Default)]
pub(crate) struct PlaybackRecording(Mutex<RecordedAudio>);

#[derive(Default)]
struct RecordedAudio {
    blocks: Vec<Block>,
    partial: Vec<f32>,
    skip: usize,
}

impl PlaybackRecording {
    /// Records samples at 48 kHz that are played now.
    pub(crate) fn take(&self, at: Duration, samples: &[f32]) {
        let mut heard = self.heard();
        let kept: Vec<f32> = samples.iter().skip(heard.skip).step_by(KEEP_EVERY).copied().collect();
        heard.skip = (heard.skip + kept.len() * KEEP_EVERY).saturating_sub(samples.len());
        heard.partial.extend(kept);
        while heard.partial.len() >= KEPT_SAMPLES {
            let rest = heard.partial.split_off(KEPT_SAMPLES);
            let whole = std::mem::replace(&mut heard.partial, rest);
            let samples = std::array::from_fn(|n| whole[n]);
            heard.blocks.push(Block { at, samples });
        }
    }

    /// Share of a time range in which a tone was audible, from 0 to 1. Time without playback counts
    /// as silence.
    pub(crate) fn share(&self, hertz: f32, from: Duration, to: Duration) -> f32 {
        let expected = (to.saturating_sub(from).as_secs_f32() / BLOCK.as_secs_f32()).max(1.0);
        self.times(hertz, from, to).len() as f32 / expected
    }

    /// Gaps of a tone within a time range, each from one audible block to the next. Blocks that are
    /// late by at most [`BUFFERED`] are played directly after the previous ones.
    pub(crate) fn gaps(&self, hertz: f32, from: Duration, to: Duration) -> Vec<Range<Duration>> {
        let heard = self.heard();
        // The first block is played on arrival.
        let (mut last, mut end) = (from, to);
        let mut gaps = Vec::new();
        for block in within(&heard.blocks, from, to) {
            let played = end.clamp(block.at.saturating_sub(BUFFERED), block.at);
            end = played + BLOCK;
            if block.has(hertz) {
                gaps.push(std::mem::replace(&mut last, played)..played);
            }
        }
        // Audio still buffered at the end of the range was not played in it, and leaves no gap.
        gaps.push(last..end.max(to.saturating_sub(BUFFERED)));
        gaps
    }

    /// Average amplitude of a tone over a time range.
    pub(crate) fn mean_amplitude(&self, hertz: f32, from: Duration, to: Duration) -> f32 {
        let heard = self.heard();
        let mean_amplitude: Vec<f32> =
            within(&heard.blocks, from, to).iter().map(|block| amplitude(&block.samples, hertz)).collect();
        mean_amplitude.iter().sum::<f32>() / mean_amplitude.len().max(1) as f32
    }

    /// Times of the blocks in which a tone was audible.
    fn times(&self, hertz: f32, from: Duration, to: Duration) -> Vec<Duration> {
        let heard = self.heard();
        within(&heard.blocks, from, to).iter().filter(|block| block.has(hertz)).map(|block| block.at).collect()
    }

    /// Approximate memory of the recording, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.heard().blocks.capacity() * size_of::<Block>()
    }

    fn heard(&self) -> MutexGuard<'_, RecordedAudio> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn within(blocks: &[Block], from: Duration, to: Duration) -> &[Block] {
    let first = blocks.partition_point(|block| block.at < from);
    let last = blocks.partition_point(|block| block.at < to);
    &blocks[first..last.max(first)]
}

/// Amplitude of one frequency in a block (Goertzel algorithm).
fn amplitude(samples: &[f32; KEPT_SAMPLES], hertz: f32) -> f32 {
    let turn = std::f32::consts::TAU * hertz / (48_000 / KEEP_EVERY) as f32;
    let factor = 2.0 * turn.cos();
    let (mut last, mut before) = (0.0_f32, 0.0_f32);
    for sample in samples {
        let next = sample + factor * last - before;
        before = last;
        last = next;
    }
    let power = last * last + before * before - factor * last * before;
    2.0 * power.max(0.0).sqrt() / KEPT_SAMPLES as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tone_of_a_mixture_is_detected_and_no_other() {
        let recording = PlaybackRecording::default();
        let audio: Vec<f32> = (0..48_000)
            .map(|n| {
                let at = |hertz: f32| (std::f32::consts::TAU * hertz * n as f32 / 48_000.0).sin() * AMPLITUDE;
                at(tone_of(0)) + at(tone_of(2))
            })
            .collect();
        let mut at = Duration::ZERO;
        for chunk in audio.chunks(470) {
            recording.take(at, chunk);
            at += Duration::from_micros(470_000 / 48);
        }
        let share = |number| recording.share(tone_of(number), Duration::ZERO, at);
        assert!(share(0) > 0.95 && share(2) > 0.95, "{} {}", share(0), share(2));
        assert_eq!((share(1), share(3)), (0.0, 0.0));
        let gaps = |number| recording.gaps(tone_of(number), Duration::ZERO, at);
        assert!(gaps(0).iter().all(|gap| gap.end - gap.start < Duration::from_millis(25)));
        let end = at - BLOCK..=at + BLOCK;
        assert!(matches!(&gaps(1)[..], [all] if all.start.is_zero() && end.contains(&all.end)), "{:?}", gaps(1));
        assert!((recording.mean_amplitude(tone_of(0), Duration::ZERO, at) - AMPLITUDE).abs() < 0.01);
    }

    /// Records blocks, given as arrival time in ms and whether the tone is audible.
    fn heard(blocks: impl Iterator<Item = (u64, bool)>) -> PlaybackRecording {
        let recording = PlaybackRecording::default();
        for (number, (at_ms, audible)) in blocks.enumerate() {
            let amplitude = if audible { AMPLITUDE } else { 0.0 };
            let sample = |n: usize| (std::f32::consts::TAU * tone_of(0) * n as f32 / 48_000.0).sin() * amplitude;
            let samples: Vec<f32> = (number * 480..(number + 1) * 480).map(sample).collect();
            recording.take(Duration::from_millis(at_ms), &samples);
        }
        recording
    }

    fn longest_gap(recording: &PlaybackRecording, to_ms: u64) -> u128 {
        let gaps = recording.gaps(tone_of(0), Duration::ZERO, Duration::from_millis(to_ms));
        gaps.iter().map(|gap| (gap.end - gap.start).as_millis()).max().unwrap_or(0)
    }

    #[test]
    fn late_blocks_leave_no_gap_and_missing_or_silent_blocks_do() {
        let late = (0..100).map(|n| (if (40..46).contains(&n) { 459 } else { n * 10 }, true));
        assert_eq!(longest_gap(&heard(late), 1_000), 10, "six blocks at once");
        let silent = (0..100).map(|n| (n * 10, !(40..46).contains(&n)));
        assert_eq!(longest_gap(&heard(silent), 1_000), 70, "six silent blocks");
        let missing = (0..100).filter(|n| !(40..50).contains(n)).map(|n| (n * 10, true));
        assert_eq!(longest_gap(&heard(missing), 1_000), 50, "100 ms missing, 60 ms buffered");
        let repeatedly_missing = (0..200).filter(|n| n % 20 > 3).map(|n| (n * 10, true));
        assert_eq!(longest_gap(&heard(repeatedly_missing), 2_000), 50, "40 ms missing each time");
        let stopped = (0..100).map(|n| (n * 10, true));
        assert_eq!(longest_gap(&heard(stopped), 1_200), 150, "playback has stopped");
    }
}
