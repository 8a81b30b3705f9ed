//! The phases of a call: offering, joining, leaving and ending it, and what time does to it.

use blink_api::{CallId, Did, PathFailure, RejectReason};
use web_time::Instant;

use super::event::Event;
use super::farewell::Farewell;
use super::history::{CallDirection, CallOutcome, HistoryEntry};
use super::history_log::HistoryNote;
use super::io::{JoinedTopic, Output};
use super::memory::REMEMBERED;
use super::person::PersonState;
use super::reason::{CancelledReason, EndReason};
use super::record_schedule::RecordSchedule;
use super::shared::Shared;
use super::state::{Call, Phase};
use super::voice::Voice;
use crate::secure::MAX_RECIPIENTS;
use crate::wire::{self, Body, CancelReason, Status};

impl Call {
    /// Starts this endpoint's own offer: it is joined from the beginning and reads the topic.
    pub(super) fn begin(&mut self, shared: &mut Shared) {
        self.seat = 1;
        self.set_status(Status::Joined);
        self.start_history(shared);
        self.subscribe(shared);
        shared.output(Output::SetActiveCall(Some(self.id())));
    }

    /// Starts its history entry, or continues the one that is there.
    pub(super) fn start_history(&self, shared: &mut Shared) {
        self.start_history_at(shared.unix_ms(self.began), shared);
    }

    /// Starts the history entry of a call that was over before this device heard of it. It has the
    /// time of its creation, as far as the creator's clock and the retention time allow.
    pub(super) fn start_missed_history(&self, shared: &mut Shared) {
        let (now, age) = (shared.unix_ms(shared.mono()), shared.age(self.roster.root().unix_ms));
        let age = if age < REMEMBERED { u64::try_from(age.as_millis()).unwrap_or(0) } else { 0 };
        self.start_history_at(now.saturating_sub(age), shared);
    }

    fn start_history_at(&self, started_ms: u64, shared: &mut Shared) {
        let direction = if self.from == shared.own.did { CallDirection::Outgoing } else { CallDirection::Incoming };
        let members = self.roster.valid().to_vec();
        let mut entry = HistoryEntry::new(self.id(), direction, self.from, members, started_ms);
        entry.conversation = self.conversation();
        entry.stranger = !self.familiar;
        shared.note_history(HistoryNote::Started(Box::new(entry)));
    }

    /// Reads the call's topic with the current key.
    pub(super) fn subscribe(&self, shared: &mut Shared) {
        let topic = JoinedTopic { keys: self.keys.clone(), key: self.key.pair.clone() };
        shared.output(Output::Subscribe(Box::new(topic)));
    }

    /// Accepts a ringing call, or joins one that continues without this device.
    pub(super) fn join(&mut self, shared: &mut Shared) {
        let again = self.version() > 0;
        if again {
            self.key = Self::fresh_key(self.id(), shared);
        }
        self.farewell = None;
        self.familiar = true;
        self.notices.clear();
        self.seat = self.seat.saturating_add(1);
        self.join_attempts = 0;
        self.enter(Phase::Joining, shared);
        self.start_history(shared);
        self.subscribe(shared);
        shared.output(Output::SetActiveCall(Some(self.id())));
        self.peers.values_mut().for_each(|peer| {
            peer.forget_joining();
            peer.acknowledged = 0;
            peer.last_listed_us = shared.now.mono;
        });
        self.set_status(Status::Joining);
        self.announce(shared, true);
        let endpoints: Vec<_> = self.peers.keys().copied().collect();
        endpoints.into_iter().for_each(|endpoint| self.ensure_link(endpoint, shared));
        let body = self.cancel_body(CancelReason::AcceptedElsewhere, shared);
        self.notify(shared.own.did, body, shared);
    }

    /// Handles that a participant has this endpoint's record: it is heard, and therefore in the
    /// call.
    pub(super) fn handle_acknowledged(&mut self, shared: &mut Shared) {
        if self.phase() == Phase::Joining {
            self.become_active(shared);
        }
    }

    pub(super) fn become_active(&mut self, shared: &mut Shared) {
        self.enter(Phase::Active, shared);
        self.set_status(Status::Joined);
        self.announce(shared, true);
        shared.emit(Event::CallJoined { call: self.id() });
    }

