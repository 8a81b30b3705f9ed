//! Rate limits, before anything expensive is done: token buckets on virtual time.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

use blink_api::{Did, Origin};

use super::Refusal;

/// Buckets remembered of each sort; beyond, full ones are forgotten first.
const MAX_BUCKETS: usize = 4_096;

/// The limits of `docs/protocol.md`: an origin 50/s burst 200, a DID 20/s burst 80, an inbox 300/s in all, half of it kept for
/// origins of which a message was accepted before.
pub struct RateLimits {
    origins: Buckets<Origin>,
    people: Buckets<Did>,
    inbox: Bucket,
    inbox_strangers: Bucket,
    accepted: HashMap<Origin, Instant>,
}

impl RateLimits {
    /// Full buckets.
    pub fn new(now: Instant) -> Self {
        Self {
            origins: Buckets::new(50.0, 200.0),
            people: Buckets::new(20.0, 80.0),
            inbox: Bucket { tokens: 300.0, at: now },
            inbox_strangers: Bucket { tokens: 150.0, at: now },
            accepted: HashMap::new(),
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
        if !origin.is_some_and(|origin| self.accepted.contains_key(&origin)) {
            self.inbox_strangers.take(now, 150.0, 150.0)?;
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

    /// A message of this origin was accepted: it has a share of the inbox from now on.
    pub fn accepted(&mut self, now: Instant, origin: Option<Origin>) {
        let Some(origin) = origin else { return };
        if self.accepted.len() >= MAX_BUCKETS && !self.accepted.contains_key(&origin) {
            let oldest = self.accepted.iter().min_by_key(|(_, at)| **at).map(|(origin, _)| *origin);
            oldest.map(|oldest| self.accepted.remove(&oldest));
        }
        self.accepted.insert(origin, now);
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
    buckets: HashMap<K, Bucket>,
}

impl<K: Eq + Hash + Copy> Buckets<K> {
    fn new(per_second: f64, burst: f64) -> Self {
        Self { per_second, burst, buckets: HashMap::new() }
    }

    fn take(&mut self, now: Instant, key: K) -> Result<(), Refusal> {
        if self.buckets.len() >= MAX_BUCKETS && !self.buckets.contains_key(&key) {
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
    use std::time::Duration;

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
    fn half_of_an_inbox_is_kept_for_origins_accepted_before() {
        let start = Instant::now();
        let mut limits = RateLimits::new(start);
        limits.accepted(start, Some(Origin([255; 16])));
        let flood = (0..50).flat_map(|n| (0..20).map(move |_| Origin([n; 16])));
        assert_eq!(flood.filter(|origin| limits.admit(start, Some(*origin), true).is_ok()).count(), 150);
        assert!(limits.admit(start, Some(Origin([255; 16])), true).is_ok());
    }
}
