//! The machine: all calls of one endpoint.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use blink_api::{CallId, CallSettings, Did, Endpoint, Error, ErrorKind, Result};
use minicbor::bytes::ByteVec;
use rand::{Rng, SeedableRng};

use super::event::EndReason;
use super::lifecycle::{Call, Phase};
use super::missed::MissedNotices;
use super::roster::{MAX_ROOT_MEMBERS, Roster};
use super::shared::Shared;
use super::{CallState, Input, Now, Output, Snapshot};
use crate::secure::{AgreementKey, CallKeys, Identity, Random, inbox_topic, sha256};
use crate::wire::{CallConfiguration, Root};

/// The most an integrator may pass along with a call.
pub(super) const MAX_CONVERSATION: usize = 1_024;
/// Calls that are over and are remembered, so that they do not ring again.
const MAX_TOMBSTONES: usize = 4_096;
/// Calls that another one took the place of, whose ids are still understood.
const MAX_ALIASES: usize = 64;
/// How long they are.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);

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
}

/// All calls of one endpoint. See the [module](super).
///
/// A clone goes on by itself, with the same keys and the same random numbers to come: it is for looking at what would follow, not for talking to others.
#[derive(Clone)]
pub struct Machine {
    pub(super) shared: Shared,
    pub(super) calls: BTreeMap<CallId, Call>,
    pub(super) tombstones: BTreeMap<CallId, Instant>,
    tombstone_order: VecDeque<CallId>,
    pub(super) missed: MissedNotices,
    /// Calls that another one took the place of.
    aliases: VecDeque<(CallId, CallId)>,
    pub(super) early: BTreeMap<(CallId, Endpoint), (u64, u64)>,
    pub(super) early_order: VecDeque<(CallId, Endpoint)>,
}

impl Machine {
    /// A machine without calls.
    pub fn new(config: MachineConfig, now: Now) -> Self {
        let mut random = Random::from_seed(config.seed);
        let mut boot_secret = [0; 32];
        random.fill_bytes(&mut boot_secret);
        Self {
            shared: Shared {
                now,
                started: now.mono,
                identity: config.identity,
                own: config.own,
                boot: config.boot,
                settings: config.settings,
                known: BTreeSet::new(),
                random,
                muted: false,
                deafened: false,
                recording: false,
                speaking: false,
                streams: Vec::new(),
                out: VecDeque::new(),
                boot_secret,
                sessions: 0,
                replies: BTreeMap::new(),
            },
            calls: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            tombstone_order: VecDeque::new(),
            missed: MissedNotices::default(),
            aliases: VecDeque::new(),
            early: BTreeMap::new(),
            early_order: VecDeque::new(),
        }
    }

    // --- commands

    /// Offers a call to other people. A call that rings here with exactly the same people is answered instead. A call this device is in
    /// is left.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for nobody, too many, an unusable DID or too long a conversation.
    pub fn offer(&mut self, now: Now, people: &[Did], conversation: &[u8]) -> Result<CallId> {
        self.shared.now = now;
        self.check_offer(people, conversation)?;
        let members = self.root_members(people)?;
        let same = |call: &&Call| call.phase == Phase::In && call.roster.root().members == members;
        if let Some(pending) = self.calls.values().find(same).map(Call::id) {
            return self.answer(now, pending);
        }
        self.leave_current(EndReason::Left);
        let shared = &mut self.shared;
        let mut secret = zeroize::Zeroizing::new([0; 32]);
        shared.random.fill_bytes(&mut secret[..]);
        let root = Root {
            creator: shared.own,
            nonce: Call::fresh_nonce(shared),
            unix_ms: now.unix_ms,
            secret_hash: sha256(&[&secret[..]]),
            members,
        };
        let roster = Roster::create(root, &shared.identity);
        let keys = CallKeys::new(roster.call(), secret);
        let conversation = (!conversation.is_empty()).then(|| ByteVec::from(conversation.to_vec()));
        let (from, ring) = (shared.own.did, shared.settings.ring_time);
        let mut call = Call::new(roster, keys, CallConfiguration { conversation }, Phase::Out, from, ring, shared);
        call.begin(shared);
        let id = call.id();
        call.handle_timeout(shared);
        self.calls.insert(id, call);
        Ok(id)
    }

    fn root_members(&self, people: &[Did]) -> Result<Vec<Did>> {
        let own = self.shared.own.did;
        let members: BTreeSet<Did> = people.iter().copied().chain([own]).collect();
        if members.len() < 2 {
            return Err(Error::new(ErrorKind::Invalid, "a call needs somebody else").operation("offer_call"));
        }
        if members.len() > MAX_ROOT_MEMBERS {
            return Err(Error::new(ErrorKind::Invalid, "a call begins with at most 16 people").operation("offer_call"));
        }
        for did in &members {
            if AgreementKey::public_of(did).is_err() {
                return Err(Error::new(ErrorKind::Invalid, "not a usable key")
                    .operation("offer_call")
                    .with("did", did));
            }
        }
        Ok(members.into_iter().collect())
    }

