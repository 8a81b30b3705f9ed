//! One link: negotiation and health of the media path between this endpoint and one other.
//!
//! ```text
//!            described, answered,          silent 2.5 s
//!  Connecting ─────── DTLS up ─────────▶ Up ───────────▶ Suspect ── any packet ──▶ Up
//!      │ error or 30 s                   │ hello of another link   │ restarts of ICE at 0, 2, 4, 8, 8 … s
//!      ▼                                                    ▼
//!    Failed ── after 2, 4 … 30 s in a group ──▶ Connecting       (the member's lease decides when it is gone)
//! ```
//!
//! The greater endpoint is the offerer: it alone makes SDP offers, each a new generation, so that
//! offers never collide (RFC 3264 §4 glare). The other side asks for one by raising
//! `renegotiation_requests`. Each side sends its whole state, repeated until the other acknowledges
//! it, so that loss, duplication and order do not matter. See `docs/protocol.md`, section "Links".

mod clock;
mod hello;
mod messages;
mod timers;

use blink_api::{CallTimers, FailureReason, PathFailure, TransportState};
use web_time::{Duration, Instant};

use super::io::{Negotiation, SessionId};
use super::repeat::Repeat;
use crate::wire::Cause;
pub(super) use clock::ClockFilter;
pub use clock::{ClockRound, ClockSync};
use hello::HelloRepeat;
pub(super) use messages::fingerprint;

/// Candidates in one message.
const MAX_CANDIDATES: usize = 40;
/// Candidates of one generation, local or remote.
const MAX_GENERATION_CANDIDATES: u32 = 200;
/// Longest candidate in bytes.
const MAX_CANDIDATE: usize = 512;
/// Bytes of description and candidates in one message, so that it fits in an envelope.
const MAX_MESSAGE: usize = 14 * 1024;
/// Delay before candidates are sent, so that those of one gathering share a message.
const COLLECT: Duration = Duration::from_millis(3);
/// First delay before a failed path in a group is retried; doubles up to the connect limit.
const RETRY_FIRST: Duration = Duration::from_secs(2);
/// Largest description that is sent or accepted, in bytes.
pub(super) const MAX_SDP: usize = 12 * 1024;

/// State of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkState {
    /// Being established since this time.
    Connecting(Instant),
    /// Carries packets.
    Up,
    /// Silent since this time; ICE is restarted.
    Suspect(Instant),
    /// Failed at this time.
    Failed(Instant),
}

/// Action that a link requests.
#[derive(Debug, PartialEq)]
pub(super) enum LinkAction {
    /// Open a session, and close the previous one.
    Open(SessionId),
    /// Perform a negotiation step.
    Negotiate(Negotiation),
    /// Send a hello on the data channel.
    Hello,
    /// Send a ping with this id.
    Ping(u64),
    /// Report that the path is connected and verified, for the first time or again.
    Up,
    /// Report that the path is silent.
    Suspect,
    /// Report that the path failed.
    Failed(PathFailure),
    /// Report that the remote end of the path is not the endpoint that signaling names.
    Impostor,
}

/// Counters of a closed link. It may have closed on one side only, with unchanged call keys on
/// both: the next link continues them.
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
    id: [u8; 16],
    session: SessionId,
    state: LinkState,
    is_offerer: bool,
    /// Newest generation offered or answered.
    generation: u32,
    /// Local description and candidates of this generation.
    sdp: Option<String>,
    candidates: Vec<String>,
    /// Acknowledgements of the remote side: the description and the number of candidates.
    acked_description: bool,
    acked_candidates: u32,
    /// Whether the remote description of this generation arrived.
    remote_described: bool,
    /// Remote candidates received in order.
    remote_candidates: u32,
    /// Remote candidates handed to the session, those in the description included.
    used_candidates: u32,
    remote_fingerprint: Option<String>,
    renegotiation_requests: u32,
    remote_requests: u32,
    /// This side reports the generation as failed, with this cause.
    failed: Option<Cause>,
    /// How far the session has come.
    transport: TransportState,
    /// ICE and DTLS are connected.
    connected: bool,
    /// The remote hello named this link: what it says on the data channel is of the endpoint known
    /// from signaling.
    verified: bool,
    /// Time by which the remote hello must have come; `None` before the path is up and after it.
    hello_until: Option<Instant>,
    hello: HelloRepeat,
    send: Repeat,
    last_packet: Instant,
    /// Earliest time of the next ping.
    ping: Instant,
    pings: u64,
    pub(super) clock: ClockFilter,
    ice_restart: Option<Instant>,
    ice_restart_pause: Duration,
    /// Delay before the offerer retries after the next failure.
    retry_pause: Duration,
}

