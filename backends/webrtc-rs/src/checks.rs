//! The pace of a link's ICE connectivity checks, how many of them one host gets, and which
//! addresses were checked.
//!
//! The stack sends a check on every pair in each interval, however many pairs there are, so that a
//! path is found soon. A peer chooses where they go. So each check asks here first, and is dropped
//! where it comes too early; the stack makes another one in its next interval. What all links may
//! send together, [`CheckBudget`] bounds.
//!
//! ## Inputs
//! | input | source |
//! |---|---|
//! | [`judge`](Checks::judge) | the stack has a Binding request to send |
//! | [`handle_check`](Checks::handle_check) | it was sent |
//! | [`handle_request`](Checks::handle_request) | the stack answers one, which it found to be the peer's (RFC 8445 §7.3) |
//! | [`handle_response`](Checks::handle_response) | a Binding success response came |
//! | [`is_checked`](Checks::is_checked) | something else than STUN came |

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

#[cfg(doc)]
use blink_transport_kit::check_budget::CheckBudget;
use rtc::stun::message::TransactionId;

/// Time between two checks of a link (Ta): the least that RFC 8445 §14.2 allows.
const PACE: Duration = Duration::from_millis(5);
/// Checks that may go out at once, which is all of them where the two sides have few addresses.
const BURST: u32 = 16;
/// When an unanswered check is repeated; the time doubles with each repetition. A little less than
/// the stack's interval, or the second check would wait for the third interval.
const FIRST_REPETITION: Duration = Duration::from_millis(8);
/// The longest time between two checks of a pair: the initial RTO of RFC 8445 §14.3.
const LONGEST_REPETITION: Duration = Duration::from_millis(500);
/// Unanswered checks to one host that never answered: so many at once, and then one in this time.
const HOST_BURST: u32 = 64;
const HOST_PACE: Duration = Duration::from_millis(200);
/// Pairs of a link. RFC 8445 §6.1.2.5 recommends 100, but the stack prunes none: 32 candidates of a
/// peer for each of 8 own addresses and of their relays are 512. The budgets bound what is sent.
const MAX_PAIRS: usize = 512;
/// A pair that is not checked for so long makes room for another.
const STALE: Duration = Duration::from_secs(1);
/// Hosts and addresses that are remembered, the least recently used of which go first.
const MAX_HOSTS: usize = 64;
const MAX_CHECKED: usize = 32;
/// Transactions of a pair whose responses are waited for.
const MAX_TRANSACTIONS: usize = 8;

/// Where a datagram goes, or comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    /// The own socket.
    pub(crate) local: SocketAddr,
    /// The TURN server between it and the peer.
    pub(crate) relay: Option<SocketAddr>,
    /// The peer's address.
    pub(crate) remote: SocketAddr,
}

/// A Binding request of the stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) transaction: TransactionId,
    /// Both ICE user names: others with each generation of candidates.
    pub(crate) user: Vec<u8>,
    /// The whole message.
    pub(crate) datagram: Vec<u8>,
}

/// The checks of one link, over all its sockets.
#[derive(Debug)]
pub(crate) struct Checks {
    pairs: Vec<Pair>,
    hosts: Vec<Host>,
    /// Addresses that answered a check or sent a valid one, the most recent last.
    checked: Vec<SocketAddr>,
    pace: Bucket,
}

/// Whether a check may go out now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes where nothing was answered yet: what is sent there is bounded.
    Unanswered,
    /// It goes to a pair that answered, or that the peer has checked.
    Free,
    /// It comes too early.
    Dropped,
}

#[derive(Debug)]
struct Pair {
    route: Route,
    user: Vec<u8>,
    /// When the stack last wanted to check it.
    wanted: Instant,
    sent: Option<Instant>,
    /// Checks since the last answer.
    unanswered: u32,
    is_answered: bool,
    /// The peer has checked this pair, which is checked in return at once (RFC 8445 §7.3.1.4).
    is_triggered: bool,
    transactions: Vec<TransactionId>,
}

#[derive(Debug)]
struct Host {
    address: IpAddr,
    is_answered: bool,
    unanswered: Bucket,
}

