//! Blocks of 10 ms from a source, whatever it has at a time.

use web_time::Instant;

use blink_api::{AudioSource, ErrorKind, Result};

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
    /// A reader of blocks of `samples` samples.
    pub(super) fn new(source: Box<dyn AudioSource>, samples: usize) -> Self {
        let (block, state) = (vec![0.0; samples], SourceState::Stale);
        Self { source, state, starved: 0, block, filled: 0, at: None }
    }

    /// Reads from another source from the next block on.
    pub(super) fn set_source(&mut self, source: Box<dyn AudioSource>) {
        self.source = source;
        self.state = SourceState::Stale;
        (self.starved, self.filled) = (0, 0);
    }

    /// Silences what was read and not yet taken.
    pub(super) fn silence(&mut self) {
        self.block.fill(0.0);
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

    /// Fills the block as far as the source can; with silence where it cannot. Returns whether more
    /// may be there at once.
    ///
    /// # Errors
    /// The first failure of the source.
    pub(super) fn read(&mut self, now: Instant) -> Result<bool> {
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
                    return Ok(false);
                }
                if self.filled == 0 {
                    self.at = Some(read.at.unwrap_or_else(|| self.captured_at(now)));
                }
                self.filled += read.samples.min(wanted);
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
        self.block[self.filled..].fill(0.0);
        self.filled = self.block.len();
    }

    /// Time at which audio that is read at `now` was captured, as far as the source knows.
    fn captured_at(&self, now: Instant) -> Instant {
        now.checked_sub(self.source.latency()).unwrap_or(now)
    }
}
