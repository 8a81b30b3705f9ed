//! Retransmission of the hello on the data channel.

use blink_api::CallTimers;
use web_time::{Duration, Instant};

/// Retransmission timer of the hello, until the remote side is known to have it.
///
/// The channel is reliable, but a WebRTC stack may drop data that arrives before it reports the
/// channel as open, and the driver may drop events when it is slow.
#[derive(Debug, Clone, Default)]
pub(super) struct HelloRepeat {
    pub(super) due: Option<Instant>,
    pause: Duration,
    has_begun: bool,
}

impl HelloRepeat {
    /// Whether the first one is to be sent now; if so, schedules the next.
    pub(super) fn begin(&mut self, now: Instant, timers: &CallTimers) -> bool {
        if std::mem::replace(&mut self.has_begun, true) {
            return false;
        }
        self.pause = timers.link_repeat_first;
        self.due = Some(now + self.pause);
        true
    }

    pub(super) fn stop(&mut self) {
        self.due = None;
    }

    /// Whether it is due; if so, schedules the next.
    pub(super) fn fire(&mut self, now: Instant, timers: &CallTimers) -> bool {
        let is_due = self.due.is_some_and(|due| due <= now);
        if is_due {
            self.pause = (self.pause * 2).min(timers.link_repeat_longest);
            self.due = Some(now + self.pause);
        }
        is_due
    }
}
