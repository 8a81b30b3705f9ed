//! Audio source that plays samples from memory.

use std::sync::Arc;
use std::time::Duration;

use blink_api::{AudioFormat, AudioSource, ReadResult, Result};

/// Audio clip, played once or looped.
pub(crate) struct AudioClip {
    format: AudioFormat,
    samples: Arc<[f32]>,
    position: usize,
    looping: bool,
}

impl AudioClip {
    /// Creates a clip that plays once and then gives silence.
    pub(crate) fn once(format: AudioFormat, samples: Arc<[f32]>) -> Self {
        Self { format, samples, position: 0, looping: false }
    }

    /// Creates a clip that loops.
    pub(crate) fn looping(format: AudioFormat, samples: Arc<[f32]>) -> Self {
        Self { format, samples, position: 0, looping: true }
    }
}

impl AudioSource for AudioClip {
    fn format(&self) -> AudioFormat {
        self.format
    }

    fn read(&mut self, out: &mut [f32]) -> Result<ReadResult> {
        let samples = out.len() - out.len() % usize::from(self.format.channels);
        let mut rest = &mut out[..samples];
        while !rest.is_empty() {
            if self.looping && self.position == self.samples.len() {
                self.position = 0;
            }
            let left = &self.samples[self.position..];
            if left.is_empty() {
                rest.fill(0.0);
                break;
            }
            let count = left.len().min(rest.len());
            let (now, later) = rest.split_at_mut(count);
            now.copy_from_slice(&left[..count]);
            self.position += count;
            rest = later;
        }
        Ok(ReadResult::new(samples))
    }

    fn latency(&self) -> Duration {
        Duration::ZERO
    }

    fn has_ended(&self) -> bool {
        !self.looping && self.position == self.samples.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut clip: AudioClip, sizes: &[usize]) -> Vec<f32> {
        let mut heard = Vec::new();
        for size in sizes {
            let mut out = vec![9.0; *size];
            assert_eq!(clip.read(&mut out).unwrap().samples, *size);
            heard.extend(out);
        }
        heard
    }

    #[test]
    fn a_clip_has_ended_with_its_last_sample_unless_it_loops() {
        let samples: Arc<[f32]> = Arc::from([0.1, 0.2, 0.3]);
        let mut once = AudioClip::once(AudioFormat::CALL, samples.clone());
        let mut looping = AudioClip::looping(AudioFormat::CALL, samples);
        for (read, has_ended) in [(2, false), (1, true), (5, true)] {
            once.read(&mut vec![0.0; read]).unwrap();
            looping.read(&mut vec![0.0; read]).unwrap();
            assert_eq!((once.has_ended(), looping.has_ended()), (has_ended, false));
        }
    }

    #[test]
    fn a_clip_ends_in_silence_or_loops() {
        let samples: Arc<[f32]> = Arc::from([0.1, 0.2, 0.3]);
        let once = AudioClip::once(AudioFormat::CALL, samples.clone());
        assert_eq!(read(once, &[2, 2, 2]), [0.1, 0.2, 0.3, 0.0, 0.0, 0.0]);
        let looping = AudioClip::looping(AudioFormat::CALL, samples);
        assert_eq!(read(looping, &[2, 5, 1]), [0.1, 0.2, 0.3, 0.1, 0.2, 0.3, 0.1, 0.2]);
        assert_eq!(read(AudioClip::looping(AudioFormat::CALL, Arc::from([])), &[2]), [0.0, 0.0]);
    }
}
