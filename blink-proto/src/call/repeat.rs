//! When something is said again.

use web_time::{Duration, Instant};

use rand::RngExt;

use crate::secure::Random;

/// Where many subscribe to a topic in a row, what was said there is said again after this at the
/// earliest.
pub(super) const SUBSCRIBER_PAUSE: Duration = Duration::from_secs(1);

/// A repetition that slows down: due at once, then after pauses that double up to a longest one,
/// each ± 10 %.
#[derive(Debug, Clone)]
pub(super) struct Repeat {
    due: Option<Instant>,
    pause: Duration,
    longest: Duration,
    fired: Option<Instant>,
}

impl Repeat {
    /// Due now.
    pub(super) fn starting(now: Instant, first: Duration, longest: Duration) -> Self {
        Self { due: Some(now), pause: first, longest, fired: None }
    }

    /// Not due before it is hurried.
    pub(super) fn idle(first: Duration, longest: Duration) -> Self {
        Self { due: None, pause: first, longest, fired: None }
    }

    /// When it is due next.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether it is due; if so, the next time is set.
    pub(super) fn fire(&mut self, now: Instant, random: &mut Random) -> bool {
        if self.due.is_none_or(|due| now < due) {
            return false;
        }
        self.due = Some(now + jittered(self.pause, random));
        self.pause = (self.pause * 2).min(self.longest);
        self.fired = Some(now);
        true
    }

    /// Due at once, whatever the pause.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.due = Some(now);
    }

    /// A new subscriber of the topic: due at once, or a pause after it was said last.
    pub(super) fn hurry_for_subscriber(&mut self, now: Instant, at_once: bool) {
        let again = self.fired.map_or(now, |fired| now.max(fired + SUBSCRIBER_PAUSE));
        self.at_latest(if at_once { now } else { again });
    }

    /// Due at this time or before.
    pub(super) fn at_latest(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// The longest pause from now on.
    pub(super) fn slow_down(&mut self) {
        self.pause = self.longest;
    }

    /// No more.
    pub(super) fn stop(&mut self) {
        self.due = None;
    }
}

/// A pause that differs by up to 10 % either way, so that devices do not fall into step.
pub(super) fn jittered(pause: Duration, random: &mut Random) -> Duration {
    pause.mul_f64(random.random_range(0.9..=1.1))
}
