//! The machine: all calls of one endpoint.

use std::collections::{BTreeMap, VecDeque};

use blink_api::{CallId, Did, Endpoint, Error, ErrorKind, Result, Topic};
use web_time::Instant;

use super::history::HistoryEntry;
use super::history_log::HistoryLog;
use super::io::{Input, Now, Output};
use super::link::{ClockRound, ClockSync};
use super::machine_config::MachineConfig;
use super::memory::{Change, REMEMBERED};
use super::missed::MissedNotices;
use super::outbox::Queued;
use super::presence::{Heard, Presence};
use super::shared::Shared;
use super::snapshot::{CallState, Snapshot};
use super::state::{Call, Phase};
use crate::quota_map::{Quota, QuotaMap};
use crate::secure::{Buckets, Channel, inbox_topic};

/// Ended calls that are remembered so that they do not ring again: familiar ones, and those of
/// strangers.
pub(super) const MAX_TOMBSTONES: (usize, usize) = (3_072, 1_024);
/// Ids of calls that were replaced by another one and are still understood.
const MAX_ALIASES: (usize, usize) = (48, 16);
/// Cancels of unknown calls, which may overtake the offer.
const MAX_EARLY: (usize, usize) = (768, 256);
/// Retransmissions because of new subscribers of one topic: burst, and rate per second.
const SUBSCRIBERS: (f64, f64) = (4.0, 0.2);

/// Remains of an ended call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tombstone {
    since: Instant,
    /// It ended before the user or the caller was told of it: messages about it get no reply.
    pub(super) silent: bool,
}

/// All calls of one endpoint. See the [module](super).
///
/// A clone continues independently with the same keys and random numbers: it serves to explore what
/// would follow, and must not send.
#[derive(Clone)]
pub struct Machine {
    pub(super) shared: Shared,
    pub(super) calls: BTreeMap<CallId, Call>,
    pub(super) tombstones: QuotaMap<CallId, Tombstone>,
    pub(super) missed: MissedNotices,
    pub(super) history: HistoryLog,
    /// Replaced calls and their replacements.
    aliases: QuotaMap<CallId, CallId>,
    /// (boot, version) of cancels that arrived before the offer.
    pub(super) early: QuotaMap<(CallId, Endpoint), (u64, u64)>,
    pub(super) heard: Heard,
    /// Limits retransmissions because of new subscribers: subscribing repeatedly must not amplify.
    subscribers: Buckets<Topic>,
    outputs: VecDeque<Output>,
}

/// Shows the calls' ids only.
impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let calls = self.calls.values().map(|call| (call.id(), call.phase())).collect::<Vec<_>>();
        f.debug_struct("Machine").field("own", &self.shared.own).field("calls", &calls).finish_non_exhaustive()
    }
}

impl Machine {
    /// Machine with the state of earlier runs. Calls in which this device was when its process
    /// ended are left with the first outputs; none rings again.
    pub fn new(config: MachineConfig, now: Now) -> Self {
        let MachineConfig { identity, own, boot, settings, seed, memory } = config;
        let history = HistoryLog::new(settings.history);
        let mut machine = Self {
            shared: Shared::new(now, identity, own, boot, settings, seed),
            calls: BTreeMap::new(),
            tombstones: QuotaMap::new(MAX_TOMBSTONES.0, MAX_TOMBSTONES.1),
            missed: MissedNotices::default(),
            history,
            aliases: QuotaMap::new(MAX_ALIASES.0, MAX_ALIASES.1),
            early: QuotaMap::new(MAX_EARLY.0, MAX_EARLY.1),
            heard: Heard::default(),
            subscribers: Buckets::new(SUBSCRIBERS.1, SUBSCRIBERS.0, now.mono),
            outputs: VecDeque::new(),
        };
        machine.restore(memory);
        machine
    }

    // --- queries

    /// This device.
    pub fn own(&self) -> Endpoint {
        self.shared.own
    }

