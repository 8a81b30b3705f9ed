//! The mix of all tracks.

use std::collections::VecDeque;
use std::path::PathBuf;

use blink_api::{AudioFormat, Result};

use super::parts::Parts;

/// Adds the tracks up, as they come, and writes what all of them have reached.
pub(super) struct Mix {
    sample_rate: u32,
    parts: Parts,
    /// Position of the first sample in `sum`.
    position: u64,
    sum: VecDeque<f32>,
}

impl Mix {
    pub(super) fn new(sample_rate: u32, parts: Parts) -> Self {
        Self { sample_rate, parts, position: 0, sum: VecDeque::new() }
    }

    /// Whether tracks of this format are mixed: those of the same sample rate.
    pub(super) fn takes(&self, format: AudioFormat) -> bool {
        format.sample_rate == self.sample_rate
    }

    /// Adds interleaved samples of a track at a position; all channels with equal weight.
    pub(super) fn add(&mut self, position: u64, samples: &[f32], channels: u16) {
        let weight = 1.0 / f32::from(channels.max(1));
        for (offset, frame) in samples.chunks_exact(usize::from(channels.max(1))).enumerate() {
            let Some(index) = (position + offset as u64).checked_sub(self.position) else { continue };
            let index = index as usize;
            if index >= self.sum.len() {
                self.sum.resize(index + 1, 0.0);
            }
            self.sum[index] += frame.iter().sum::<f32>() * weight;
        }
    }

    /// Writes up to a position, which every track has reached.
    pub(super) fn write_to(&mut self, end: u64, paths: &mut Vec<PathBuf>) -> Result<()> {
        let Some(due) = end.checked_sub(self.position) else { return Ok(()) };
        let mixed = self.sum.len().min(due as usize);
        let samples: Vec<f32> = self.sum.drain(..mixed).collect();
        self.position = end;
        self.parts.write(&samples, paths)?;
        self.parts.write_silence(due - mixed as u64, paths)
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        self.parts.flush()
    }
}
