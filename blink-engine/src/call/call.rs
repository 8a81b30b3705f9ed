//! One call, as this endpoint takes part in it: its phases, and what belongs to more than one of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use blink_api::{CallId, Did, Endpoint};

use super::event::{CancelledReason, EndReason, Event};
use super::invite::{Notice, Person, PersonState};
use super::link::{Link, LinkAction, LinkState};
use super::member::{Peer, RecordSchedule};
use super::roster::Roster;
use super::shared::Shared;
use super::{JoinedTopic, Output, SessionId, SessionInput};
use crate::secure::{AgreementKey, CallKeys, Refusal, link_id};
use crate::wire::{self, Body, CallConfiguration, CancelReason, ChannelMessage, Status};

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

pub(super) struct Call {
    pub(super) roster: Roster,
    pub(super) keys: CallKeys,
    pub(super) configuration: CallConfiguration,
    pub(super) phase: Phase,
    /// Since when it is in its phase.
    pub(super) since: Instant,
    /// Who signed the offer; this endpoint's DID where it made the call.
    pub(super) from: Did,
    pub(super) key: AgreementKey,
    pub(super) version: u64,
    pub(super) status: Status,
    pub(super) seat: u64,
    pub(super) people: BTreeMap<Did, Person>,
    pub(super) peers: BTreeMap<Endpoint, Peer>,
    /// Until when invitations ring.
    pub(super) ring_until: Instant,
    /// While it rings here: when an offer was last heard.
    pub(super) offer_heard: Instant,
    pub(super) schedule: RecordSchedule,
    pub(super) join_attempts: u32,
    pub(super) notices: Vec<Notice>,
    pub(super) lingering: Option<Lingering>,
    /// It never rang here, since this device was in another call.
    pub(super) busy: bool,
}

