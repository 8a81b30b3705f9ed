//! One link: the negotiation of a media path between this endpoint and one other, and its health.
//!
//! ```text
//!             described, answered,          silent 2.5 s
//!  Connecting ── DTLS up, hello right ──▶ Up ───────────▶ Suspect ── any packet ──▶ Up
//!      │ error or 30 s                                      │ restarts of ICE at 0, 2, 4, 8, 8 … s
//!      ▼                                                    ▼
//!    Failed ── after 2, 4 … 30 s in a group ──▶ Connecting       (the membership's lease decides that it is gone)
//! ```
//!
//! The greater endpoint is the offerer: it alone makes SDP offers, each a new generation. The other asks for
//! one by raising `ask`. What one side has to say is sent whole and repeated until the other
//! acknowledges it, so that loss, duplication and order do not matter.

mod clock;
mod hello;
mod messages;

use web_time::{Duration, Instant};

use blink_api::CallTimers;

use super::repeat::Repeat;
use super::{Negotiation, SessionId};
pub(super) use clock::ClockFilter;
pub use clock::{ClockRound, ClockSync};
use hello::HelloRepeat;
pub(super) use messages::fingerprint;

/// Candidates in one message.
const MAX_CANDIDATES: usize = 40;
/// Candidates of one generation, own or remote.
const MAX_GENERATION_CANDIDATES: u32 = 200;
/// The longest candidate in bytes.
const MAX_CANDIDATE: usize = 512;
/// Bytes of description and candidates in one message, so that it fits into an envelope.
const MAX_MESSAGE: usize = 14 * 1024;
/// How long candidates are collected before they are sent, so that those of one gathering travel
/// together.
const COLLECT: Duration = Duration::from_millis(3);
/// In a group a path that failed is tried again after this; doubles up to the time that connecting
/// may take.
const RETRY_FIRST: Duration = Duration::from_secs(2);
/// So many pings are made before there may be fewer of them, so that the clocks are known soon.
const QUICK_PINGS: u64 = 4;
/// So many are left out then at most.
const SLOW_PINGS: u32 = 4;
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
    /// Say hello on the data channel, for the first time or again.
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

/// How far the two ends of a link have counted. A link that closes while both keep their call keys
/// may only be closed on one side: the next one counts on.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LinkCounts {
    id: [u8; 16],
    generation: u32,
    renegotiation_requests: u32,
    remote_requests: u32,
}

/// One link.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) id: [u8; 16],
    pub(super) session: SessionId,
    pub(super) state: LinkState,
    is_offerer: bool,
    /// The newest generation made (dialer) or answered.
    generation: u32,
    sdp: Option<String>,
    candidates: Vec<String>,
    acked_description: bool,
    acked_candidates: u32,
    remote_described: bool,
    remote_candidates: u32,
    /// Candidates of this generation that were handed to the session, those of its description
    /// among them.
    used_candidates: u32,
    remote_fingerprint: Option<String>,
    renegotiation_requests: u32,
    remote_requests: u32,
    failed: bool,
    connected: bool,
    verified: bool,
    hello: HelloRepeat,
    send: Repeat,
    last_packet: Instant,
    /// The earliest time of the next ping.
    ping: Instant,
    pings: u64,
    pub(super) clock: ClockFilter,
    restart: Option<Instant>,
    restart_pause: Duration,
    /// How long the next failure lasts before the dialer tries again.
    retry_pause: Duration,
}

impl Link {
    /// A link that begins now. The dialer opens its session at once, the other side when an offer
    /// comes.
    pub(super) fn new(id: [u8; 16], is_offerer: bool, session: SessionId, now: Instant, timers: &CallTimers) -> Self {
        Self {
            id,
            session,
            state: LinkState::Connecting(now),
            is_offerer,
            generation: 0,
            sdp: None,
            candidates: Vec::new(),
            acked_description: false,
            acked_candidates: 0,
            remote_described: false,
            remote_candidates: 0,
            used_candidates: 0,
            remote_fingerprint: None,
            renegotiation_requests: 0,
            remote_requests: 0,
            failed: false,
            connected: false,
            verified: false,
            hello: HelloRepeat::default(),
            send: idle(timers),
            last_packet: now,
            ping: now,
            pings: 0,
            clock: ClockFilter::default(),
            restart: None,
            restart_pause: Duration::ZERO,
            retry_pause: RETRY_FIRST,
        }
    }

    /// Counts on from the link before, if that was between the same call keys.
    pub(super) fn counting_on(self, before: LinkCounts) -> Self {
        if before.id != self.id {
            return self;
        }
        Self {
            generation: before.generation,
            renegotiation_requests: before.renegotiation_requests,
            remote_requests: before.remote_requests,
            ..self
        }
    }