impl Checks {
    pub(crate) fn new(now: Instant) -> Self {
        Self { pairs: Vec::new(), hosts: Vec::new(), checked: Vec::new(), pace: Bucket::new(now, BURST, PACE) }
    }

    /// Whether a check may go out now.
    pub(crate) fn judge(&mut self, now: Instant, route: Route, check: &Check) -> Verdict {
        let Some(index) = self.pair(now, route, &check.user) else { return Verdict::Dropped };
        let floor = PACE * self.pending(now);
        let host = self.host(now, route.remote.ip());
        let (pair, host) = (&self.pairs[index], &self.hosts[host]);
        if pair.is_triggered {
            return Verdict::Free;
        }
        if now < pair.next(floor) {
            return Verdict::Dropped;
        }
        if pair.is_answered {
            return Verdict::Free;
        }
        let has_budget = self.pace.has_token(now) && (host.is_answered || host.unanswered.has_token(now));
        if has_budget { Verdict::Unanswered } else { Verdict::Dropped }
    }

    /// A check went out.
    pub(crate) fn handle_check(&mut self, now: Instant, route: Route, check: &Check) {
        let Some(index) = self.pair(now, route, &check.user) else { return };
        let host = self.host(now, route.remote.ip());
        let pair = &mut self.pairs[index];
        if !(pair.is_answered || pair.is_triggered) {
            self.pace.take(now);
            self.hosts[host].unanswered.take(now);
        }
        pair.is_triggered = false;
        pair.sent = Some(now);
        pair.unanswered = pair.unanswered.saturating_add(1);
        if pair.transactions.len() == MAX_TRANSACTIONS {
            pair.transactions.remove(0);
        }
        pair.transactions.push(check.transaction);
    }

    /// The peer has checked a pair with the right credentials.
    pub(crate) fn handle_request(&mut self, now: Instant, route: Route) {
        self.add_checked(route.remote);
        // The user names become known with the check in return.
        if let Some(pair) = self.pairs.iter_mut().find(|pair| pair.route == route) {
            pair.is_triggered = true;
        } else if let Some(index) = self.pair(now, route, &[]) {
            self.pairs[index].is_triggered = true;
        }
    }

    /// An answer to a check came: from where, and to which.
    pub(crate) fn handle_response(&mut self, now: Instant, route: Route, transaction: TransactionId) {
        let is_answered = |pair: &&mut Pair| pair.route == route && pair.transactions.contains(&transaction);
        let Some(pair) = self.pairs.iter_mut().find(is_answered) else { return };
        pair.is_answered = true;
        pair.unanswered = 0;
        let host = self.host(now, route.remote.ip());
        self.hosts[host].is_answered = true;
        self.add_checked(route.remote);
    }

    /// Whether something other than STUN is taken from an address (RFC 8445 §12.2: on valid pairs
    /// only).
    pub(crate) fn is_checked(&self, remote: SocketAddr) -> bool {
        self.checked.iter().rev().any(|checked| *checked == remote)
    }

    fn add_checked(&mut self, remote: SocketAddr) {
        if self.checked.last() == Some(&remote) {
            return;
        }
        self.checked.retain(|checked| *checked != remote);
        if self.checked.len() == MAX_CHECKED {
            self.checked.remove(0);
        }
        self.checked.push(remote);
    }

    /// The place of a pair, which begins anew with other user names. `None` where there are too
    /// many.
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

    /// Pairs without an answer that the stack checks at the moment.
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

    /// When the next check is due. Pairs without an answer take turns (RFC 8445 §14.3), each at
    /// least this long after its last check.
    fn next(&self, floor: Duration) -> Instant {
        let Some(sent) = self.sent else { return self.wanted };
        let Some(repetitions) = self.unanswered.checked_sub(1) else { return sent };
        let doubled = FIRST_REPETITION.saturating_mul(1 << repetitions.min(16)).min(LONGEST_REPETITION);
        sent + if self.is_answered { doubled } else { doubled.max(floor) }
    }
}

/// A token bucket that fills with one token in each interval.
#[derive(Debug)]
struct Bucket {
    capacity: u32,
    interval: Duration,
    /// When it is full again.
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
