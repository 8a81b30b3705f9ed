//! One link: the negotiation of a media path between this endpoint and one other, and its health.
//!
//! ```text
//!             described, answered,          silent 2.5 s
//!  Connecting ── DTLS up, hello right ──▶ Up ───────────▶ Suspect ── any packet ──▶ Up
//!      │ error or 30 s                                      │ restarts of ICE at 0, 2, 4, 8, 8 … s
//!      ▼                                                    ▼
//!    Failed ── every 30 s in a group ──▶ Connecting       (the membership's lease decides that it is gone)
//! ```
//!
//! The greater endpoint dials: it alone makes SDP offers, each a new generation. The other asks for one by raising `ask`. What one side has to
//! say is sent whole and repeated until the other acknowledges it, so that loss, duplication and order do not matter.

use std::time::{Duration, Instant};

use blink_api::CallTimers;

use super::repeat::Repeat;
use super::{Negotiation, SessionId};
use crate::secure::Random;
use crate::wire::{self, LinkRole};

/// Candidates in one message.
const MAX_CANDIDATES: usize = 40;
/// Candidates of one generation, own or remote.
const MAX_GENERATION_CANDIDATES: u32 = 200;
/// The longest candidate in bytes.
const MAX_CANDIDATE: usize = 512;
/// Bytes of description and candidates in one message, so that it fits into an envelope.
const MAX_MESSAGE: usize = 14 * 1024;
/// How long candidates are collected before they are sent, so that those of one gathering travel together.
const COLLECT: Duration = Duration::from_millis(3);
/// The largest description that is sent or read.
pub(super) const MAX_SDP: usize = 12 * 1024;

/// A link's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkState {
    /// Being made since.
    Connecting(Instant),
    /// Packets come.
    Up,
    /// Silent since.
    Suspect(Instant),
    /// Given up at.
    Failed(Instant),
}

/// What a link wants done.
#[derive(Debug, PartialEq)]
pub(super) enum LinkAction {
    /// Open a session, closing the one before.
    Open(SessionId),
    /// A step of the negotiation.
    Negotiate(Negotiation),
    /// Say hello on the data channel.
    Hello,
    /// Ping.
    Ping(u64),
    /// The path is up and verified, for the first time or again.
    Up,
    /// The path is silent.
    Suspect,
    /// The path failed.
    Failed,
    /// The other end is not the one it says it is.
    Impostor,
}

/// One link.
pub(super) struct Link {
    pub(super) id: [u8; 16],
    pub(super) session: SessionId,
    pub(super) state: LinkState,
    dials: bool,
    /// The newest generation made (dialer) or answered.
    generation: u32,
    sdp: Option<String>,
    candidates: Vec<String>,
    acked_description: bool,
    acked_candidates: u32,
    remote_described: bool,
    remote_candidates: u32,
    remote_fingerprint: Option<String>,
    ask: u32,
    their_ask: u32,
    failed: bool,
    connected: bool,
    verified: bool,
    send: Repeat,
    last_packet: Instant,
    ping: Instant,
    pings: u64,
    restart: Option<Instant>,
    restart_pause: Duration,
}

impl Link {
    /// A link that begins now. The dialer opens its session at once, the other side when an offer comes.
    pub(super) fn new(id: [u8; 16], dials: bool, session: SessionId, now: Instant, timers: &CallTimers) -> Self {
        Self {
            id,
            session,
            state: LinkState::Connecting(now),
            dials,
            generation: 0,
            sdp: None,
            candidates: Vec::new(),
            acked_description: false,
            acked_candidates: 0,
            remote_described: false,
            remote_candidates: 0,
            remote_fingerprint: None,
            ask: 0,
            their_ask: 0,
            failed: false,
            connected: false,
            verified: false,
            send: idle(timers),
            last_packet: now,
            ping: now,
            pings: 0,
            restart: None,
            restart_pause: Duration::ZERO,
        }
    }

