//! Checks of the system clock.
//!
//! Gossipsub derives sequence numbers from the nanoseconds since the Unix epoch and panics where
//! they do not fit a `u64`. libp2p's QUIC certificates are valid from 1975 to 4096, and each side
//! checks them against its own clock. Noise, and so TCP and WebSocket, does not depend on the time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use blink_api::{Error, ErrorKind, Result};

/// Start of validity of libp2p's QUIC certificates: 1975-01-01, five years and a leap day after
/// 1970.
const CERTIFICATES_BEGIN: Duration = Duration::from_secs((5 * 365 + 1) * 24 * 3600);

/// Rejects a clock with which gossipsub cannot run and warns about one that breaks QUIC.
///
/// # Errors
/// [`Invalid`](ErrorKind::Invalid) before 1970 or after 2554.
pub fn check(backend: &'static str, now: SystemTime) -> Result<()> {
    let since_1970 = now.duration_since(UNIX_EPOCH).ok();
    if since_1970.is_none_or(|time| u64::try_from(time.as_nanos()).is_err()) {
        let message = "the system clock is set before 1970 or after 2554: set it, then start again";
        return Err(Error::new(ErrorKind::Invalid, message).backend(backend).operation("create"));
    }
    if !allows_quic(now) {
        tracing::warn!(backend, "the system clock is set before 1975: QUIC fails, TCP and WebSocket work");
    }
    Ok(())
}

/// Returns whether libp2p's QUIC certificates are valid at this time.
pub fn allows_quic(now: SystemTime) -> bool {
    now.duration_since(UNIX_EPOCH).is_ok_and(|time| time >= CERTIFICATES_BEGIN)
}

/// Adds the clock as the cause to a QUIC dial error, if the clock rules QUIC out.
pub fn explain_dial_error(error: Error, is_quic: bool, now: SystemTime) -> Error {
    if is_quic && !allows_quic(now) {
        return error.with("cause", "the system clock is set before 1975, which breaks QUIC");
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test]
    fn a_clock_outside_gossipsubs_range_is_refused_with_a_clear_error() {
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
    fn quic_is_allowed_from_1975_on() {
        assert!(!allows_quic(UNIX_EPOCH - DAY));
        assert!(!allows_quic(UNIX_EPOCH + CERTIFICATES_BEGIN - DAY));
        assert!(allows_quic(UNIX_EPOCH + CERTIFICATES_BEGIN));
    }
}
