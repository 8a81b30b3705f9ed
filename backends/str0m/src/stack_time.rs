//! Time base of the stack.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Safety margin above 1970 for the stack's first time.
const MARGIN: Duration = Duration::from_secs(24 * 60 * 60);

/// Offset of the stack's time from the session's.
///
/// The stack and its DTLS read the system clock when the first session of the process starts, and
/// panic at times before 1970. A wrong clock must not prevent calls, so the stack then gets a later
/// time. It uses differences only.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct StackTime {
    offset: Duration,
}

impl StackTime {
    /// Offset for this system time.
    pub(crate) fn at(system: SystemTime) -> Self {
        let missing = system.duration_since(UNIX_EPOCH).err().map(|error| error.duration());
        Self { offset: missing.map_or(Duration::ZERO, |missing| missing + MARGIN) }
    }

    /// Converts a time of the session to the stack's.
    pub(crate) fn of(self, session: Instant) -> Instant {
        session + self.offset
    }

    /// Converts a time of the stack to the session's.
    pub(crate) fn back(self, stack: Instant) -> Instant {
        stack.checked_sub(self.offset).unwrap_or(stack)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clock_before_1970_needs_an_offset() {
        let (now, hour) = (Instant::now(), Duration::from_secs(3600));
        for system in [UNIX_EPOCH, UNIX_EPOCH + hour, SystemTime::now()] {
            assert_eq!(StackTime::at(system).of(now), now);
        }
        let early = StackTime::at(UNIX_EPOCH - hour);
        assert_eq!(early.of(now), now + hour + MARGIN);
        assert_eq!(early.back(early.of(now)), now);
    }
}
