//! Reports of a session to the driver.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::super::report::Report;
use super::super::rtp_input::Liveness;
use blink_proto::call::{SessionId, SessionInput};

/// Shortest interval of reports of refused messages.
const REFUSED_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Reporter {
    id: SessionId,
    pub(super) reports: mpsc::Sender<Report>,
    pub(super) liveness: Arc<Liveness>,
    /// Messages that were refused and are not reported yet, and the time of the last report.
    refused: u32,
    last_refused: Option<Instant>,
}

impl Reporter {
    pub(super) fn new(id: SessionId, reports: mpsc::Sender<Report>, now: Instant) -> Self {
        let liveness = Arc::new(Liveness::new(id, reports.clone(), now));
        Self { id, reports, liveness, refused: 0, last_refused: None }
    }

    pub(super) async fn session(&mut self, event: SessionInput) {
        // The driver is gone only when the engine is, and no one is left to report to.
        self.reports.send(Report::Session(self.id, event)).await.ok();
    }

    /// The other end sends more on the data channel than it may.
    pub(super) async fn on_refused(&mut self, now: Instant) {
        self.refused = self.refused.saturating_add(1);
        if self.last_refused.is_none_or(|last| now >= last + REFUSED_INTERVAL) {
            self.last_refused = Some(now);
            let refused = std::mem::take(&mut self.refused);
            // As above: the driver is gone only when the engine is.
            self.reports.send(Report::Flooded(refused)).await.ok();
        }
        self.liveness.on_traffic(now);
    }
}
