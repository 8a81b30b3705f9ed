//! The machine: all calls of one endpoint.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use blink_api::{BusyPolicy, CallId, CallSettings, Did, Endpoint, Error, ErrorKind, Result};
use minicbor::bytes::ByteVec;
use rand::{Rng, SeedableRng};

use super::call::{Call, Phase};
use super::event::{CancelledReason, EndReason, Event, LeftReason};
use super::roster::{MAX_ROOT_MEMBERS, Roster};
use super::shared::Shared;
use super::{CallState, Input, Now, Output, Signal, Snapshot};
use crate::secure::{AgreementKey, CallKeys, Channel, Identity, Random, Refusal, inbox_topic, sha256};
use crate::wire::{Body, Busy, CallConfiguration, Cancel, CancelReason, Offer, Ringing, Root, Status};

/// The most an integrator may pass along with a call.
const MAX_CONVERSATION: usize = 1_024;
/// Calls that ring here at the same time, from known people and from strangers.
const MAX_PENDING: (usize, usize) = (12, 4);
/// Calls that go on without this device and are remembered.
const MAX_OPEN: usize = 64;
/// Calls that are over and are remembered, so that they do not ring again.
const MAX_TOMBSTONES: usize = 4_096;
/// How long they are.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);
/// Words of others about calls unknown here, which may overtake the offer.
const MAX_EARLY: usize = 1_024;

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
pub struct Machine {
    shared: Shared,
    calls: BTreeMap<CallId, Call>,
    tombstones: BTreeMap<CallId, Instant>,
    tombstone_order: VecDeque<CallId>,
    early: BTreeMap<(CallId, Endpoint), (u64, u64)>,
    early_order: VecDeque<(CallId, Endpoint)>,
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
                out: VecDeque::new(),
                boot_secret,
                sessions: 0,
                replies: BTreeMap::new(),
            },
            calls: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            tombstone_order: VecDeque::new(),
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
        let members = self.root_members(people)?;
        if conversation.len() > MAX_CONVERSATION {
            return Err(Error::new(ErrorKind::Invalid, "the conversation is longer than 1 KiB"));
        }
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
                return Err(Error::new(ErrorKind::Invalid, "not a usable key").operation("offer_call").with("did", did));
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
        let call = self.known(id)?;
        if !matches!(call.phase, Phase::In | Phase::Open) {
            return Err(Error::new(ErrorKind::State, "this device is in that call, or it is over").with("call", id));
        }
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

    /// Tells others whether this device sends sound.
    pub fn set_muted(&mut self, now: Now, muted: bool) {
        self.shared.now = now;
        if std::mem::replace(&mut self.shared.muted, muted) != muted {
            self.change_current();
        }
    }

    /// Tells others whether this device plays sound.
    pub fn set_deafened(&mut self, now: Now, deafened: bool) {
        self.shared.now = now;
        if std::mem::replace(&mut self.shared.deafened, deafened) != deafened {
            self.change_current();
        }
    }

    /// People whose offers ring under `call.from = "known"`, and of whom more may be pending.
    pub fn set_known(&mut self, known: BTreeSet<Did>) {
        self.shared.known = known;
    }

    fn change_current(&mut self) {
        if let Some(id) = self.current() {
            self.with_call(id, |call, shared| call.change_record(shared, false));
        }
    }

    fn leave_current(&mut self, reason: EndReason) -> bool {
        let Some(id) = self.current() else { return false };
        self.with_call(id, |call, shared| call.end(reason, shared));
        true
    }

    // --- questions

    /// The call this device is in, or offers.
    pub fn current(&self) -> Option<CallId> {
        self.calls.values().find(|call| call.phase.is_current()).map(Call::id)
    }

    /// The topic of the own inbox, which a driver subscribes to.
    pub fn inbox(&self) -> blink_api::Topic {
        inbox_topic(&self.shared.own.did)
    }

    /// When it was made.
    pub fn started(&self) -> Instant {
        self.shared.started
    }

    /// Everything at this moment.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            calls: self.calls.values().filter_map(|call| call.snapshot(&self.shared)).collect(),
            muted: self.shared.muted,
            deafened: self.shared.deafened,
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
                self.for_each_call(|call, shared| {
                    call.handle_inbox_subscriber(&topic, shared);
                    if call.keys.topic == topic {
                        call.handle_topic_subscriber(shared);
                    }
                });
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

    fn handle_signal(&mut self, signal: Signal) {
        self.end_calls_before(&signal);
        let Signal { channel, from, boot, call: id, body } = signal;
        if let (Body::Offer(offer), Channel::Inbox(_)) = (&body, &channel) {
            return self.handle_offer(id, from, boot, offer);
        }
        if !self.calls.contains_key(&id) {
            return self.handle_stray(id, from, boot, &body);
        }
        self.with_call(id, |call, shared| match &body {
            Body::Offer(_) => {}
            Body::Ringing(ringing) => call.handle_ringing(from, ringing, shared),
            Body::Busy(_) => call.handle_busy(from, shared),
            Body::Reject(reject) => call.handle_reject(from, reject, shared),
            Body::Cancel(cancel) => call.handle_cancel(from, boot, cancel, shared),
            Body::Link(link) => call.handle_link(from, link, shared),
            Body::Member(member) if call.phase == Phase::Over => {
                reply_ended(call.id(), from.did, member.record.status, shared);
            }
            Body::Member(member) => call.handle_member(from, boot, member, shared),
        });
    }

    /// An endpoint that speaks under a new boot is no longer in the calls it was in before.
    fn end_calls_before(&mut self, signal: &Signal) {
        let from = signal.from;
        let restarted = |call: &Call| {
            let peer = call.peers.get(&from);
            call.id() != signal.call && peer.is_some_and(|peer| peer.is_present() && peer.boot < signal.boot)
        };
        let calls: Vec<_> = self.calls.values().filter(|call| restarted(call)).map(Call::id).collect();
        for id in calls {
            self.with_call(id, |call, shared| call.handle_gone(from, LeftReason::Restarted, shared));
        }
    }

    /// About a call that is over or was never heard of here.
    fn handle_stray(&mut self, id: CallId, from: Endpoint, boot: u64, body: &Body) {
        let over = self.tombstones.contains_key(&id);
        match body {
            Body::Member(member) if over => reply_ended(id, from.did, member.record.status, &mut self.shared),
            Body::Cancel(cancel) if over && !cancel.acknowledged && cancel.reason != CancelReason::Ended => {
                let acknowledgement = Cancel { acknowledged: true, joined: Vec::new(), ..cancel.clone() };
                self.shared.send_inbox(from.did, id, Body::Cancel(acknowledgement));
            }
            Body::Reject(reject) if over && !reject.acknowledged => {
                let acknowledgement = crate::wire::Reject { acknowledged: true, ..reject.clone() };
                self.shared.send_inbox(from.did, id, Body::Reject(acknowledgement));
            }
            Body::Cancel(cancel) if !over && !cancel.acknowledged => self.remember_early(id, from, boot, cancel.version),
            _ if over => {}
            _ => self.shared.refuse(Refusal::NotAuthorized),
        }
    }

    /// A cancel may overtake its offer, which then must not ring.
    fn remember_early(&mut self, id: CallId, from: Endpoint, boot: u64, version: u64) {
        if self.early.len() >= MAX_EARLY
            && let Some(oldest) = self.early_order.pop_front()
        {
            self.early.remove(&oldest);
        }
        if self.early.insert((id, from), (boot, version)).is_none() {
            self.early_order.push_back((id, from));
        }
    }

    // --- offers

    fn handle_offer(&mut self, id: CallId, from: Endpoint, boot: u64, offer: &Offer) {
        if self.tombstones.contains_key(&id) {
            return reply_ended(id, from.did, Status::Joined, &mut self.shared);
        }
        if self.calls.contains_key(&id) {
            return self.with_call(id, |call, shared| repeated_offer(call, from, offer, shared));
        }
        if let Err(refusal) = self.new_offer(id, from, boot, offer) {
            self.shared.refuse(refusal);
        }
    }

    fn new_offer(&mut self, id: CallId, from: Endpoint, boot: u64, offer: &Offer) -> Result<(), Refusal> {
        if !self.shared.rings_for(&from.did) || from.did == self.shared.own.did {
            return Err(Refusal::NotAuthorized);
        }
        let mut roster = Roster::verified(id, &offer.root, &offer.secret)?;
        roster.merge(&offer.entries)?;
        if !roster.is_valid(&from.did) || !roster.is_valid(&self.shared.own.did) {
            return Err(Refusal::NotAuthorized);
        }
        let nonce = self.shared.nonce(id, from.did);
        if !offer.echo.contains(&nonce) {
            // Nothing is stored: whoever asks must show that it asks now.
            if self.shared.may_reply(id, from.did) {
                self.shared.send_inbox(from.did, id, Body::Ringing(Ringing { nonce, rings: false }));
            }
            return Ok(());
        }
        self.admit_offer(roster, from, boot, offer);
        Ok(())
    }

    /// A fresh offer of somebody who may call.
    fn admit_offer(&mut self, roster: Roster, from: Endpoint, boot: u64, offer: &Offer) {
        let id = roster.call();
        let busy = self.current().is_some() && self.shared.settings.busy == BusyPolicy::Reject;
        let keys = CallKeys::new(id, offer.secret.clone());
        let remaining = Call::remaining(offer).min(self.shared.settings.ring_time.max(Duration::from_secs(60)));
        let shared = &mut self.shared;
        let mut configuration = offer.configuration.clone();
        configuration.conversation = configuration.conversation.filter(|bytes| bytes.len() <= MAX_CONVERSATION);
        let mut call = Call::new(roster, keys, configuration, Phase::In, from.did, remaining, shared);
        let own_claim = offer.joined.iter().find(|claim| claim.endpoint == from && claim.boot == boot);
        let cancelled = |endpoint: &Endpoint, boot, version| {
            self.early.get(&(id, *endpoint)).is_some_and(|early| (boot, version) <= *early)
        };
        let joined: Vec<_> = offer
            .joined
            .iter()
            .filter(|claim| !cancelled(&claim.endpoint, claim.boot, claim.version))
            .copied()
            .collect();
        call.take_claims(&joined, shared);
        if own_claim.is_none() || call.present().next().is_none() {
            return self.bury(id);
        }
        let members = call.roster.valid().to_vec();
        if remaining.is_zero() {
            call.missed(shared);
        } else if busy {
            call.phase = Phase::Open;
            call.busy = true;
            shared.send_inbox(from.did, id, Body::Busy(Busy {}));
        } else {
            let conversation = call.conversation();
            shared.emit(Event::IncomingCall { call: id, from: from.did, members, conversation });
            let nonce = shared.nonce(id, from.did);
            shared.send_inbox(from.did, id, Body::Ringing(Ringing { nonce, rings: true }));
        }
        self.calls.insert(id, call);
        self.limit_pending();
        self.limit_open();
        self.bury_finished();
    }

    /// Only so many calls ring at once: the oldest of its sort makes room.
    fn limit_pending(&mut self) {
        let (of_known, of_strangers) = MAX_PENDING;
        for (known, limit) in [(true, of_known), (false, of_strangers)] {
            let pending = || {
                let is = |call: &&Call| call.phase == Phase::In && self.shared.known.contains(&call.from) == known;
                self.calls.values().filter(is)
            };
            if pending().count() > limit
                && let Some(oldest) = pending().min_by_key(|call| call.since).map(Call::id)
            {
                self.with_call(oldest, |call, shared| {
                    call.phase = call.phase_when_out();
                    shared.emit(Event::CallCancelled { call: call.id(), reason: CancelledReason::Displaced });
                });
            }
        }
    }

    fn limit_open(&mut self) {
        let open = || self.calls.values().filter(|call| call.phase == Phase::Open);
        if open().count() > MAX_OPEN
            && let Some(oldest) = open().min_by_key(|call| call.since).map(Call::id)
        {
            self.with_call(oldest, |call, _| call.phase = Phase::Over);
        }
    }

    // --- upkeep

    fn known(&self, id: CallId) -> Result<&Call> {
        let gone = || Error::new(ErrorKind::NotFound, "no such call").with("call", id);
        self.calls.get(&id).filter(|call| call.phase != Phase::Over).ok_or_else(gone)
    }

    /// Lets a call work; whatever became due by it is done at once.
    fn with_call(&mut self, id: CallId, work: impl FnOnce(&mut Call, &mut Shared)) {
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

    fn bury_finished(&mut self) {
        let finished: Vec<_> = self.calls.values().filter(|call| call.is_finished()).map(Call::id).collect();
        for id in finished {
            self.calls.remove(&id);
            self.bury(id);
        }
    }

    fn bury(&mut self, id: CallId) {
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

/// An offer of a call that is known here.
fn repeated_offer(call: &mut Call, from: Endpoint, offer: &Offer, shared: &mut Shared) {
    if !call.roster.is_valid(&from.did) || call.roster.signed_root() != &offer.root {
        return shared.refuse(Refusal::NotAuthorized);
    }
    if let Err(refusal) = call.roster.merge(&offer.entries) {
        return shared.refuse(refusal);
    }
    call.sync_people(shared);
    let id = call.id();
    match call.phase {
        Phase::Over => reply_ended(id, from.did, Status::Joined, shared),
        Phase::In => {
            call.offer_heard = shared.mono();
            call.take_claims(&offer.joined, shared);
            if shared.may_reply(id, from.did) {
                let nonce = shared.nonce(id, from.did);
                shared.send_inbox(from.did, id, Body::Ringing(Ringing { nonce, rings: true }));
            }
        }
        Phase::Open if call.busy => {
            if shared.may_reply(id, from.did) {
                shared.send_inbox(from.did, id, Body::Busy(Busy {}));
            }
        }
        Phase::Open if shared.may_reply(id, from.did) => {
            call.take_claims(&offer.joined, shared);
            let reply = call.cancel(CancelReason::Ended, shared);
            shared.send_inbox(from.did, id, reply);
        }
        // Whoever still offers has not heard that this endpoint is in the call.
        Phase::Joining | Phase::Active => {
            call.take_claims(&offer.joined, shared);
            call.announce(shared, false);
        }
        Phase::Out | Phase::Open => {}
    }
}

/// Tells somebody who believes otherwise that the call is over here.
fn reply_ended(id: CallId, to: Did, status: Status, shared: &mut Shared) {
    if status != Status::Left && shared.may_reply(id, to) {
        let version = u64::from(u32::MAX);
        let cancel =
            Cancel { reason: CancelReason::Ended, version, joined: Vec::new(), acknowledged: false, replaced_by: None };
        shared.send_inbox(to, id, Body::Cancel(cancel));
    }
}
