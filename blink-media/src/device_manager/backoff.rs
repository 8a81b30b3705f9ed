//! When a failed opening is tried again.

use web_time::{Duration, Instant};

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(10);
/// A device that worked for this long was well: its next failure is a first one.
const STABLE: Duration = Duration::from_secs(10);
/// Between two openings of one device lies at least this, whatever the host announces.
const APART: Duration = Duration::from_millis(250);
/// After more failures than this, announcements of the host are no reason to hurry.
const FLAPPING: u32 = 2;

/// Waiting time before the next opening.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Backoff {
    failures: u32,
    /// When the next opening is due; `None`: at once.
    due: Option<Instant>,
    /// When the last opening began.
    tried: Option<Instant>,
}

impl Backoff {
    /// Takes note that an opening begins.
    pub(super) fn begin(&mut self, now: Instant) {
        (self.tried, self.due) = (Some(now), None);
    }

    /// Takes note that an opening failed, or that the device was lost soon after it.
    pub(super) fn fail(&mut self, now: Instant) {
        self.due = Some(now + (FIRST * 2u32.saturating_pow(self.failures.min(8))).min(LONGEST));
        self.failures = self.failures.saturating_add(1);
    }

    /// Takes note that a device is lost that was in use since then. Returns whether it is a first
    /// failure.
    pub(super) fn lose(&mut self, now: Instant, since: Instant) -> bool {
        if now.saturating_duration_since(since) >= STABLE {
            self.failures = 0;
        }
        self.fail(now);
        self.failures == 1
    }

    /// Brings the next opening forward: there is reason to believe that it succeeds.
    pub(super) fn hurry(&mut self, now: Instant) {
        if self.failures <= FLAPPING {
            self.due = self.due.map(|due| due.min(now));
        }
    }

    /// Forgets the failures: the user asks.
    pub(super) fn reset(&mut self) {
        (self.failures, self.due) = (0, None);
    }

    /// When the next opening is due; `None`: at once.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due.max(self.tried.map(|tried| tried + APART))
    }

    /// Whether the next opening is due.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.deadline().is_none_or(|deadline| now >= deadline)
    }

    /// Whether the device failed and was not well for long since.
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }
}
