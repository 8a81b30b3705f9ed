//! Clock of a lab: tokio's, which a test may pause, or the system's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use blink_api::{Clock, SystemClock};

/// Unix time at which virtual time begins: a day in 2023.
const START_UNIX_MS: u64 = 1_700_000_000_000;

/// Time since a lab was created.
#[derive(Clone, Copy)]
pub(crate) struct LabClock {
    start: tokio::time::Instant,
}

impl LabClock {
    pub(crate) fn start() -> Self {
        Self { start: tokio::time::Instant::now() }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Converts a time of the lab to an `Instant`.
    pub(crate) fn instant(&self, elapsed: Duration) -> Instant {
        self.start.into_std() + elapsed
    }

    /// Creates the clock for engines.
    pub(crate) fn of_engines(&self, is_virtual: bool) -> Arc<dyn Clock> {
        if is_virtual { Arc::new(VirtualClock(*self)) } else { Arc::new(SystemClock) }
    }
}

struct VirtualClock(LabClock);

impl Clock for VirtualClock {
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn unix_ms(&self) -> u64 {
        START_UNIX_MS + self.0.elapsed().as_millis() as u64
    }
}