    /// Rejects a ringing call.
    pub(super) fn reject(&mut self, reason: RejectReason, shared: &mut Shared) {
        let entry = self.roster.reject(&shared.identity);
        let present: Vec<_> = self.present().map(|(endpoint, _)| endpoint.did).collect();
        let reject =
            Body::Reject(wire::Reject { entry, acknowledged: false, reason: wire::number_of_rejection(reason) });
        shared.note_history(HistoryNote::Finished(self.id(), CallOutcome::Rejected));
        self.enter(self.phase_after_leaving(), shared);
        for did in present {
            self.notify(did, reject.clone(), shared);
        }
        let elsewhere = self.cancel_body(CancelReason::RejectedElsewhere, shared);
        self.notify(shared.own.did, elsewhere, shared);
    }

    /// Ends a ringing call that everyone left.
    pub(super) fn end_cancelled(&mut self, shared: &mut Shared) {
        self.enter(Phase::Over, shared);
        shared.emit(Event::CallCancelled { call: self.id(), reason: CancelledReason::CallerLeft });
    }

    /// Stops the ringing of a call that may continue without this device.
    ///
    /// The call keeps its age: among open calls it is as old as its ringing, so that calls which
    /// rang during a flood are the first to be dropped.
    pub(super) fn stop_ringing(&mut self, reason: CancelledReason, shared: &mut Shared) {
        self.enter_since(self.phase_after_leaving(), self.since());
        shared.emit(Event::CallCancelled { call: self.id(), reason });
    }

    /// Ends the ringing of a call that was not answered in time.
    pub(super) fn end_missed(&mut self, shared: &mut Shared) {
        let phase = if self.is_deserted() { Phase::Over } else { self.phase_after_leaving() };
        self.enter(phase, shared);
        shared.emit(Event::MissedCall { call: self.id(), from: self.from, device: self.from_device });
    }

    /// Ends the call because this person was removed from it.
    pub(super) fn end_removed(&mut self, shared: &mut Shared) {
        match self.phase() {
            Phase::In => self.end_cancelled(shared),
            phase if phase.takes_part() => self.end(EndReason::Removed, shared),
            _ => {}
        }
        self.enter(Phase::Over, shared);
    }

    /// Gives the call up for another one of the same people (glare). The user is not told.
    pub(super) fn yield_to(&mut self, other: CallId, shared: &mut Shared) {
        self.set_status(Status::Left);
        self.schedule = RecordSchedule::default();
        let people: Vec<Did> = self.people.keys().copied().collect();
        for did in people {
            let body = self.replaced_body(other, shared);
            self.notify(did, body, shared);
        }
        self.disconnect(shared);
        // The microphone opens anew for the other call.
        shared.voice = Voice::default();
        self.enter(Phase::Over, shared);
        self.farewell = Some(Farewell::starting(shared.mono()));
    }

    /// Closes every link, and forgets what the user was told of the participants.
    fn disconnect(&mut self, shared: &mut Shared) {
        for endpoint in self.peers.keys().copied().collect::<Vec<_>>() {
            self.lose_messages(endpoint, shared);
        }
        for peer in self.peers.values_mut() {
            Self::close_link(peer, shared);
            peer.forget_joining();
        }
        self.forget_requests(shared);
    }

    /// Leaves the call, or withdraws the offer.
    pub(super) fn end(&mut self, reason: EndReason, shared: &mut Shared) {
        self.end_with(reason, None, shared);
    }

    /// Leaves a call of two whose path failed.
    pub(super) fn end_failed(&mut self, failure: PathFailure, shared: &mut Shared) {
        self.end_with(EndReason::Failed, Some(failure), shared);
    }

    fn end_with(&mut self, reason: EndReason, failure: Option<PathFailure>, shared: &mut Shared) {
        let was_out = self.phase() == Phase::Out;
        let (cancel_reason, unresolved) = match reason {
            EndReason::Unanswered => (CancelReason::Unanswered, PersonState::Missed),
            _ => (CancelReason::Left, PersonState::Gone),
        };
        self.set_status(Status::Left);
        self.path_failure = failure;
        self.schedule = RecordSchedule::default();
        self.cancel_unresolved(cancel_reason, unresolved, shared);
        let deserted = self.is_deserted();
        if self.roster.is_group() {
            self.notify_absent(shared);
        }
        self.disconnect(shared);
        let held = self.is_held();
        self.enter(if was_out || deserted { Phase::Over } else { self.phase_after_leaving() }, shared);
        if held {
            shared.output(Output::EndHeldCall(self.id()));
        } else {
            shared.end_media();
            shared.output(Output::SetActiveCall(None));
        }
        shared.emit(Event::CallEnded { call: self.id(), reason, failure });
        self.farewell = Some(Farewell::starting(shared.mono()));
    }

