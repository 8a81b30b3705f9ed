//! Metrics of calls and participants, from the engine's events.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use blink_api::{CallId, Endpoint};
use blink_proto::call::{EndReason, Event};

use crate::metric_list::{
    CALLS, CALLS_ENDED, CALLS_INCOMING, CALLS_JOINED, CALLS_MISSED, CALLS_OFFERED, CONNECTING, PARTICIPANTS, QUALITY,
    RECONNECTS, SETUP,
};

/// State of a participant's path; the label `state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PathState {
    Connecting,
    Connected,
    Reconnecting,
    Unreachable,
}

impl PathState {
    fn label(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Reconnecting => "reconnecting",
            Self::Unreachable => "unreachable",
        }
    }
}

/// The part of the engine in the gauges of the process, and times that histograms are made of.
/// Dropping it takes that part back.
#[derive(Debug, Default)]
pub(super) struct CallMetrics {
    /// The calls that this device is in, held or not.
    calls: BTreeSet<CallId>,
    /// Time of joining the call, until the first audio.
    joined: Option<Instant>,
    participants: BTreeMap<(CallId, Endpoint), PathState>,
    /// Times of opening sessions that are not connected yet.
    opened: BTreeMap<(CallId, Endpoint), Instant>,
}

impl CallMetrics {
    pub(super) fn on_offer(&self) {
        metrics::counter!(CALLS_OFFERED).increment(1);
    }

    /// The user answered a call, or rejoins it: what follows is the setup.
    pub(super) fn on_answer(&mut self, now: Instant) {
        self.joined = Some(now);
    }

    pub(super) fn on_session(&mut self, now: Instant, call: CallId, participant: Endpoint) {
        self.opened.insert((call, participant), now);
        if !self.participants.contains_key(&(call, participant)) {
            self.set_state(call, participant, Some(PathState::Connecting));
        }
    }

    pub(super) fn on_event(&mut self, now: Instant, event: &Event) {
        match event {
            Event::IncomingCall { .. } => metrics::counter!(CALLS_INCOMING).increment(1),
            Event::MissedCall { .. } => metrics::counter!(CALLS_MISSED).increment(1),
            Event::CallJoined { call } => {
                metrics::counter!(CALLS_JOINED).increment(1);
                self.joined.get_or_insert(now);
                self.set_in_call(*call, true);
            }
            // The other call is the one that is measured from now on.
            Event::CallReplaced { old, .. } => self.leave(*old),
            Event::CallEnded { call, reason, .. } => {
                metrics::counter!(CALLS_ENDED, "reason" => label(*reason)).increment(1);
                self.joined = None;
                self.leave(*call);
            }
            Event::MediaStarted { .. } => {
                if let Some(joined) = self.joined.take() {
                    metrics::histogram!(SETUP).record(now.saturating_duration_since(joined));
                }
            }
            Event::ParticipantJoined { call, participant, .. }
            | Event::ParticipantReconnected { call, participant, .. } => {
                if let Some(opened) = self.opened.remove(&(*call, *participant)) {
                    metrics::histogram!(CONNECTING).record(now.saturating_duration_since(opened));
                }
                self.set_state(*call, *participant, Some(PathState::Connected));
            }
            Event::ParticipantReconnecting { call, participant, .. } => {
                metrics::counter!(RECONNECTS).increment(1);
                self.set_state(*call, *participant, Some(PathState::Reconnecting));
            }
            Event::ParticipantUnreachable { call, participant, .. } => {
                self.set_state(*call, *participant, Some(PathState::Unreachable));
            }
            Event::ParticipantLeft { call, participant, .. } => {
                self.opened.remove(&(*call, *participant));
                self.set_state(*call, *participant, None);
            }
            Event::QualityDegraded { reason, .. } => {
                metrics::counter!(QUALITY, "reason" => reason.name()).increment(1);
            }
            _ => {}
        }
    }

    fn leave(&mut self, call: CallId) {
        self.opened.retain(|(of, _), _| *of != call);
        let of_call = self.participants.extract_if(.., |(of, _), _| *of == call);
        of_call.for_each(|(_, state)| metrics::gauge!(PARTICIPANTS, "state" => state.label()).decrement(1.0));
        self.set_in_call(call, false);
    }

    fn set_in_call(&mut self, call: CallId, in_call: bool) {
        if in_call && self.calls.insert(call) {
            metrics::gauge!(CALLS).increment(1.0);
        } else if !in_call && self.calls.remove(&call) {
            metrics::gauge!(CALLS).decrement(1.0);
        }
    }

    fn set_state(&mut self, call: CallId, participant: Endpoint, state: Option<PathState>) {
        let before = match state {
            Some(state) => self.participants.insert((call, participant), state),
            None => self.participants.remove(&(call, participant)),
        };
        if before == state {
            return;
        }
        if let Some(before) = before {
            metrics::gauge!(PARTICIPANTS, "state" => before.label()).decrement(1.0);
        }
        if let Some(state) = state {
            metrics::gauge!(PARTICIPANTS, "state" => state.label()).increment(1.0);
        }
    }
}

fn label(reason: EndReason) -> String {
    reason.to_string().replace(' ', "_")
}

impl Drop for CallMetrics {
    fn drop(&mut self) {
        let open = self.participants.keys().map(|(call, _)| *call);
        let calls: BTreeSet<_> = open.chain(self.calls.iter().copied()).collect();
        calls.into_iter().for_each(|call| self.leave(call));
    }
}
