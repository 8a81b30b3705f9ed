//! Pacing and limits of a link's ICE connectivity checks, and validated addresses.
//!
//! The stack is configured with a short interval so that a path is found soon, and checks every
//! candidate pair in each interval, however many a peer names. So every check passes here first and
//! is dropped if it is too early; the stack repeats it in its next interval. [`CheckBudget`] limits
//! all links together.
//!
//! ## Inputs
//! | input | source |
//! |---|---|
//! | [`decide`](Checks::judge) | the stack sends a Binding request |
//! | [`handle_check`](Checks::handle_check) | it was sent |
//! | [`handle_request`](Checks::handle_request) | the stack responds to one, which it has authenticated (RFC 8445 §7.3) |
//! | [`handle_response`](Checks::handle_response) | a Binding success response was received |
//! | [`is_validated`](Checks::is_checked) | a datagram other than STUN was received |

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

#[cfg(doc)]
use blink_transport_kit::check_budget::CheckBudget;
use rtc::stun::message::TransactionId;

/// Interval between two checks of a link (Ta): the minimum of RFC 8445 §14.2.
const PACE: Duration = Duration::from_millis(5);
/// Burst of checks, which is all of them if both sides have few addresses.
const BURST: u32 = 16;
/// Initial retransmission timeout of a check, doubled each time. A little less than the stack's
/// interval, otherwise the second check would be delayed to the third interval.
const INITIAL_RTO: Duration = Duration::from_millis(8);
/// Maximum retransmission timeout of a check: the initial RTO of RFC 8445 §14.3.
const MAX_RTO: Duration = Duration::from_millis(500);
/// Burst and interval of unanswered checks to a host that has never responded.
const HOST_BURST: u32 = 64;
const HOST_PACE: Duration = Duration::from_millis(200);
/// Limit of candidate pairs of a link. RFC 8445 §6.1.2.5 recommends 100, but the stack prunes none:
/// 32 remote candidates for each of 8 local addresses and their relays are 512. The budgets limit
/// traffic.
const MAX_PAIRS: usize = 512;
/// Time without checks after which a pair may be replaced.
const STALE: Duration = Duration::from_secs(1);
/// Limits of tracked hosts and addresses; the least recently used are evicted.
const MAX_HOSTS: usize = 64;
const MAX_VALIDATED: usize = 32;
/// Limit of tracked transactions per pair.
const MAX_TRANSACTIONS: usize = 8;

/// Route of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    /// Local socket address.
    pub(crate) local: SocketAddr,
    /// TURN server between the socket and the peer.
    pub(crate) relay: Option<SocketAddr>,
    /// Address of the peer.
    pub(crate) remote: SocketAddr,
}

/// Binding request of the stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) transaction: TransactionId,
    /// ICE username, which differs per generation of candidates.
    pub(crate) user: Vec<u8>,
    /// Whole STUN message.
    pub(crate) datagram: Vec<u8>,
}

/// Connectivity checks of one link across its sockets.
#[derive(Debug)]
pub(crate) struct CheckPacer {
    pairs: Vec<Pair>,
    hosts: Vec<Host>,
    /// Addresses that responded to a check or sent an authenticated one, the most recent last.
    checked: Vec<SocketAddr>,
    pace: Bucket,
}

/// Decision about a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CheckDecision {
    /// Send, and count it: the pair has not responded yet.
    Unanswered,
    /// Send without a limit: the pair responded, or was checked by the peer.
    Free,
    /// Drop: it is too early.
    Dropped,
}

#[derive(Debug)]
struct Pair {
    route: Route,
    user: Vec<u8>,
    /// Time of the stack's latest attempt.
    wanted: Instant,
    sent: Option<Instant>,
    /// Checks since the last response.
    unanswered: u32,
    is_answered: bool,
    /// The peer checked this pair, so a triggered check is due (RFC 8445 §7.3.1.4).
    is_triggered: bool,
    transactions: Vec<TransactionId>,
}

#[derive(Debug)]
struct Host {
    address: IpAddr,
    is_answered: bool,
    unanswered: Bucket,
}

impl CheckPacer {
    pub(crate) fn new(now: Instant) -> Self {
        Self { pairs: Vec::new(), hosts: Vec::new(), checked: Vec::new(), pace: Bucket::new(now, BURST, PACE) }
    }

    /// Decides whether a check may be sent now.
    pub(crate) fn decide(&mut self, now: Instant, route: Route, check: &Check) -> CheckDecision {
        let Some(index) = self.pair(now, route, &check.user) else { return CheckDecision::Dropped };
        let floor = PACE * self.pending(now);
        let host = self.host(now, route.remote.ip());
        let (pair, host) = (&self.pairs[index], &self.hosts[host]);
        // Triggered checks precede ordinary ones (RFC 8445 §6.1.4.2), and the peer paces them
        // itself.
        if pair.is_triggered {
            return CheckDecision::Free;
        }
        // Backoff per pair, stretched so that all pending pairs together keep the pace Ta.
        if now < pair.next(floor) {
            return CheckDecision::Dropped;
        }
        if pair.is_answered {
            return CheckDecision::Free;
        }
        // Ordinary checks need a token of the link, and one of the host until it responds.
        let has_budget = self.pace.has_token(now) && (host.is_answered || host.unanswered.has_token(now));
        if has_budget { CheckDecision::Unanswered } else { CheckDecision::Dropped }
    }

