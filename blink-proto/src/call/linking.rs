//! The links of one call: made where both sides are in it, and what their state means for the call.

use web_time::Instant;

use blink_api::{Endpoint, StreamId, TrackKind};

use super::event::{EndReason, Event};
use super::lifecycle::{Call, Phase};
use super::link::{Link, LinkAction, LinkState};
use super::member::Peer;
use super::repeat::SUBSCRIBER_PAUSE;
use super::shared::Shared;
use super::streams::Flows;
use super::{Output, SessionId, SessionInput};
use crate::secure::{Refusal, link_id};
use crate::wire::{self, Body, ChannelMessage};

impl Call {
    /// Makes the link to another endpoint where both are in the call and the local user has
    /// accepted it.
    pub(super) fn ensure_link(&mut self, endpoint: Endpoint, shared: &mut Shared) {
        let own_key = self.key.signed.key;
        let holds_seat = self.holds_seat(&endpoint);
        let Some(peer) = self.peers.get_mut(&endpoint) else { return };
        let wanted = self.phase.is_current() && peer.is_present() && holds_seat && peer.link.is_none();
        let Some(key) = peer.call_key.filter(|_| wanted) else { return };
        let is_offerer = shared.own > endpoint;
        let session = shared.fresh_session();
        let link = Link::new(
            link_id((&shared.own, &own_key), (&endpoint, &key.key)),
            is_offerer,
            session,
            shared.mono(),
            shared.timers(),
        );
        peer.link = Some(link.counting_on(peer.link_counts));
        self.with_link(endpoint, shared, |link, _, actions| link.dial(actions));
    }

