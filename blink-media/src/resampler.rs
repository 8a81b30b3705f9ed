//! Sample-rate conversion of a continuous signal, by a windowed sinc in polyphase form.

use std::f64::consts::PI;

use blink_api::{Error, ErrorKind, Result};

/// Zero crossings of the sinc on each side, at the lower of the two rates.
const CROSSINGS: usize = 16;
/// Passband as a share of the lower Nyquist frequency: the rest is the filter's slope.
const PASSBAND: f64 = 0.92;
/// Most phases of the filter: all pairs of usual rates need fewer.
const MAX_PHASES: u32 = 1_024;

/// Converts interleaved samples from one rate to another, block by block. The output begins with
/// the first input sample; its last samples come with [`finish`](Self::finish).
#[derive(Debug, Clone)]
pub struct Resampler {
    channels: usize,
    /// Input frames for `phases` output frames.
    step: usize,
    phases: usize,
    /// Filters of all phases, of `taps` coefficients each.
    filters: Vec<f32>,
    taps: usize,
    /// Input frames that the filter still needs, the oldest first.
    input: Vec<f32>,
    /// Phase of the next output frame.
    phase: usize,
    /// Frames of `input` before the filter's next position.
    position: usize,
}

impl Resampler {
    /// A converter between two rates in samples per second.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a rate or number of channels of zero, and for rates
    /// whose ratio is not one of small numbers.
    pub fn new(from: u32, to: u32, channels: u16) -> Result<Self> {
        let invalid = || {
            let error = Error::new(ErrorKind::Invalid, "the sample rate cannot be converted");
            error.with("from", from).with("to", to).with("channels", channels)
        };
        if from == 0 || to == 0 || channels == 0 {
            return Err(invalid());
        }
        let divisor = greatest_common_divisor(from, to);
        let (step, phases) = (from / divisor, to / divisor);
        if phases > MAX_PHASES || step > 64 * MAX_PHASES {
            return Err(invalid());
        }
        // Cycles per input sample that pass.
        let cutoff = (f64::from(to) / f64::from(from)).min(1.0) * PASSBAND;
        let half = (CROSSINGS as f64 / cutoff).ceil() as usize;
        let taps = 2 * half;
        let filters =
            (0..phases).flat_map(|phase| filter(f64::from(phase) / f64::from(phases), half, cutoff)).collect();
        let channels = usize::from(channels);
        let (step, phases) = (step as usize, phases as usize);
        let mut resampler = Self { channels, step, phases, filters, taps, input: Vec::new(), phase: 0, position: 0 };
        resampler.reset();
        Ok(resampler)
    }

    fn is_identity(&self) -> bool {
        self.step == self.phases
    }

    /// Forgets everything before: the next sample is the first one.
    pub fn reset(&mut self) {
        (self.phase, self.position) = (0, 0);
        self.input.clear();
        // The filter's middle is at the first sample.
        self.input.resize((self.taps / 2 - 1) * self.channels, 0.0);
    }

    /// Adds what `samples` gives to `output`. Both are interleaved; an incomplete last frame of
    /// `samples` is dropped.
    pub fn process(&mut self, samples: &[f32], output: &mut Vec<f32>) {
        let whole = samples.len() - samples.len() % self.channels;
        if self.is_identity() {
            return output.extend_from_slice(&samples[..whole]);
        }
        self.input.extend_from_slice(&samples[..whole]);
        let frames = self.input.len() / self.channels;
        while self.position + self.taps <= frames {
            let filter = &self.filters[self.phase * self.taps..][..self.taps];
            let input = &self.input[self.position * self.channels..][..self.taps * self.channels];
            for channel in 0..self.channels {
                let of_channel = input[channel..].iter().step_by(self.channels);
                output.push(of_channel.zip(filter).map(|(sample, weight)| sample * weight).sum());
            }
            self.phase += self.step;
            self.position += self.phase / self.phases;
            self.phase %= self.phases;
        }
        // Where the output is slower, the next position may be beyond what is there.
        let done = self.position.min(frames);
        self.input.drain(..done * self.channels);
        self.position -= done;
    }

    /// Adds the end of the signal, which the filter still holds, to `output`. The next sample
    /// begins another signal.
    pub fn finish(&mut self, output: &mut Vec<f32>) {
        if self.is_identity() {
            return;
        }
        let silence = vec![0.0; self.taps / 2 * self.channels];
        self.process(&silence, output);
        self.reset();
    }
}

/// Coefficients for an output that lies `fraction` of an input sample after the middle.
fn filter(fraction: f64, half: usize, cutoff: f64) -> impl Iterator<Item = f32> {
    let at = move |tap: usize| tap as f64 - (half - 1) as f64 - fraction;
    let weight = move |tap: usize| sinc(at(tap) * cutoff) * window(at(tap) / half as f64);
    // The sum is 1 in each phase: no ripple at the difference of the rates.
    let sum: f64 = (0..2 * half).map(weight).sum();
    (0..2 * half).map(move |tap| (weight(tap) / sum) as f32)
}

fn sinc(x: f64) -> f64 {
    if x.abs() < 1e-9 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

/// Blackman-Harris window over −1..=1.
fn window(x: f64) -> f64 {
    if x.abs() > 1.0 {
        return 0.0;
    }
    0.358_75 + 0.488_29 * (PI * x).cos() + 0.141_28 * (2.0 * PI * x).cos() + 0.011_68 * (3.0 * PI * x).cos()
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(rate: u32, hertz: f64, frames: usize) -> Vec<f32> {
        (0..frames).map(|n| (n as f64 * hertz / f64::from(rate) * 2.0 * PI).sin() as f32).collect()
    }

    /// Converts in blocks of odd lengths.
    fn converted(from: u32, to: u32, channels: u16, samples: &[f32]) -> Vec<f32> {
        let mut resampler = Resampler::new(from, to, channels).unwrap();
        let mut output = Vec::new();
        for block in samples.chunks(usize::from(channels) * 77) {
            resampler.process(block, &mut output);
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
    fn channels_are_kept_apart_and_blocks_join_without_a_seam() {
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
            assert_eq!(Resampler::new(from, to, channels).unwrap_err().kind(), ErrorKind::Invalid, "{from} to {to}");
        }
    }
}
