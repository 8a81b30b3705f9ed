//! The processors of a call: echo cancellation, noise suppression, gain control, in order.

use std::fmt;
use web_time::{Duration, Instant};

use blink_api::{AudioProcessor, Result};

use super::latency::believed;

/// A chain of processors between the microphone and the encoders. It sees what the speaker plays
/// ([`render`](Self::render)) and changes what the microphone captures
/// ([`capture`](Self::capture)).
///
/// A processor that fails is removed; the others go on.
#[derive(Default)]
pub struct Processors {
    chain: Vec<Box<dyn AudioProcessor>>,
}

impl fmt::Debug for Processors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Processors").finish_non_exhaustive()
    }
}

impl Processors {
    /// A chain in the order in which captured audio passes it.
    pub fn new(chain: Vec<Box<dyn AudioProcessor>>) -> Self {
        Self { chain }
    }

    /// Whether there is no processor.
    pub fn is_empty(&self) -> bool {
        self.chain.is_empty()
    }

    /// Shows 10 ms of what is played, whose first sample leaves the loudspeaker at `at`.
    ///
    /// # Errors
    /// The first failure of a processor; that processor is removed.
    pub fn render(&mut self, far_end: &[f32], at: Instant) -> Result<()> {
        self.each(|processor| processor.render(far_end, at))
    }

    /// Processes 10 ms of what was captured from `at` on, in place.
    ///
    /// # Errors
    /// As [`render`](Self::render).
    pub fn capture(&mut self, near_end: &mut [f32], at: Instant) -> Result<()> {
        self.each(|processor| processor.capture(near_end, at))
    }

    /// Makes all processors forget the acoustic path, such as after a device change.
    pub fn reset(&mut self) {
        self.chain.iter_mut().for_each(|processor| processor.reset());
    }

    /// Delay that the whole chain adds to captured audio; at most 2 s.
    pub fn delay(&self) -> Duration {
        let sum = self.chain.iter().fold(Duration::ZERO, |sum, processor| sum.saturating_add(processor.delay()));
        believed(sum)
    }

    fn each(&mut self, mut process: impl FnMut(&mut dyn AudioProcessor) -> Result<()>) -> Result<()> {
        let mut outcome = Ok(());
        self.chain.retain_mut(|processor| match process(processor.as_mut()) {
            Ok(()) => true,
            Err(error) => {
                if outcome.is_ok() {
                    outcome = Err(error);
                }
                false
            }
        });
        outcome
    }
}
