//! Change of the source while it is captured: without a gap, a click or a step in the timestamps.
//!
//! The old source is read until the new one has samples, and the last sample of the old one passes
//! over into the first ones of the new one. Sources are never dropped here, as that may block: the
//! owner takes them with [`Capture::take_retired`].

use web_time::Instant;

use blink_api::{AudioSource, Result};

use super::block_reader::BlockReader;
use super::{Capture, Processors, check_format};

/// The source that comes next, and those that were read before.
#[derive(Default)]
pub(super) struct SourceSwitch {
    next: Option<BlockReader>,
    retired: Vec<Box<dyn AudioSource>>,
    /// The source was read.
    pub(super) is_running: bool,
}

impl SourceSwitch {
    /// Whether the source that is read is about to be replaced: its failures concern no one.
    pub(super) fn is_pending(&self) -> bool {
        self.next.is_some()
    }
}

impl Capture {
    /// Reads from another source: at once where none was read yet, otherwise from the tick on in
    /// which it has 10 ms of samples, fails, or has had none for 100 ms.
    ///
    /// # Errors
    /// [`Invalid`](blink_api::ErrorKind::Invalid) for a source of another format, which is retired;
    /// the old one goes on.
    pub fn set_source(&mut self, source: Box<dyn AudioSource>) -> Result<()> {
        if let Err(error) = check_format(self.config.format, source.as_ref()) {
            self.switch.retired.push(source);
            return Err(error);
        }
        let next = BlockReader::new(source, self.input.samples());
        let replaced = if self.switch.is_running {
            self.switch.next.replace(next)
        } else {
            Some(std::mem::replace(&mut self.input, next))
        };
        self.switch.retired.extend(replaced.map(BlockReader::into_source));
        Ok(())
    }

    /// A source that is no longer read. Dropping it may block where its device hangs.
    pub fn take_retired(&mut self) -> Option<Box<dyn AudioSource>> {
        self.switch.retired.pop()
    }

    /// Reads the next source from now on, where one is waiting, without passing over. Returns the
    /// sources that are no longer read.
    pub fn finish_switch(&mut self) -> Vec<Box<dyn AudioSource>> {
        if let Some(mut next) = self.switch.next.take() {
            next.fade_in();
            self.switch.retired.push(std::mem::replace(&mut self.input, next).into_source());
            self.voice.reset();
            self.declick.begin();
        }
        std::mem::take(&mut self.switch.retired)
    }

    /// All its sources: the one that is read, or is to be read next, and those that are no longer
    /// read. What was captured and not yet sent is dropped.
    pub fn into_sources(self) -> (Box<dyn AudioSource>, Vec<Box<dyn AudioSource>>) {
        let SourceSwitch { next, mut retired, .. } = self.switch;
        let input = self.input.into_source();
        match next {
            None => (input, retired),
            Some(next) => {
                retired.push(input);
                (next.into_source(), retired)
            }
        }
    }

    /// Reads the next source, and changes to it once it has a block. Returns the outcome of that
    /// reading; `None` while the old one is to be read.
    pub(super) fn switch_source(&mut self, now: Instant, processors: &mut Processors) -> Option<Result<bool>> {
        self.switch.is_running = true;
        let next = self.switch.next.as_mut()?;
        let outcome = next.read(now);
        if !next.is_whole() {
            return None;
        }
        let mut next = self.switch.next.take()?;
        next.fade_in();
        self.switch.retired.push(std::mem::replace(&mut self.input, next).into_source());
        // What processors and the detector learned about the old one is wrong now.
        processors.reset();
        self.voice.reset();
        self.declick.begin();
        Some(outcome)
    }
}