    /// The dialer's first step.
    pub(super) fn dial(&mut self, actions: &mut Vec<LinkAction>) {
        if self.dials {
            actions.push(LinkAction::Open(self.session));
            self.next_generation(false, actions);
        }
    }

    fn next_generation(&mut self, ice_restart: bool, actions: &mut Vec<LinkAction>) {
        self.generation += 1;
        self.sdp = None;
        self.candidates.clear();
        self.forget_acknowledgements();
        actions.push(LinkAction::Negotiate(Negotiation::Offer { generation: self.generation, ice_restart }));
    }

    fn forget_acknowledgements(&mut self) {
        self.acked_description = false;
        self.acked_candidates = 0;
        self.remote_described = false;
        self.remote_candidates = 0;
    }

    /// The session made a description of a generation.
    pub(super) fn handle_described(
        &mut self,
        generation: u32,
        sdp: String,
        now: Instant,
        timers: &CallTimers,
        actions: &mut Vec<LinkAction>,
    ) {
        if generation != self.generation {
            return;
        }
        if sdp.len() > MAX_SDP {
            return self.handle_failed(now, actions);
        }
        self.sdp = Some(sdp);
        self.send = Repeat::starting(now, timers.link_repeat_first, timers.link_repeat_longest);
    }

    /// The session found a candidate.
    pub(super) fn handle_candidate(&mut self, candidate: String, now: Instant) {
        let fits = self.candidates.len() < MAX_GENERATION_CANDIDATES as usize && candidate.len() <= MAX_CANDIDATE;
        if fits && !self.candidates.contains(&candidate) {
            self.candidates.push(candidate);
            self.send.at_latest(now + COLLECT);
        }
    }

    /// ICE and DTLS are up.
    pub(super) fn handle_connected(&mut self, now: Instant, actions: &mut Vec<LinkAction>) {
        self.connected = true;
        self.handle_traffic(now, actions);
        self.settle(actions);
    }

    /// The data channel is open: hello is its first message.
    pub(super) fn handle_channel(&mut self, now: Instant, actions: &mut Vec<LinkAction>) {
        actions.push(LinkAction::Hello);
        self.ping = now;
    }

    /// The other side's first message on the data channel.
    pub(super) fn handle_hello(&mut self, link: &[u8; 16], now: Instant, actions: &mut Vec<LinkAction>) {
        if *link != self.id {
            self.state = LinkState::Failed(now);
            self.failed = true;
            self.send.hurry(now);
            return actions.push(LinkAction::Impostor);
        }
        self.verified = true;
        self.settle(actions);
    }

    fn settle(&mut self, actions: &mut Vec<LinkAction>) {
        if self.connected && self.verified && matches!(self.state, LinkState::Connecting(_)) {
            self.state = LinkState::Up;
            actions.push(LinkAction::Up);
        }
    }

    /// A packet came on the path.
    pub(super) fn handle_traffic(&mut self, now: Instant, actions: &mut Vec<LinkAction>) {
        self.last_packet = self.last_packet.max(now);
        if matches!(self.state, LinkState::Suspect(_)) {
            self.state = LinkState::Up;
            self.restart = None;
            actions.push(LinkAction::Up);
        }
    }

    /// The session cannot do what it was told.
    pub(super) fn handle_failed(&mut self, now: Instant, actions: &mut Vec<LinkAction>) {
        if !matches!(self.state, LinkState::Failed(_)) {
            self.state = LinkState::Failed(now);
            self.failed = true;
            self.send.hurry(now);
            actions.push(LinkAction::Failed);
        }
    }

