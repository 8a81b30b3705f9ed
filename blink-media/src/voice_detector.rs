//! Voice in captured audio, told from music, keyboards and noise by a small neural network
//! (`earshot`). Source of the voice bit of RFC 6464.
//!
//! It is part of this crate and no processor, as every sender needs it, whatever processors are
//! configured.

use std::f32::consts::PI;
use std::fmt;

use earshot::Detector;

/// Samples that the network takes at a time: 16 ms at 16 kHz.
const FRAME: usize = 256;
/// Ratio of 48 kHz to 16 kHz.
const DECIMATION: usize = 3;
/// Taps of the low-pass filter before decimation. Its transition band, 6 to 10 kHz, aliases only
/// into 6 to 8 kHz, where the network has few features.
const TAPS: usize = 48;
const CUTOFF_HZ: f32 = 7_000.0;
const SAMPLE_RATE: f32 = 48_000.0;
/// Score from which a frame counts as voice. Half of all speech frames have it, and 3 % of those of
/// a piano's chords; tones reach 0.7.
const THRESHOLD: f32 = 0.9;
/// Frames in a row that begin a voice: 80 ms. Clicks and strokes of keys are shorter.
const ONSET: u32 = 5;
/// Frames after which a voice has ended: 320 ms, longer than the pauses between words.
const HANGOVER: u32 = 20;

/// Level of loud syllables (root mean square) that frames are normalized to, the greatest gain, and
/// what is left of the loudest level after each frame: half after 3.7 s.
const LEVEL: f32 = 0.14;
const MAX_GAIN: f32 = 16.0;
const LEVEL_DECAY: f32 = 0.997;

/// Voice detector of one microphone. Allocates at creation only.
pub struct VoiceDetector {
    network: Box<Detector>,
    filter: [f32; TAPS],
    /// Most recent input samples, the newest last.
    history: [f32; TAPS],
    /// Input samples until the next output sample.
    until_next: usize,
    frame: [f32; FRAME],
    filled: usize,
    /// Decaying maximum of the frames' levels.
    loudest: f32,
    /// Frames in a row that can begin a voice, and frames in a row that do not continue it.
    onset: u32,
    unvoiced: u32,
    is_voice: bool,
}

impl fmt::Debug for VoiceDetector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VoiceDetector").finish_non_exhaustive()
    }
}

impl Default for VoiceDetector {
    fn default() -> Self {
        Self::new()
    }
}

impl VoiceDetector {
    /// A detector for 48 kHz mono.
    pub fn new() -> Self {
        Self {
            network: Detector::default_boxed(),
            filter: low_pass(),
            history: [0.0; TAPS],
            until_next: DECIMATION,
            frame: [0.0; FRAME],
            filled: 0,
            loudest: 0.0,
            onset: 0,
            unvoiced: 0,
            is_voice: false,
        }
    }

    /// Takes samples at 48 kHz mono, of any number, and returns whether there is voice at their
    /// end.
    pub fn push(&mut self, samples: &[f32]) -> bool {
        for sample in samples {
            self.history.copy_within(1.., 0);
            // A non-finite sample would stay in the network's state.
            self.history[TAPS - 1] = if sample.is_finite() { sample.clamp(-1.0, 1.0) } else { 0.0 };
            self.until_next -= 1;
            if self.until_next == 0 {
                self.until_next = DECIMATION;
                self.push_decimated();
            }
        }
        self.is_voice
    }

    /// Ends a voice that paused: only what follows is voice.
    pub fn end_pause(&mut self) {
        self.is_voice &= self.unvoiced == 0;
    }

    /// Discards all state, such as after a device change. Allocates.
    pub fn reset(&mut self) {
        *self = Self::new();
    }

    fn push_decimated(&mut self) {
        let filtered: f32 = self.history.iter().zip(&self.filter).map(|(sample, tap)| sample * tap).sum();
        self.frame[self.filled] = filtered.clamp(-1.0, 1.0);
        self.filled += 1;
        if self.filled == FRAME {
            self.filled = 0;
            self.normalize();
            let score = self.network.predict_f32(&self.frame);
            self.decide(score);
        }
    }

    /// Brings the frame to the level of speech near the microphone, as the scores depend on it.
    fn normalize(&mut self) {
        let power = self.frame.iter().map(|sample| sample * sample).sum::<f32>() / FRAME as f32;
        self.loudest = power.sqrt().max(self.loudest * LEVEL_DECAY);
        let gain = (LEVEL / self.loudest.max(1e-6)).clamp(0.25, MAX_GAIN);
        self.frame.iter_mut().for_each(|sample| *sample = (*sample * gain).clamp(-1.0, 1.0));
    }

    fn decide(&mut self, score: f32) {
        self.onset = if score >= THRESHOLD { self.onset + 1 } else { 0 };
        self.unvoiced = if score >= THRESHOLD { 0 } else { self.unvoiced.saturating_add(1) };
        if self.onset >= ONSET {
            self.is_voice = true;
        } else if self.unvoiced >= HANGOVER {
            self.is_voice = false;
        }
        self.onset = self.onset.min(ONSET);
    }
}

/// Windowed sinc (Hann) of unit gain.
fn low_pass() -> [f32; TAPS] {
    let mut taps = std::array::from_fn(|tap| {
        let at = tap as f32 - (TAPS - 1) as f32 / 2.0;
        let angle = 2.0 * PI * CUTOFF_HZ / SAMPLE_RATE * at;
        let window = 0.5 - 0.5 * (2.0 * PI * (tap as f32 + 0.5) / TAPS as f32).cos();
        // The middle lies between two taps, so that the angle is never zero.
        angle.sin() / angle * window
    });
    let sum: f32 = taps.iter().sum();
    taps.iter_mut().for_each(|tap| *tap /= sum);
    taps
}

#[cfg(test)]
mod tests;
