//! Voice in the audio of a call, whatever its format.

use blink_api::AudioFormat;

use crate::voice_detector::VoiceDetector;

/// Sample rate of the detector.
const SAMPLE_RATE: u32 = 48_000;
/// Samples at 48 kHz that are converted at a time.
const CHUNK: usize = 480;

/// Voice detection with conversion to mono at 48 kHz. Allocates at creation and on
/// [`reset`](Self::reset) only.
pub(crate) struct VoiceActivity {
    detector: VoiceDetector,
    format: AudioFormat,
    /// The newest frame as mono, from which the next ones are interpolated.
    last: f32,
    /// Position of the next sample at 48 kHz after `last`, in 48,000ths of an input sample.
    phase: u32,
    chunk: Vec<f32>,
    is_voice: bool,
}

impl VoiceActivity {
    pub(crate) fn new(format: AudioFormat) -> Self {
        let chunk = Vec::with_capacity(CHUNK);
        Self { detector: VoiceDetector::new(), format, last: 0.0, phase: 0, chunk, is_voice: false }
    }

    /// Takes interleaved samples, of any number of frames, and returns whether there is voice at
    /// their end.
    pub(crate) fn push(&mut self, samples: &[f32]) -> bool {
        if self.format.channels == 1 && self.format.sample_rate == SAMPLE_RATE {
            self.is_voice = self.detector.push(samples);
            return self.is_voice;
        }
        let channels = usize::from(self.format.channels.max(1));
        for frame in samples.chunks_exact(channels) {
            let mono = frame.iter().sum::<f32>() / channels as f32;
            // Linear interpolation: its images lie above what the detector reads of a low rate, and
            // are faint below.
            while self.phase < SAMPLE_RATE {
                let at = self.phase as f32 / SAMPLE_RATE as f32;
                self.chunk.push(self.last + (mono - self.last) * at);
                if self.chunk.len() == CHUNK {
                    self.is_voice = self.detector.push(&self.chunk);
                    self.chunk.clear();
                }
                self.phase += self.format.sample_rate.max(1);
            }
            self.phase -= SAMPLE_RATE;
            self.last = mono;
        }
        self.is_voice
    }

    /// Whether there is voice at the end of what was pushed.
    pub(crate) fn is_voice(&self) -> bool {
        self.is_voice
    }

    /// Ends a voice that paused: only what follows is voice.
    pub(crate) fn end_pause(&mut self) {
        self.detector.end_pause();
    }

    /// Discards all state, such as after a device change. Allocates.
    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.format);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use blink_media_synthetic::speech_clip;

    use super::*;

    /// Share of blocks of 10 ms that end with voice.
    fn voice_share(format: AudioFormat, mono: &[f32]) -> f32 {
        let step = 48_000 / format.sample_rate as usize;
        let samples: Vec<f32> = mono
            .chunks_exact(step)
            .flat_map(|chunk| {
                let mean = chunk.iter().sum::<f32>() / step as f32;
                std::iter::repeat_n(mean, usize::from(format.channels))
            })
            .collect();
        let mut activity = VoiceActivity::new(format);
        let block = format.samples_in(Duration::from_millis(10));
        let blocks: Vec<bool> = samples.chunks_exact(block).map(|block| activity.push(block)).collect();
        assert!(blocks.len() > 900);
        blocks.iter().filter(|voice| **voice).count() as f32 / blocks.len() as f32
    }

    #[test]
    fn speech_is_voice_and_a_tone_is_none_in_each_format() {
        let speech = speech_clip(0, Duration::from_secs(10));
        let tone: Vec<f32> = (0..480_000).map(|at| 0.3 * (at as f32 * 0.0576).sin()).collect();
        for (sample_rate, channels) in [(48_000, 1), (48_000, 2), (16_000, 1), (8_000, 1)] {
            let format = AudioFormat { sample_rate, channels };
            let share = voice_share(format, &speech);
            assert!(share > 0.6, "{format:?}: {share}");
            assert_eq!(voice_share(format, &tone), 0.0, "{format:?}");
        }
    }
}
