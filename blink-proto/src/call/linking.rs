//! The links of one call: when they are made, what their sessions report, and what their state
//! means for the call.

use blink_api::{Endpoint, FailureReason, PathFailure, StreamId, TrackKey, TrackKind, TransportState};
use web_time::Instant;

use super::event::Event;
use super::io::{Output, SessionId, SessionInput};
use super::link::{Link, LinkAction, LinkState};
use super::peer::Peer;
use super::repeat::SUBSCRIBER_PAUSE;
use super::shared::Shared;
use super::state::{Call, Phase};
use crate::secure::{Refusal, link_id};
use crate::wire::{self, AppMessage, Body, ChannelMessage};

/// Effects of a data-channel message on the call, performed after the link has handled it.
#[derive(Default)]
struct ChannelEffects {
    reply: Option<ChannelMessage>,
    refused: Option<StreamId>,
    record: Option<(u64, Box<wire::Member>)>,
    fragment: Option<AppMessage>,
    acknowledged: Option<(u64, u64)>,
}

impl Call {
    /// Makes the link to another endpoint, if both are in the call and the user accepted it.
    pub(super) fn ensure_link(&mut self, endpoint: Endpoint, shared: &mut Shared) {
        let (current, own_key) = (self.takes_part(), self.key.signed.key);
        let holds_seat = self.holds_seat(&endpoint);
        let Some(peer) = self.peers.get_mut(&endpoint) else { return };
        let wanted = current && peer.is_present() && holds_seat && peer.link().is_none();
        let Some(key) = peer.call_key().filter(|_| wanted) else { return };
        // The greater endpoint makes all offers: both sides agree without asking.
        let is_offerer = shared.own > endpoint;
        let session = shared.fresh_session();
        let id = link_id((&shared.own, &own_key), (&endpoint, &key.key));
        peer.open_link(Link::new(id, is_offerer, session, shared.mono(), shared.timers()));
        self.with_link(endpoint, shared, |link, _, actions| link.start(actions));
    }

    pub(super) fn close_link(peer: &mut Peer, shared: &mut Shared) {
        if let Some(session) = peer.close_link() {
            shared.output(Output::CloseSession { session });
        }
    }

