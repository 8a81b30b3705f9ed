//! Timers of a link: connect limit, liveness, ICE restarts, retries and pings.

use blink_api::{CallTimers, FailureReason, IceState};
use web_time::{Duration, Instant};

use super::super::io::SessionId;
use super::{Link, LinkAction, LinkState};

/// Pings after connecting that follow each other by a share of the interval, so that the clock
/// offset is known within the first second.
const QUICK_PINGS: u64 = 8;
const QUICK_SHARE: u32 = 5;
/// Intervals between pings after that, while other traffic arrives.
const SLOW_PINGS: u32 = 4;
/// First and longest interval between ICE restarts of a silent path.
const RESTART_FIRST: Duration = Duration::from_secs(2);
const RESTART_LONGEST: Duration = Duration::from_secs(8);

impl Link {
    /// Does everything that is due.
    pub(in crate::call) fn handle_timeout(
        &mut self,
        now: Instant,
        timers: &CallTimers,
        fresh_session: &mut dyn FnMut() -> SessionId,
        group: bool,
        actions: &mut Vec<LinkAction>,
    ) {
        match self.state {
            LinkState::Connecting(since) if now >= since + timers.connect_limit => {
                self.handle_failed(self.reason_of_timeout(), now, actions);
            }
            LinkState::Up if self.hello_until.is_some_and(|until| now >= until) => {
                // The path is up, and its other end never said which link it means.
                self.handle_failed(FailureReason::Timeout, now, actions);
            }
            LinkState::Up if now >= self.last_packet + timers.suspect => {
                // RFC 7675 consent expires after 30 s: the path is repaired long before that.
                self.state = LinkState::Suspect(now);
                self.ice_restart = Some(now);
                self.ice_restart_pause = RESTART_FIRST;
                actions.push(LinkAction::Suspect);
            }
            LinkState::Failed(at) if group && self.is_offerer && now >= at + self.retry_after(timers) => {
                self.failed = None;
                self.retry_pause = self.retry_after(timers) * 2;
                self.begin_session(fresh_session(), now, actions);
                self.next_generation(false, actions);
            }
            _ => {}
        }
        if self.ice_restart.is_some_and(|at| now >= at) {
            self.restart_ice(now, actions);
        }
        if !matches!(self.state, LinkState::Failed(_)) && self.hello.fire(now, timers) {
            actions.push(LinkAction::Hello);
        }
        if self.connected && self.ping_at(timers).is_some_and(|at| now >= at) {
            self.pings += 1;
            self.ping = now + if self.pings < QUICK_PINGS { timers.ping / QUICK_SHARE } else { timers.ping };
            actions.push(LinkAction::Ping(self.pings));
        }
    }

    /// Reason why the path is not up at the connect limit. Without an answer of the remote side, or
    /// a state of the session, no more than the time limit is known.
    fn reason_of_timeout(&self) -> FailureReason {
        match self.transport.ice {
            IceState::New | IceState::Checking | IceState::Failed if self.remote_described => {
                FailureReason::NoCandidatePair
            }
            _ => FailureReason::Timeout,
        }
    }

    /// Time of the next ping; `None` before the other side said hello. While other traffic arrives,
    /// the path needs none, and the clock offset only an occasional one.
    fn ping_at(&self, timers: &CallTimers) -> Option<Instant> {
        if !self.is_verified() {
            return None;
        }
        if self.pings < QUICK_PINGS || self.state != LinkState::Up {
            return Some(self.ping);
        }
        let quiet = self.last_packet + timers.ping;
        Some(quiet.max(self.ping).min(self.ping + timers.ping * SLOW_PINGS))
    }

    fn retry_after(&self, timers: &CallTimers) -> Duration {
        self.retry_pause.min(timers.connect_limit)
    }

    /// Restarts ICE (RFC 8445 §9) as the offerer, or asks the offerer to.
    fn restart_ice(&mut self, now: Instant, actions: &mut Vec<LinkAction>) {
        if matches!(self.state, LinkState::Suspect(_)) {
            self.ice_restart = Some(now + self.ice_restart_pause);
            self.ice_restart_pause = (self.ice_restart_pause * 2).min(RESTART_LONGEST);
        } else {
            self.ice_restart = None;
        }
        if self.is_offerer {
            self.next_generation(true, actions);
        } else {
            self.renegotiation_requests += 1;
            self.send.expedite(now);
        }
    }

    /// Time at which `handle_timeout` or `poll_message` is due.
    pub(in crate::call) fn deadline(&self, timers: &CallTimers, group: bool) -> Option<Instant> {
        let state = match self.state {
            LinkState::Connecting(since) => Some(since + timers.connect_limit),
            LinkState::Up => Some(self.last_packet + timers.suspect),
            LinkState::Suspect(_) => None,
            LinkState::Failed(at) => (group && self.is_offerer).then_some(at + self.retry_after(timers)),
        };
        let hello = self.hello.due.filter(|_| !matches!(self.state, LinkState::Failed(_)));
        let ping = self.ping_at(timers).filter(|_| self.connected);
        [state, hello, self.hello_until.filter(|_| self.is_up()), ping, self.ice_restart, self.send.due()]
            .into_iter()
            .flatten()
            .min()
    }
}
