//! Conversion of a program's samples to the rate of a call.

use blink_api::{Error, ErrorKind, Result};
use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler as _, WindowFunction};

/// Shortest and longest block of input, as shares of a second. A block is a multiple of the
/// smallest one that the two rates allow.
const SHORTEST: u32 = 100;
const LONGEST: u32 = 5;

/// Converts interleaved samples from one rate to another, in pieces of any length. The output
/// begins with the first input sample; its last samples come with [`finish`](Self::finish).
pub(super) struct Resampler {
    /// `None` where the rates are the same.
    inner: Option<Fft<f32>>,
    ratio: f64,
    channels: usize,
    /// Input that does not fill a block yet.
    input: Vec<f32>,
    output: Vec<f32>,
    /// Frames of the filter's delay that are still to be dropped.
    delay: usize,
    /// Frames taken and given since the signal began.
    taken: u64,
    given: u64,
}

impl Resampler {
    /// A converter between two rates in samples per second.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a rate or number of channels of zero, and for rates
    /// whose ratio is not one of small numbers.
    pub(super) fn new(from: u32, to: u32, channels: u16) -> Result<Self> {
        let invalid = || {
            let error = Error::new(ErrorKind::Invalid, "the sample rate cannot be converted");
            error.with("from", from).with("to", to).with("channels", channels)
        };
        if from == 0 || to == 0 || channels == 0 {
            return Err(invalid());
        }
        let (ratio, channels) = (f64::from(to) / f64::from(from), usize::from(channels));
        let inner = if from == to {
            None
        } else {
            // An even multiple of the smallest block: the filter's delay of half a block is then a
            // whole number of frames at both rates, and can be dropped exactly.
            let smallest = 2 * (from / greatest_common_divisor(from, to));
            let block = smallest * (from / SHORTEST).div_ceil(smallest);
            if block > from / LONGEST {
                return Err(invalid());
            }
            let (from, to, window) = (from as usize, to as usize, WindowFunction::BlackmanHarris2);
            let inner = Fft::new_custom(from, to, block as usize, 1, channels, window, FixedSync::Both);
            Some(inner.map_err(|error| invalid().source(error.to_string()))?)
        };
        let room = inner.as_ref().map_or(0, |inner| inner.output_frames_max() * channels);
        let delay = inner.as_ref().map_or(0, rubato::Resampler::output_delay);
        Ok(Self { inner, ratio, channels, input: Vec::new(), output: vec![0.0; room], delay, taken: 0, given: 0 })
    }

    /// Forgets everything before: the next sample is the first one.
    pub(super) fn reset(&mut self) {
        self.input.clear();
        (self.taken, self.given) = (0, 0);
        if let Some(inner) = &mut self.inner {
            inner.reset();
            self.delay = inner.output_delay();
        }
    }

    /// Adds what `samples` gives to `output`. Both are interleaved, in whole frames.
    pub(super) fn process(&mut self, samples: &[f32], output: &mut Vec<f32>) {
        let Some(inner) = &self.inner else { return output.extend_from_slice(samples) };
        let block = inner.input_frames_next() * self.channels;
        self.taken += (samples.len() / self.channels) as u64;
        self.input.extend_from_slice(samples);
        while self.input.len() >= block {
            self.convert(block, output);
        }
    }

    /// Adds the end of the signal, which the filter still holds, to `output`. The next sample
    /// begins another signal.
    pub(super) fn finish(&mut self, output: &mut Vec<f32>) {
        let Some(inner) = &self.inner else { return };
        let block = inner.input_frames_next() * self.channels;
        let whole = (self.taken as f64 * self.ratio).round() as u64;
        while self.given < whole {
            self.input.resize(block, 0.0);
            self.convert(block, output);
        }
        let over = (self.given - whole) as usize * self.channels;
        output.truncate(output.len().saturating_sub(over));
        self.reset();
    }

