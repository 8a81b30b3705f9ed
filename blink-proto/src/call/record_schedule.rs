//! Transmission times of the own record.

use web_time::{Duration, Instant};

/// Schedule of the own record: coalesced after changes, then periodic.
#[derive(Debug, Clone, Default)]
pub(super) struct RecordSchedule {
    due: Option<Instant>,
    last: Option<Instant>,
    /// Last transmission to all inboxes while this endpoint is alone in a group.
    alone: Option<Instant>,
}

impl RecordSchedule {
    /// Time of the next transmission.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether a transmission is due.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| now >= due)
    }

    /// Time of the last transmission.
    pub(super) fn last(&self) -> Option<Instant> {
        self.last
    }

    /// Makes it due at this time or earlier.
    pub(super) fn no_later_than(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |earlier| earlier.min(at)));
    }

    /// Records a transmission and schedules the next.
    pub(super) fn sent(&mut self, now: Instant, pause: Duration) {
        self.last = Some(now);
        self.due = Some(now + pause);
    }

    /// Whether a transmission to all inboxes is due; if so, records it.
    pub(super) fn fire_alone(&mut self, now: Instant, pause: Duration) -> bool {
        let is_due = self.alone.is_none_or(|last| now >= last + pause);
        if is_due {
            self.alone = Some(now);
        }
        is_due
    }
}
