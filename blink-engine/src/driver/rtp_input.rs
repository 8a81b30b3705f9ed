//! Received RTP on its way from a session to the media of the call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use blink_api::{Clock, RtpIn, RtpSink};
use tokio::sync::mpsc;

use super::report::Report;
use blink_media::PathId;
use blink_proto::call::{SessionId, SessionInput};

/// Shortest interval of reports that packets arrive: a tenth of the silence from which a path is
/// suspect, which it may become too early by this much.
const TRAFFIC_INTERVAL: Duration = Duration::from_millis(250);

/// The [`RtpSink`] of one session. A packet goes to the queue that the media worker reads with each
/// tick: no task is woken for it.
pub(super) struct RtpInput {
    path: PathId,
    packets: mpsc::Sender<(PathId, RtpIn)>,
    clock: Arc<dyn Clock>,
    liveness: Arc<Liveness>,
}

impl RtpInput {
    pub(super) fn new(
        id: SessionId,
        packets: mpsc::Sender<(PathId, RtpIn)>,
        clock: Arc<dyn Clock>,
        liveness: Arc<Liveness>,
    ) -> Self {
        Self { path: PathId(id.0), packets, clock, liveness }
    }
}

impl RtpSink for RtpInput {
    fn deliver(&self, packet: RtpIn) {
        if self.packets.try_send((self.path, packet)).is_err() {
            tracing::debug!("media does not keep up; a packet is dropped");
        }
        self.liveness.on_traffic(self.clock.now());
    }
}

/// Reports to the driver that a session's other end is alive: at once after a silence, and at most
/// every [`TRAFFIC_INTERVAL`].
pub(super) struct Liveness {
    id: SessionId,
    reports: mpsc::Sender<Report>,
    start: Instant,
    /// Microseconds after `start` from which on traffic is reported again.
    due: AtomicU64,
}

impl Liveness {
    pub(super) fn new(id: SessionId, reports: mpsc::Sender<Report>, now: Instant) -> Self {
        Self { id, reports, start: now, due: AtomicU64::new(0) }
    }

    /// Something arrived.
    pub(super) fn on_traffic(&self, now: Instant) {
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let now = micros(now.saturating_duration_since(self.start));
        let due = self.due.load(Ordering::Relaxed);
        let next = now.saturating_add(micros(TRAFFIC_INTERVAL));
        if now < due || self.due.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        if let Err(mpsc::error::TrySendError::Full(_)) =
            self.reports.try_send(Report::Session(self.id, SessionInput::Traffic))
        {
            // The driver is far behind: the next packet tries again.
            self.due.store(due, Ordering::Relaxed);
        }
    }
}
