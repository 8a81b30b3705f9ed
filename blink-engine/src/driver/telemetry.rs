//! Telemetry of calls beside events: log lines in spans, and metrics.

use std::time::Instant;

use blink_api::{CallId, Endpoint};
use blink_proto::call::{Event, SessionId};
use tracing::Span;

use super::call_metrics::CallMetrics;
use super::spans::Spans;

#[derive(Debug, Default)]
pub(super) struct Telemetry {
    pub(super) metrics: CallMetrics,
    spans: Spans,
}

impl Telemetry {
    /// Logs an event in the span of its call, and counts it.
    pub(super) fn on_event(&mut self, now: Instant, event: &Event) {
        let span = event.call().map_or_else(Span::none, |call| self.spans.of_call(call));
        span.in_scope(|| super::event_log::log(event));
        self.metrics.on_event(now, event);
    }

    /// Span of a session that is opened now.
    pub(super) fn on_session(&mut self, now: Instant, call: CallId, remote: &Endpoint, session: SessionId) -> Span {
        self.metrics.on_session(now, call, *remote);
        self.spans.of_session(call, remote, session)
    }
}
