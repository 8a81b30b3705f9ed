//! The state of one call on this endpoint.
//!
//! [`Call`] only holds values and keeps them consistent. What happens to a call is decided in the
//! other files of this directory, one for each subject.

use std::collections::{BTreeMap, BTreeSet};

use blink_api::{CallId, DeviceId, Did, Endpoint, PathFailure};
use rand::Rng;
use web_time::{Duration, Instant};

use super::farewell::Farewell;
use super::memory::SavedSummary;
use super::notice::Notices;
use super::peer::{OwnKey, Peer};
use super::person::{Person, PersonState};
use super::record_schedule::RecordSchedule;
use super::repeat::Repeat;
use super::retired_topics::RetiredTopics;
use super::roster::Roster;
use super::shared::Shared;
use crate::quota_map::Quota;
use crate::secure::{AgreementKey, CallKeys, sign_call_key};
use crate::wire::{CallConfiguration, Offer, Status, StreamRequest};

/// Phase of a call on this endpoint; see the diagram of the [module](super).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Offered by this endpoint; no other endpoint has joined.
    Out,
    /// Rings on this device.
    In,
    /// Accepted by the user; not yet acknowledged by a participant.
    Joining,
    /// This endpoint is in it.
    Active,
    /// Continues without this endpoint, which may join.
    Open,
    /// Ended on this endpoint for good.
    Over,
}

impl Phase {
    /// Whether this endpoint takes part in the call or tries to.
    pub(super) fn takes_part(self) -> bool {
        matches!(self, Self::Out | Self::Joining | Self::Active)
    }
}

/// One call on this endpoint.
#[derive(Clone)]
pub(super) struct Call {
    phase: Phase,
    /// Time at which the phase was entered.
    since: Instant,
    /// Active, but this endpoint neither sends nor plays audio.
    held: bool,
    /// Version of the own record.
    version: u64,
    /// Status in the own record.
    status: Status,
    pub(super) roster: Roster,
    pub(super) keys: CallKeys,
    pub(super) configuration: CallConfiguration,
    /// Time at which it was offered or first received here.
    pub(super) began: Instant,
    /// Signer of the offer; this person where this endpoint made the call.
    pub(super) from: Did,
    /// Device that signed it; unknown where an earlier version stored the call.
    pub(super) from_device: Option<DeviceId>,
    /// Key of this endpoint; a new one for each time it joins.
    pub(super) key: OwnKey,
    /// Of a person's devices, the one with the greatest seat takes part.
    pub(super) seat: u64,
    /// Streams of others that this endpoint requested.
    pub(super) wanted: BTreeSet<StreamRequest>,
    /// Everyone on the roster other than this person.
    pub(super) people: BTreeMap<Did, Person>,
    /// Other endpoints that are, were or may be in the call.
    pub(super) peers: BTreeMap<Endpoint, Peer>,
    /// End of ringing.
    pub(super) ring_until: Instant,
    /// Time of the last offer, while it rings here.
    pub(super) offer_heard: Instant,
    pub(super) schedule: RecordSchedule,
    pub(super) join_attempts: u32,
    /// A participant listed another device of this person.
    pub(super) other_device_seen: bool,
    pub(super) notices: Notices,
    /// Offers that did not reach their recipients, to become missed-call notices.
    pub(super) undelivered: Vec<(Did, Offer)>,
    /// People removed from the roster, whose missed-call notices are dropped.
    pub(super) uninvited: Vec<Did>,
    pub(super) farewell: Option<Farewell>,
    /// It ended here because its path failed.
    pub(super) path_failure: Option<PathFailure>,
    pub(super) retired: RetiredTopics,
    /// It did not ring here, because this device was in another call.
    pub(super) busy: bool,
    /// The caller is known to the integrator, or the user takes or took part: it is not evicted for
    /// calls of strangers.
    pub(super) familiar: bool,
    /// Summary that was last persisted.
    pub(super) saved: Option<SavedSummary>,
}

impl Call {
    /// Call in a phase, with everyone on its roster invited.
    pub(super) fn new(
        roster: Roster,
        keys: CallKeys,
        configuration: CallConfiguration,
        phase: Phase,
        from: Did,
        remaining: Duration,
        shared: &mut Shared,
    ) -> Self {
        let now = shared.mono();
        let key = Self::fresh_key(roster.call(), shared);
        let mut call = Self {
            phase,
            since: now,
            held: false,
            version: 0,
            status: Status::Left,
            roster,
            keys,
            configuration,
            began: now,
            from,
            from_device: None,
            key,
            seat: 0,
            wanted: BTreeSet::new(),
            people: BTreeMap::new(),
            peers: BTreeMap::new(),
            ring_until: now + remaining,
            offer_heard: now,
            path_failure: None,
            schedule: RecordSchedule::default(),
            join_attempts: 0,
            other_device_seen: false,
            notices: Notices::default(),
            undelivered: Vec::new(),
            uninvited: Vec::new(),
            farewell: None,
            retired: RetiredTopics::default(),
            busy: false,
            familiar: shared.is_familiar(&from),
            saved: None,
        };
        call.sync_people(call.ring_until, shared);
        call
    }

