//! What a call is remembered by, and how the machine comes back to its calls after a restart.

use web_time::{Duration, Instant};

use blink_api::{CallId, Endpoint, Topic};

use super::invite::PersonState;
use super::lifecycle::{Call, Lingering, Phase};
use super::machine::{MAX_TOMBSTONES, Machine};
use super::member::Peer;
use super::memory::{Change, Memory, REMEMBERED, REMEMBERED_AT_LEAST, SavedCall, Stage};
use super::shared::Shared;
use crate::secure::CallKeys;
use crate::shares::Share;
use crate::wire::{CancelReason, JoinedClaim, SignedKey, Status, WireEndpoint};

/// While this endpoint is in a call, that is written down anew so often, in milliseconds: an hour.
const STILL_JOINED: u64 = 3_600_000;

/// The year 2000, in Unix milliseconds. A clock that says less has not been set since it lost its
/// power: it counts from 1970 or 1980.
const CLOCK_IS_SET: u64 = 946_684_800_000;

/// What is written down of a call, in short: where it differs, the call is written down anew.
#[derive(Clone, PartialEq)]
pub(super) struct Kept {
    /// `None` for a call that is over.
    stage: Option<Stage>,
    seat: u64,
    entries: [u8; 16],
    topic: Topic,
    /// Who, with which call key, and whether it said so itself.
    joined: Vec<(Endpoint, Option<SignedKey>, bool)>,
    left: Vec<JoinedClaim>,
    familiar: bool,
    /// While this endpoint is in it.
    hour: Option<u64>,
}

impl Machine {
    /// Takes in what is remembered of the time before.
    pub(super) fn restore(&mut self, memory: Memory) {
        let Memory { tombstones, calls, notices, history } = memory;
        let mut tombstones: Vec<_> = tombstones.into_iter().collect();
        tombstones.sort_by_key(|(_, since_ms)| *since_ms);
        // Whose they were is not written down: the newest are in the familiar share, where
        // strangers take the place of none.
        let surplus = tombstones.len().saturating_sub(MAX_TOMBSTONES.0);
        for (number, (id, since_ms)) in tombstones.into_iter().enumerate() {
            if since_ms > self.shared.now.unix_ms || self.shared.is_age_unknown(since_ms) {
                self.shared.keep(Change::Tombstone(id, Some(self.shared.now.unix_ms)));
            }
            let age = self.shared.age(since_ms).min(REMEMBERED - REMEMBERED_AT_LEAST);
            self.mark_ended(id, Share::familiar(number >= surplus), before(self.shared.mono(), age));
        }
        self.missed.restore(notices, &mut self.shared);
        self.shared.restore_history(history);
        for (id, kept) in calls {
            match self.restored(&id, &kept) {
                Some(call) => drop(self.calls.insert(id, call)),
                None => self.shared.keep(Change::Call(id, None)),
            }
        }
        let ringing = |id: &CallId| self.calls.get(id).is_some_and(|call| call.phase == Phase::In);
        self.shared.interrupt_history(ringing);
        self.limit_open();
        self.settle();
    }

    /// A call as it is after a restart; `None` for one that need not be remembered.
    fn restored(&mut self, id: &CallId, kept: &SavedCall) -> Option<Call> {
        let shared = &mut self.shared;
        let since = shared.since(kept.since_ms)?;
        let roster = kept.roster().ok().filter(|roster| roster.call() == *id && roster.is_valid(&shared.own.did))?;
        if self.tombstones.contains_key(id) {
            return None;
        }
        let phase = match kept.stage {
            Stage::Calling => Phase::Out,
            Stage::Ringing => Phase::In,
            Stage::Joined | Stage::Open => Phase::Open,
        };
        let longest = shared.settings.ring_time.max(Duration::from_secs(60));
        let remaining = if shared.is_age_unknown(kept.ring_until_ms) {
            longest
        } else {
            Duration::from_millis(kept.ring_until_ms.saturating_sub(shared.now.unix_ms)).min(longest)
        };
        let keys = CallKeys::new(*id, kept.secret.clone());
        let mut call = Call::new(roster, keys, kept.configuration.clone(), phase, kept.from, remaining, shared);
        call.version = kept.version.saturating_add(1);
        call.familiar |= kept.familiar.unwrap_or(true);
        call.seat = kept.seat;
        call.busy = kept.busy;
        call.take_claims(&kept.joined, None, shared);
        for WireEndpoint(endpoint) in kept.heard.iter().flatten() {
            if let Some(peer) = call.peers.get_mut(endpoint) {
                // What it said before that, played back now, is older than this.
                peer.own_word = true;
            }
        }
        kept.left.iter().flatten().for_each(|claim| call.take_left(claim, shared));
        call.come_back(kept.stage, since, remaining, shared);
        Some(call)
    }
}