    /// Clock offset of a participant; `None` without a path to it, and before the first pong.
    pub fn clock_of(&self, endpoint: &Endpoint) -> Option<ClockSync> {
        let call = self.calls.get(&self.current()?)?;
        call.peers.get(endpoint)?.link()?.clock.best()
    }

    /// Newest rounds of the time sync with a participant, oldest first; none without a path to it.
    /// Times of this device count from [`clock_epoch`](Self::clock_epoch).
    pub fn clock_rounds(&self, endpoint: &Endpoint) -> impl Iterator<Item = ClockRound> + '_ {
        let call = self.current().and_then(|call| self.calls.get(&call));
        let link = call.and_then(|call| call.peers.get(endpoint)).and_then(|peer| peer.link());
        link.into_iter().flat_map(|link| link.clock.rounds())
    }

    /// Zero of this device's media clock, which the time sync compares with those of others.
    pub fn clock_epoch(&self) -> Instant {
        self.shared.started()
    }

    /// The call that this device is in, joins or offers, and does not hold.
    pub fn current(&self) -> Option<CallId> {
        self.calls.values().find(|call| call.is_current()).map(Call::id)
    }

    /// Whether messages should still be sent before the process exits: that this device left,
    /// rejected or cancelled.
    pub fn has_pending_farewells(&self) -> bool {
        self.calls.values().any(Call::has_pending_farewells)
    }

    /// Whether messages of a person should have precedence when rate limits are reached: the
    /// integrator named the person as known, it is the own person, or it takes part in a call
    /// that this device is in. People who may only call do not count: that may be anyone.
    pub fn is_expected(&self, did: &Did) -> bool {
        let in_call = |call: &Call| call.takes_part() && call.roster.is_valid(did);
        self.shared.is_familiar(did) || self.calls.values().any(in_call)
    }

    /// Whether a person may publish on a channel: on a call's topic, only its members. Former
    /// members still know the secret, so that signaling cannot tell their messages from others.
    pub fn is_permitted(&self, channel: &Channel, did: &Did) -> bool {
        match channel {
            Channel::Inbox(_) => true,
            Channel::Call(call) => self.calls.get(call).is_none_or(|call| call.roster.is_valid(did)),
        }
    }

    /// Number of signatures inside messages that were checked; cached results do not count.
    pub fn signatures_checked(&self) -> u64 {
        self.shared.signatures.checked()
    }

    /// Topic of the own inbox, to which the driver subscribes.
    pub fn inbox(&self) -> Topic {
        inbox_topic(&self.shared.own.did)
    }

    /// State of all calls at this moment.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            calls: self.calls.values().filter_map(|call| call.snapshot(&self.shared)).collect(),
            muted: self.shared.muted,
            deafened: self.shared.deafened,
            recording: self.shared.recording,
            streams: self.shared.streams.iter().map(Into::into).collect(),
        }
    }

    /// Call history, newest first.
    pub fn history(&self) -> Vec<HistoryEntry> {
        self.history.newest_first()
    }

    /// Presence of a person, from the messages received. Signaling may know more.
    pub fn presence(&self, now: Now, did: &Did) -> Presence {
        let in_call = |id| self.calls.get(&id).is_some_and(|call| call.present().any(|(other, _)| other.did == *did));
        if self.current().is_some_and(in_call) {
            Presence::InThisCall
        } else if self.heard.is_recent(did, now.mono) {
            Presence::Online
        } else {
            Presence::Unknown
        }
    }

    /// Calls that ring.
    pub fn pending(&self) -> Vec<CallId> {
        let snapshot = self.snapshot();
        snapshot.calls.iter().filter(|call| call.state == CallState::Ringing).map(|call| call.call).collect()
    }

    /// All ids under which a call is known, the current one last.
    pub fn ids_of(&self, id: CallId) -> Vec<CallId> {
        let current = self.resolve(id);
        let replaced = self.aliases.iter().filter(|(_, new)| **new == current).map(|(old, _)| *old);
        replaced.chain([current]).collect()
    }

    /// Checks that a call is known and has not ended.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound).
    pub fn check_known(&self, id: CallId) -> Result<()> {
        self.known(self.resolve(id)).map(drop)
    }

    // --- inputs

    /// Handles an input.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.begin_input(now);
        match input {
            Input::Signal(signal) => self.handle_signal(signal),
            Input::BootRollback(rollback) => self.handle_boot_rollback(&rollback),
            Input::SubscriberJoined(topic) => self.handle_subscriber(&topic),
            Input::Speaking { endpoint, speaking } => {
                if let Some(id) = self.current() {
                    self.with_call(id, |call, shared| call.set_voice_detected(endpoint, speaking, shared));
                }
            }
            Input::Quality { call, endpoint, degraded } => {
                self.with_call(call, |call, shared| call.set_quality(endpoint, degraded, shared));
            }
            Input::Session { session, event } => {
                let of = |call: &Call| Some((call.id(), call.endpoint_of(session)?));
                if let Some((id, endpoint)) = self.calls.values().find_map(of) {
                    self.with_call(id, |call, shared| call.handle_session(endpoint, event, shared));
                }
            }
        }
        self.deliver();
    }

    /// Does everything that is due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.begin_input(now);
        self.for_each_call(Call::handle_timeout);
        self.forget_old();
        self.missed.handle_timeout(&mut self.shared);
        self.deliver();
    }

    /// Time at which [`handle_timeout`](Self::handle_timeout) is due.
    pub fn deadline(&self) -> Option<Instant> {
        let calls = self.calls.values().filter_map(|call| call.deadline(&self.shared));
        calls.chain(self.missed.deadline()).min()
    }

    /// Next output; `None` until the next input.
    pub fn poll(&mut self) -> Option<Output> {
        self.deliver();
        self.outputs.pop_front()
    }

    /// Sets the time of an input.
    pub(super) fn begin_input(&mut self, now: Now) {
        self.shared.now = now;
    }

    /// Moves queued items to the outputs. Events pass the history on their way, which is written
    /// before the user is told.
    pub(super) fn deliver(&mut self) {
        let now_ms = self.shared.now.unix_ms;
        while let Some(queued) = self.shared.pop_queued() {
            let (changes, output) = match queued {
                Queued::Output(Output::Emit(event)) => {
                    (self.history.observe(&event, now_ms), Some(Output::Emit(event)))
                }
                Queued::Output(output) => (Vec::new(), Some(output)),
                Queued::History(note) => (self.history.apply(note, now_ms), None),
            };
            self.persist_all(changes);
            self.outputs.extend(output);
        }
    }

    /// Outputs changes of the history.
    pub(super) fn persist_all(&mut self, changes: Vec<Change>) {
        self.outputs.extend(changes.into_iter().map(Output::Persist));
    }

    /// Handles a new subscriber of a topic: messages published there before may have to be
    /// repeated.
    fn handle_subscriber(&mut self, topic: &Topic) {
        let concerns = |call: &Call| call.keys.topic == *topic || call.people.values().any(|it| it.inbox() == topic);
        if !self.missed.concern(topic) && !self.calls.values().any(concerns) {
            return;
        }
        let at_once = self.subscribers.take(self.shared.mono(), *topic).is_ok();
        self.missed.handle_subscriber(topic, at_once, &mut self.shared);
        self.for_each_call(|call, shared| {
            call.handle_inbox_subscriber(topic, at_once, shared);
            if call.keys.topic == *topic {
                call.handle_topic_subscriber(at_once, shared);
            }
        });
    }

    // --- calls

    /// Current id of a call that may have been replaced by another one.
    pub(super) fn resolve(&self, id: CallId) -> CallId {
        self.aliases.get(&id).copied().unwrap_or(id)
    }

    /// Makes a call known by the id of the one that it replaces.
    pub(super) fn alias(&mut self, old: CallId, new: CallId) {
        let quota = Quota::familiar(self.calls.get(&new).is_some_and(|call| call.familiar));
        self.aliases.values_mut().filter(|to| **to == old).for_each(|to| *to = new);
        self.aliases.insert(quota, old, new);
    }

    pub(super) fn known(&self, id: CallId) -> Result<&Call> {
        let gone = || Error::new(ErrorKind::NotFound, "no such call").with("call", id);
        self.calls.get(&id).filter(|call| call.phase() != Phase::Over).ok_or_else(gone)
    }

    /// Calls a method of a call, and does everything that becomes due by it.
    pub(super) fn with_call(&mut self, id: CallId, work: impl FnOnce(&mut Call, &mut Shared)) {
        if let Some(call) = self.calls.get_mut(&id) {
            work(call, &mut self.shared);
            call.handle_timeout(&mut self.shared);
        }
        self.settle();
    }

    pub(super) fn for_each_call(&mut self, mut work: impl FnMut(&mut Call, &mut Shared)) {
        for call in self.calls.values_mut() {
            work(call, &mut self.shared);
            call.handle_timeout(&mut self.shared);
        }
        self.settle();
    }

    /// Applies the consequences of changed calls: missed-call notices, persisted state, ended
    /// calls.
    pub(super) fn settle(&mut self) {
        for call in self.calls.values_mut() {
            for (did, offer) in std::mem::take(&mut call.undelivered) {
                self.missed.add(call.id(), did, offer, self.shared.now.mono, &mut self.shared);
            }
            for did in std::mem::take(&mut call.uninvited) {
                self.missed.remove(&call.id(), &did, &mut self.shared);
            }
            call.persist(&mut self.shared);
        }
        if self.shared.take_boot_raised() {
            // Before a message about another call: its receivers would conclude that this device
            // restarted, and is no longer in these.
            for call in self.calls.values_mut().filter(|call| call.takes_part()) {
                call.change_record(&self.shared, true);
                call.handle_timeout(&mut self.shared);
            }
        }
        let finished = self.calls.values().filter(|call| call.is_finished());
        let finished: Vec<_> = finished.map(|call| (call.id(), call.quota())).collect();
        for (id, quota) in finished {
            self.calls.remove(&id);
            self.mark_ended(id, quota, self.shared.mono());
        }
        self.deliver();
    }

    /// Remembers a call that ended before it could ring. Neither the user nor the caller is told: a
    /// reply would tell a stranger more than the reply to an unsolicited offer. Not persisted.
    pub(super) fn mark_ended_silently(&mut self, id: CallId, quota: Quota) {
        self.insert_tombstone(id, quota, Tombstone { since: self.shared.mono(), silent: true });
    }

    /// Remembers a call that ended.
    pub(super) fn mark_ended(&mut self, id: CallId, quota: Quota, since: Instant) {
        self.insert_tombstone(id, quota, Tombstone { since, silent: false });
    }

    fn insert_tombstone(&mut self, id: CallId, quota: Quota, tombstone: Tombstone) {
        if let Some(oldest) = self.tombstones.insert(quota, id, tombstone) {
            self.shared.persist(Change::Tombstone(oldest, None));
        }
    }

    fn forget_old(&mut self) {
        let now = self.shared.mono();
        for call in self.calls.values_mut() {
            if call.phase() == Phase::Open && now >= call.since() + REMEMBERED {
                call.enter(Phase::Over, &self.shared);
            }
        }
        self.settle();
        self.missed.forget_old(&mut self.shared);
        while let Some(oldest) = self.tombstones.pop_oldest_if(|tombstone| now >= tombstone.since + REMEMBERED) {
            self.shared.persist(Change::Tombstone(oldest, None));
        }
    }
}
