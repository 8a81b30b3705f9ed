//! The machine: all calls of one endpoint.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use web_time::Instant;

use blink_api::{CallId, CallSettings, Did, Endpoint, Error, ErrorKind, Result, Topic};
use rand::{Rng, SeedableRng};

use super::history::History;
use super::lifecycle::{Call, Phase};
use super::memory::{Change, Memory, REMEMBERED};
use super::missed::MissedNotices;
use super::presence::Heard;
use super::shared::Shared;
use super::speaking::Voice;
use super::{CallState, ClockRound, ClockSync, HistoryEntry, Input, Now, Output, Snapshot};
use crate::secure::{Buckets, Channel, Identity, Random, SignatureChecks, inbox_topic};
use crate::shares::{Share, SharedMap};

/// The most an integrator may pass along with a call.
pub(super) const MAX_CONVERSATION: usize = 1_024;
/// Calls that are over and are remembered, so that they do not ring again: familiar ones, and those
/// of strangers.
pub(super) const MAX_TOMBSTONES: (usize, usize) = (3_072, 1_024);
/// Calls that another one took the place of, whose ids are still understood.
const MAX_ALIASES: (usize, usize) = (48, 16);
/// Words of others about calls unknown here, which may overtake the offer.
const MAX_EARLY: (usize, usize) = (768, 256);
/// On each topic so many new subscribers are answered at once in a row, and so many a second after
/// that.
const SUBSCRIBERS: (f64, f64) = (4.0, 0.2);

/// What a machine is made with.
pub struct MachineConfig {
    /// Signs for this person.
    pub identity: Identity,
    /// This device.
    pub own: Endpoint,
    /// Greater than at every start before.
    pub boot: u64,
    /// Ring time, busy policy, timers.
    pub settings: CallSettings,
    /// Of everything random.
    pub seed: [u8; 32],
    /// What is remembered of the time before this start.
    pub memory: Memory,
}

/// Remains of a call that is over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tombstone {
    since: Instant,
    /// It was over before anything could be told of it: messages about it are not answered.
    pub(super) silent: bool,
}

/// All calls of one endpoint. See the [module](super).
///
/// A clone goes on by itself, with the same keys and the same random numbers to come: it is for
/// looking at what would follow, not for talking to others.
#[derive(Clone)]
pub struct Machine {
    pub(super) shared: Shared,
    pub(super) calls: BTreeMap<CallId, Call>,
    pub(super) tombstones: SharedMap<CallId, Tombstone>,
    pub(super) missed: MissedNotices,
    /// Calls that another one took the place of.
    aliases: SharedMap<CallId, CallId>,
    pub(super) early: SharedMap<(CallId, Endpoint), (u64, u64)>,
    pub(super) heard: Heard,
    /// Limits what this device says because of new subscribers: subscribing and unsubscribing in
    /// turn must not amplify.
    subscribers: Buckets<Topic>,
}

impl Machine {
    /// A machine with what it remembers. Calls that this device was in when its process ended are
    /// left with the first outputs; none rings again.
    pub fn new(config: MachineConfig, now: Now) -> Self {
        let mut random = Random::from_seed(config.seed);
        let mut boot_secret = [0; 32];
        random.fill_bytes(&mut boot_secret);
        let history = History::new(config.settings.history);
        let mut machine = Self {
            shared: Shared {
                now,
                started: now.mono,
                identity: config.identity,
                own: config.own,
                boot: config.boot,
                jumped: false,
                settings: config.settings,
                known: BTreeSet::new(),
                random,
                muted: false,
                deafened: false,
                recording: false,
                voice: Voice::default(),
                streams: Vec::new(),
                out: VecDeque::new(),
                boot_secret,
                sessions: 0,
                replies: BTreeMap::new(),
                signatures: SignatureChecks::new(now.mono),
                history,
            },
            calls: BTreeMap::new(),
            tombstones: SharedMap::new(MAX_TOMBSTONES.0, MAX_TOMBSTONES.1),
            missed: MissedNotices::default(),
            aliases: SharedMap::new(MAX_ALIASES.0, MAX_ALIASES.1),
            early: SharedMap::new(MAX_EARLY.0, MAX_EARLY.1),
            heard: Heard::default(),
            subscribers: Buckets::new(SUBSCRIBERS.1, SUBSCRIBERS.0, now.mono),
        };
        machine.restore(config.memory);
        machine
    }

    // --- questions

    /// This device.
    pub fn own(&self) -> Endpoint {
        self.shared.own
    }