    pub(super) fn handle_link(&mut self, from: Endpoint, message: &wire::Link, shared: &mut Shared) {
        if !self.takes_part() || !self.roster.is_valid(&from.did) {
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
        // A message for a link between other call keys: one side has joined anew since.
        if peer.link().is_none_or(|link| message.link[..] != link.id()) {
            return;
        }
        let fresh = shared.fresh_session();
        self.with_link(from, shared, |link, shared, actions| {
            link.handle_message(message, fresh, now, &shared.settings.timers, actions);
        });
    }

    /// Endpoint to which a session belongs.
    pub(super) fn endpoint_of(&self, session: SessionId) -> Option<Endpoint> {
        let has = |peer: &Peer| peer.link().is_some_and(|link| link.session() == session);
        self.peers.iter().find(|(_, peer)| has(peer)).map(|(endpoint, _)| *endpoint)
    }

    /// Handles a report of a session.
    pub(super) fn handle_session(&mut self, endpoint: Endpoint, event: SessionInput, shared: &mut Shared) {
        let now = shared.mono();
        match event {
            SessionInput::Channel(message) => self.handle_channel_message(endpoint, message, shared),
            SessionInput::FirstFrame(stream) => self.handle_first_frame(endpoint, stream, shared),
            SessionInput::StreamRefused(stream) => {
                let stream = (*stream.as_bytes()).into();
                self.reply_on_channel(endpoint, ChannelMessage::Refused { stream }, shared);
            }
            event => self.with_link(endpoint, shared, |link, shared, actions| {
                let timers = &shared.settings.timers;
                match event {
                    SessionInput::Described { generation, sdp } => {
                        link.handle_described(generation, sdp, now, timers, actions);
                    }
                    SessionInput::Candidate { attribute } => link.handle_candidate(attribute, now),
                    SessionInput::Connected => link.handle_connected(now, timers, actions),
                    SessionInput::ChannelOpen => link.handle_channel(now, timers, actions),
                    SessionInput::State(state) => link.handle_transport_state(state),
                    SessionInput::Failed(reason) => link.handle_failed(reason, now, actions),
                    _ => link.handle_traffic(now, actions),
                }
            }),
        }
    }

    /// Handles a message on the data channel, within the participant's rate limit.
    fn handle_channel_message(&mut self, endpoint: Endpoint, message: ChannelMessage, shared: &mut Shared) {
        let now = shared.mono();
        let admitted = match self.peers.get_mut(&endpoint) {
            Some(peer) => peer.channel.admit(now, message.kind()),
            None => Ok(()),
        };
        if let Err(refusal) = admitted {
            shared.refuse(refusal);
            // It shows all the same that the path carries packets.
            return self.with_link(endpoint, shared, |link, _, actions| link.handle_traffic(now, actions));
        }
        let mut effects = ChannelEffects::default();
        self.with_link(endpoint, shared, |link, shared, actions| {
            link.handle_traffic(now, actions);
            // A pong answers any ping, before its sender is admitted: it proves no hello.
            if !matches!(message, ChannelMessage::Hello { .. } | ChannelMessage::Pong { .. }) {
                link.handle_admitted_message();
            }
            match message {
                ChannelMessage::Hello { link: id } => link.handle_hello(&id, now, actions),
                ChannelMessage::Ping { id, sent_us } => {
                    effects.reply = Some(ChannelMessage::Pong { id, sent_us, received_us: shared.media_us() });
                }
                ChannelMessage::Pong { id, received_us, .. } => {
                    link.clock.handle_pong(id, received_us, shared.media_us());
                }
                ChannelMessage::Refused { stream } if link.is_verified() => {
                    effects.refused = Some(StreamId::from_bytes(stream.into()));
                }
                ChannelMessage::Member { boot, member } if link.is_up() && link.is_verified() => {
                    effects.record = Some((boot, member));
                }
                ChannelMessage::Message(fragment) if link.is_verified() => effects.fragment = Some(fragment),
                ChannelMessage::MessageAck { series, number } if link.is_verified() => {
                    effects.acknowledged = Some((series, number));
                }
                // Media evaluates sections and reports; the rest comes before the hello.
                ChannelMessage::Section { .. }
                | ChannelMessage::Report { .. }
                | ChannelMessage::Refused { .. }
                | ChannelMessage::Message(..)
                | ChannelMessage::MessageAck { .. }
                | ChannelMessage::Member { .. } => {}
            }
        });
        if let Some(reply) = effects.reply {
            self.reply_on_channel(endpoint, reply, shared);
        }
        if let Some(stream) = effects.refused {
            self.handle_stream_refused(endpoint, stream, shared);
        }
        if let Some(fragment) = effects.fragment {
            self.handle_app_message(endpoint, fragment, shared);
        }
        if let Some((series, number)) = effects.acknowledged {
            self.handle_message_ack(endpoint, series, number, shared);
        }
        if let Some((boot, member)) = effects.record {
            self.handle_member(endpoint, boot, &member, shared);
        }
    }

    pub(super) fn reply_on_channel(&self, endpoint: Endpoint, message: ChannelMessage, shared: &mut Shared) {
        if let Some(link) = self.peers.get(&endpoint).and_then(Peer::link) {
            shared.output(Output::SendChannelMessage { session: link.session(), message });
        }
    }

    fn handle_first_frame(&mut self, participant: Endpoint, stream: StreamId, shared: &mut Shared) {
        if self.wants(participant, stream) {
            let (call, track, kind) = (self.id(), TrackKey::stream(participant, stream), TrackKind::Video);
            shared.emit(Event::MediaStarted { call, track, kind });
        }
    }

    /// Calls a method of a link and performs the actions that it requests.
    fn with_link(
        &mut self,
        endpoint: Endpoint,
        shared: &mut Shared,
        work: impl FnOnce(&mut Link, &mut Shared, &mut Vec<LinkAction>),
    ) {
        let mut actions = Vec::new();
        let Some(link) = self.peers.get_mut(&endpoint).and_then(Peer::link_mut) else { return };
        let before = link.session();
        work(link, shared, &mut actions);
        for action in actions {
            self.perform(endpoint, before, action, shared);
        }
    }

    fn perform(&mut self, endpoint: Endpoint, before: SessionId, action: LinkAction, shared: &mut Shared) {
        let call = self.id();
        let Some(peer) = self.peers.get_mut(&endpoint) else { return };
        let Some(link) = peer.link_mut() else { return };
        let (session, id) = (link.session(), link.id());
        let send = |message| Output::SendChannelMessage { session, message };
        match action {
            LinkAction::Open(session) => {
                peer.flows = super::flows::Flows::default();
                if before != session {
                    shared.output(Output::CloseSession { session: before });
                }
                let is_offerer = shared.own > endpoint;
                shared.output(Output::OpenSession { session, call, remote: endpoint, is_offerer });
            }
            LinkAction::Negotiate(step) => shared.output(Output::Negotiate { session, step }),
            LinkAction::Hello => shared.output(send(ChannelMessage::Hello { link: id.into() })),
            LinkAction::Ping(id) => {
                let sent_us = shared.media_us();
                link.clock.handle_ping(id, sent_us);
                shared.output(send(ChannelMessage::Ping { id, sent_us }));
            }
            LinkAction::Up => self.handle_up(endpoint, session, shared),
            LinkAction::Suspect => {
                shared.emit(Event::ParticipantReconnecting { call, participant: endpoint });
                self.announce(shared, true);
            }
            LinkAction::Failed(failure) => self.handle_link_failed(endpoint, failure, shared),
            LinkAction::Impostor => {
                shared.refuse(Refusal::Inconsistent);
                let failure = PathFailure::local(FailureReason::Identity, TransportState::default());
                self.handle_link_failed(endpoint, failure, shared);
            }
        }
    }

    fn handle_up(&mut self, endpoint: Endpoint, session: SessionId, shared: &mut Shared) {
        let call = self.id();
        let Some(peer) = self.peers.get_mut(&endpoint) else { return };
        shared.output(Output::Admit { session });
        let first = !std::mem::replace(&mut peer.announced, true);
        peer.unreachable_announced = false;
        if let Some(name) = peer.name.clone().filter(|_| first) {
            shared.emit(Event::ParticipantNamed { call, participant: endpoint, name });
        }
        shared.emit(match first {
            true => Event::ParticipantJoined { call, participant: endpoint },
            false => Event::ParticipantReconnected { call, participant: endpoint },
        });
        self.announce(shared, false);
        self.update_speaking(endpoint, shared);
        self.sync_flows(endpoint, shared);
    }

    fn handle_link_failed(&mut self, endpoint: Endpoint, failure: PathFailure, shared: &mut Shared) {
        let call = self.id();
        if !self.roster.is_group() {
            // The remote side should learn why before it hears that this side left.
            self.send_links(shared);
            return self.end_failed(failure, shared);
        }
        let Some(peer) = self.peers.get_mut(&endpoint) else { return };
        if let Some(link) = peer.link() {
            shared.output(Output::CloseSession { session: link.session() });
        }
        if !std::mem::replace(&mut peer.unreachable_announced, true) {
            shared.emit(Event::ParticipantUnreachable { call, participant: endpoint, failure });
        }
    }

    /// Sends the link messages that are due.
    pub(super) fn send_links(&mut self, shared: &mut Shared) {
        let (call, now) = (self.id(), shared.mono());
        for peer in self.peers.values_mut() {
            let Some(key) = peer.call_key() else { continue };
            let message = peer.link_mut().and_then(|link| link.poll_message(now, &mut shared.random));
            if let Some(message) = message {
                shared.send_call(vec![key.key], call, Body::Link(Box::new(message)));
            }
        }
    }

    /// Handles a new subscriber of the call's topic: record and unacknowledged links are sent
    /// again.
    pub(super) fn handle_topic_subscriber(&mut self, at_once: bool, shared: &Shared) {
        if self.takes_part() && !self.is_deserted() {
            let now = shared.mono();
            match self.schedule.last().map(|last| last + SUBSCRIBER_PAUSE).filter(|due| !at_once && *due > now) {
                Some(due) => self.schedule.no_later_than(due),
                None => self.announce(shared, true),
            }
            let links = self.peers.values_mut().filter_map(Peer::link_mut);
            links.for_each(|link| link.expedite_for_subscriber(now, at_once));
        }
    }

    /// Does everything that is due for the links.
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
            let silent = |link: &&Link| matches!(link.state(), LinkState::Suspect(_));
            let failure = self.peers.values().filter_map(Peer::link).find(silent).map(Link::lost);
            let unknown = PathFailure::local(FailureReason::PathLost, TransportState::default());
            self.end_failed(failure.unwrap_or(unknown), shared);
        }
    }

    /// Time at which a call of two ends because its path stays silent while signaling works.
    pub(super) fn path_failed_at(&self, shared: &Shared) -> Option<Instant> {
        if self.roster.is_group() || self.phase() != Phase::Active {
            return None;
        }
        let suspect = self.peers.values().filter_map(|peer| match peer.link()?.state() {
            LinkState::Suspect(since) => Some(since),
            _ => None,
        });
        suspect.min().map(|since| since + shared.timers().path_failed)
    }
}
