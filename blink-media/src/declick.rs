//! Removal of steps between samples, where one source of audio takes the place of another.

use std::time::Duration;

use blink_api::AudioFormat;

/// Duration of a ramp. At 48 kHz, a step from one full scale to the other becomes changes of 0.004
/// a sample, which are inaudible.
const RAMP: Duration = Duration::from_millis(10);

/// Keeps audio continuous: after [`begin`](Self::begin), the value before it passes over into the
/// samples after it, within 10 ms.
#[derive(Debug)]
pub(crate) struct Declick {
    /// The newest frame, one sample for each channel.
    last: Vec<f32>,
    /// The frame that passes over.
    held: Vec<f32>,
    /// Frames of a ramp, and those that are left of it.
    ramp: usize,
    left: usize,
}

impl Declick {
    pub(crate) fn new(format: AudioFormat) -> Self {
        let channels = usize::from(format.channels.max(1));
        let frame = vec![0.0; channels];
        Self { last: frame.clone(), held: frame, ramp: format.samples_in(RAMP) / channels, left: 0 }
    }

    /// Begins a ramp from the newest frame.
    pub(crate) fn begin(&mut self) {
        self.held.copy_from_slice(&self.last);
        self.left = self.ramp;
    }

    /// Takes the next samples, which are interleaved and whole frames.
    pub(crate) fn process(&mut self, samples: &mut [f32]) {
        let channels = self.last.len();
        for frame in samples.chunks_exact_mut(channels) {
            if self.left == 0 {
                break;
            }
            let held = self.left as f32 / (self.ramp + 1) as f32;
            self.left -= 1;
            frame.iter_mut().zip(&self.held).for_each(|(sample, last)| *sample = last * held + *sample * (1.0 - held));
        }
        if let Some(newest) = samples.chunks_exact(channels).next_back() {
            self.last.copy_from_slice(newest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_becomes_a_ramp_and_what_is_before_and_after_it_stays() {
        for sample_rate in [8_000, 48_000] {
            let ramp = sample_rate as usize / 100;
            let mut declick = Declick::new(AudioFormat { sample_rate, channels: 2 });
            let mut before = [0.25, -1.0].repeat(100);
            let given = before.clone();
            declick.process(&mut before);
            assert_eq!(before, given);
            declick.begin();
            let mut after = [-0.75, 1.0].repeat(1_000);
            let given = after.clone();
            for block in after.chunks_mut(34) {
                declick.process(block);
            }
            assert_eq!(after[2 * ramp..], given[2 * ramp..]);
            let all = [&before[..], &after].concat();
            let step = all.windows(3).map(|three| (three[2] - three[0]).abs()).fold(0.0, f32::max);
            assert!(step < 2.1 / ramp as f32, "{step} at {sample_rate} Hz");
        }
    }
}
