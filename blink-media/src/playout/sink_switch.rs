//! Change of the sink while audio is played: the old one fades out and plays its queue to the end,
//! the new one fades in with the same block.
//!
//! Sinks are never dropped here, as that may block: the owner takes them with
//! [`Playout::take_retired`].

use blink_api::{AudioSink, Error, ErrorKind, Result};

use super::{Playout, TICK};
use crate::mix;

/// Ticks after which an old sink is retired that has not played its queue.
const LONGEST_DRAIN: u32 = 20;

/// Sinks that were played to before.
#[derive(Default)]
pub(super) struct SinkSwitch {
    outgoing: Vec<Outgoing>,
    retired: Vec<Box<dyn AudioSink>>,
    /// The next block is the first one of the sink, in place of another one.
    fades_in: bool,
    /// Blocks were played.
    is_running: bool,
}

/// A sink that plays its queue.
struct Outgoing {
    sink: Box<dyn AudioSink>,
    /// The block that fades out, before it is written.
    last: Option<Vec<f32>>,
    ticks: u32,
}

impl SinkSwitch {
    /// Whether nothing is to be done in a tick.
    fn is_idle(&self) -> bool {
        self.outgoing.is_empty() && !self.fades_in
    }

    /// Writes the block that fades out to the sinks that are left, and retires those that are done;
    /// fades `block` in where it is the first one of the sink.
    pub(super) fn apply(&mut self, block: &mut [f32]) {
        self.is_running = true;
        if self.is_idle() {
            return;
        }
        for outgoing in &mut self.outgoing {
            outgoing.play(block);
        }
        let done = self.outgoing.extract_if(.., |outgoing| outgoing.is_done());
        self.retired.extend(done.map(|outgoing| outgoing.sink));
        if std::mem::take(&mut self.fades_in) {
            let steps = block.len().max(1) as f32;
            block.iter_mut().enumerate().for_each(|(n, sample)| *sample *= n as f32 / steps);
        }
    }
}

impl Outgoing {
    fn play(&mut self, block: &[f32]) {
        self.ticks += 1;
        if let Some(mut last) = self.last.take() {
            mix::add(&mut last, block, 1.0, 0.0);
            // It is no longer in use: its failure concerns no one.
            if let Err(error) = self.sink.write(&last) {
                tracing::debug!(%error, "the former speaker failed");
                self.ticks = LONGEST_DRAIN;
            }
        }
    }

    fn is_done(&self) -> bool {
        self.ticks >= LONGEST_DRAIN || (self.ticks > 1 && self.sink.queued() == 0)
    }
}

impl<K: Ord + Copy> Playout<K> {
    /// Plays to another sink from the next tick on.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a sink of another format, which is retired; the old one
    /// goes on.
    pub fn set_sink(&mut self, sink: Box<dyn AudioSink>) -> Result<()> {
        if sink.format() != self.format {
            self.switch.retired.push(sink);
            let error = Error::new(ErrorKind::Invalid, "the sink has another format than the call");
            return Err(error.operation("set_sink"));
        }
        let before = std::mem::replace(&mut self.sink, sink);
        // A second change before the first one was heard fades out nothing.
        let is_audible = self.switch.is_running && !self.switch.fades_in;
        if is_audible && !std::mem::take(&mut self.failed) {
            let last = Some(vec![0.0; self.format.samples_in(TICK)]);
            self.switch.outgoing.push(Outgoing { sink: before, last, ticks: 0 });
        } else {
            self.switch.retired.push(before);
        }
        self.failed = false;
        self.switch.fades_in = self.switch.is_running;
        Ok(())
    }

    /// A sink that is no longer played to. Its output is not completed
    /// ([`AudioSink::finish`]), which may block, as dropping it may.
    pub fn take_retired(&mut self) -> Option<Box<dyn AudioSink>> {
        self.switch.retired.pop()
    }

    /// Cuts off what former sinks still play. Returns the sinks that are no longer played to.
    pub fn finish_switch(&mut self) -> Vec<Box<dyn AudioSink>> {
        let mut sinks = std::mem::take(&mut self.switch.retired);
        sinks.extend(self.switch.outgoing.drain(..).map(|outgoing| outgoing.sink));
        sinks
    }

    /// All its sinks: the one that is played to, and former ones.
    pub fn into_sinks(self) -> Vec<Box<dyn AudioSink>> {
        let SinkSwitch { outgoing, mut retired, .. } = self.switch;
        retired.extend(outgoing.into_iter().map(|outgoing| outgoing.sink));
        retired.push(self.sink);
        retired
    }
}
