//! Retransmission timers with exponential backoff.

use rand::RngExt;
use web_time::{Duration, Instant};

use crate::secure::Random;

/// Minimum time between retransmissions that new subscribers of a topic trigger, where many
/// subscribe in a row.
pub(super) const SUBSCRIBER_PAUSE: Duration = Duration::from_secs(1);

/// A retransmission timer: due at once, then after intervals that double up to a maximum, each
/// ± 10 %.
#[derive(Debug, Clone)]
pub(super) struct Repeat {
    due: Option<Instant>,
    pause: Duration,
    longest: Duration,
    fired: Option<Instant>,
}

impl Repeat {
    /// Timer that is due now.
    pub(super) fn starting(now: Instant, first: Duration, longest: Duration) -> Self {
        Self { due: Some(now), pause: first, longest, fired: None }
    }

    /// Timer that is not due until [`expedite`](Self::expedite).
    pub(super) fn idle(first: Duration, longest: Duration) -> Self {
        Self { due: None, pause: first, longest, fired: None }
    }

    /// Time of the next transmission.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether a transmission is due; if so, schedules the next.
    pub(super) fn fire(&mut self, now: Instant, random: &mut Random) -> bool {
        if self.due.is_none_or(|due| now < due) {
            return false;
        }
        self.due = Some(now + jittered(self.pause, random));
        self.pause = (self.pause * 2).min(self.longest);
        self.fired = Some(now);
        true
    }

    /// Makes it due now.
    pub(super) fn expedite(&mut self, now: Instant) {
        self.due = Some(now);
    }

    /// Makes it due for a new subscriber of the topic: now, or a pause after the last transmission.
    pub(super) fn expedite_for_subscriber(&mut self, now: Instant, at_once: bool) {
        let again = self.fired.map_or(now, |fired| now.max(fired + SUBSCRIBER_PAUSE));
        self.no_later_than(if at_once { now } else { again });
    }

    /// Makes it due at this time or earlier.
    pub(super) fn no_later_than(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// Uses the longest interval from the next transmission on.
    pub(super) fn back_off(&mut self) {
        self.pause = self.longest;
    }

    /// Stops it.
    pub(super) fn stop(&mut self) {
        self.due = None;
    }
}

/// Varies an interval by ± 10 %, so that devices do not synchronise.
pub(super) fn jittered(pause: Duration, random: &mut Random) -> Duration {
    pause.mul_f64(random.random_range(0.9..=1.1))
}