    /// Answers a call that rings here, or joins one that goes on. A call this device is in is left.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for a call unknown here, [`State`](ErrorKind::State) for one this device is in already or that is over.
    pub fn answer(&mut self, now: Now, id: CallId) -> Result<CallId> {
        self.shared.now = now;
        self.check_answer(id)?;
        let id = self.resolve(id);
        self.leave_current(EndReason::Left);
        self.with_call(id, Call::join);
        Ok(id)
    }

    /// Rejects a call that rings here.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for a call unknown here, [`State`](ErrorKind::State) for one that does not ring.
    pub fn reject(&mut self, now: Now, id: CallId) -> Result<()> {
        self.shared.now = now;
        let id = self.resolve(id);
        if self.known(id)?.phase != Phase::In {
            return Err(Error::new(ErrorKind::State, "that call does not ring here").with("call", id));
        }
        self.with_call(id, Call::reject);
        Ok(())
    }

    /// Leaves the call this device is in, or takes back its offer.
    ///
    /// # Errors
    /// [`State`](ErrorKind::State) where there is none.
    pub fn leave(&mut self, now: Now) -> Result<()> {
        self.shared.now = now;
        if self.leave_current(EndReason::Left) { Ok(()) } else { Err(Error::new(ErrorKind::State, "not in a call")) }
    }

    /// Invites somebody into the call this device is in; it is a group's from then on.
    ///
    /// # Errors
    /// [`State`](ErrorKind::State) without a call, or where the roster does not allow it; [`Invalid`](ErrorKind::Invalid) for an unusable DID.
    pub fn add(&mut self, now: Now, did: Did) -> Result<()> {
        self.shared.now = now;
        if AgreementKey::public_of(&did).is_err() {
            return Err(Error::new(ErrorKind::Invalid, "not a usable key").with("did", did));
        }
        self.change_roster(|roster, identity| roster.add(did, identity))
    }

    /// Removes somebody for good from the call this device is in, which this person must have begun.
    ///
    /// # Errors
    /// [`State`](ErrorKind::State) without a call, for somebody else's, or for somebody who is not in it.
    pub fn remove(&mut self, now: Now, did: Did) -> Result<()> {
        self.shared.now = now;
        self.change_roster(|roster, identity| roster.remove(did, identity))
    }

    fn change_roster(&mut self, change: impl FnOnce(&mut Roster, &Identity) -> Result<()>) -> Result<()> {
        let id = self.current().ok_or_else(|| Error::new(ErrorKind::State, "not in a call"))?;
        let call = self.calls.get_mut(&id).ok_or_else(|| Error::new(ErrorKind::State, "not in a call"))?;
        change(&mut call.roster, &self.shared.identity)?;
        self.with_call(id, Call::handle_own_roster_change);
        Ok(())
    }

    /// Tells others whether this device sends sound.
    pub fn set_muted(&mut self, now: Now, muted: bool) {
        self.shared.now = now;
        if std::mem::replace(&mut self.shared.muted, muted) != muted {
            self.change_current(false);
        }
        if let Some(id) = self.current().filter(|_| muted) {
            self.with_call(id, |call, shared| call.stop_speaking(shared.own, shared));
        }
    }

    /// Tells others whether this device plays sound.
    pub fn set_deafened(&mut self, now: Now, deafened: bool) {
        self.shared.now = now;
        if std::mem::replace(&mut self.shared.deafened, deafened) != deafened {
            self.change_current(false);
        }
    }

    /// Tells others whether this device records the call. The flag ends with the call.
    ///
    /// # Errors
    /// [`State`](ErrorKind::State) without a call.
    pub fn set_recording(&mut self, now: Now, recording: bool) -> Result<()> {
        self.shared.now = now;
        if self.current().is_none() {
            return Err(Error::new(ErrorKind::State, "not in a call"));
        }
        if std::mem::replace(&mut self.shared.recording, recording) != recording {
            self.change_current(false);
        }
        Ok(())
    }

    /// People whose offers ring under `call.from = "known"`, and of whom more may be pending.
    pub fn set_known(&mut self, known: BTreeSet<Did>) {
        self.shared.known = known;
    }

    /// What others are told about this device has changed.
    pub(super) fn change_current(&mut self, at_once: bool) {
        if let Some(id) = self.current() {
            self.with_call(id, |call, shared| {
                call.change_record(shared, at_once);
                call.sync_all_flows(shared);
            });
        }
    }

    fn leave_current(&mut self, reason: EndReason) -> bool {
        let Some(id) = self.current() else { return false };
        self.with_call(id, |call, shared| call.end(reason, shared));
        true
    }

    // --- questions

    /// This device.
    pub fn own(&self) -> Endpoint {
        self.shared.own
    }

