//! Link messages: descriptions, candidates and acknowledgements. Each message carries the whole
//! state of its sender.

use blink_api::{CallTimers, TransportState};
use web_time::Instant;

use super::super::io::{Negotiation, SessionId};
use super::clock::ClockFilter;
use super::hello::HelloRepeat;
use super::{Link, LinkAction, LinkState, MAX_CANDIDATES, MAX_GENERATION_CANDIDATES, MAX_MESSAGE, idle};
use crate::secure::Random;
use crate::wire::{self, Cause, LinkRole, candidates_of};

impl Link {
    /// Handles a message of the remote side.
    pub(in crate::call) fn handle_message(
        &mut self,
        message: &wire::Link,
        fresh_session: SessionId,
        now: Instant,
        timers: &CallTimers,
        actions: &mut Vec<LinkAction>,
    ) {
        if message.failed && self.is_of_generation(message.generation) {
            let failure = Cause::failure(message.cause);
            self.failed.get_or_insert(failure.into());
            if !matches!(self.state, LinkState::Failed(_)) {
                self.state = LinkState::Failed(now);
                actions.push(LinkAction::Failed(failure));
            }
            return;
        }
        self.handle_acknowledgements(message);
        if self.is_offerer {
            self.handle_answer(message, now, timers, actions);
        } else {
            self.handle_offer(message, fresh_session, now, timers, actions);
        }
        self.handle_candidates(message, now, actions);
        if self.all_acknowledged() && self.failed.is_none() && self.send.due().is_none_or(|due| due > now) {
            self.send.stop();
        }
    }

    /// Whether a report of a failure concerns the present generation. One that the offerer has
    /// begun since becomes the present one: a session that was never opened has no description that
    /// could arrive before its failure.
    fn is_of_generation(&mut self, generation: u32) -> bool {
        if !self.is_offerer && generation > self.generation {
            self.generation = generation;
            self.sdp = None;
            self.candidates.clear();
            self.forget_acknowledgements();
        }
        generation == self.generation
    }

    fn handle_acknowledgements(&mut self, message: &wire::Link) {
        if message.ack_generation == self.generation && self.sdp.is_some() {
            self.acked_description = true;
            let known = self.candidates.len() as u32;
            self.acked_candidates = self.acked_candidates.max(message.ack_candidates.min(known));
        }
    }

    fn handle_answer(
        &mut self,
        message: &wire::Link,
        now: Instant,
        timers: &CallTimers,
        actions: &mut Vec<LinkAction>,
    ) {
        if message.renegotiation_requests > self.remote_requests {
            self.remote_requests = message.renegotiation_requests;
            self.ice_restart = Some(now);
            self.send.expedite(now);
        }
        if message.role != LinkRole::Answer || message.generation != self.generation {
            return;
        }
        let Some(sdp) = &message.sdp else { return };
        self.send.expedite(now);
        if !self.remote_described {
            self.remote_described = true;
            self.count_described(sdp);
            actions.push(LinkAction::Negotiate(Negotiation::Answer { sdp: sdp.clone() }));
            // A restart of ICE may have begun since the path is connected.
            self.update_state(now, timers, actions);
        }
    }

    fn handle_offer(
        &mut self,
        message: &wire::Link,
        fresh_session: SessionId,
        now: Instant,
        timers: &CallTimers,
        actions: &mut Vec<LinkAction>,
    ) {
        let Some(sdp) = &message.sdp else { return };
        if message.role != LinkRole::Offer || message.generation < self.generation {
            return;
        }
        self.send.expedite(now);
        if message.generation == self.generation {
            return;
        }
        let fingerprint = fingerprint(sdp).map(str::to_owned);
        if matches!(self.state, LinkState::Failed(_)) && fingerprint == self.remote_fingerprint {
            // An ICE restart of a session that is gone here. The offerer must start a new session:
            // `failed` tells it until it does.
            self.generation = message.generation;
            self.sdp = None;
            return;
        }
        // Another DTLS fingerprint means another remote session, which an ICE restart cannot reach
        // (RFC 8842 §4).
        if self.generation == 0 || fingerprint != self.remote_fingerprint {
            self.begin_session(fresh_session, now, actions);
        }
        self.remote_fingerprint = fingerprint;
        self.generation = message.generation;
        self.sdp = None;
        self.candidates.clear();
        self.forget_acknowledgements();
        self.remote_described = true;
        self.count_described(sdp);
        self.failed = None;
        self.send = idle(timers);
        self.send.expedite(now);
        let step = Negotiation::AcceptOffer { generation: self.generation, sdp: sdp.clone() };
        actions.push(LinkAction::Negotiate(step));
    }