    pub(super) fn id(&self) -> CallId {
        self.roster.call()
    }

    /// Quota of bounded tables that it uses.
    pub(super) fn quota(&self) -> Quota {
        Quota::familiar(self.familiar)
    }

    /// Opaque bytes of the caller's integrator.
    pub(super) fn conversation(&self) -> Vec<u8> {
        self.configuration.conversation.clone().map(Into::into).unwrap_or_default()
    }

    // --- phase

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// Time at which the phase was entered.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// Whether this endpoint is in the call, held or not, or tries to be.
    pub(super) fn takes_part(&self) -> bool {
        self.phase.takes_part()
    }

    /// Whether this is the call that microphone and speaker are for. At most one is.
    pub(super) fn is_current(&self) -> bool {
        self.takes_part() && !self.held
    }

    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    pub(super) fn set_held(&mut self, held: bool) {
        self.held = held;
    }

    /// Enters a phase now.
    pub(super) fn enter(&mut self, phase: Phase, shared: &Shared) {
        self.enter_since(phase, shared.mono());
    }

    /// Restores a phase that was entered earlier.
    pub(super) fn enter_since(&mut self, phase: Phase, since: Instant) {
        self.phase = phase;
        self.since = since;
        self.held = false;
    }

    /// Phase after this endpoint leaves: a group can be joined again.
    pub(super) fn phase_after_leaving(&self) -> Phase {
        if self.roster.is_group() { Phase::Open } else { Phase::Over }
    }

    /// Whether nothing remains to be done or sent, so that it can be reduced to its id.
    pub(super) fn is_finished(&self) -> bool {
        self.phase == Phase::Over && self.farewell.is_none() && self.notices.is_empty()
    }

    /// Whether a first farewell or a notice still has to be sent.
    pub(super) fn has_pending_farewells(&self) -> bool {
        self.farewell.is_some_and(|farewell| farewell.is_pending()) || !self.notices.is_empty()
    }

    /// Whether this endpoint reads the call's topic.
    pub(super) fn is_subscribed(&self) -> bool {
        self.takes_part() || self.farewell.is_some()
    }

    // --- the own record

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn status(&self) -> Status {
        self.status
    }

    /// Changes the own status, which makes a new version of the record.
    pub(super) fn set_status(&mut self, status: Status) {
        self.status = status;
        self.bump_version();
    }

    /// Makes a new version of the own record.
    pub(super) fn bump_version(&mut self) {
        self.version += 1;
    }

    /// Continues the versions of an earlier run.
    pub(super) fn restore_version(&mut self, version: u64) {
        self.version = version.saturating_add(1);
    }

    /// Fresh key, for each time this endpoint joins.
    pub(super) fn fresh_key(call: CallId, shared: &mut Shared) -> OwnKey {
        let pair = AgreementKey::generate(&mut shared.random);
        let signed = sign_call_key(&shared.identity, &shared.own.device, &call, pair.public());
        OwnKey { pair, signed }
    }

    /// 16 random bytes.
    pub(super) fn fresh_nonce(shared: &mut Shared) -> [u8; 16] {
        let mut nonce = [0; 16];
        shared.random.fill_bytes(&mut nonce);
        nonce
    }

    // --- people and peers

    /// Adds a person for everyone valid on the roster; new people ring until the given time.
    pub(super) fn sync_people(&mut self, ring_until: Instant, shared: &Shared) {
        let (now, timers) = (shared.mono(), shared.timers());
        let rejected = self.roster.rejected();
        for did in self.roster.valid() {
            if *did != shared.own.did && !self.people.contains_key(did) {
                let state = if rejected.contains(did) { PersonState::Rejected } else { PersonState::Invited };
                let offer = Repeat::starting(now, timers.repeat_first, timers.repeat_longest);
                self.people.insert(*did, Person::new(did, state, ring_until, offer));
            }
        }
    }

    pub(super) fn set_person(&mut self, did: &Did, state: PersonState) {
        if let Some(person) = self.people.get_mut(did) {
            person.set_state(state);
        }
    }

    /// Endpoints that are joined or joining.
    pub(super) fn present(&self) -> impl Iterator<Item = (&Endpoint, &Peer)> {
        self.peers.iter().filter(|(_, peer)| peer.is_present())
    }

    /// Whether no other endpoint is joined or joining.
    pub(super) fn is_deserted(&self) -> bool {
        self.present().next().is_none()
    }
}
