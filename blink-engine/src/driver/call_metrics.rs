//! Metrics of calls and participants, from the engine's events.

use std::collections::BTreeMap;
use std::time::Instant;

use blink_api::Endpoint;
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
    in_call: bool,
    /// Time of joining the call, until the first audio.
    joined: Option<Instant>,
    participants: BTreeMap<Endpoint, PathState>,
    /// Times of opening sessions that are not connected yet.
    opened: BTreeMap<Endpoint, Instant>,
}

impl CallMetrics {
    pub(super) fn on_offer(&self) {
        metrics::counter!(CALLS_OFFERED).increment(1);
    }

    /// The user answered a call, or rejoins it: what follows is the setup.
    pub(super) fn on_answer(&mut self, now: Instant) {
        self.joined = Some(now);
    }

    pub(super) fn on_session(&mut self, now: Instant, participant: Endpoint) {
        self.opened.insert(participant, now);
        if !self.participants.contains_key(&participant) {
            self.set_state(participant, Some(PathState::Connecting));
        }
    }

    pub(super) fn on_event(&mut self, now: Instant, event: &Event) {
        match event {
            Event::IncomingCall { .. } => metrics::counter!(CALLS_INCOMING).increment(1),
            Event::MissedCall { .. } => metrics::counter!(CALLS_MISSED).increment(1),
            Event::CallJoined { .. } => {
                metrics::counter!(CALLS_JOINED).increment(1);
                self.joined.get_or_insert(now);
                self.set_in_call(true);
            }
            Event::CallEnded { reason, .. } => {
                metrics::counter!(CALLS_ENDED, "reason" => label(*reason)).increment(1);
                self.leave();
            }
            Event::MediaStarted { .. } => {
                if let Some(joined) = self.joined.take() {
                    metrics::histogram!(SETUP).record(now.saturating_duration_since(joined));
                }
            }
            Event::ParticipantJoined { participant, .. } | Event::ParticipantReconnected { participant, .. } => {
                if let Some(opened) = self.opened.remove(participant) {
                    metrics::histogram!(CONNECTING).record(now.saturating_duration_since(opened));
                }
                self.set_state(*participant, Some(PathState::Connected));
            }
            Event::ParticipantReconnecting { participant, .. } => {
                metrics::counter!(RECONNECTS).increment(1);
                self.set_state(*participant, Some(PathState::Reconnecting));
            }
            Event::ParticipantUnreachable { participant, .. } => {
                self.set_state(*participant, Some(PathState::Unreachable));
            }
            Event::ParticipantLeft { participant, .. } => {
                self.opened.remove(participant);
                self.set_state(*participant, None);
            }
            Event::QualityDegraded { reason, .. } => {
                metrics::counter!(QUALITY, "reason" => reason.name()).increment(1);
            }
            _ => {}
        }
    }

    fn leave(&mut self) {
        self.joined = None;
        self.opened.clear();
        for (_, state) in std::mem::take(&mut self.participants) {
            metrics::gauge!(PARTICIPANTS, "state" => state.label()).decrement(1.0);
        }
        self.set_in_call(false);
    }

    fn set_in_call(&mut self, in_call: bool) {
        match (self.in_call, in_call) {
            (false, true) => metrics::gauge!(CALLS).increment(1.0),
            (true, false) => metrics::gauge!(CALLS).decrement(1.0),
            _ => {}
        }
        self.in_call = in_call;
    }

    fn set_state(&mut self, participant: Endpoint, state: Option<PathState>) {
        let before = match state {
            Some(state) => self.participants.insert(participant, state),
            None => self.participants.remove(&participant),
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
        self.leave();
    }
}
