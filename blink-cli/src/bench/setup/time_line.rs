//! Times of the steps of a call's setup at one end.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// A step of a call's setup. Each counts when it first occurs after the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Step {
    /// A signaling message was handed to the network.
    Published,
    /// A signaling message came.
    Delivered,
    /// The transport's session is open.
    SessionOpen,
    /// The SDP offer was made.
    OfferMade,
    /// The SDP answer was made.
    AnswerMade,
    /// The SDP answer was applied.
    AnswerApplied,
    /// A candidate of the other end was added.
    CandidateAdded,
    /// ICE and DTLS are up.
    Connected,
    /// The data channel is open.
    ChannelOpen,
    /// The other end is verified, and its media is admitted.
    Verified,
    /// The first RTP packet was handed to the transport.
    PacketSent,
    /// The first RTP packet came.
    PacketReceived,
    /// The speaker got the first sample that is not silence.
    Played,
}

impl Step {
    pub(super) const ALL: [Self; 13] = [
        Self::Published,
        Self::Delivered,
        Self::SessionOpen,
        Self::OfferMade,
        Self::AnswerMade,
        Self::AnswerApplied,
        Self::CandidateAdded,
        Self::Connected,
        Self::ChannelOpen,
        Self::Verified,
        Self::PacketSent,
        Self::PacketReceived,
        Self::Played,
    ];
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Published => "first message published",
            Self::Delivered => "first message delivered",
            Self::SessionOpen => "session open",
            Self::OfferMade => "offer made",
            Self::AnswerMade => "answer made",
            Self::AnswerApplied => "answer applied",
            Self::CandidateAdded => "first candidate added",
            Self::Connected => "ICE and DTLS connected",
            Self::ChannelOpen => "data channel open",
            Self::Verified => "verified",
            Self::PacketSent => "first packet sent",
            Self::PacketReceived => "first packet received",
            Self::Played => "first sample played",
        })
    }
}

/// When each step first occurred. Clones share it.
#[derive(Clone, Default)]
pub(super) struct TimeLine(Arc<Shared>);

#[derive(Default)]
struct Shared {
    steps: Mutex<Steps>,
    noted: Notify,
}

#[derive(Default)]
struct Steps {
    zero: Option<Instant>,
    times: Vec<(Step, Instant)>,
}

impl TimeLine {
    /// Begins at the answer; what was before does not count.
    pub(super) fn begin(&self, zero: Instant) {
        *self.steps() = Steps { zero: Some(zero), times: Vec::new() };
    }

    /// The step occurs now.
    pub(super) fn note(&self, step: Step) {
        let mut steps = self.steps();
        if steps.zero.is_some() && steps.times.iter().all(|(known, _)| *known != step) {
            steps.times.push((step, Instant::now()));
            self.0.noted.notify_waiters();
        }
    }

    /// Waits for a step.
    pub(super) async fn reached(&self, step: Step) {
        loop {
            let noted = self.0.noted.notified();
            if self.steps().times.iter().any(|(known, _)| *known == step) {
                return;
            }
            noted.await;
        }
    }

    /// Milliseconds from the answer to each step that has occurred.
    pub(super) fn times(&self) -> Vec<(Step, f64)> {
        let steps = self.steps();
        let Some(zero) = steps.zero else { return Vec::new() };
        let since = |at: Instant| at.saturating_duration_since(zero).as_secs_f64() * 1_000.0;
        steps.times.iter().map(|(step, at)| (*step, since(*at))).collect()
    }

    fn steps(&self) -> MutexGuard<'_, Steps> {
        self.0.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_step_counts_once_and_only_after_the_beginning() {
        let line = TimeLine::default();
        line.note(Step::Connected);
        line.begin(Instant::now());
        assert!(line.times().is_empty());
        let waiting = tokio::spawn({
            let line = line.clone();
            async move { line.reached(Step::Played).await }
        });
        line.note(Step::Connected);
        let first = line.times();
        line.note(Step::Connected);
        assert_eq!(line.times(), first);
        line.note(Step::Played);
        waiting.await.unwrap();
        assert_eq!(line.times().iter().map(|(step, _)| *step).collect::<Vec<_>>(), [Step::Connected, Step::Played]);
    }

    #[test]
    fn every_step_is_listed_once() {
        for (n, step) in Step::ALL.iter().enumerate() {
            assert!(!Step::ALL[..n].contains(step));
        }
    }
}