    /// Records a sent check.
    pub(crate) fn handle_check(&mut self, now: Instant, route: Route, check: &Check) {
        let Some(index) = self.pair(now, route, &check.user) else { return };
        let host = self.host(now, route.remote.ip());
        let pair = &mut self.pairs[index];
        if !(pair.is_answered || pair.is_triggered) {
            self.pace.take(now);
            self.hosts[host].unanswered.take(now);
        }
        // One check per request of the peer: the next one is ordinary again.
        pair.is_triggered = false;
        pair.sent = Some(now);
        pair.unanswered = pair.unanswered.saturating_add(1);
        if pair.transactions.len() == MAX_TRANSACTIONS {
            pair.transactions.remove(0);
        }
        pair.transactions.push(check.transaction);
    }

    /// Records that the peer checked a pair with valid credentials.
    pub(crate) fn handle_request(&mut self, now: Instant, route: Route) {
        self.add_validated(route.remote);
        // The username becomes known with the triggered check.
        if let Some(pair) = self.pairs.iter_mut().find(|pair| pair.route == route) {
            pair.is_triggered = true;
        } else if let Some(index) = self.pair(now, route, &[]) {
            self.pairs[index].is_triggered = true;
        }
    }

    /// Records a response to a check.
    pub(crate) fn handle_response(&mut self, now: Instant, route: Route, transaction: TransactionId) {
        let is_answered = |pair: &&mut Pair| pair.route == route && pair.transactions.contains(&transaction);
        let Some(pair) = self.pairs.iter_mut().find(is_answered) else { return };
        pair.is_answered = true;
        pair.unanswered = 0;
        let host = self.host(now, route.remote.ip());
        self.hosts[host].is_answered = true;
        self.add_validated(route.remote);
    }

    /// Returns whether datagrams other than STUN are accepted from an address (RFC 8445 §12.2:
    /// valid pairs only).
    pub(crate) fn is_validated(&self, remote: SocketAddr) -> bool {
        self.checked.iter().rev().any(|checked| *checked == remote)
    }

    fn add_validated(&mut self, remote: SocketAddr) {
        if self.checked.last() == Some(&remote) {
            return;
        }
        self.checked.retain(|checked| *checked != remote);
        if self.checked.len() == MAX_VALIDATED {
            self.checked.remove(0);
        }
        self.checked.push(remote);
    }

    /// Index of a pair, which is reset if the username changes. `None` if there are too many pairs.
    fn pair(&mut self, now: Instant, route: Route, user: &[u8]) -> Option<usize> {
        if let Some(index) = self.pairs.iter().position(|pair| pair.route == route) {
            let pair = &mut self.pairs[index];
            pair.wanted = now;
            if pair.user != user {
                let is_triggered = pair.is_triggered;
                *pair = Pair { is_triggered, ..Pair::new(now, route, user) };
            }
            return Some(index);
        }
        if self.pairs.len() == MAX_PAIRS {
            let oldest = (0..MAX_PAIRS).min_by_key(|index| self.pairs[*index].wanted)?;
            if now.saturating_duration_since(self.pairs[oldest].wanted) < STALE {
                return None;
            }
            self.pairs.swap_remove(oldest);
        }
        self.pairs.push(Pair::new(now, route, user));
        Some(self.pairs.len() - 1)
    }

    /// Number of pairs without a response that the stack is currently checking.
    fn pending(&self, now: Instant) -> u32 {
        let is_pending = |pair: &&Pair| !pair.is_answered && now.saturating_duration_since(pair.wanted) < STALE;
        self.pairs.iter().filter(is_pending).count() as u32
    }

    fn host(&mut self, now: Instant, address: IpAddr) -> usize {
        let host = match self.hosts.iter().position(|host| host.address == address) {
            Some(index) => self.hosts.remove(index),
            None => Host { address, is_answered: false, unanswered: Bucket::new(now, HOST_BURST, HOST_PACE) },
        };
        if self.hosts.len() == MAX_HOSTS {
            self.hosts.remove(0);
        }
        self.hosts.push(host);
        self.hosts.len() - 1
    }
}

impl Pair {
    fn new(now: Instant, route: Route, user: &[u8]) -> Self {
        Self {
            route,
            user: user.to_vec(),
            wanted: now,
            sent: None,
            unanswered: 0,
            is_answered: false,
            is_triggered: false,
            transactions: Vec::new(),
        }
    }

    /// Time of the next check. Pairs without a response share the pace (RFC 8445 §14.3), so each
    /// waits at least `floor` after its last check.
    fn next(&self, floor: Duration) -> Instant {
        let Some(sent) = self.sent else { return self.wanted };
        let Some(repetitions) = self.unanswered.checked_sub(1) else { return sent };
        let doubled = INITIAL_RTO.saturating_mul(1 << repetitions.min(16)).min(MAX_RTO);
        sent + if self.is_answered { doubled } else { doubled.max(floor) }
    }
}

/// Token bucket that refills one token per interval.
#[derive(Debug)]
struct Bucket {
    capacity: u32,
    interval: Duration,
    /// Time at which it is full again.
    full: Instant,
}

impl Bucket {
    fn new(now: Instant, capacity: u32, interval: Duration) -> Self {
        Self { capacity, interval, full: now }
    }

    fn has_token(&self, now: Instant) -> bool {
        self.full.saturating_duration_since(now) <= self.interval * (self.capacity - 1)
    }

    fn take(&mut self, now: Instant) {
        self.full = self.full.max(now) + self.interval;
    }
}

#[cfg(test)]
mod tests;