    /// What the other side has to say.
    pub(super) fn handle_message(
        &mut self,
        message: &wire::Link,
        fresh_session: SessionId,
        now: Instant,
        timers: &CallTimers,
        actions: &mut Vec<LinkAction>,
    ) {
        if message.failed && message.generation == self.generation {
            self.failed = true;
            if !matches!(self.state, LinkState::Failed(_)) {
                self.state = LinkState::Failed(now);
                actions.push(LinkAction::Failed);
            }
            return;
        }
        self.take_acknowledgements(message);
        if self.dials {
            self.take_answer(message, now, actions);
        } else {
            self.take_offer(message, fresh_session, now, timers, actions);
        }
        self.take_candidates(message, now, actions);
        if self.all_acknowledged() && !self.failed && self.send.due().is_none_or(|due| due > now) {
            self.send.stop();
        }
    }

    fn take_acknowledgements(&mut self, message: &wire::Link) {
        if message.ack_generation == self.generation && self.sdp.is_some() {
            self.acked_description = true;
            let known = self.candidates.len() as u32;
            self.acked_candidates = self.acked_candidates.max(message.ack_candidates.min(known));
        }
    }

    fn take_answer(&mut self, message: &wire::Link, now: Instant, actions: &mut Vec<LinkAction>) {
        if message.ask > self.their_ask {
            self.their_ask = message.ask;
            self.restart = Some(now);
            self.send.hurry(now);
        }
        if message.role != LinkRole::Answer || message.generation != self.generation {
            return;
        }
        let Some(sdp) = &message.sdp else { return };
        self.send.hurry(now);
        if !self.remote_described {
            self.remote_described = true;
            actions.push(LinkAction::Negotiate(Negotiation::Answer { sdp: sdp.clone() }));
        }
    }

    fn take_offer(
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
        self.send.hurry(now);
        if message.generation == self.generation {
            return;
        }
        let fingerprint = fingerprint(sdp).map(str::to_owned);
        if matches!(self.state, LinkState::Failed(_)) && fingerprint == self.remote_fingerprint {
            // The session that this would restart is gone: the dialer must begin anew, and hears so until it does.
            self.generation = message.generation;
            self.sdp = None;
            return;
        }
        if self.generation == 0 || fingerprint != self.remote_fingerprint {
            self.begin_session(fresh_session, now, actions);
        }
        self.remote_fingerprint = fingerprint;
        self.generation = message.generation;
        self.sdp = None;
        self.candidates.clear();
        self.forget_acknowledgements();
        self.remote_described = true;
        self.failed = false;
        self.send = idle(timers);
        self.send.hurry(now);
        let step = Negotiation::AcceptOffer { generation: self.generation, sdp: sdp.clone() };
        actions.push(LinkAction::Negotiate(step));
    }

    /// A session of its own for a remote one that is new.
    fn begin_session(&mut self, session: SessionId, now: Instant, actions: &mut Vec<LinkAction>) {
        self.session = session;
        self.connected = false;
        self.verified = false;
        self.last_packet = now;
        self.state = LinkState::Connecting(now);
        actions.push(LinkAction::Open(session));
    }

    fn take_candidates(&mut self, message: &wire::Link, now: Instant, actions: &mut Vec<LinkAction>) {
        let applies = self.remote_described
            && message.generation == self.generation
            && message.first_candidate <= self.remote_candidates;
        if message.candidates.is_empty() || !applies {
            return;
        }
        self.send.hurry(now);
        let known = (self.remote_candidates - message.first_candidate) as usize;
        for candidate in message.candidates.iter().take(MAX_CANDIDATES).skip(known) {
            if self.remote_candidates < MAX_GENERATION_CANDIDATES {
                self.remote_candidates += 1;
                actions.push(LinkAction::Negotiate(Negotiation::Candidate { attribute: candidate.clone() }));
            }
        }
    }

    fn all_acknowledged(&self) -> bool {
        self.sdp.is_none() || (self.acked_description && self.acked_candidates as usize >= self.candidates.len())
    }