impl Link {
    /// Link that starts now. The offerer opens its session at once, the other side when an offer
    /// arrives.
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
            failed: None,
            transport: TransportState::default(),
            connected: false,
            verified: false,
            hello_until: None,
            hello: HelloRepeat::default(),
            send: idle(timers),
            last_packet: now,
            ping: now,
            pings: 0,
            clock: ClockFilter::default(),
            ice_restart: None,
            ice_restart_pause: Duration::ZERO,
            retry_pause: RETRY_FIRST,
        }
    }

    /// Continues the counters of the previous link, if that was between the same call keys.
    pub(super) fn continuing(self, before: LinkCounts) -> Self {
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

    /// Counters for the next link between the same call keys.
    pub(super) fn counts(&self) -> LinkCounts {
        LinkCounts {
            id: self.id,
            generation: self.generation,
            renegotiation_requests: self.renegotiation_requests,
            remote_requests: self.remote_requests,
        }
    }

    /// Makes the first offer, as the offerer.
    pub(super) fn start(&mut self, actions: &mut Vec<LinkAction>) {
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

    /// Handles a local description.
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
            return self.handle_failed(FailureReason::Description, now, actions);
        }
        self.sdp = Some(sdp);
        self.send = Repeat::starting(now, timers.link_repeat_first, timers.link_repeat_longest);
    }

    /// Handles a local candidate.
    pub(super) fn handle_candidate(&mut self, candidate: String, now: Instant) {
        let fits = self.candidates.len() < MAX_GENERATION_CANDIDATES as usize && candidate.len() <= MAX_CANDIDATE;
        if fits && !self.candidates.contains(&candidate) {
            self.candidates.push(candidate);
            self.send.no_later_than(now + COLLECT);
        }
    }

    /// Handles that ICE and DTLS are connected. The other end has the certificate of the signed and
    /// sealed description: media flows from now on. Hello is the first message on the data channel,
    /// where it waits until that is open.
    pub(super) fn handle_connected(&mut self, now: Instant, timers: &CallTimers, actions: &mut Vec<LinkAction>) {
        self.connected = true;
        self.handle_traffic(now, actions);
        self.say_hello(now, timers, actions);
        self.update_state(now, timers, actions);
    }

    /// Handles that the data channel is open.
    pub(super) fn handle_channel(&mut self, now: Instant, timers: &CallTimers, actions: &mut Vec<LinkAction>) {
        self.say_hello(now, timers, actions);
        self.ping = now;
    }

    fn say_hello(&mut self, now: Instant, timers: &CallTimers, actions: &mut Vec<LinkAction>) {
        if self.hello.begin(now, timers) {
            actions.push(LinkAction::Hello);
        }
    }

    /// Handles a message that the remote side sends only after it received our hello.
    pub(super) fn handle_admitted_message(&mut self) {
        self.hello.stop();
    }

    /// Handles the remote hello; repeated ones change nothing.
    ///
    /// Both sides derive the link's id from both endpoints and their signed call keys, and send it
    /// inside DTLS: a participant that signs another one's certificate as its own, to splice two
    /// calls together (RFC 8844 §3), has no such link.
    pub(super) fn handle_hello(&mut self, link: &[u8; 16], now: Instant, actions: &mut Vec<LinkAction>) {
        if *link != self.id {
            // The DTLS peer is not the endpoint known from signaling.
            if self.fail(PathFailure::local(FailureReason::Identity, self.transport), now) {
                actions.push(LinkAction::Impostor);
            }
            return;
        }
        self.verified = true;
        self.hello_until = None;
    }

    /// Enters `Up` once the path is connected to the end that was described.
    fn update_state(&mut self, now: Instant, timers: &CallTimers, actions: &mut Vec<LinkAction>) {
        if self.connected && self.remote_described && matches!(self.state, LinkState::Connecting(_)) {
            self.state = LinkState::Up;
            self.hello_until = (!self.verified).then_some(now + timers.connect_limit);
            self.retry_pause = RETRY_FIRST;
            actions.push(LinkAction::Up);
        }
    }

    /// Handles traffic on the path.
    pub(super) fn handle_traffic(&mut self, now: Instant, actions: &mut Vec<LinkAction>) {
        self.last_packet = self.last_packet.max(now);
        if matches!(self.state, LinkState::Suspect(_)) {
            self.state = LinkState::Up;
            self.ice_restart = None;
            actions.push(LinkAction::Up);
        }
    }

    /// Records how far the session has come.
    pub(super) fn handle_transport_state(&mut self, state: TransportState) {
        self.transport = state;
    }

    /// Handles a failed negotiation step or a session that ended.
    pub(super) fn handle_failed(&mut self, reason: FailureReason, now: Instant, actions: &mut Vec<LinkAction>) {
        let failure = PathFailure::local(reason, self.transport);
        if self.fail(failure, now) {
            actions.push(LinkAction::Failed(failure));
        }
    }

    /// Enters `Failed`, which the remote side is told; false where it had failed before.
    fn fail(&mut self, failure: PathFailure, now: Instant) -> bool {
        if matches!(self.state, LinkState::Failed(_)) {
            return false;
        }
        self.state = LinkState::Failed(now);
        self.failed = Some(failure.into());
        self.send.expedite(now);
        true
    }

    /// Failure of a path that was up and stays silent.
    pub(super) fn lost(&self) -> PathFailure {
        PathFailure::local(FailureReason::PathLost, self.transport)
    }

    /// Retransmits what is not acknowledged for a new subscriber of the topic.
    pub(super) fn expedite_for_subscriber(&mut self, now: Instant, at_once: bool) {
        if !self.all_acknowledged() {
            self.send.expedite_for_subscriber(now, at_once);
        }
    }

    /// Identifier that both sides derive from their endpoints and call keys.
    pub(super) fn id(&self) -> [u8; 16] {
        self.id
    }

    /// The transport session; a new one for each remote DTLS fingerprint.
    pub(super) fn session(&self) -> SessionId {
        self.session
    }

    pub(super) fn state(&self) -> LinkState {
        self.state
    }

    /// Whether the path carries media.
    pub(super) fn is_up(&self) -> bool {
        self.state == LinkState::Up
    }

    /// Whether media may flow: the path is connected, though it may be silent now.
    pub(super) fn is_admitted(&self) -> bool {
        matches!(self.state, LinkState::Up | LinkState::Suspect(_))
    }

    /// Whether messages on the data channel count: media may flow, and the remote hello came.
    pub(super) fn is_verified(&self) -> bool {
        self.verified && self.is_admitted()
    }

    /// Time of the last packet.
    pub(super) fn last_packet(&self) -> Instant {
        self.last_packet
    }
}

fn idle(timers: &CallTimers) -> Repeat {
    Repeat::idle(timers.link_repeat_first, timers.link_repeat_longest)
}

#[cfg(test)]
mod candidate_tests;
#[cfg(test)]
mod tests;
