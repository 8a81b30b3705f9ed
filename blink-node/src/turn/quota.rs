//! Quotas per user and in total: allocations and bandwidth.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::TurnLimits;

/// Time over which bandwidth is averaged.
const BURST: Duration = Duration::from_millis(500);
/// Smallest burst in bytes: a few datagrams.
const SMALLEST_BURST: u64 = 16 * 1024;

/// Quota that is exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exceeded {
    User,
    Total,
}

/// Usage of a server.
#[derive(Debug)]
pub(super) struct Quotas {
    limits: TurnLimits,
    allocations: usize,
    users: HashMap<String, Usage>,
    bandwidth: TokenBucket,
}

#[derive(Debug)]
struct Usage {
    allocations: usize,
    bandwidth: TokenBucket,
}

impl Quotas {
    pub(super) fn new(limits: TurnLimits, now: Instant) -> Self {
        let bandwidth = TokenBucket::new(limits.bandwidth, now);
        Self { limits, allocations: 0, users: HashMap::new(), bandwidth }
    }

    /// Counts an allocation of a user.
    pub(super) fn allocate(&mut self, user: &str, now: Instant) -> Result<(), Exceeded> {
        if self.allocations >= self.limits.allocations {
            return Err(Exceeded::Total);
        }
        let used = self.users.get(user).map_or(0, |usage| usage.allocations);
        if used >= self.limits.allocations_per_user {
            return Err(Exceeded::User);
        }
        let rate = self.limits.bandwidth_per_user;
        let new = || Usage { allocations: 0, bandwidth: TokenBucket::new(rate, now) };
        self.users.entry(user.to_owned()).or_insert_with(new).allocations += 1;
        self.allocations += 1;
        Ok(())
    }

    /// Releases an allocation of a user.
    pub(super) fn release(&mut self, user: &str) {
        let Some(usage) = self.users.get_mut(user) else { return };
        usage.allocations -= 1;
        self.allocations -= 1;
        if usage.allocations == 0 {
            self.users.remove(user);
        }
    }

    /// Counts relayed bytes of a user.
    pub(super) fn relay(&mut self, user: &str, bytes: usize, now: Instant) -> Result<(), Exceeded> {
        let usage = self.users.get_mut(user).ok_or(Exceeded::User)?;
        let bytes = bytes as u64;
        if !usage.bandwidth.take(bytes, now) {
            return Err(Exceeded::User);
        }
        if self.bandwidth.take(bytes, now) { Ok(()) } else { Err(Exceeded::Total) }
    }

    /// Number of allocations.
    pub(super) fn allocations(&self) -> usize {
        self.allocations
    }
}

/// Token bucket in bytes.
#[derive(Debug)]
struct TokenBucket {
    /// Bytes per second.
    rate: u64,
    capacity: u64,
    tokens: u64,
    refilled: Instant,
}

impl TokenBucket {
    fn new(rate: u64, now: Instant) -> Self {
        let capacity = (rate / 1000 * BURST.as_millis() as u64).max(SMALLEST_BURST);
        Self { rate, capacity, tokens: capacity, refilled: now }
    }

    fn take(&mut self, bytes: u64, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.refilled);
        let earned = elapsed.as_micros() * u128::from(self.rate) / 1_000_000;
        // A fraction of a byte stays to be earned.
        if earned > 0 {
            let earned = u64::try_from(earned).unwrap_or(u64::MAX);
            self.tokens = self.tokens.saturating_add(earned).min(self.capacity);
            self.refilled = now;
        }
        let Some(left) = self.tokens.checked_sub(bytes) else { return false };
        self.tokens = left;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: TurnLimits =
        TurnLimits { allocations: 3, allocations_per_user: 2, bandwidth: 150_000, bandwidth_per_user: 100_000 };

    #[test]
    fn allocations_are_limited_per_user_and_in_total() {
        let now = Instant::now();
        let mut quotas = Quotas::new(LIMITS, now);
        quotas.allocate("a", now).unwrap();
        quotas.allocate("a", now).unwrap();
        assert_eq!(quotas.allocate("a", now), Err(Exceeded::User));
        quotas.allocate("b", now).unwrap();
        assert_eq!(quotas.allocate("c", now), Err(Exceeded::Total));
        quotas.release("a");
        quotas.allocate("c", now).unwrap();
        for user in ["a", "b", "c"] {
            quotas.release(user);
        }
        assert_eq!(quotas.allocations(), 0);
        assert!(quotas.users.is_empty());
    }

    #[test]
    fn bandwidth_is_limited_per_user_and_in_total() {
        let begin = Instant::now();
        let mut quotas = Quotas::new(LIMITS, begin);
        quotas.allocate("a", begin).unwrap();
        quotas.allocate("b", begin).unwrap();
        let mut relayed = HashMap::new();
        // 10 s in steps of a millisecond, each user offers 1 MB/s.
        for step in 0..10_000 {
            let now = begin + Duration::from_millis(step);
            for user in ["a", "b"] {
                if quotas.relay(user, 1000, now).is_ok() {
                    *relayed.entry(user).or_insert(0) += 1000;
                }
            }
        }
        let total: u64 = relayed.values().sum();
        assert!((1_450_000..=1_600_000).contains(&total), "{relayed:?}");
        assert!(relayed.values().all(|bytes| *bytes <= 1_060_000), "{relayed:?}");
    }
}
