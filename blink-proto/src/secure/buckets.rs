//! Token buckets on virtual time.

use std::collections::BTreeMap;
use web_time::{Duration, Instant};

use super::Refusal;

/// Buckets remembered of each sort; beyond, full ones are forgotten first.
const MAX_BUCKETS: usize = 4_096;
/// How often full ones are forgotten, so that what a flood leaves behind does not stay.
const TIDY: Duration = Duration::from_secs(60);

/// One token bucket: so many tokens a second, and at most a burst of them.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    per_second: f64,
    burst: f64,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// A full bucket.
    pub(crate) fn new(per_second: f64, burst: f64, now: Instant) -> Self {
        Self { per_second, burst, tokens: burst, at: now }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// [`Refusal::RateLimited`] where there is none.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Refusal> {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.per_second).min(self.burst);
        self.at = now;
        if self.tokens < 1.0 {
            return Err(Refusal::RateLimited);
        }
        self.tokens -= 1.0;
        Ok(())
    }

    fn is_full(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at).as_secs_f64() >= self.burst / self.per_second
    }
}

/// A bucket for each key.
#[derive(Debug, Clone)]
pub(crate) struct Buckets<K> {
    per_second: f64,
    burst: f64,
    buckets: BTreeMap<K, Bucket>,
    tidied: Instant,
}

impl<K: Ord + Copy> Buckets<K> {
    /// Full buckets for everybody.
    pub(crate) fn new(per_second: f64, burst: f64, now: Instant) -> Self {
        Self { per_second, burst, buckets: BTreeMap::new(), tidied: now }
    }

    /// Takes a token out of a key's bucket.
    ///
    /// # Errors
    /// As [`Bucket::take`].
    pub(crate) fn take(&mut self, now: Instant, key: K) -> Result<(), Refusal> {
        let no_room = self.buckets.len() >= MAX_BUCKETS && !self.buckets.contains_key(&key);
        if no_room || now >= self.tidied + TIDY {
            self.tidied = now;
            self.forget_full(now);
        }
        let full = || Bucket::new(self.per_second, self.burst, now);
        self.buckets.entry(key).or_insert_with(full).take(now)
    }

    /// A bucket that has filled up again says nothing; where all are in use, all begin again.
    fn forget_full(&mut self, now: Instant) {
        self.buckets.retain(|_, bucket| !bucket.is_full(now));
        if self.buckets.len() >= MAX_BUCKETS {
            self.buckets.clear();
        }
    }
}