    /// The call this device is in, or offers.
    pub fn current(&self) -> Option<CallId> {
        self.calls.values().find(|call| call.phase.is_current()).map(Call::id)
    }

    /// Whether an offer could be made; changes nothing.
    ///
    /// # Errors
    /// As [`offer`](Machine::offer).
    pub fn check_offer(&self, people: &[Did], conversation: &[u8]) -> Result<()> {
        if conversation.len() > MAX_CONVERSATION {
            return Err(Error::new(ErrorKind::Invalid, "the conversation is longer than 1 KiB"));
        }
        self.root_members(people).map(drop)
    }

    /// Whether a call could be answered or joined; changes nothing.
    ///
    /// # Errors
    /// As [`answer`](Machine::answer).
    pub fn check_answer(&self, id: CallId) -> Result<()> {
        let call = self.known(self.resolve(id))?;
        if matches!(call.phase, Phase::In | Phase::Open) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::State, "this device is in that call, or it is over").with("call", id))
    }

    /// Whether somebody should hear something once more before this device goes: that it left, rejected or cancelled.
    pub fn has_more_to_say(&self) -> bool {
        self.calls.values().any(Call::has_more_to_say)
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
            Input::SubscriberJoined(topic) => {
                self.missed.handle_subscriber(&topic, &mut self.shared);
                self.for_each_call(|call, shared| {
                    call.handle_inbox_subscriber(&topic, shared);
                    if call.keys.topic == topic {
                        call.handle_topic_subscriber(shared);
                    }
                });
            }
            Input::Speaking { endpoint, speaking } => {
                if let Some(id) = self.current() {
                    self.with_call(id, |call, shared| call.set_speaking(endpoint, speaking, shared));
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

    /// Does what time demands.
    pub fn handle_timeout(&mut self, now: Now) {
        self.shared.now = now;
        self.for_each_call(Call::handle_timeout);
        self.forget_old();
    }

    /// When `handle_timeout` is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.calls.values().filter_map(|call| call.deadline(&self.shared)).min()
    }

    /// What is to be done, in order; `None` until the next input.
    pub fn poll(&mut self) -> Option<Output> {
        self.shared.out.pop_front()
    }

    /// The call that took the place of another is known by the other's id too.
    fn resolve(&self, id: CallId) -> CallId {
        self.aliases.iter().find(|(old, _)| *old == id).map_or(id, |(_, new)| *new)
    }

    /// One call takes the place of another.
    pub(super) fn alias(&mut self, old: CallId, new: CallId) {
        if self.aliases.len() == MAX_ALIASES {
            self.aliases.pop_front();
        }
        self.aliases.iter_mut().filter(|(_, to)| *to == old).for_each(|(_, to)| *to = new);
        self.aliases.push_back((old, new));
    }

    fn known(&self, id: CallId) -> Result<&Call> {
        let gone = || Error::new(ErrorKind::NotFound, "no such call").with("call", id);
        self.calls.get(&id).filter(|call| call.phase != Phase::Over).ok_or_else(gone)
    }

    /// Lets a call work; whatever became due by it is done at once.
    pub(super) fn with_call(&mut self, id: CallId, work: impl FnOnce(&mut Call, &mut Shared)) {
        if let Some(call) = self.calls.get_mut(&id) {
            work(call, &mut self.shared);
            call.handle_timeout(&mut self.shared);
        }
        self.bury_finished();
    }

    fn for_each_call(&mut self, mut work: impl FnMut(&mut Call, &mut Shared)) {
        for call in self.calls.values_mut() {
            work(call, &mut self.shared);
            call.handle_timeout(&mut self.shared);
        }
        self.bury_finished();
    }

    pub(super) fn bury_finished(&mut self) {
        for call in self.calls.values_mut() {
            for (did, inbox, offer) in std::mem::take(&mut call.unheard) {
                self.missed.add(call.id(), did, inbox, offer, self.shared.now.mono);
            }
        }
        let finished: Vec<_> = self.calls.values().filter(|call| call.is_finished()).map(Call::id).collect();
        for id in finished {
            self.calls.remove(&id);
            self.bury(id);
        }
    }

    pub(super) fn bury(&mut self, id: CallId) {
        if self.tombstones.len() >= MAX_TOMBSTONES
            && let Some(oldest) = self.tombstone_order.pop_front()
        {
            self.tombstones.remove(&oldest);
        }
        if self.tombstones.insert(id, self.shared.mono()).is_none() {
            self.tombstone_order.push_back(id);
        }
    }

    fn forget_old(&mut self) {
        let now = self.shared.mono();
        for call in self.calls.values_mut() {
            if call.phase == Phase::Open && now >= call.since + REMEMBERED {
                call.phase = Phase::Over;
            }
        }
        while let Some(oldest) = self.tombstone_order.front()
            && self.tombstones.get(oldest).is_none_or(|buried| now >= *buried + REMEMBERED)
        {
            self.tombstones.remove(oldest);
            self.tombstone_order.pop_front();
        }
    }
}
