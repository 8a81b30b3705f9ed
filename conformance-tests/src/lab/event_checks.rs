//! Event checks: the events that a participant must and must not receive.

use std::time::Duration;

use blink_api::CallId;
use blink_engine::{CallSnapshot, CallState};

use super::core::seconds;
use super::event_log::ObservedEvent;
use super::expected_event::{ExpectedEvent, any_of};
use super::failure::{Failure, Result};
use super::participant::Participant;

/// Window of a check for the absence of events.
const QUIET_WINDOW: Duration = Duration::from_secs(2);

/// Expected events. Each is claimed by the first [`sees`](Participant::sees) that it matches, so
/// that two calls wait for two events.
impl Participant {
    /// Waits for an event, up to 5 s, or 30 s on a lossy network.
    pub async fn sees(&self, what: ExpectedEvent) -> Result<ObservedEvent> {
        self.sees_within(self.core.config.event_timeout(), what).await
    }

    /// Waits for an event up to a limit.
    pub async fn sees_within(&self, limit: Duration, what: ExpectedEvent) -> Result<ObservedEvent> {
        let mut logged_count = self.core.logged_count.subscribe();
        let end = tokio::time::Instant::now() + limit;
        loop {
            logged_count.mark_unchanged();
            if let Some(sighting) = self.inner.log.claim(&what) {
                return Ok(sighting);
            }
            if tokio::time::timeout_at(end, logged_count.changed()).await.is_err() {
                return Err(self.fails(format!("did not see {what} within {limit:?}")));
            }
        }
    }

    /// Claims an event if it has occurred.
    pub fn has_seen(&self, what: &ExpectedEvent) -> Option<ObservedEvent> {
        self.inner.log.claim(what)
    }

    /// Claims an event if it has occurred, and returns whether it has.
    pub fn may_have_seen(&self, what: ExpectedEvent) -> bool {
        self.inner.log.claim(&what).is_some()
    }

    /// Waits for events that must occur in this order.
    pub async fn sees_in_order(&self, all: Vec<ExpectedEvent>) -> Result<()> {
        let mut last: Option<(usize, String)> = None;
        for what in all {
            let text = what.to_string();
            let sighting = self.sees(what).await?;
            match last {
                Some((place, before)) if place > sighting.place => {
                    return Err(self.fails(format!("saw {text} before {before}, expected the reverse")));
                }
                _ => last = Some((sighting.place, text)),
            }
        }
        Ok(())
    }

    /// Waits for 2 s and verifies that there is no unclaimed event.
    pub async fn sees_no_unexpected_events(&self) -> Result<()> {
        tokio::time::sleep(QUIET_WINDOW).await;
        self.has_no_unexpected_events()
    }

    /// Verifies that there is no unclaimed event.
    pub(crate) fn has_no_unexpected_events(&self) -> Result<()> {
        match self.inner.log.unclaimed().first() {
            None => Ok(()),
            Some(event) => Err(self.fails(format!("saw an unexpected event: {event:?}"))),
        }
    }

    /// Verifies that an event never occurred.
    pub fn never_saw(&self, what: ExpectedEvent) -> Result<()> {
        self.saw_exactly(0, what)
    }

    /// Verifies how often an event occurred, claimed or not.
    pub fn saw_exactly(&self, times: usize, what: ExpectedEvent) -> Result<()> {
        match self.inner.log.count(&what) {
            count if count == times => Ok(()),
            count => Err(self.fails(format!("saw {what} {count} times instead of {times}"))),
        }
    }

    /// Verifies that an event with this name about a call occurred exactly once.
    pub fn saw_once(&self, name: &'static str, call: CallId) -> Result<()> {
        self.saw_exactly(1, any_of(name, call))
    }
}

/// State of its calls.
impl Participant {
    /// Snapshot of a call; `None` if the call has ended or is unknown.
    pub async fn state_of_call(&self, call: CallId) -> Result<Option<CallSnapshot>> {
        Ok(self.snapshot().await?.calls.into_iter().find(|snapshot| snapshot.call == call))
    }

    /// Verifies the state of a call.
    pub async fn has_call(&self, call: CallId, state: CallState) -> Result<CallSnapshot> {
        match self.state_of_call(call).await? {
            Some(snapshot) if snapshot.state == state => Ok(snapshot),
            other => Err(self.fails(format!("{call} should be {state:?} and is {:?}", other.map(|call| call.state)))),
        }
    }

    /// Verifies that no call rings and that it is in no call. Ongoing group calls that it is not in
    /// are allowed.
    pub async fn is_idle(&self) -> Result<()> {
        let busy = |call: &CallSnapshot| call.state != CallState::Open;
        match self.snapshot().await?.calls.into_iter().find(busy) {
            None => Ok(()),
            Some(call) => Err(self.fails(format!("should be idle, and {} is {:?}", call.call, call.state))),
        }
    }

    /// Verifies that it knows no call.
    pub async fn has_no_call(&self) -> Result<()> {
        match self.snapshot().await?.calls.first() {
            None => Ok(()),
            Some(call) => Err(self.fails(format!("should have no call, and {} is {:?}", call.call, call.state))),
        }
    }

    /// Verifies that exactly these calls ring.
    pub async fn has_pending(&self, calls: &[CallId]) -> Result<()> {
        let ringing = |call: CallSnapshot| (call.state == CallState::Ringing).then_some(call.call);
        let mut pending: Vec<CallId> = self.snapshot().await?.calls.into_iter().filter_map(ringing).collect();
        let mut expected = calls.to_vec();
        pending.sort_unstable();
        expected.sort_unstable();
        if pending == expected {
            return Ok(());
        }
        Err(self.fails(format!("should have {expected:?} ringing, and has {pending:?}")))
    }

    /// Fails with a message unless a condition holds.
    pub fn must(&self, holds: bool, otherwise: impl Into<String>) -> Result<()> {
        if holds { Ok(()) } else { Err(self.fails(otherwise)) }
    }

    /// Builds a failure of this participant.
    pub fn fails(&self, why: impl Into<String>) -> Failure {
        let at = seconds(self.core.clock.elapsed());
        self.core.fails(&format!("{self}: {} (at {})", why.into(), at.trim_start()))
    }
}