    /// Converts the first block of the input.
    fn convert(&mut self, block: usize, output: &mut Vec<f32>) {
        let Some(inner) = &mut self.inner else { return };
        let room = self.output.len() / self.channels;
        let whole = "the slice is whole frames";
        let from = InterleavedSlice::new(&self.input[..block], self.channels, block / self.channels).expect(whole);
        let mut into = InterleavedSlice::new_mut(&mut self.output, self.channels, room).expect(whole);
        let (_, written) =
            inner.process_into_buffer(&from, &mut into, None).expect("the block and the room are the resampler's own");
        self.input.drain(..block);
        let dropped = self.delay.min(written);
        self.delay -= dropped;
        self.given += (written - dropped) as u64;
        output.extend_from_slice(&self.output[dropped * self.channels..written * self.channels]);
    }
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::*;

    fn sine(rate: u32, hertz: f64, frames: usize) -> Vec<f32> {
        (0..frames).map(|n| (n as f64 * hertz / f64::from(rate) * 2.0 * PI).sin() as f32).collect()
    }

    /// Converts in pieces of odd lengths.
    fn converted(from: u32, to: u32, channels: u16, samples: &[f32]) -> Vec<f32> {
        let mut resampler = Resampler::new(from, to, channels).unwrap();
        let mut output = Vec::new();
        for piece in samples.chunks(usize::from(channels) * 77) {
            resampler.process(piece, &mut output);
        }
        resampler.finish(&mut output);
        output
    }

    #[test]
    fn a_tone_keeps_length_frequency_and_phase_in_all_usual_rates() {
        let rates = [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000, 192_000];
        for (from, to) in rates.iter().flat_map(|from| [8_000, 44_100, 48_000].map(|to| (*from, to))) {
            let output = converted(from, to, 1, &sine(from, 1_000.0, from as usize));
            let expected = sine(to, 1_000.0, to as usize);
            assert!(output.len().abs_diff(expected.len()) <= 2, "{from} to {to}: {}", output.len());
            let middle = expected.len() / 10..expected.len() * 9 / 10;
            let worst = middle.map(|n| (output[n] - expected[n]).abs()).fold(0.0, f32::max);
            assert!(worst < 0.002, "{from} to {to}: {worst}");
        }
    }

    #[test]
    fn tones_over_the_lower_nyquist_frequency_do_not_alias() {
        for hertz in [5_000.0, 9_000.0, 20_000.0] {
            let output = converted(48_000, 8_000, 1, &sine(48_000, hertz, 48_000));
            let worst = output[400..7_600].iter().map(|sample| sample.abs()).fold(0.0, f32::max);
            assert!(worst < 0.001, "{hertz}: {worst}");
        }
    }

    #[test]
    fn channels_are_kept_apart_and_pieces_join_without_a_seam() {
        let tone = sine(16_000, 300.0, 16_000);
        let stereo: Vec<f32> = tone.iter().flat_map(|sample| [*sample, 0.0]).collect();
        let output = converted(16_000, 48_000, 2, &stereo);
        assert!(output.chunks_exact(2).all(|frame| frame[1].abs() < 1e-6));
        let mono = converted(16_000, 48_000, 1, &tone);
        assert!(output.chunks_exact(2).zip(&mono).all(|(frame, sample)| (frame[0] - sample).abs() < 1e-6));
        let mut whole = Vec::new();
        let mut resampler = Resampler::new(16_000, 48_000, 1).unwrap();
        resampler.process(&tone, &mut whole);
        resampler.finish(&mut whole);
        assert_eq!(whole, mono);
        assert_eq!(converted(48_000, 48_000, 1, &tone).len(), tone.len());
    }

    #[test]
    fn rates_without_a_small_ratio_are_refused() {
        for (from, to, channels) in [(0, 48_000, 1), (48_000, 0, 1), (48_000, 48_000, 0), (47_999, 48_000, 1)] {
            assert_eq!(Resampler::new(from, to, channels).err().unwrap().kind(), ErrorKind::Invalid, "{from} to {to}");
        }
    }
}
