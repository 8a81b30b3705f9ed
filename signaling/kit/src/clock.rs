//! What signaling cannot do while the system's clock is wrong.
//!
//! Gossipsub numbers messages from the nanoseconds since 1970 and panics where that is no `u64`.
//! The certificates of libp2p's QUIC are valid from 1975 to 4096, and each side checks them by its
//! own clock. Noise, and with it TCP and WebSocket, knows no time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use blink_api::{Error, ErrorKind, Result};

/// 1975-01-01, five years and a leap day after 1970.
const CERTIFICATES_BEGIN: Duration = Duration::from_secs((5 * 365 + 1) * 24 * 3600);

/// Refuses a clock by which no node can start; warns of one that costs QUIC.
///
/// # Errors
/// [`Invalid`](ErrorKind::Invalid) before 1970 and after 2554.
pub fn check(backend: &'static str, now: SystemTime) -> Result<()> {
    let since_1970 = now.duration_since(UNIX_EPOCH).ok();
    if since_1970.is_none_or(|time| u64::try_from(time.as_nanos()).is_err()) {
        let message = "the system's clock is set before 1970 or after 2554: set it, then start again";
        return Err(Error::new(ErrorKind::Invalid, message).backend(backend).operation("create"));
    }
    if !allows_quic(now) {
        tracing::warn!(backend, "the system's clock is set before 1975: QUIC fails, TCP and WebSocket work");
    }
    Ok(())
}

/// Whether certificates of QUIC are valid by this clock.
pub fn allows_quic(now: SystemTime) -> bool {
    now.duration_since(UNIX_EPOCH).is_ok_and(|time| time >= CERTIFICATES_BEGIN)
}

/// Adds to the error of a dial over QUIC that the clock is the cause, where it is.
pub fn explain(error: Error, is_quic: bool, now: SystemTime) -> Error {
    if is_quic && !allows_quic(now) {
        return error.with("cause", "the system's clock is set before 1975, so that QUIC fails");
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test]
    fn a_clock_that_gossipsub_cannot_count_from_is_refused_by_name() {
        let too_late = UNIX_EPOCH + Duration::from_nanos(u64::MAX) + DAY;
        for wrong in [UNIX_EPOCH - DAY, UNIX_EPOCH - Duration::from_nanos(1), too_late] {
            let error = check("test", wrong).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains("clock"), "{error}");
        }
        for usable in [UNIX_EPOCH, UNIX_EPOCH + DAY, SystemTime::now(), too_late - DAY] {
            check("test", usable).unwrap();
        }
    }

    #[test]
    fn quic_works_from_1975_on() {
        assert!(!allows_quic(UNIX_EPOCH - DAY));
        assert!(!allows_quic(UNIX_EPOCH + CERTIFICATES_BEGIN - DAY));
        assert!(allows_quic(UNIX_EPOCH + CERTIFICATES_BEGIN));
    }
}
