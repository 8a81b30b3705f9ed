//! Spans of log lines: `call` for a call, and within it `participant` for each session.
//!
//! Both have short forms of identifiers, which tell a few calls and participants apart and are
//! readable in a line; the span `engine` around them has the full identity of this device.

use std::fmt;

use blink_api::{CallId, Endpoint};
use blink_proto::call::SessionId;
use tracing::Span;

/// The span of the call that the driver deals with.
#[derive(Debug, Default)]
pub(super) struct Spans {
    current: Option<(CallId, Span)>,
}

impl Spans {
    /// Span of a call. That of another one ends with its sessions.
    pub(super) fn of_call(&mut self, call: CallId) -> Span {
        match &self.current {
            Some((current, span)) if *current == call => span.clone(),
            _ => {
                let span = tracing::info_span!("call", call = %ShortCall(call));
                self.current = Some((call, span.clone()));
                span
            }
        }
    }

    /// Span of a session within that of its call.
    pub(super) fn of_session(&mut self, call: CallId, remote: &Endpoint, session: SessionId) -> Span {
        let parent = self.of_call(call);
        tracing::info_span!(parent: parent, "participant", participant = %ShortEndpoint(remote), session = session.0)
    }
}

/// First eight digits of a call's id.
struct ShortCall(CallId);

impl fmt::Display for ShortCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_bytes()[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Beginning and end of an identity's key, and the beginning of the device's id:
/// `z6MkiTBz…mDooWp#3f5a`.
struct ShortEndpoint<'a>(&'a Endpoint);

impl fmt::Display for ShortEndpoint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (did, device) = (self.0.did.to_string(), self.0.device.to_string());
        let key = did.rsplit(':').next().unwrap_or_default();
        match (key.get(..8), key.len().checked_sub(6).and_then(|end| key.get(end..)), device.get(..4)) {
            (Some(begin), Some(end), Some(device)) => write!(f, "{begin}…{end}#{device}"),
            _ => write!(f, "{key}#{device}"),
        }
    }
}