    /// Where the next link between the same call keys counts on.
    pub(super) fn counts(&self) -> LinkCounts {
        LinkCounts {
            id: self.id,
            generation: self.generation,
            renegotiation_requests: self.renegotiation_requests,
            remote_requests: self.remote_requests,
        }
    }

    /// The dialer's first step.
    pub(super) fn dial(&mut self, actions: &mut Vec<LinkAction>) {
        if self.is_offerer {
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
        self.used_candidates = 0;
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
    pub(super) fn handle_channel(&mut self, now: Instant, timers: &CallTimers, actions: &mut Vec<LinkAction>) {
        actions.push(LinkAction::Hello);
        self.hello.begin(now, timers);
        self.ping = now;
    }

    /// The other side said something that it says only once it has heard our hello.
    pub(super) fn handle_admitted_message(&mut self) {
        self.hello.stop();
    }

    /// The other side's first message on the data channel. It may come again, which changes
    /// nothing.
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
            self.retry_pause = RETRY_FIRST;
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
            LinkState::Failed(at) if group && self.is_offerer && now >= at + self.retry_after(timers) => {
                self.failed = false;
                self.retry_pause = self.retry_after(timers) * 2;
                self.begin_session(fresh_session(), now, actions);
                self.next_generation(false, actions);
            }
            _ => {}
        }
        if self.restart.is_some_and(|at| now >= at) {
            self.restart_path(now, actions);
        }
        if !matches!(self.state, LinkState::Failed(_)) && self.hello.fire(now, timers) {
            actions.push(LinkAction::Hello);
        }
        if self.connected && self.is_admitted() && now >= self.ping_at(timers) {
            self.ping = now + timers.ping;
            self.pings += 1;
            actions.push(LinkAction::Ping(self.pings));
        }
    }

    /// When the next ping goes out. While something else comes the path needs none, and the clocks
    /// only one now and then.
    fn ping_at(&self, timers: &CallTimers) -> Instant {
        if self.pings < QUICK_PINGS || self.state != LinkState::Up {
            return self.ping;
        }
        let quiet = self.last_packet + timers.ping;
        quiet.max(self.ping).min(self.ping + timers.ping * SLOW_PINGS)
    }

    fn retry_after(&self, timers: &CallTimers) -> Duration {
        self.retry_pause.min(timers.connect_limit)
    }

    fn restart_path(&mut self, now: Instant, actions: &mut Vec<LinkAction>) {
        if matches!(self.state, LinkState::Suspect(_)) {
            self.restart = Some(now + self.restart_pause);
            self.restart_pause = (self.restart_pause * 2).min(Duration::from_secs(8));
        } else {
            self.restart = None;
        }
        if self.is_offerer {
            self.next_generation(true, actions);
        } else {
            self.renegotiation_requests += 1;
            self.send.hurry(now);
        }
    }

    /// What is not acknowledged should be said again now: somebody may have begun to listen.
    pub(super) fn hurry_for_subscriber(&mut self, now: Instant, at_once: bool) {
        if !self.all_acknowledged() {
            self.send.hurry_for_subscriber(now, at_once);
        }
    }

    /// Whether the path carries media.
    pub(super) fn is_up(&self) -> bool {
        self.state == LinkState::Up
    }

    /// Whether media may flow: the path was verified, though it may be silent now.
    pub(super) fn is_admitted(&self) -> bool {
        matches!(self.state, LinkState::Up | LinkState::Suspect(_))
    }

    /// When the last packet came.
    pub(super) fn last_packet(&self) -> Instant {
        self.last_packet
    }

    /// When `handle_timeout` or `poll_message` has something to do.
    pub(super) fn deadline(&self, timers: &CallTimers, group: bool) -> Option<Instant> {
        let state = match self.state {
            LinkState::Connecting(since) => Some(since + timers.connect_limit),
            LinkState::Up => Some((self.last_packet + timers.suspect).min(self.ping_at(timers))),
            LinkState::Suspect(_) => Some(self.ping_at(timers)),
            LinkState::Failed(at) => (group && self.is_offerer).then_some(at + self.retry_after(timers)),
        };
        let hello = self.hello.due.filter(|_| !matches!(self.state, LinkState::Failed(_)));
        [state, hello, self.restart, self.send.due()].into_iter().flatten().min()
    }
}

fn idle(timers: &CallTimers) -> Repeat {
    Repeat::idle(timers.link_repeat_first, timers.link_repeat_longest)
}

#[cfg(test)]
mod candidate_tests;
#[cfg(test)]
mod tests;
