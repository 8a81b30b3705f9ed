//! The source that reads a [`Microphone`](super::Microphone).

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use blink_api::{AudioFormat, AudioSource, ReadResult, Result};
use rtrb::Consumer;

use super::Shared;
use super::resampler::Resampler;

/// Audio that must wait before it is played after silence, so that a push that is a little late
/// makes no gap.
const PREFILL: Duration = Duration::from_millis(20);
/// Reads after which less is played, too: no more may come.
const PATIENCE: u32 = 2;
/// Audio that is converted at a time.
const BLOCK: Duration = Duration::from_millis(10);

/// Reads the samples of a program in the format of a call. Neither locks nor, in the steady state,
/// allocates.
pub(super) struct SampleSource {
    shared: Arc<Shared>,
    /// `None` only while this is dropped.
    consumer: Option<Consumer<f32>>,
    format: AudioFormat,
    resampler: Resampler,
    /// Samples of the program, in their format and in the call's channels.
    input: Vec<f32>,
    remixed: Vec<f32>,
    /// Converted samples, of which `taken` were read.
    ready: Vec<f32>,
    taken: usize,
    is_playing: bool,
    /// Reads for which less than the prefill waited.
    waited: u32,
    /// The converter holds nothing: its end was read, or nothing came since.
    is_flushed: bool,
}

impl SampleSource {
    pub(super) fn new(shared: Arc<Shared>, consumer: Consumer<f32>, format: AudioFormat, resampler: Resampler) -> Self {
        let block = shared.format.samples_in(BLOCK);
        Self {
            shared,
            consumer: Some(consumer),
            format,
            resampler,
            input: vec![0.0; block],
            remixed: Vec::new(),
            ready: Vec::new(),
            taken: 0,
            is_playing: false,
            waited: 0,
            is_flushed: true,
        }
    }

    fn is_finished(&self) -> bool {
        self.shared.is_finished.load(Ordering::Acquire)
    }

    /// Whether samples are to be played, after silence not before enough of them wait.
    fn plays(&mut self) -> bool {
        let queued = self.consumer.as_ref().map_or(0, Consumer::slots);
        if !self.is_playing {
            self.waited += u32::from(queued > 0);
            let is_enough = queued >= self.shared.format.samples_in(PREFILL);
            self.is_playing = is_enough || self.is_finished() || self.waited > PATIENCE;
            if self.is_playing {
                self.waited = 0;
            }
        }
        self.is_playing
    }

    /// Converts the next samples. `false` where there are none.
    fn refill(&mut self) -> bool {
        self.ready.clear();
        self.taken = 0;
        // Read before the samples: what was pushed before the end is there then.
        let is_finished = self.is_finished();
        let Some(consumer) = &mut self.consumer else { return false };
        let (read, _) = consumer.pop_partial_slice(&mut self.input);
        let count = read.len();
        if count == 0 {
            let ends = is_finished && !self.is_flushed;
            if ends {
                self.is_flushed = true;
                self.resampler.finish(&mut self.ready);
            }
            return ends;
        }
        self.shared.count_read(count);
        self.is_flushed = false;
        let (from, to) = (usize::from(self.shared.format.channels), usize::from(self.format.channels));
        self.input[..count].iter_mut().for_each(|sample| *sample = sample.clamp(-1.0, 1.0));
        if from == to {
            self.resampler.process(&self.input[..count], &mut self.ready);
        } else {
            self.remixed.clear();
            for frame in self.input[..count].chunks_exact(from) {
                let mean = frame.iter().sum::<f32>() / from as f32;
                self.remixed.extend(std::iter::repeat_n(mean, to));
            }
            self.resampler.process(&self.remixed, &mut self.ready);
        }
        true
    }

    fn discard(&mut self) {
        if self.consumer.as_mut().is_some_and(|consumer| self.shared.discard(consumer)) {
            self.resampler.reset();
            self.ready.clear();
            self.taken = 0;
            self.is_flushed = true;
        }
    }
}

impl AudioSource for SampleSource {
    fn format(&self) -> AudioFormat {
        self.format
    }

    fn read(&mut self, out: &mut [f32]) -> Result<ReadResult> {
        self.discard();
        let samples = out.len() - out.len() % usize::from(self.format.channels.max(1));
        let out = &mut out[..samples];
        let mut filled = 0;
        while filled < samples && self.plays() {
            let ready = &self.ready[self.taken..];
            let count = ready.len().min(samples - filled);
            out[filled..filled + count].copy_from_slice(&ready[..count]);
            filled += count;
            self.taken += count;
            if filled < samples && !self.refill() {
                self.is_playing = false;
                break;
            }
        }
        out[filled..].fill(0.0);
        Ok(ReadResult::new(samples))
    }

    fn latency(&self) -> Duration {
        Duration::ZERO
    }

    fn has_ended(&self) -> bool {
        self.is_finished()
            && self.is_flushed
            && self.taken == self.ready.len()
            && self.consumer.as_ref().is_none_or(Consumer::is_empty)
    }
}

impl Drop for SampleSource {
    /// The next source continues with what was not read.
    fn drop(&mut self) {
        *self.shared.consumer.lock().unwrap_or_else(PoisonError::into_inner) = self.consumer.take();
    }
}