/// After leaving: farewells, and the time when the topic is given up.
pub(super) struct Lingering {
    since: Instant,
    farewells: usize,
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
        let mut call = Self {
            roster,
            keys,
            configuration,
            phase,
            since: now,
            from,
            key: Self::fresh_key(shared),
            version: 0,
            status: Status::Left,
            seat: 0,
            people: BTreeMap::new(),
            peers: BTreeMap::new(),
            ring_until: now + remaining,
            offer_heard: now,
            schedule: RecordSchedule::default(),
            join_attempts: 0,
            notices: Vec::new(),
            lingering: None,
            busy: false,
        };
        call.sync_people(shared);
        call
    }

    pub(super) fn id(&self) -> CallId {
        self.roster.call()
    }

    fn enter(&mut self, phase: Phase, shared: &Shared) {
        self.phase = phase;
        self.since = shared.mono();
    }

    /// This endpoint's own offer: it is joined from the start and listens.
    pub(super) fn begin(&mut self, shared: &mut Shared) {
        self.seat = 1;
        self.status = Status::Joined;
        self.version = 1;
        self.open_topic(shared);
    }

    fn open_topic(&mut self, shared: &mut Shared) {
        let topic = JoinedTopic { keys: self.keys.clone(), key: self.key.clone() };
        shared.out.push_back(Output::Join(Box::new(topic)));
        shared.out.push_back(Output::Gate(Some(self.id())));
    }

    /// The user accepts a call that rings, or joins one that goes on.
    pub(super) fn join(&mut self, shared: &mut Shared) {
        let again = self.version > 0;
        if again {
            self.key = Self::fresh_key(shared);
        }
        self.lingering = None;
        self.notices.clear();
        self.seat += 1;
        self.status = Status::Joining;
        self.join_attempts = 0;
        self.enter(Phase::Joining, shared);
        self.open_topic(shared);
        self.peers.values_mut().for_each(|peer| {
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
        self.peers.values_mut().for_each(|peer| {
            Self::close_link(peer, shared);
            peer.announced = false;
            peer.unreachable_announced = false;
        });
        self.enter(if was_out || nobody { Phase::Over } else { self.phase_when_out() }, shared);
        shared.out.push_back(Output::Gate(None));
        shared.emit(Event::CallEnded { call: self.id(), reason });
        self.lingering = Some(Lingering { since: shared.mono(), farewells: 0 });
    }

    // --- links

    /// Makes the link to another endpoint where both are in the call and the local user has accepted it.
    pub(super) fn ensure_link(&mut self, endpoint: Endpoint, shared: &mut Shared) {
        let own_key = *self.key.public();
        let Some(peer) = self.peers.get_mut(&endpoint) else { return };
        let wanted = self.phase.is_current() && peer.is_present() && peer.link.is_none();
        let Some(key) = peer.call_key.filter(|_| wanted) else { return };
        let dials = shared.own > endpoint;
        let session = shared.fresh_session();
        let link = Link::new(link_id(&own_key, &key), dials, session, shared.mono(), shared.timers());
        peer.link = Some(link);
        self.with_link(endpoint, shared, |link, _, actions| link.dial(actions));
    }

    pub(super) fn close_link(peer: &mut Peer, shared: &mut Shared) {
        if let Some(link) = peer.link.take() {
            shared.out.push_back(Output::Close { session: link.session });
        }
    }

    pub(super) fn handle_link(&mut self, from: Endpoint, message: &wire::Link, shared: &mut Shared) {
        if !self.phase.is_current() || !self.roster.is_valid(&from.did) {
            return shared.refuse(Refusal::NotAuthorized);
        }
        let too_long = |sdp: &String| sdp.len() > super::link::MAX_SDP || super::link::fingerprint(sdp).is_none();
        if message.sdp.as_ref().is_some_and(too_long) {
            return shared.refuse(Refusal::Inconsistent);
        }
        self.ensure_link(from, shared);
        let now = shared.mono();
        let Some(peer) = self.peers.get_mut(&from) else { return };
        peer.heard = Some(now);
        if peer.link.as_ref().is_none_or(|link| message.link[..] != link.id) {
            return;
        }
        let fresh = shared.fresh_session();
        self.with_link(from, shared, |link, shared, actions| {
            link.handle_message(message, fresh, now, &shared.settings.timers, actions);
        });
    }

    /// The endpoint whose session this is.
    pub(super) fn endpoint_of(&self, session: SessionId) -> Option<Endpoint> {
        let has = |peer: &Peer| peer.link.as_ref().is_some_and(|link| link.session == session);
        self.peers.iter().find(|(_, peer)| has(peer)).map(|(endpoint, _)| *endpoint)
    }

    pub(super) fn handle_session(&mut self, endpoint: Endpoint, event: SessionInput, shared: &mut Shared) {
        let now = shared.mono();
        let mut answer = None;
        let mut record = None;
        self.with_link(endpoint, shared, |link, shared, actions| {
            let timers = &shared.settings.timers;
            match event {
                SessionInput::Described { generation, sdp } => link.handle_described(generation, sdp, now, timers),
                SessionInput::Candidate { attribute } => link.handle_candidate(attribute, now),
                SessionInput::Connected => link.handle_connected(now, actions),
                SessionInput::ChannelOpen => link.handle_channel(now, actions),
                SessionInput::Traffic => link.handle_traffic(now, actions),
                SessionInput::Failed => link.handle_failed(now, actions),
                SessionInput::Channel(message) => {
                    link.handle_traffic(now, actions);
                    match message {
                        ChannelMessage::Hello { link: id } => link.handle_hello(&id, now, actions),
                        ChannelMessage::Ping { id, sent_us } => answer = Some((link.session, id, sent_us)),
                        ChannelMessage::Pong { .. } => {}
                        ChannelMessage::Member { boot, member } if link.is_up() => record = Some((boot, member)),
                        ChannelMessage::Member { .. } => {}
                    }
                }
            }
        });
        if let Some((session, id, sent_us)) = answer {
            let received_us = micros_since(shared.started, now);
            let message = ChannelMessage::Pong { id, sent_us, received_us };
            shared.out.push_back(Output::Channel { session, message });
        }
        if let Some((boot, member)) = record {
            self.handle_member(endpoint, boot, &member, shared);
        }
    }

    /// Lets a link work and does what it wants done.
    fn with_link(
        &mut self,
        endpoint: Endpoint,
        shared: &mut Shared,
        work: impl FnOnce(&mut Link, &mut Shared, &mut Vec<LinkAction>),
    ) {
        let mut actions = Vec::new();
        let Some(link) = self.peers.get_mut(&endpoint).and_then(|peer| peer.link.as_mut()) else { return };
        let before = link.session;
        work(link, shared, &mut actions);
        for action in actions {
            self.perform(endpoint, before, action, shared);
        }
    }

    fn perform(&mut self, endpoint: Endpoint, before: SessionId, action: LinkAction, shared: &mut Shared) {
        let call = self.id();
        let Some(link) = self.peers.get(&endpoint).and_then(|peer| peer.link.as_ref()) else { return };
        let (session, id) = (link.session, link.id);
        let hello = |message| Output::Channel { session, message };
        match action {
            LinkAction::Open(session) => {
                if before != session {
                    shared.out.push_back(Output::Close { session: before });
                }
                let dials = shared.own > endpoint;
                shared.out.push_back(Output::Open { session, call, remote: endpoint, dials });
            }
            LinkAction::Negotiate(step) => shared.out.push_back(Output::Negotiate { session, step }),
            LinkAction::Hello => shared.out.push_back(hello(ChannelMessage::Hello { link: id.into() })),
            LinkAction::Ping(id) => {
                let sent_us = micros_since(shared.started, shared.mono());
                shared.out.push_back(hello(ChannelMessage::Ping { id, sent_us }));
            }
            LinkAction::Up => self.handle_up(endpoint, session, shared),
            LinkAction::Suspect => {
                shared.emit(Event::ParticipantReconnecting { call, participant: endpoint });
                self.announce(shared, true);
            }
            LinkAction::Failed => self.handle_link_failed(endpoint, shared),
            LinkAction::Impostor => {
                shared.refuse(Refusal::Inconsistent);
                self.handle_link_failed(endpoint, shared);
            }
        }
    }

    fn handle_up(&mut self, endpoint: Endpoint, session: SessionId, shared: &mut Shared) {
        let call = self.id();
        let Some(peer) = self.peers.get_mut(&endpoint) else { return };
        shared.out.push_back(Output::Admit { session });
        let first = !std::mem::replace(&mut peer.announced, true);
        peer.unreachable_announced = false;
        shared.emit(match first {
            true => Event::ParticipantJoined { call, participant: endpoint },
            false => Event::ParticipantReconnected { call, participant: endpoint },
        });
        self.announce(shared, false);
    }

    fn handle_link_failed(&mut self, endpoint: Endpoint, shared: &mut Shared) {
        let call = self.id();
        if !self.roster.is_group() {
            // The other side should hear why before this side says that it left.
            self.send_links(shared);
            return self.end(EndReason::Failed, shared);
        }
        let Some(peer) = self.peers.get_mut(&endpoint) else { return };
        if !std::mem::replace(&mut peer.unreachable_announced, true) {
            shared.emit(Event::ParticipantUnreachable { call, participant: endpoint });
        }
    }

    fn send_links(&mut self, shared: &mut Shared) {
        let (call, now) = (self.id(), shared.mono());
        for peer in self.peers.values_mut() {
            let Some((link, key)) = peer.link.as_mut().zip(peer.call_key) else { continue };
            if let Some(message) = link.poll_message(now, &mut shared.random) {
                shared.send_call(vec![key], call, Body::Link(Box::new(message)));
            }
        }
    }

    /// Somebody began to listen on the call's topic.
    pub(super) fn handle_topic_subscriber(&mut self, shared: &Shared) {
        if self.phase.is_current() && self.present().next().is_some() {
            self.announce(shared, true);
            self.peers.values_mut().filter_map(|peer| peer.link.as_mut()).for_each(|link| link.hurry(shared.mono()));
        }
    }

    // --- time

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
            self.invite(shared);
            self.send_links(shared);
            self.send_record_if_due(shared);
        }
        self.send_notices(shared);
        self.linger(shared);
    }

    fn time_out_links(&mut self, shared: &mut Shared) {
        let (now, group) = (shared.mono(), self.roster.is_group());
        let endpoints: Vec<_> = self.peers.keys().copied().collect();
        for endpoint in endpoints {
            self.with_link(endpoint, shared, |link, shared, actions| {
                let timers = shared.settings.timers.clone();
                link.handle_timeout(now, &timers, &mut || shared.fresh_session(), group, actions);
            });
        }
        if self.path_failed_at(shared).is_some_and(|at| now >= at) {
            self.end(EndReason::Failed, shared);
        }
    }

    /// When a call of two ends because its path stays lost while signaling lives.
    fn path_failed_at(&self, shared: &Shared) -> Option<Instant> {
        if self.roster.is_group() || self.phase != Phase::Active {
            return None;
        }
        let suspect = self.peers.values().filter_map(|peer| match peer.link.as_ref()?.state {
            LinkState::Suspect(since) => Some(since),
            _ => None,
        });
        suspect.min().map(|since| since + shared.timers().path_failed)
    }

    fn linger(&mut self, shared: &mut Shared) {
        let now = shared.mono();
        let Some(lingering) = &mut self.lingering else { return };
        let since = lingering.since;
        let due = FAREWELLS.get(lingering.farewells).is_some_and(|after| now >= since + *after);
        if due {
            lingering.farewells += 1;
            let member = wire::Member { record: self.record(shared), entries: Vec::new() };
            let keys = self.peers.values().filter_map(|peer| peer.call_key).collect();
            shared.send_call(keys, self.id(), Body::Member(Box::new(member)));
        }
        if now >= since + shared.timers().linger {
            self.lingering = None;
            shared.out.push_back(Output::Part(self.id()));
        }
    }

    pub(super) fn deadline(&self, shared: &Shared) -> Option<Instant> {
        let timers = shared.timers();
        let phase = match self.phase {
            Phase::In => Some(self.ring_until.min(self.offer_heard + timers.offer_lease)),
            Phase::Joining => Some(self.since + timers.join_limit),
            Phase::Open if self.busy => Some(self.ring_until),
            _ => None,
        };
        let group = self.roster.is_group();
        let current = self.phase.is_current().then(|| {
            let links = self.peers.values().filter_map(|peer| peer.link.as_ref()?.deadline(timers, group));
            let leases = self.peers.values().filter_map(|peer| self.lease_end(peer, shared));
            let others = [self.path_failed_at(shared), self.invitation_deadline(shared), self.schedule.due];
            links.chain(leases).chain(others.into_iter().flatten()).min()
        });
        let notices = self.notices.iter().filter_map(Notice::deadline).min();
        let lingering = self.lingering.as_ref().map(|lingering| {
            let farewell = FAREWELLS.get(lingering.farewells).copied().unwrap_or(timers.linger);
            lingering.since + farewell.min(timers.linger)
        });
        [phase, current.flatten(), notices, lingering].into_iter().flatten().min()
    }

    /// Nothing more to do or to say: it can be reduced to its id.
    pub(super) fn is_finished(&self) -> bool {
        self.phase == Phase::Over && self.lingering.is_none() && self.notices.is_empty()
    }
}

fn micros_since(start: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(start).as_micros()).unwrap_or(u64::MAX)
}
