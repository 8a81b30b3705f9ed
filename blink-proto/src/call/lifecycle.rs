//! One call, as this endpoint takes part in it: its phases, and what belongs to more than one of
//! them.

use std::collections::{BTreeMap, BTreeSet};
use web_time::{Duration, Instant};

use blink_api::{CallId, Did, Endpoint};

use super::event::{CancelledReason, EndReason, Event};
use super::history::CallOutcome;
use super::invite::{Person, PersonState};
use super::member::{OwnKey, Peer};
use super::memory::REMEMBERED;
use super::notice::Notice;
use super::record::RecordSchedule;
use super::restoring::Kept;
use super::roster::Roster;
use super::rotation::RetiredTopic;
use super::shared::Shared;
use super::speaking::Voice;
use super::{JoinedTopic, Output};
use crate::secure::{CallKeys, MAX_RECIPIENTS};
use crate::shares::Share;
use crate::wire::{self, Body, CallConfiguration, CancelReason, Offer, Status, StreamRequest};

/// When the record with status `left` is sent after leaving.
const FAREWELLS: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(200),
    Duration::from_millis(600),
    Duration::from_millis(1_400),
    Duration::from_secs(3),
];

/// Where a call stands on this endpoint; see the diagram of the [module](super).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Offered by this endpoint, nobody has joined.
    Out,
    /// Rings here.
    In,
    /// Accepted; nobody in it is known to have heard that.
    Joining,
    /// In it.
    Active,
    /// Not in it; it may be joined.
    Open,
    /// Not in it for good.
    Over,
}

impl Phase {
    /// The one call this endpoint takes part in, or tries to.
    pub(super) fn is_current(self) -> bool {
        matches!(self, Self::Out | Self::Joining | Self::Active)
    }
}

#[derive(Clone)]
pub(super) struct Call {
    pub(super) roster: Roster,
    pub(super) keys: CallKeys,
    pub(super) configuration: CallConfiguration,
    pub(super) phase: Phase,
    /// When it was offered or first heard of here.
    pub(super) began: Instant,
    /// Since when it is in its phase.
    pub(super) since: Instant,
    /// Who signed the offer; this endpoint's DID where it made the call.
    pub(super) from: Did,
    pub(super) key: OwnKey,
    pub(super) version: u64,
    pub(super) status: Status,
    pub(super) seat: u64,
    /// Streams of others that this endpoint asked for.
    pub(super) wanted: BTreeSet<StreamRequest>,
    pub(super) people: BTreeMap<Did, Person>,
    pub(super) peers: BTreeMap<Endpoint, Peer>,
    /// Until when invitations ring.
    pub(super) ring_until: Instant,
    /// While it rings here: when an offer was last heard.
    pub(super) offer_heard: Instant,
    pub(super) schedule: RecordSchedule,
    pub(super) join_attempts: u32,
    /// Somebody heard another device of this person in the call.
    pub(super) other_device_seen: bool,
    pub(super) notices: Vec<Notice>,
    /// People who were asked and never heard: they are told later that they missed a call.
    pub(super) unheard: Vec<(Did, Offer)>,
    /// People that are not valid any more: nothing is kept for them.
    pub(super) uninvited: Vec<Did>,
    pub(super) lingering: Option<Lingering>,
    /// Topics of earlier secrets that are still listened to.
    pub(super) retired: Vec<RetiredTopic>,
    /// It never rang here, since this device was in another call.
    pub(super) busy: bool,
    /// The caller is known to the integrator, or the user takes or took part: it makes no room for
    /// calls of strangers.
    pub(super) familiar: bool,
    /// What is written down of it.
    pub(super) kept: Option<Kept>,
}

/// After leaving: farewells, and the time when the topic is given up.
#[derive(Clone)]
pub(super) struct Lingering {
    since: Instant,
    farewells: usize,
}

impl Lingering {
    pub(super) fn since(now: Instant) -> Self {
        Self { since: now, farewells: 0 }
    }
}

