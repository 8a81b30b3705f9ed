//! The time that str0m is given.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Time between the moment that is looked at and the first one given to the stack, at most.
const MARGIN: Duration = Duration::from_secs(24 * 60 * 60);

/// Offset of the stack's time from the session's.
///
/// The stack, and its DTLS, count from the system's clock as it is when the first session of the
/// process begins, and panic at times before 1970. A clock that is wrong must cost no call, so then
/// the stack is told a later time. It needs differences only.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct StackTime {
    offset: Duration,
}

impl StackTime {
    /// Settings of the stack for this system time.
    pub(crate) fn at(system: SystemTime) -> Self {
        let missing = system.duration_since(UNIX_EPOCH).err().map(|error| error.duration());
        Self { offset: missing.map_or(Duration::ZERO, |missing| missing + MARGIN) }
    }

    /// The stack's time at a time of the session.
    pub(crate) fn of(self, session: Instant) -> Instant {
        session + self.offset
    }

    /// The session's time at a time of the stack.
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