    /// Does what time demands.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        timers: &CallTimers,
        fresh_session: &mut dyn FnMut() -> SessionId,
        group: bool,
        actions: &mut Vec<LinkAction>,
    ) {
        match self.state {
            LinkState::Connecting(since) if now >= since + timers.connect_limit => self.handle_failed(now, actions),
            LinkState::Up if now >= self.last_packet + timers.suspect => {
                self.state = LinkState::Suspect(now);
                self.restart = Some(now);
                self.restart_pause = Duration::from_secs(2);
                actions.push(LinkAction::Suspect);
            }
            LinkState::Failed(at) if group && self.dials && now >= at + timers.connect_limit => {
                self.failed = false;
                self.begin_session(fresh_session(), now, actions);
                self.next_generation(false, actions);
            }
            _ => {}
        }
        if self.restart.is_some_and(|at| now >= at) {
            self.restart_path(now, actions);
        }
        if self.connected && matches!(self.state, LinkState::Up | LinkState::Suspect(_)) && now >= self.ping {
            self.ping = now + timers.ping;
            self.pings += 1;
            actions.push(LinkAction::Ping(self.pings));
        }
    }

    fn restart_path(&mut self, now: Instant, actions: &mut Vec<LinkAction>) {
        if matches!(self.state, LinkState::Suspect(_)) {
            self.restart = Some(now + self.restart_pause);
            self.restart_pause = (self.restart_pause * 2).min(Duration::from_secs(8));
        } else {
            self.restart = None;
        }
        if self.dials {
            self.next_generation(true, actions);
        } else {
            self.ask += 1;
            self.send.hurry(now);
        }
    }

    /// The message to send now, if one is due.
    pub(super) fn poll_message(&mut self, now: Instant, random: &mut Random) -> Option<wire::Link> {
        if !self.send.fire(now, random) {
            return None;
        }
        if self.all_acknowledged() && !self.failed {
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
            ask: self.ask,
            generation: self.generation,
            role: if self.dials { LinkRole::Offer } else { LinkRole::Answer },
            sdp,
            first_candidate: first,
            candidates: if self.sdp.is_some() { unacknowledged.cloned().collect() } else { Vec::new() },
            ack_generation: if self.remote_described { self.generation } else { 0 },
            ack_candidates: if self.remote_described { self.remote_candidates } else { 0 },
            failed: self.failed,
        })
    }

    /// What is not acknowledged should be said again now: somebody may have begun to listen.
    pub(super) fn hurry(&mut self, now: Instant) {
        if !self.all_acknowledged() {
            self.send.hurry(now);
        }
    }

    /// Whether the path carries media.
    pub(super) fn is_up(&self) -> bool {
        self.state == LinkState::Up
    }

    /// When the last packet came.
    pub(super) fn last_packet(&self) -> Instant {
        self.last_packet
    }

    /// When `handle_timeout` or `poll_message` has something to do.
    pub(super) fn deadline(&self, timers: &CallTimers, group: bool) -> Option<Instant> {
        let state = match self.state {
            LinkState::Connecting(since) => Some(since + timers.connect_limit),
            LinkState::Up => Some((self.last_packet + timers.suspect).min(self.ping)),
            LinkState::Suspect(_) => Some(self.ping),
            LinkState::Failed(at) => (group && self.dials).then_some(at + timers.connect_limit),
        };
        [state, self.restart, self.send.due()].into_iter().flatten().min()
    }
}

/// The one SHA-256 fingerprint of a description (RFC 8122 §5); `None` where there is none, another hash, or two that differ.
pub(super) fn fingerprint(sdp: &str) -> Option<&str> {
    let mut found = sdp.lines().filter_map(|line| line.trim_end().strip_prefix("a=fingerprint:"));
    let first = found.next()?;
    let sha256 = first.get(..8)?.eq_ignore_ascii_case("sha-256 ");
    (sha256 && found.all(|other| other.eq_ignore_ascii_case(first))).then(|| &first[8..])
}

fn idle(timers: &CallTimers) -> Repeat {
    Repeat::idle(timers.link_repeat_first, timers.link_repeat_longest)
}