impl Call {
    /// A call in a phase, with everybody on its roster invited.
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
            roster,
            keys,
            configuration,
            phase,
            began: now,
            since: now,
            from,
            key,
            version: 0,
            status: Status::Left,
            seat: 0,
            wanted: BTreeSet::new(),
            people: BTreeMap::new(),
            peers: BTreeMap::new(),
            ring_until: now + remaining,
            offer_heard: now,
            schedule: RecordSchedule::default(),
            join_attempts: 0,
            other_device_seen: false,
            notices: Vec::new(),
            unheard: Vec::new(),
            uninvited: Vec::new(),
            lingering: None,
            retired: Vec::new(),
            busy: false,
            familiar: shared.is_familiar(&from),
            kept: None,
        };
        call.sync_people(call.ring_until, shared);
        call
    }

    pub(super) fn id(&self) -> CallId {
        self.roster.call()
    }

    /// The share of this device's memory that it takes.
    pub(super) fn share(&self) -> Share {
        Share::familiar(self.familiar)
    }

    pub(super) fn enter(&mut self, phase: Phase, shared: &Shared) {
        self.phase = phase;
        self.since = shared.mono();
    }

    /// This endpoint's own offer: it is joined from the start and listens.
    pub(super) fn begin(&mut self, shared: &mut Shared) {
        self.seat = 1;
        self.status = Status::Joined;
        self.version = 1;
        shared.begin_history(self.history_entry(shared));
        self.listen(shared);
        shared.out.push_back(Output::SetActiveCall(Some(self.id())));
    }

    /// Reads the call's topic with the present key.
    pub(super) fn listen(&self, shared: &mut Shared) {
        let topic = JoinedTopic { keys: self.keys.clone(), key: self.key.pair.clone() };
        shared.out.push_back(Output::Subscribe(Box::new(topic)));
    }

    /// The user accepts a call that rings, or joins one that goes on.
    pub(super) fn join(&mut self, shared: &mut Shared) {
        let again = self.version > 0;
        if again {
            self.key = Self::fresh_key(self.id(), shared);
        }
        self.lingering = None;
        self.familiar = true;
        self.notices.clear();
        self.seat = self.seat.saturating_add(1);
        self.status = Status::Joining;
        self.join_attempts = 0;
        self.enter(Phase::Joining, shared);
        shared.begin_history(self.history_entry(shared));
        self.listen(shared);
        shared.out.push_back(Output::SetActiveCall(Some(self.id())));
        self.peers.values_mut().for_each(|peer| {
            peer.forget_joining();
            peer.acknowledged = 0;
            peer.sees_us = shared.now.mono;
        });
        self.change_record(shared, true);
        let endpoints: Vec<_> = self.peers.keys().copied().collect();
        endpoints.into_iter().for_each(|endpoint| self.ensure_link(endpoint, shared));
        let body = self.cancel(CancelReason::AcceptedElsewhere, shared);
        self.notify(shared.own.did, body, shared);
    }

    /// Somebody in the call has this endpoint's record.
    pub(super) fn handle_heard(&mut self, shared: &mut Shared) {
        if self.phase == Phase::Joining {
            self.become_active(shared);
        }
    }

    pub(super) fn become_active(&mut self, shared: &mut Shared) {
        self.enter(Phase::Active, shared);
        self.status = Status::Joined;
        self.change_record(shared, true);
        shared.emit(Event::CallJoined { call: self.id() });
    }

    /// The user rejects a call that rings.
    pub(super) fn reject(&mut self, shared: &mut Shared) {
        let entry = self.roster.reject(&shared.identity);
        let present: Vec<_> = self.present().map(|(endpoint, _)| endpoint.did).collect();
        let reject = Body::Reject(wire::Reject { entry, acknowledged: false });
        shared.finish_history(&self.id(), CallOutcome::Rejected);
        self.enter(self.phase_when_out(), shared);
        for did in present {
            self.notify(did, reject.clone(), shared);
        }
        let elsewhere = self.cancel(CancelReason::RejectedElsewhere, shared);
        self.notify(shared.own.did, elsewhere, shared);
    }

    /// Everybody who was in a call that rings here is gone, or it was dealt with elsewhere.
    pub(super) fn cancelled(&mut self, shared: &mut Shared) {
        self.enter(Phase::Over, shared);
        shared.emit(Event::CallCancelled { call: self.id(), reason: CancelledReason::CallerLeft });
    }

    /// A call that rings here was not answered in time.
    pub(super) fn missed(&mut self, shared: &mut Shared) {
        let nobody = self.present().next().is_none();
        let phase = if nobody { Phase::Over } else { self.phase_when_out() };
        self.enter(phase, shared);
        shared.emit(Event::MissedCall { call: self.id(), from: self.from });
    }

    /// This person was removed from the call for good.
    pub(super) fn expel(&mut self, shared: &mut Shared) {
        match self.phase {
            Phase::In => self.cancelled(shared),
            phase if phase.is_current() => self.end(EndReason::Removed, shared),
            _ => {}
        }
        self.enter(Phase::Over, shared);
    }

    /// Another call of the same people goes on instead: this one ends without a word to the user.
    pub(super) fn give_up_for(&mut self, other: CallId, shared: &mut Shared) {
        self.status = Status::Left;
        self.version += 1;
        self.schedule = RecordSchedule::default();
        let people: Vec<Did> = self.people.keys().copied().collect();
        for did in people {
            let body = self.replaced_by(other, shared);
            self.notify(did, body, shared);
        }
        self.disconnect(shared);
        // The microphone opens anew for the other call.
        shared.voice = Voice::default();
        self.enter(Phase::Over, shared);
        self.lingering = Some(Lingering::since(shared.mono()));
    }

    /// Every path is closed, and the user hears nothing more of who was there.
    fn disconnect(&mut self, shared: &mut Shared) {
        self.peers.values_mut().for_each(|peer| {
            Self::close_link(peer, shared);
            peer.forget_joining();
        });
        self.forget_requests(shared);
    }

    /// Where a call goes that this endpoint is not in: a group's may be joined later.
    pub(super) fn phase_when_out(&self) -> Phase {
        if self.roster.is_group() { Phase::Open } else { Phase::Over }
    }

    /// This endpoint is no longer in the call, nor offers it.
    pub(super) fn end(&mut self, reason: EndReason, shared: &mut Shared) {
        let was_out = self.phase == Phase::Out;
        let (cancel_reason, unresolved) = match reason {
            EndReason::Unanswered => (CancelReason::Unanswered, PersonState::Missed),
            _ => (CancelReason::Left, PersonState::Gone),
        };
        self.status = Status::Left;
        self.version += 1;
        self.schedule = RecordSchedule::default();
        self.cancel_unresolved(cancel_reason, unresolved, shared);
        let nobody = self.present().next().is_none();
        if self.roster.is_group() {
            self.tell_absent(shared);
        }
        self.disconnect(shared);
        shared.voice = Voice::default();
        shared.streams.clear();
        shared.recording = false;
        self.enter(if was_out || nobody { Phase::Over } else { self.phase_when_out() }, shared);
        shared.out.push_back(Output::SetActiveCall(None));
        shared.emit(Event::CallEnded { call: self.id(), reason });
        self.lingering = Some(Lingering::since(shared.mono()));
    }

    pub(super) fn handle_timeout(&mut self, shared: &mut Shared) {
        let now = shared.mono();
        match self.phase {
            Phase::In if now >= self.ring_until.min(self.offer_heard + shared.timers().offer_lease) => {
                self.missed(shared);
            }
            Phase::Joining if now >= self.since + shared.timers().join_limit => {
                self.end(EndReason::Unreachable, shared);
            }
            Phase::Open if self.busy && now >= self.ring_until => self.enter(Phase::Over, shared),
            _ => {}
        }
        if self.phase.is_current() {
            self.time_out_links(shared);
            self.time_out_peers(shared);
            self.tell_what_waits(shared);
            self.invite(shared);
            self.send_links(shared);
            self.send_record_if_due(shared);
        }
        self.send_notices(shared);
        self.retire_topics(shared);
        self.linger(shared);
    }

    fn linger(&mut self, shared: &mut Shared) {
        let now = shared.mono();
        let Some(lingering) = &mut self.lingering else { return };
        let since = lingering.since;
        let due = FAREWELLS.get(lingering.farewells).is_some_and(|after| now >= since + *after);
        if due {
            lingering.farewells += 1;
            let member = wire::Member { record: self.record(shared), entries: Vec::new(), secret: None };
            // Those who left before can read nothing of this call any more, not even a farewell.
            let here = self.peers.values().filter(|peer| peer.status != Some(Status::Left));
            let keys = here.filter_map(|peer| Some(peer.call_key?.key)).take(MAX_RECIPIENTS).collect();
            shared.send_call(keys, self.id(), Body::Member(Box::new(member)));
        }
        if now >= since + shared.timers().linger {
            self.lingering = None;
            self.stop_listening(shared);
        }
    }

    pub(super) fn deadline(&self, shared: &Shared) -> Option<Instant> {
        let timers = shared.timers();
        let phase = match self.phase {
            Phase::In => Some(self.ring_until.min(self.offer_heard + timers.offer_lease)),
            Phase::Joining => Some(self.since + timers.join_limit),
            Phase::Open if self.busy => Some(self.ring_until),
            Phase::Open => Some(self.since + REMEMBERED),
            _ => None,
        };
        let group = self.roster.is_group();
        let current = self.phase.is_current().then(|| {
            let links = self.peers.values().filter_map(|peer| peer.link.as_ref()?.deadline(timers, group));
            let leases = self.peers.values().filter_map(|peer| self.lease_end(peer, shared));
            let others = [self.path_failed_at(shared), self.invitation_deadline(shared), self.schedule.due];
            let hints = self.peers.values().filter_map(|peer| peer.hint_end(shared));
            let told = self.peers.values().filter_map(|peer| peer.told.due());
            links.chain(leases).chain(hints).chain(told).chain(others.into_iter().flatten()).min()
        });
        let notices = self.notices.iter().filter_map(Notice::deadline).min();
        let lingering = self.lingering.as_ref().map(|lingering| {
            let farewell = FAREWELLS.get(lingering.farewells).copied().unwrap_or(timers.linger);
            lingering.since + farewell.min(timers.linger)
        });
        [phase, current.flatten(), notices, lingering, self.retired_deadline()].into_iter().flatten().min()
    }

    /// Whether a first farewell or a notice waits to be repeated.
    pub(super) fn has_pending_farewells(&self) -> bool {
        self.lingering.as_ref().is_some_and(|lingering| lingering.farewells < 2) || !self.notices.is_empty()
    }

    /// Nothing more to do or to say: it can be reduced to its id.
    pub(super) fn is_finished(&self) -> bool {
        self.phase == Phase::Over && self.lingering.is_none() && self.notices.is_empty()
    }
}
