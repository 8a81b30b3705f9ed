//! Restoring calls after a restart of the process.

use blink_api::{CallId, DeviceId};
use web_time::{Duration, Instant};

use super::farewell::Farewell;
use super::machine::{MAX_TOMBSTONES, Machine};
use super::memory::{Change, Memory, REMEMBERED, REMEMBERED_AT_LEAST, SavedCall, Stage};
use super::person::{Person, PersonState};
use super::shared::Shared;
use super::state::{Call, Phase};
use crate::quota_map::Quota;
use crate::secure::CallKeys;
use crate::wire::{CancelReason, WireEndpoint};

impl Machine {
    /// Restores the state of earlier runs.
    pub(super) fn restore(&mut self, memory: Memory) {
        let Memory { tombstones, calls, notices, history } = memory;
        let mut tombstones: Vec<_> = tombstones.into_iter().collect();
        tombstones.sort_by_key(|(_, since_ms)| *since_ms);
        // Quotas are not persisted: the newest tombstones enter the familiar quota, where strangers
        // cannot evict them.
        let surplus = tombstones.len().saturating_sub(MAX_TOMBSTONES.0);
        for (number, (id, since_ms)) in tombstones.into_iter().enumerate() {
            if since_ms > self.shared.now.unix_ms || self.shared.is_age_unknown(since_ms) {
                self.shared.persist(Change::Tombstone(id, Some(self.shared.now.unix_ms)));
            }
            let age = self.shared.age(since_ms).min(REMEMBERED - REMEMBERED_AT_LEAST);
            self.mark_ended(id, Quota::familiar(number >= surplus), self.shared.ago(age));
        }
        self.missed.restore(notices, &mut self.shared);
        self.deliver();
        let changes = self.history.restore(history);
        self.persist_all(changes);
        for (id, saved) in calls {
            match self.restore_call(&id, &saved) {
                Some(call) => drop(self.calls.insert(id, call)),
                None => self.shared.persist(Change::Call(id, None)),
            }
        }
        self.deliver();
        let calls = &self.calls;
        let ringing = |id: &CallId| calls.get(id).is_some_and(|call| call.phase() == Phase::In);
        let changes = self.history.interrupt(ringing);
        self.persist_all(changes);
        self.limit_open();
        self.settle();
    }

    /// Call as it is after a restart; `None` for one that need not be remembered.
    fn restore_call(&mut self, id: &CallId, saved: &SavedCall) -> Option<Call> {
        let shared = &mut self.shared;
        let since = shared.since(saved.since_ms)?;
        let roster = saved.roster().ok().filter(|roster| roster.call() == *id && roster.is_valid(&shared.own.did))?;
        if self.tombstones.contains_key(id) {
            return None;
        }
        let phase = match saved.stage {
            Stage::Calling => Phase::Out,
            Stage::Ringing => Phase::In,
            Stage::Joined | Stage::Open => Phase::Open,
        };
        let longest = shared.settings.ring_time.max(Duration::from_secs(60));
        let remaining = if shared.is_age_unknown(saved.ring_until_ms) {
            longest
        } else {
            Duration::from_millis(saved.ring_until_ms.saturating_sub(shared.now.unix_ms)).min(longest)
        };
        let keys = CallKeys::new(*id, saved.secret.clone());
        let mut call = Call::new(roster, keys, saved.configuration.clone(), phase, saved.from, remaining, shared);
        call.restore_version(saved.version);
        call.familiar |= saved.familiar.unwrap_or(true);
        call.seat = saved.seat;
        call.busy = saved.busy;
        call.from_device = saved.from_device.map(|device| DeviceId::from_bytes(device.into()));
        call.apply_claims(&saved.joined, None, shared);
        for WireEndpoint(endpoint) in saved.heard.iter().flatten() {
            if let Some(peer) = call.peers.get_mut(endpoint) {
                // Its earlier messages, replayed now, are outdated.
                peer.restore_self_reported();
            }
        }
        saved.left.iter().flatten().for_each(|claim| call.restore_departed(claim, shared));
        call.resume(saved.stage, since, remaining, shared);
        Some(call)
    }
}

impl Call {
    /// Continues after a restart. Nothing rings again, and this endpoint is in no call until its
    /// user joins one.
    fn resume(&mut self, stage: Stage, since: Instant, remaining: Duration, shared: &mut Shared) {
        let deserted = self.is_deserted();
        if remaining.is_zero() && stage != Stage::Calling {
            // The ring time of all invitations is over.
            let unresolved = self.people.values_mut().filter(|person| person.is_unresolved());
            unresolved.for_each(|person: &mut Person| person.set_state(PersonState::Missed));
        }
        match stage {
            Stage::Calling => {
                self.cancel_unresolved(CancelReason::Left, PersonState::Gone, shared);
                self.announce_left(Phase::Over, shared);
            }
            Stage::Ringing if deserted || remaining.is_zero() => self.end_missed(shared),
            Stage::Ringing => {}
            Stage::Joined => {
                let everyone: Vec<_> = self.people.keys().copied().collect();
                for did in everyone {
                    let cancel = self.cancel_body(CancelReason::Left, shared);
                    self.notify(did, cancel, shared);
                }
                self.announce_left(if deserted { Phase::Over } else { self.phase_after_leaving() }, shared);
            }
            Stage::Open if deserted => self.enter(Phase::Over, shared),
            Stage::Open => self.enter_since(Phase::Open, since),
        }
    }

    /// Announces on the call's topic that this endpoint is not in the call any more.
    fn announce_left(&mut self, phase: Phase, shared: &mut Shared) {
        self.enter(phase, shared);
        self.subscribe(shared);
        self.farewell = Some(Farewell::starting(shared.mono()));
    }
}
