//! Rate limits, before anything expensive is done: token buckets on virtual time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use blink_api::{Did, Origin};

use super::Refusal;

/// Buckets remembered of each sort; beyond, full ones are forgotten first.
const MAX_BUCKETS: usize = 4_096;
/// How often full ones are forgotten, so that what a flood leaves behind does not stay.
const TIDY: Duration = Duration::from_secs(60);

/// The limits of `docs/protocol.md`: an origin 50/s burst 200, a DID 20/s burst 80, an inbox 300/s in all. Half of an inbox is kept for origins of people who are
/// expected to write; of the others each has a small share, so that few of them cannot use up the rest.
pub struct RateLimits {
    origins: Buckets<Origin>,
    people: Buckets<Did>,
    inbox: Bucket,
    strangers: Bucket,
    stranger_origins: Buckets<Origin>,
    expected: BTreeMap<Origin, Instant>,
}

impl RateLimits {
    /// Full buckets.
    pub fn new(now: Instant) -> Self {
        Self {
            origins: Buckets::new(50.0, 200.0, now),
            people: Buckets::new(20.0, 80.0, now),
            inbox: Bucket { tokens: 300.0, at: now },
            strangers: Bucket { tokens: 150.0, at: now },
            stranger_origins: Buckets::new(2.0, 10.0, now),
            expected: BTreeMap::new(),
        }
    }

    /// Takes a token for a delivery before it is opened.
    ///
    /// # Errors
    /// [`Refusal::RateLimited`].
    pub fn admit(&mut self, now: Instant, origin: Option<Origin>, inbox: bool) -> Result<(), Refusal> {
        if let Some(origin) = origin {
            self.origins.take(now, origin)?;
        }
        if !inbox {
            return Ok(());
        }
        if !origin.is_some_and(|origin| self.expected.contains_key(&origin)) {
            if let Some(origin) = origin {
                self.stranger_origins.take(now, origin)?;
            }
            self.strangers.take(now, 150.0, 150.0)?;
        }
        self.inbox.take(now, 300.0, 300.0)
    }

    /// Takes a token for a sender whose signature holds.
    ///
    /// # Errors
    /// [`Refusal::RateLimited`].
    pub fn admit_sender(&mut self, now: Instant, sender: Did) -> Result<(), Refusal> {
        self.people.take(now, sender)
    }

    /// Somebody who is expected to write did so from this origin: it has a share of the inbox from now on.
    pub fn expect(&mut self, now: Instant, origin: Origin) {
        if self.expected.len() >= MAX_BUCKETS && !self.expected.contains_key(&origin) {
            let oldest = self.expected.iter().min_by_key(|(_, at)| **at).map(|(origin, _)| *origin);
            oldest.map(|oldest| self.expected.remove(&oldest));
        }
        self.expected.insert(origin, now);
    }
}

struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn take(&mut self, now: Instant, per_second: f64, burst: f64) -> Result<(), Refusal> {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + elapsed * per_second).min(burst);
        self.at = now;
        if self.tokens < 1.0 {
            return Err(Refusal::RateLimited);
        }
        self.tokens -= 1.0;
        Ok(())
    }
}

struct Buckets<K> {
    per_second: f64,
    burst: f64,
    buckets: BTreeMap<K, Bucket>,
    tidied: Instant,
}

impl<K: Ord + Copy> Buckets<K> {
    fn new(per_second: f64, burst: f64, now: Instant) -> Self {
        Self { per_second, burst, buckets: BTreeMap::new(), tidied: now }
    }

    fn take(&mut self, now: Instant, key: K) -> Result<(), Refusal> {
        let no_room = self.buckets.len() >= MAX_BUCKETS && !self.buckets.contains_key(&key);
        if no_room || now >= self.tidied + TIDY {
            self.tidied = now;
            self.forget_full(now);
        }
        let (per_second, burst) = (self.per_second, self.burst);
        self.buckets.entry(key).or_insert(Bucket { tokens: burst, at: now }).take(now, per_second, burst)
    }

    /// A bucket that has filled up again says nothing; where all are in use, all begin again.
    fn forget_full(&mut self, now: Instant) {
        let refill = self.burst / self.per_second;
        self.buckets.retain(|_, bucket| now.saturating_duration_since(bucket.at).as_secs_f64() < refill);
        if self.buckets.len() >= MAX_BUCKETS {
            self.buckets.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_gets_its_burst_and_then_its_rate() {
        let start = Instant::now();
        let mut limits = RateLimits::new(start);
        let mut admitted = |at| (0..1_000).filter(|_| limits.admit(at, Some(Origin([1; 16])), false).is_ok()).count();
        assert_eq!(admitted(start), 200);
        assert_eq!(admitted(start + Duration::from_secs(2)), 100);
    }

    #[test]
    fn half_of_an_inbox_is_kept_for_origins_of_people_who_are_expected() {
        let start = Instant::now();
        let mut limits = RateLimits::new(start);
        limits.expect(start, Origin([255; 16]));
        let flood = (0..50).flat_map(|n| (0..20).map(move |_| Origin([n; 16])));
        assert_eq!(flood.filter(|origin| limits.admit(start, Some(*origin), true).is_ok()).count(), 150);
        assert!(limits.admit(start, Some(Origin([255; 16])), true).is_ok());
    }

    #[test]
    fn fifty_strangers_leave_room_for_one_more() {
        let start = Instant::now();
        let mut limits = RateLimits::new(start);
        let mut passed = 0;
        for tenth in 0..100 {
            let now = start + Duration::from_millis(100 * tenth);
            for n in (0..50).flat_map(|n| [n, n]) {
                // What is refused is what this is about.
                limits.admit(now, Some(Origin([n; 16])), true).ok();
            }
            // Once the bursts are over.
            if tenth >= 50 && tenth % 10 == 0 {
                passed += usize::from(limits.admit(now, Some(Origin([200; 16])), true).is_ok());
            }
        }
        assert_eq!(passed, 5);
    }
}
