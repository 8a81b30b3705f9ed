//! Failures of a session: the reason that both users are told, and the time in which a connection
//! may still withdraw it.

use std::time::Duration;

use blink_api::{Error, ErrorKind, FailureReason};
use tokio::time::{Instant, sleep_until};

/// Time in which a session may connect all the same: packets before the end of the handshake are
/// unauthenticated, and may suggest a failure.
const GRACE: Duration = Duration::from_secs(1);
/// The same for a handshake that the other side gave up. It knows the reason and tells it over
/// signaling.
const GRACE_OF_OTHERS: Duration = Duration::from_secs(3);

/// Failure of a session.
#[derive(Debug)]
pub(super) struct SessionFailure {
    pub(super) reason: FailureReason,
    pub(super) error: Error,
}

impl SessionFailure {
    /// The transport could open no session.
    pub(super) fn at_opening(error: Error) -> Self {
        Self { reason: FailureReason::NoSession, error }
    }
}

/// The error of a step of the negotiation, or of the session.
impl From<Error> for SessionFailure {
    fn from(error: Error) -> Self {
        let reason = match error.kind() {
            ErrorKind::Incompatible => FailureReason::NoCommonCodec,
            ErrorKind::Invalid | ErrorKind::TooLarge => FailureReason::Description,
            ErrorKind::Closed => FailureReason::SessionEnded,
            _ => FailureReason::NoSession,
        };
        Self { reason, error }
    }
}

/// A failure that the session found while it connects.
#[derive(Debug, Default)]
pub(super) struct SuspectedFailure {
    found: Option<(FailureReason, Instant)>,
    has_connected: bool,
}

impl SuspectedFailure {
    /// Records a reason. A specific one replaces a handshake that the other side gave up.
    pub(super) fn report(&mut self, reason: FailureReason) {
        let is_weaker = self.found.is_some_and(|(known, _)| known != FailureReason::DtlsHandshake);
        if self.has_connected || is_weaker {
            return;
        }
        let grace = if reason == FailureReason::DtlsHandshake { GRACE_OF_OTHERS } else { GRACE };
        let due = Instant::now() + grace;
        self.found = Some((reason, self.found.map_or(due, |(_, known)| known.min(due))));
    }

    /// Records that the session is connected.
    pub(super) fn withdraw(&mut self) {
        (self.found, self.has_connected) = (None, true);
    }

    /// The failure, once no connection can withdraw it; pending without one.
    pub(super) async fn settled(&self) -> SessionFailure {
        let Some((reason, due)) = self.found else { return std::future::pending().await };
        sleep_until(due).await;
        SessionFailure {
            reason,
            error: Error::new(ErrorKind::Closed, "the session cannot connect").with("reason", reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_failure_settles_after_its_grace_and_the_specific_reason_counts() {
        let begin = Instant::now();
        let mut suspected = SuspectedFailure::default();
        suspected.report(FailureReason::DtlsHandshake);
        suspected.report(FailureReason::DtlsVersion);
        suspected.report(FailureReason::DtlsHandshake);
        assert_eq!(suspected.settled().await.reason, FailureReason::DtlsVersion);
        assert_eq!(begin.elapsed(), GRACE);

        let begin = Instant::now();
        let mut suspected = SuspectedFailure::default();
        suspected.report(FailureReason::DtlsHandshake);
        assert_eq!(suspected.settled().await.reason, FailureReason::DtlsHandshake);
        assert_eq!(begin.elapsed(), GRACE_OF_OTHERS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_withdraws_a_failure_and_later_ones_are_ignored() {
        let mut suspected = SuspectedFailure::default();
        suspected.report(FailureReason::DtlsVersion);
        suspected.withdraw();
        suspected.report(FailureReason::DtlsVersion);
        let settled = tokio::time::timeout(Duration::from_secs(60), suspected.settled()).await;
        assert!(settled.is_err(), "{settled:?}");
    }
}
