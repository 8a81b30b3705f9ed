//! Blocks of 10 ms from a source, whatever it has at a time.

use web_time::Instant;

use blink_api::{AudioSource, ErrorKind, Result};

use crate::declick::Declick;
use crate::latency::believed;

/// Ticks without samples from which on a source counts as silent, until it has samples again.
const STARVED: u32 = 10;

/// Most reads that empty the queue of a source (10 s of audio).
const MAX_DRAIN_READS: u32 = 1_000;

/// Reads a source block by block, with the time at which each was captured.
pub(super) struct BlockReader {
    source: Box<dyn AudioSource>,
    state: SourceState,
    /// Ticks without samples.
    starved: u32,
    /// 10 ms, of which `filled` samples were read, the first of them captured at `at`.
    block: Vec<f32>,
    filled: usize,
    at: Option<Instant>,
    /// Silence took the place of samples.
    is_silent: bool,
    declick: Declick,
    /// The source came to its end.
    has_ended: bool,
    /// The end is not yet told.
    untold_end: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SourceState {
    /// Never read, or silent for long: its queued samples are old.
    Stale,
    /// Has samples.
    Running,
    /// Failed at the last read.
    Failing,
    /// Gone for good.
    Gone,
}

impl BlockReader {
    /// A reader of blocks of `samples` interleaved samples.
    pub(super) fn new(source: Box<dyn AudioSource>, samples: usize) -> Self {
        let format = source.format();
        Self {
            source,
            state: SourceState::Stale,
            starved: 0,
            block: vec![0.0; samples],
            filled: 0,
            at: None,
            is_silent: false,
            declick: Declick::new(format),
            has_ended: false,
            untold_end: false,
        }
    }

    /// Lets the block that was read, the first one, begin from zero.
    pub(super) fn fade_in(&mut self) {
        self.declick = Declick::new(self.source.format());
        self.declick.begin();
        self.declick.process(&mut self.block[..self.filled]);
    }

    pub(super) fn into_source(self) -> Box<dyn AudioSource> {
        self.source
    }

    /// Silences what was read and not yet taken.
    pub(super) fn silence(&mut self) {
        self.block.fill(0.0);
    }

    /// Samples of a block.
    pub(super) fn samples(&self) -> usize {
        self.block.len()
    }

    /// Whether a block can be taken.
    pub(super) fn is_whole(&self) -> bool {
        self.filled == self.block.len()
    }

    /// The block, and the time at which its first sample was captured. The next block begins.
    pub(super) fn take_block(&mut self, now: Instant) -> (&mut [f32], Instant) {
        self.filled = 0;
        (&mut self.block, self.at.take().unwrap_or(now))
    }

    /// Whether the source came to its end since the last call.
    pub(super) fn take_ended(&mut self) -> bool {
        std::mem::take(&mut self.untold_end)
    }

    /// Fills the block as far as the source can; with silence where it cannot. Returns whether more
    /// may be there at once.
    ///
    /// # Errors
    /// The first failure of the source.
    pub(super) fn read(&mut self, now: Instant) -> Result<bool> {
        let result = self.fill(now);
        if !self.has_ended && self.source.has_ended() {
            (self.has_ended, self.untold_end) = (true, true);
        }
        result
    }

    fn fill(&mut self, now: Instant) -> Result<bool> {
        if self.state == SourceState::Gone {
            self.fill_silence(now);
            return Ok(false);
        }
        let wanted = self.block.len() - self.filled;
        match self.source.read(&mut self.block[self.filled..]) {
            Ok(read) if read.samples == 0 => {
                self.starved = self.starved.saturating_add(1);
                if self.starved > STARVED {
                    self.state = SourceState::Stale;
                    self.fill_silence(now);
                }
                Ok(false)
            }
            Ok(read) => {
                self.starved = 0;
                let hardware_clock = read.at.is_some();
                let stale = std::mem::replace(&mut self.state, SourceState::Running) == SourceState::Stale;
                if stale && hardware_clock {
                    self.drain(read.samples >= wanted)?;
                    if self.is_silent {
                        // The silence before lasts until the next tick.
                        self.fill_silence(now);
                    }
                    return Ok(false);
                }
                if self.filled == 0 {
                    self.at = Some(read.at.unwrap_or_else(|| self.captured_at(now)));
                }
                let filled = self.filled + read.samples.min(wanted);
                if std::mem::take(&mut self.is_silent) {
                    self.declick.begin();
                }
                self.declick.process(&mut self.block[self.filled..filled]);
                self.filled = filled;
                Ok(hardware_clock && read.samples >= wanted)
            }
            Err(error) => {
                let known = self.state == SourceState::Failing;
                let gone = error.kind() == ErrorKind::Closed;
                self.state = if gone { SourceState::Gone } else { SourceState::Failing };
                self.fill_silence(now);
                if known { Ok(false) } else { Err(error) }
            }
        }
    }

    /// Discards the queue of a source with a hardware clock: it was captured before the first
    /// receiver came, and would be delay for good.
    fn drain(&mut self, mut more: bool) -> Result<()> {
        self.filled = 0;
        for _ in 0..MAX_DRAIN_READS {
            if !more {
                break;
            }
            more = self.source.read(&mut self.block)?.samples >= self.block.len();
        }
        Ok(())
    }

    fn fill_silence(&mut self, now: Instant) {
        if self.filled == 0 {
            self.at = Some(self.captured_at(now));
        }
        if !std::mem::replace(&mut self.is_silent, true) {
            self.declick.begin();
        }
        let silence = &mut self.block[self.filled..];
        silence.fill(0.0);
        self.declick.process(silence);
        self.filled = self.block.len();
    }

    /// Time at which audio that is read at `now` was captured, as far as the source knows.
    fn captured_at(&self, now: Instant) -> Instant {
        now.checked_sub(believed(self.source.latency())).unwrap_or(now)
    }
}