    /// Opens a session for a new remote one.
    pub(super) fn begin_session(&mut self, session: SessionId, now: Instant, actions: &mut Vec<LinkAction>) {
        if self.is_up() {
            // The remote side gave up a path that still works in this direction.
            actions.push(LinkAction::Suspect);
        }
        self.session = session;
        self.clock = ClockFilter::default();
        self.connected = false;
        self.transport = TransportState::default();
        self.verified = false;
        self.hello = HelloRepeat::default();
        self.hello_until = None;
        self.last_packet = now;
        self.state = LinkState::Connecting(now);
        actions.push(LinkAction::Open(session));
    }

    /// Counts the candidates inside a description, which are the first of its generation.
    fn count_described(&mut self, sdp: &str) {
        self.used_candidates = u32::try_from(candidates_of(sdp).count()).unwrap_or(u32::MAX);
    }

    fn handle_candidates(&mut self, message: &wire::Link, now: Instant, actions: &mut Vec<LinkAction>) {
        let applies = self.remote_described
            && message.generation == self.generation
            && message.first_candidate <= self.remote_candidates;
        if message.candidates.is_empty() || !applies {
            return;
        }
        self.send.expedite(now);
        // Candidates repeat until acknowledged: skip those already known.
        let known = (self.remote_candidates - message.first_candidate) as usize;
        for candidate in message.candidates.iter().take(MAX_CANDIDATES).skip(known) {
            self.remote_candidates = self.remote_candidates.saturating_add(1);
            if self.used_candidates < MAX_GENERATION_CANDIDATES {
                self.used_candidates += 1;
                actions.push(LinkAction::Negotiate(Negotiation::Candidate { attribute: candidate.clone() }));
            }
        }
    }

    pub(super) fn all_acknowledged(&self) -> bool {
        self.sdp.is_none() || (self.acked_description && self.acked_candidates as usize >= self.candidates.len())
    }

    /// Message that is due now, if any.
    pub(in crate::call) fn poll_message(&mut self, now: Instant, random: &mut Random) -> Option<wire::Link> {
        if !self.send.fire(now, random) {
            return None;
        }
        if self.all_acknowledged() && self.failed.is_none() {
            self.send.stop();
        }
        let first = self.acked_candidates.min(self.candidates.len() as u32);
        let sdp = self.sdp.clone().filter(|_| !self.acked_description);
        let mut room = MAX_MESSAGE - sdp.as_ref().map_or(0, String::len);
        let unacknowledged = self.candidates.iter().skip(first as usize).take(MAX_CANDIDATES).take_while(|candidate| {
            let fits = candidate.len() <= room;
            room = room.saturating_sub(candidate.len());
            fits
        });
        Some(wire::Link {
            link: self.id.into(),
            renegotiation_requests: self.renegotiation_requests,
            generation: self.generation,
            role: if self.is_offerer { LinkRole::Offer } else { LinkRole::Answer },
            sdp,
            first_candidate: first,
            candidates: if self.sdp.is_some() { unacknowledged.cloned().collect() } else { Vec::new() },
            ack_generation: if self.remote_described { self.generation } else { 0 },
            ack_candidates: if self.remote_described { self.remote_candidates } else { 0 },
            failed: self.failed.is_some(),
            cause: self.failed,
        })
    }
}

/// SHA-256 fingerprint of a description (RFC 8122 §5). `None` without one, with another hash, or
/// with two that differ: which one DTLS accepts would then depend on the transport.
pub(in crate::call) fn fingerprint(sdp: &str) -> Option<&str> {
    let mut found = sdp.lines().filter_map(|line| line.trim_end().strip_prefix("a=fingerprint:"));
    let first = found.next()?;
    let sha256 = first.get(..8)?.eq_ignore_ascii_case("sha-256 ");
    (sha256 && found.all(|other| other.eq_ignore_ascii_case(first))).then(|| &first[8..])
}
