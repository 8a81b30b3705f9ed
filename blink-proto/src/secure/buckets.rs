//! Token buckets. Time is an argument.

use std::collections::BTreeMap;

use web_time::{Duration, Instant};

use super::counters::Refusal;

/// Buckets kept in one map. Beyond, full ones are dropped first.
const MAX_BUCKETS: usize = 4_096;
/// Interval at which full buckets are dropped, so that a flood leaves nothing behind.
const TIDY: Duration = Duration::from_secs(60);

/// A token bucket: a rate per second, and a burst as its size.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    per_second: f64,
    burst: f64,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// Full bucket.
    pub(crate) fn new(per_second: f64, burst: f64, now: Instant) -> Self {
        Self { per_second, burst, tokens: burst, at: now }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// [`Refusal::RateLimited`] without one.
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
    /// Map in which every key starts with a full bucket.
    pub(crate) fn new(per_second: f64, burst: f64, now: Instant) -> Self {
        Self { per_second, burst, buckets: BTreeMap::new(), tidied: now }
    }

    /// Takes a token from a key's bucket.
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

    /// Drops full buckets, which are the same as new ones. If all are in use, all start anew.
    fn forget_full(&mut self, now: Instant) {
        self.buckets.retain(|_, bucket| !bucket.is_full(now));
        if self.buckets.len() >= MAX_BUCKETS {
            self.buckets.clear();
        }
    }
}