    /// How a participant's clock stands against this device's; `None` without a path to it, and
    /// before the first answer.
    pub fn clock_of(&self, endpoint: &Endpoint) -> Option<ClockSync> {
        let call = self.calls.get(&self.current()?)?;
        call.peers.get(endpoint)?.link.as_ref()?.clock.best()
    }

    /// The newest rounds of the time sync with a participant, oldest first; none without a path to
    /// it. Times of this device count from [`clock_epoch`](Self::clock_epoch).
    pub fn clock_rounds(&self, endpoint: &Endpoint) -> impl Iterator<Item = ClockRound> + '_ {
        let call = self.current().and_then(|call| self.calls.get(&call));
        let link = call.and_then(|call| call.peers.get(endpoint)).and_then(|peer| peer.link.as_ref());
        link.into_iter().flat_map(|link| link.clock.rounds())
    }

    /// Zero of this device's media clock, which the time sync compares with those of others.
    pub fn clock_epoch(&self) -> Instant {
        self.shared.started
    }

    /// The call this device is in, or offers.
    pub fn current(&self) -> Option<CallId> {
        self.calls.values().find(|call| call.phase.is_current()).map(Call::id)
    }

    /// Whether somebody should hear something once more before this device goes: that it left,
    /// rejected or cancelled.
    pub fn has_pending_farewells(&self) -> bool {
        self.calls.values().any(Call::has_pending_farewells)
    }

    /// Whether what somebody says should come through where more is said than can be heard: the
    /// integrator named this person as known, it is the own person, or it takes part in the call
    /// that this device is in. Whoever may only call may be anybody.
    pub fn is_expected(&self, did: &Did) -> bool {
        let in_call = |call: &Call| call.phase.is_current() && call.roster.is_valid(did);
        *did == self.shared.own.did || self.shared.known.contains(did) || self.calls.values().any(in_call)
    }

    /// Whether a person may say anything where a message came in: on a call's topic only who takes
    /// part in the call. Who once had the call's secret still makes messages there that the network
    /// cannot tell from those of members.
    pub fn is_permitted(&self, channel: &Channel, did: &Did) -> bool {
        match channel {
            Channel::Inbox(_) => true,
            Channel::Call(call) => self.calls.get(call).is_none_or(|call| call.roster.is_valid(did)),
        }
    }

    /// How many signatures inside messages were checked; those that were remembered as right are
    /// left out.
    pub fn signatures_checked(&self) -> u64 {
        self.shared.signatures.checked()
    }

    /// The topic of the own inbox, which a driver subscribes to.
    pub fn inbox(&self) -> blink_api::Topic {
        inbox_topic(&self.shared.own.did)
    }

    /// Everything at this moment.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            calls: self.calls.values().filter_map(|call| call.snapshot(&self.shared)).collect(),
            muted: self.shared.muted,
            deafened: self.shared.deafened,
            recording: self.shared.recording,
            streams: self.shared.streams.iter().map(Into::into).collect(),
        }
    }

    /// What is known of calls that were, the newest first.
    pub fn history(&self) -> Vec<HistoryEntry> {
        self.shared.history.newest_first()
    }

    /// Calls that ring here.
    pub fn pending(&self) -> Vec<CallId> {
        let snapshot = self.snapshot();
        snapshot.calls.iter().filter(|call| call.state == CallState::Ringing).map(|call| call.call).collect()
    }

    // --- inputs

    /// Takes an input in.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.shared.now = now;
        match input {
            Input::Signal(signal) => self.handle_signal(signal),
            Input::BootRollback(boot_rollback) => self.handle_set_back(&boot_rollback),
            Input::SubscriberJoined(topic) => self.handle_subscriber(&topic),
            Input::Speaking { endpoint, speaking } => {
                if let Some(id) = self.current() {
                    self.with_call(id, |call, shared| call.hear_voice(endpoint, speaking, shared));
                }
            }
            Input::Session { session, event } => {
                let of = |call: &Call| Some((call.id(), call.endpoint_of(session)?));
                if let Some((id, endpoint)) = self.calls.values().find_map(of) {
                    self.with_call(id, |call, shared| call.handle_session(endpoint, event, shared));
                }
            }
        }
    }

    /// A new subscriber of a topic: what was said there before may be worth saying again.
    fn handle_subscriber(&mut self, topic: &Topic) {
        let concerns = |call: &Call| call.keys.topic == *topic || call.people.values().any(|it| it.inbox == *topic);
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

    /// Does what time demands.
    pub fn handle_timeout(&mut self, now: Now) {
        self.shared.now = now;
        self.for_each_call(Call::handle_timeout);
        self.forget_old();
        self.missed.handle_timeout(&mut self.shared);
    }

    /// When `handle_timeout` is due.
    pub fn deadline(&self) -> Option<Instant> {
        let calls = self.calls.values().filter_map(|call| call.deadline(&self.shared));
        calls.chain(self.missed.deadline()).min()
    }

    /// What is to be done, in order; `None` until the next input.
    pub fn poll(&mut self) -> Option<Output> {
        self.shared.out.pop_front()
    }

    /// Every id by which a call is known here, the current one last.
    pub fn ids_of(&self, id: CallId) -> Vec<CallId> {
        let current = self.resolve(id);
        let replaced = self.aliases.iter().filter(|(_, new)| **new == current).map(|(old, _)| *old);
        replaced.chain([current]).collect()
    }

    /// Whether a call is known here and not over.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound).
    pub fn check_known(&self, id: CallId) -> Result<()> {
        self.known(self.resolve(id)).map(drop)
    }

    /// The call that took the place of another is known by the other's id too.
    pub(super) fn resolve(&self, id: CallId) -> CallId {
        self.aliases.get(&id).copied().unwrap_or(id)
    }

    /// One call takes the place of another.
    pub(super) fn alias(&mut self, old: CallId, new: CallId) {
        let share = Share::familiar(self.calls.get(&new).is_some_and(|call| call.familiar));
        self.aliases.values_mut().filter(|to| **to == old).for_each(|to| *to = new);
        self.aliases.insert(share, old, new);
    }

    pub(super) fn known(&self, id: CallId) -> Result<&Call> {
        let gone = || Error::new(ErrorKind::NotFound, "no such call").with("call", id);
        self.calls.get(&id).filter(|call| call.phase != Phase::Over).ok_or_else(gone)
    }

    /// Lets a call work; whatever became due by it is done at once.
    pub(super) fn with_call(&mut self, id: CallId, work: impl FnOnce(&mut Call, &mut Shared)) {
        if let Some(call) = self.calls.get_mut(&id) {
            work(call, &mut self.shared);
            call.handle_timeout(&mut self.shared);
        }
        self.settle();
    }

    fn for_each_call(&mut self, mut work: impl FnMut(&mut Call, &mut Shared)) {
        for call in self.calls.values_mut() {
            work(call, &mut self.shared);
            call.handle_timeout(&mut self.shared);
        }
        self.settle();
    }

    /// What follows once calls have worked: notices of missed calls, what is remembered, calls that
    /// are over.
    pub(super) fn settle(&mut self) {
        for call in self.calls.values_mut() {
            for (did, offer) in std::mem::take(&mut call.unheard) {
                self.missed.add(call.id(), did, offer, self.shared.now.mono, &mut self.shared);
            }
            for did in std::mem::take(&mut call.uninvited) {
                self.missed.remove(&call.id(), &did, &mut self.shared);
            }
            call.remember(&mut self.shared);
        }
        if std::mem::take(&mut self.shared.jumped)
            && let Some(call) = self.calls.values_mut().find(|call| call.phase.is_current())
        {
            // Before anything is said of another call: whoever heard that first would believe that
            // this device started anew.
            call.change_record(&self.shared, true);
            call.handle_timeout(&mut self.shared);
        }
        let finished = self.calls.values().filter(|call| call.is_finished());
        let finished: Vec<_> = finished.map(|call| (call.id(), call.share())).collect();
        for (id, share) in finished {
            self.calls.remove(&id);
            self.mark_ended(id, share, self.shared.mono());
        }
    }

    /// A call was over before it could ring. Neither the user nor the caller is told: an answer
    /// would tell a stranger more than that to an unasked offer does. After a start it is unknown
    /// again.
    pub(super) fn bury(&mut self, id: CallId, share: Share) {
        self.insert_tombstone(id, share, Tombstone { since: self.shared.mono(), silent: true });
    }

    pub(super) fn mark_ended(&mut self, id: CallId, share: Share, since: Instant) {
        self.insert_tombstone(id, share, Tombstone { since, silent: false });
    }

    fn insert_tombstone(&mut self, id: CallId, share: Share, tombstone: Tombstone) {
        if let Some(oldest) = self.tombstones.insert(share, id, tombstone) {
            self.shared.keep(Change::Tombstone(oldest, None));
        }
    }

    fn forget_old(&mut self) {
        let now = self.shared.mono();
        for call in self.calls.values_mut() {
            if call.phase == Phase::Open && now >= call.since + REMEMBERED {
                call.phase = Phase::Over;
            }
        }
        self.settle();
        self.missed.forget_old(&mut self.shared);
        while let Some(oldest) = self.tombstones.pop_oldest_if(|tombstone| now >= tombstone.since + REMEMBERED) {
            self.shared.keep(Change::Tombstone(oldest, None));
        }
    }
}
