//! Virtual time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use blink_api::Clock;

/// Virtual time.
pub(super) struct VirtualClock {
    start: Instant,
    pub(super) nanos: AtomicU64,
}

impl VirtualClock {
    /// A clock that stands at one second.
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), nanos: AtomicU64::new(1_000_000_000) }
    }

    pub(super) fn set(&self, nanos: u64) {
        self.nanos.store(nanos, Ordering::SeqCst);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Instant {
        self.start + Duration::from_nanos(self.nanos.load(Ordering::SeqCst))
    }

    fn unix_ms(&self) -> u64 {
        0
    }
}