    /// Does everything that is due.
    pub(super) fn handle_timeout(&mut self, shared: &mut Shared) {
        let now = shared.mono();
        match self.phase() {
            Phase::In if now >= self.ring_until.min(self.offer_heard + shared.timers().offer_lease) => {
                self.end_missed(shared);
            }
            Phase::Joining if now >= self.since() + shared.timers().join_limit => {
                self.end(EndReason::Unreachable, shared);
            }
            Phase::Open if self.busy && now >= self.ring_until => self.enter(Phase::Over, shared),
            _ => {}
        }
        if self.takes_part() {
            self.time_out_links(shared);
            self.time_out_peers(shared);
            self.emit_deferred(shared);
            self.send_due_offers(shared);
            self.send_links(shared);
            self.send_record_if_due(shared);
            self.send_messages(shared);
        }
        self.send_notices(shared);
        for topic in self.retired.take_expired(now) {
            shared.output(Output::RetireTopic(topic));
        }
        self.continue_farewell(shared);
    }

    /// Sends the farewells that are due, and stops reading the topic at their end.
    fn continue_farewell(&mut self, shared: &mut Shared) {
        let now = shared.mono();
        let Some(farewell) = &mut self.farewell else { return };
        if farewell.fire(now) {
            let member = wire::Member { record: self.record(shared), entries: Vec::new(), secret: None };
            // Endpoints that left before this one have discarded the call's keys.
            let here = self.peers.values().filter(|peer| peer.status() != Some(Status::Left));
            let keys = here.filter_map(|peer| Some(peer.call_key()?.key)).take(MAX_RECIPIENTS).collect();
            shared.send_call(keys, self.id(), Body::Member(Box::new(member)));
        }
        if self.farewell.is_some_and(|farewell| farewell.is_over(now, shared.timers().linger)) {
            self.farewell = None;
            for topic in self.retired.take_all() {
                shared.output(Output::RetireTopic(topic));
            }
            shared.output(Output::Unsubscribe(self.id()));
        }
    }

    /// Time at which [`handle_timeout`](Self::handle_timeout) is due.
    pub(super) fn deadline(&self, shared: &Shared) -> Option<Instant> {
        let timers = shared.timers();
        let phase = match self.phase() {
            Phase::In => Some(self.ring_until.min(self.offer_heard + timers.offer_lease)),
            Phase::Joining => Some(self.since() + timers.join_limit),
            Phase::Open if self.busy => Some(self.ring_until),
            Phase::Open => Some(self.since() + REMEMBERED),
            _ => None,
        };
        let current = self.takes_part().then(|| self.current_deadline(shared)).flatten();
        let farewell = self.farewell.map(|farewell| farewell.deadline(timers.linger));
        [phase, current, self.notices.deadline(), farewell, self.retired.deadline()].into_iter().flatten().min()
    }

    /// Deadline of what only happens in a current call.
    fn current_deadline(&self, shared: &Shared) -> Option<Instant> {
        let (timers, group) = (shared.timers(), self.roster.is_group());
        let peers = self.peers.values().flat_map(|peer| {
            let link = peer.link().and_then(|link| link.deadline(timers, group));
            [
                link,
                self.lease_end(peer, shared),
                peer.hint_end(timers.left),
                peer.throttle.due(),
                Self::message_due(peer, shared.mono()),
            ]
        });
        let call = [self.path_failed_at(shared), self.invitation_deadline(shared), self.schedule.due()];
        peers.chain(call).flatten().min()
    }

    /// Sends a message to a person's inbox until it is acknowledged.
    pub(super) fn notify(&mut self, to: Did, body: Body, shared: &Shared) {
        let (now, timers) = (shared.mono(), shared.timers());
        let repeat = super::repeat::Repeat::starting(now, timers.repeat_first, timers.repeat_longest);
        self.notices.add(to, body, repeat, now + timers.give_up);
    }

    fn send_notices(&mut self, shared: &mut Shared) {
        let now = shared.mono();
        for (to, body) in self.notices.take_due(now, &mut shared.random) {
            shared.send_inbox(to, self.id(), body);
        }
    }
}
