//! The time after leaving a call: the record with status `left` is sent a few times, and the topic
//! is still read for a while.

use web_time::{Duration, Instant};

/// Times after leaving at which the record is sent.
const FAREWELLS: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(200),
    Duration::from_millis(600),
    Duration::from_millis(1_400),
    Duration::from_secs(3),
];
/// Farewells that should be sent before the process exits.
const FIRST_FAREWELLS: usize = 2;

/// Progress of a farewell.
#[derive(Debug, Clone, Copy)]
pub(super) struct Farewell {
    since: Instant,
    sent: usize,
}

impl Farewell {
    /// Farewell of an endpoint that leaves now.
    pub(super) fn starting(now: Instant) -> Self {
        Self { since: now, sent: 0 }
    }

    /// Whether a transmission is due; if so, counts it.
    pub(super) fn fire(&mut self, now: Instant) -> bool {
        let due = FAREWELLS.get(self.sent).is_some_and(|after| now >= self.since + *after);
        if due {
            self.sent += 1;
        }
        due
    }

    /// Whether the topic need not be read any longer.
    pub(super) fn is_over(&self, now: Instant, linger: Duration) -> bool {
        now >= self.since + linger
    }

    /// Whether one of the first transmissions is still to come.
    pub(super) fn is_pending(&self) -> bool {
        self.sent < FIRST_FAREWELLS
    }

    pub(super) fn deadline(&self, linger: Duration) -> Instant {
        let next = FAREWELLS.get(self.sent).copied().unwrap_or(linger);
        self.since + next.min(linger)
    }
}