impl Call {
    /// Goes on after a restart from where the call stood. Nothing rings again, and this endpoint is
    /// in no call before its user says so.
    fn come_back(&mut self, stage: Stage, since: Instant, remaining: Duration, shared: &mut Shared) {
        let nobody = self.present().next().is_none();
        if remaining.is_zero() && stage != Stage::Calling {
            // Who has not come was asked long ago.
            let undecided = self.people.values_mut().filter(|person| person.state.is_unresolved());
            undecided.for_each(|person| person.state = PersonState::Missed);
        }
        match stage {
            Stage::Calling => {
                self.cancel_unresolved(CancelReason::Left, PersonState::Gone, shared);
                self.say_left(Phase::Over, shared);
            }
            Stage::Ringing if nobody || remaining.is_zero() => self.missed(shared),
            Stage::Ringing => {}
            Stage::Joined => {
                let everybody: Vec<_> = self.people.keys().copied().collect();
                for did in everybody {
                    let cancel = self.cancel(CancelReason::Left, shared);
                    self.notify(did, cancel, shared);
                }
                self.say_left(if nobody { Phase::Over } else { self.phase_when_out() }, shared);
            }
            Stage::Open if nobody => self.enter(Phase::Over, shared),
            Stage::Open => self.since = since,
        }
    }

    /// Tells the others on the call's topic, too, that this endpoint is not in it any more.
    fn say_left(&mut self, phase: Phase, shared: &mut Shared) {
        self.enter(phase, shared);
        self.listen(shared);
        self.lingering = Some(Lingering::since(shared.mono()));
    }

    /// Has written down what changed of what must be known after a restart.
    pub(super) fn remember(&mut self, shared: &mut Shared) {
        let kept = self.as_kept(shared);
        if self.kept.as_ref() == Some(&kept) {
            return;
        }
        let id = self.id();
        match kept.stage {
            Some(stage) => shared.keep(Change::Call(id, Some(Box::new(self.to_keep(stage, shared))))),
            None => {
                shared.keep(Change::Call(id, None));
                shared.keep(Change::Tombstone(id, Some(shared.now.unix_ms)));
            }
        }
        self.kept = Some(kept);
    }

    fn as_kept(&self, shared: &Shared) -> Kept {
        let stage = match self.phase {
            Phase::Out => Some(Stage::Calling),
            Phase::In => Some(Stage::Ringing),
            Phase::Joining | Phase::Active => Some(Stage::Joined),
            Phase::Open => Some(Stage::Open),
            Phase::Over => None,
        };
        Kept {
            stage,
            seat: self.seat,
            entries: self.roster.digest(),
            topic: self.keys.topic,
            joined: self.present().map(|(endpoint, peer)| (*endpoint, peer.call_key, peer.own_word)).collect(),
            left: self.departed(),
            familiar: self.familiar,
            hour: self.phase.is_current().then_some(shared.now.unix_ms / STILL_JOINED),
        }
    }

    /// Who left by its own word.
    fn departed(&self) -> Vec<JoinedClaim> {
        let left = self.peers.iter().filter(|(_, peer)| peer.own_word && peer.status == Some(Status::Left));
        let claim = |(endpoint, peer): (&Endpoint, &Peer)| {
            let (endpoint, boot, version) = (*endpoint, peer.boot, peer.version);
            Some(JoinedClaim { endpoint, boot, version, call_key: peer.call_key? })
        };
        left.filter_map(claim).collect()
    }

    fn to_keep(&self, stage: Stage, shared: &Shared) -> SavedCall {
        let joined = self.claims(shared).into_iter().filter(|claim| claim.endpoint != shared.own);
        let heard = self.present().filter(|(_, peer)| peer.own_word).map(|(endpoint, _)| WireEndpoint(*endpoint));
        let since_ms = if self.phase.is_current() { shared.now.unix_ms } else { shared.unix_ms(self.since) };
        SavedCall {
            stage,
            root: self.roster.signed_root().clone(),
            entries: self.roster.entries(),
            secret: self.keys.secret().clone(),
            configuration: self.configuration.clone(),
            from: self.from,
            version: self.version,
            seat: self.seat,
            joined: joined.collect(),
            since_ms,
            ring_until_ms: shared.unix_ms(self.ring_until),
            busy: self.busy,
            heard: Some(heard.collect()),
            left: Some(self.departed()),
            familiar: Some(self.familiar),
        }
    }
}

impl Shared {
    /// How long ago something was; nothing was in the future, whatever a clock said then. What was
    /// written down before the clock was set is taken for new.
    fn age(&self, unix_ms: u64) -> Duration {
        if self.is_age_unknown(unix_ms) {
            return Duration::ZERO;
        }
        Duration::from_millis(self.now.unix_ms.saturating_sub(unix_ms))
    }

    /// Whether the clock has been set since something was written down.
    pub(super) fn is_age_unknown(&self, unix_ms: u64) -> bool {
        unix_ms < CLOCK_IS_SET && CLOCK_IS_SET <= self.now.unix_ms
    }

    /// Since when something is remembered; `None` where that is too long.
    pub(super) fn since(&self, unix_ms: u64) -> Option<Instant> {
        let age = self.age(unix_ms);
        (age < REMEMBERED).then(|| before(self.mono(), age))
    }
}

/// An instant in the past. A monotonic clock that cannot go back so far says now: what began then
/// is remembered longer, by a day at most.
fn before(now: Instant, age: Duration) -> Instant {
    now.checked_sub(age).unwrap_or(now)
}