    pub(super) fn close_link(peer: &mut Peer, shared: &mut Shared) {
        if let Some(link) = peer.link.take() {
            peer.link_counts = link.counts();
            shared.out.push_back(Output::CloseSession { session: link.session });
        }
        peer.flows = Flows::default();
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
        let mut unsendable = None;
        let mut first_frame = None;
        let mut refused = None;
        let kind = match &event {
            SessionInput::Channel(message) => Some(message.kind()),
            _ => None,
        };
        let admitted = match self.peers.get_mut(&endpoint).zip(kind) {
            Some((peer, kind)) => peer.channel.admit(now, kind),
            None => Ok(()),
        };
        // A packet all the same: the path carries.
        let event = if admitted.is_ok() { event } else { SessionInput::Traffic };
        if let Err(refusal) = admitted {
            shared.refuse(refusal);
        }
        self.with_link(endpoint, shared, |link, shared, actions| {
            let timers = &shared.settings.timers;
            match event {
                SessionInput::Described { generation, sdp } => {
                    link.handle_described(generation, sdp, now, timers, actions);
                }
                SessionInput::Candidate { attribute } => link.handle_candidate(attribute, now),
                SessionInput::Connected => link.handle_connected(now, actions),
                SessionInput::ChannelOpen => link.handle_channel(now, timers, actions),
                SessionInput::Traffic => link.handle_traffic(now, actions),
                SessionInput::Failed => link.handle_failed(now, actions),
                SessionInput::FirstFrame(stream) => first_frame = Some(stream),
                SessionInput::StreamRefused(stream) => unsendable = Some((link.session, stream)),
                SessionInput::Channel(message) => {
                    link.handle_traffic(now, actions);
                    // A Pong answers any Ping, before its sender is admitted.
                    if !matches!(message, ChannelMessage::Hello { .. } | ChannelMessage::Pong { .. }) {
                        link.handle_admitted_message();
                    }
                    match message {
                        ChannelMessage::Hello { link: id } => link.handle_hello(&id, now, actions),
                        ChannelMessage::Ping { id, sent_us } => answer = Some((link.session, id, sent_us)),
                        ChannelMessage::Refused { stream } if link.is_admitted() => refused = Some(stream),
                        ChannelMessage::Pong { id, received_us, .. } => {
                            link.clock.handle_pong(id, received_us, micros_since(shared.started, now));
                        }
                        // The session reads what is said of sections.
                        ChannelMessage::Section { .. }
                        | ChannelMessage::Report { .. }
                        | ChannelMessage::Refused { .. } => {}
                        ChannelMessage::Member { boot, member } if link.is_up() => record = Some((boot, member)),
                        ChannelMessage::Member { .. } => {}
                    }
                }
            }
        });
        if let Some((session, id, sent_us)) = answer {
            let received_us = micros_since(shared.started, now);
            let message = ChannelMessage::Pong { id, sent_us, received_us };
            shared.out.push_back(Output::SendChannelMessage { session, message });
        }
        if let Some(stream) = first_frame.filter(|stream| self.wants(endpoint, *stream)) {
            let (call, kind) = (self.id(), TrackKind::Video);
            shared.emit(Event::MediaStarted { call, participant: endpoint, kind, stream: Some(stream) });
        }
        if let Some((session, stream)) = unsendable {
            let stream = (*stream.as_bytes()).into();
            shared.out.push_back(Output::SendChannelMessage { session, message: ChannelMessage::Refused { stream } });
        }
        if let Some(stream) = refused {
            self.handle_stream_refused(endpoint, StreamId::from_bytes(stream.into()), shared);
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
        let hello = |message| Output::SendChannelMessage { session, message };
        match action {
            LinkAction::Open(session) => {
                if before != session {
                    shared.out.push_back(Output::CloseSession { session: before });
                }
                if let Some(peer) = self.peers.get_mut(&endpoint) {
                    peer.flows = Flows::default();
                }
                let is_offerer = shared.own > endpoint;
                shared.out.push_back(Output::OpenSession { session, call, remote: endpoint, is_offerer });
            }
            LinkAction::Negotiate(step) => shared.out.push_back(Output::Negotiate { session, step }),
            LinkAction::Hello => shared.out.push_back(hello(ChannelMessage::Hello { link: id.into() })),
            LinkAction::Ping(id) => {
                let sent_us = micros_since(shared.started, shared.mono());
                if let Some(link) = self.peers.get_mut(&endpoint).and_then(|peer| peer.link.as_mut()) {
                    link.clock.handle_ping(id, sent_us);
                }
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
        self.tell_speaking(endpoint, shared);
        self.sync_flows(endpoint, shared);
    }

    fn handle_link_failed(&mut self, endpoint: Endpoint, shared: &mut Shared) {
        let call = self.id();
        if !self.roster.is_group() {
            // The other side should hear why before this side says that it left.
            self.send_links(shared);
            return self.end(EndReason::Failed, shared);
        }
        let Some(peer) = self.peers.get_mut(&endpoint) else { return };
        if let Some(link) = &peer.link {
            shared.out.push_back(Output::CloseSession { session: link.session });
        }
        if !std::mem::replace(&mut peer.unreachable_announced, true) {
            shared.emit(Event::ParticipantUnreachable { call, participant: endpoint });
        }
    }

    pub(super) fn send_links(&mut self, shared: &mut Shared) {
        let (call, now) = (self.id(), shared.mono());
        for peer in self.peers.values_mut() {
            let Some((link, key)) = peer.link.as_mut().zip(peer.call_key) else { continue };
            if let Some(message) = link.poll_message(now, &mut shared.random) {
                shared.send_call(vec![key.key], call, Body::Link(Box::new(message)));
            }
        }
    }

    /// Somebody began to listen on the call's topic.
    pub(super) fn handle_topic_subscriber(&mut self, at_once: bool, shared: &Shared) {
        if self.phase.is_current() && self.present().next().is_some() {
            let now = shared.mono();
            match self.schedule.last.map(|last| last + SUBSCRIBER_PAUSE).filter(|due| !at_once && *due > now) {
                Some(due) => self.schedule.due = Some(self.schedule.due.map_or(due, |earlier| earlier.min(due))),
                None => self.announce(shared, true),
            }
            let links = self.peers.values_mut().filter_map(|peer| peer.link.as_mut());
            links.for_each(|link| link.hurry_for_subscriber(now, at_once));
        }
    }

    pub(super) fn time_out_links(&mut self, shared: &mut Shared) {
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
    pub(super) fn path_failed_at(&self, shared: &Shared) -> Option<Instant> {
        if self.roster.is_group() || self.phase != Phase::Active {
            return None;
        }
        let suspect = self.peers.values().filter_map(|peer| match peer.link.as_ref()?.state {
            LinkState::Suspect(since) => Some(since),
            _ => None,
        });
        suspect.min().map(|since| since + shared.timers().path_failed)
    }
}

fn micros_since(start: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(start).as_micros()).unwrap_or(u64::MAX)
}
