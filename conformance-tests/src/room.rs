//! Simulated room: what a microphone captures of a loudspeaker, and ten-millisecond blocks that
//! run through a processor with the times that devices report.

use std::time::{Duration, Instant};

use blink_api::{AudioFormat, AudioProcessor, Result};

/// Block of a processor.
const BLOCK: Duration = Duration::from_millis(10);
/// Reverberation until −60 dB, roughly.
const TAIL: Duration = Duration::from_millis(80);

/// Impulse response of a room: a direct path of −6 dB and a decaying tail.
#[derive(Debug, Clone)]
pub struct Room {
    taps: Vec<(usize, f32)>,
}

impl Room {
    /// A room whose tail comes from a seed.
    pub fn new(seed: u64) -> Self {
        let mut noise = Noise::new(seed);
        let length = AudioFormat::CALL.samples_in(TAIL);
        let tail = (1..length).step_by(7).map(|at| (at, noise.sample() * 0.12 * (-(at as f32) / 700.0).exp()));
        Self { taps: std::iter::once((0, 0.5)).chain(tail).collect() }
    }

    /// The echo of a far end at 48 kHz mono, without delay.
    pub fn echo(&self, far_end: &[f32]) -> Vec<f32> {
        let mut echo = vec![0.0; far_end.len()];
        for &(at, gain) in &self.taps {
            for (out, sample) in echo.iter_mut().skip(at).zip(far_end) {
                *out += gain * sample;
            }
        }
        echo
    }
}

/// White noise from a seed (Marsaglia's xorshift), uniform in −1 to 1.
#[derive(Debug, Clone)]
pub struct Noise(u64);

impl Noise {
    /// A generator with a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next sample.
    pub fn sample(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// Delays a signal by a duration that may change over time: `delay_at` gives it for each block.
pub fn delayed(signal: &[f32], format: AudioFormat, delay_at: impl Fn(Duration) -> Duration) -> Vec<f32> {
    let block = format.samples_in(BLOCK);
    let mut out = vec![0.0; signal.len()];
    for (number, out) in out.chunks_mut(block).enumerate() {
        let delay = format.samples_in(delay_at(BLOCK * number as u32));
        for (offset, sample) in out.iter_mut().enumerate() {
            *sample = (number * block + offset).checked_sub(delay).map_or(0.0, |at| signal[at]);
        }
    }
    out
}

/// Runs whole blocks through a chain of processors, in the order of the engine: the far end is
/// rendered, then the near end is captured. `reported_at` gives the duration between both that the
/// devices report at a time. Returns the processed near end.
///
/// # Errors
/// The first failure of a processor.
pub fn process(
    chain: &mut [Box<dyn AudioProcessor>],
    format: AudioFormat,
    far_end: &[f32],
    near_end: &[f32],
    reported_at: impl Fn(Duration) -> Duration,
) -> Result<Vec<f32>> {
    let block = format.samples_in(BLOCK);
    let start = Instant::now();
    let mut out = near_end.to_vec();
    for (number, (far_end, near_end)) in far_end.chunks_exact(block).zip(out.chunks_exact_mut(block)).enumerate() {
        let now = BLOCK * number as u32;
        for processor in &mut *chain {
            processor.render(far_end, start + now + reported_at(now))?;
        }
        for processor in &mut *chain {
            processor.capture(near_end, start + now)?;
        }
    }
    Ok(out)
}

/// Level of a signal in dBFS (mean square; silence is −120).
pub fn level(signal: &[f32]) -> f32 {
    let power = signal.iter().map(|sample| sample * sample).sum::<f32>() / signal.len().max(1) as f32;
    10.0 * (power + 1e-12).log10()
}
