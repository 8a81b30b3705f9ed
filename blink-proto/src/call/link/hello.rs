//! When hello is said again.

use web_time::{Duration, Instant};

use blink_api::CallTimers;

/// Repetition of the hello until the other side is known to have it.
///
/// The channel is reliable, but what it delivers may be dropped before the engine reads it: by a
/// stack that does not take the channel for open yet, and where events wait for a slow reader.
#[derive(Debug, Clone, Default)]
pub(super) struct HelloRepeat {
    pub(super) due: Option<Instant>,
    pause: Duration,
}

impl HelloRepeat {
    pub(super) fn begin(&mut self, now: Instant, timers: &CallTimers) {
        self.pause = timers.link_repeat_first;
        self.due = Some(now + self.pause);
    }

    pub(super) fn stop(&mut self) {
        self.due = None;
    }

    /// Whether it is due; if so, the next time is set.
    pub(super) fn fire(&mut self, now: Instant, timers: &CallTimers) -> bool {
        let is_due = self.due.is_some_and(|due| due <= now);
        if is_due {
            self.pause = (self.pause * 2).min(timers.link_repeat_longest);
            self.due = Some(now + self.pause);
        }
        is_due
    }
}
