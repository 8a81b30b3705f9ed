//! Nodes to stay connected to, with redials and exponential backoff.

use std::fmt;
use std::time::Duration;

use blink_api::Result;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Delay after the first failure; doubled after each further one.
const INITIAL_BACKOFF: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_secs(8);
/// Lifetime after which a connection counts as successful and resets the backoff.
const STABLE_AFTER: Duration = Duration::from_secs(5);
/// Delay of the second dialler when two nodes discover each other, against simultaneous dials.
const DISCOVERY_DIAL_DELAY: Duration = Duration::from_secs(1);
/// Nodes discovered by mDNS that are kept connected; further ones are ignored.
const MAX_DISCOVERED_NODES: usize = 64;
/// Failed dials after which a discovered node is dropped.
const DISCOVERED_ATTEMPTS: u32 = 8;

/// Reply channel of a `connect` command.
pub type ConnectReply = oneshot::Sender<Result<()>>;

/// Nodes to stay connected to: addresses `A`, peer ids `P`, connection ids `C`.
pub struct DialQueue<A, P, C>(Vec<Target<A, P, C>>);

impl<A, P, C> fmt::Debug for DialQueue<A, P, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DialQueue").finish_non_exhaustive()
    }
}

struct Target<A, P, C> {
    addresses: Vec<A>,
    /// Peer id required at the address; any is accepted if `None`.
    expected: Option<P>,
    /// Peer id last seen at the address.
    peer: Option<P>,
    discovered: bool,
    state: State<C>,
    failures: u32,
    replies: Vec<ConnectReply>,
}

enum State<C> {
    Due(Instant),
    Dialling(C),
    Connected(Instant),
}

impl<A, P, C> Default for DialQueue<A, P, C> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<A: PartialEq, P: Copy + Ord, C: Copy + PartialEq> DialQueue<A, P, C> {
    /// Adds an address to stay connected to. If `expected` is given, only the node with that peer
    /// id is accepted. `reply` gets the result of the first attempt.
    pub fn add(&mut self, address: A, expected: Option<P>, reply: Option<ConnectReply>, now: Instant) {
        let known = self.0.iter_mut().find(|target| !target.discovered && target.addresses.contains(&address));
        let Some(target) = known else {
            self.0.push(Target {
                expected,
                peer: expected,
                addresses: vec![address],
                discovered: false,
                state: State::Due(now),
                failures: 0,
                replies: Vec::from_iter(reply),
            });
            return;
        };
        match &mut target.state {
            State::Connected(_) => answer(reply, &Ok(())),
            State::Dialling(_) => target.replies.extend(reply),
            State::Due(at) => {
                *at = now;
                target.replies.extend(reply);
            }
        }
    }

    /// Adds a node that the local node discovered by mDNS. It may be connected already.
    pub fn discovered(&mut self, local: P, peer: P, address: A, connected: bool, now: Instant) {
        if let Some(target) = self.0.iter_mut().find(|target| target.discovered && target.peer == Some(peer)) {
            if !target.addresses.contains(&address) && target.addresses.len() < 16 {
                target.addresses.push(address);
            }
            return;
        }
        if peer == local || self.0.iter().filter(|target| target.discovered).count() >= MAX_DISCOVERED_NODES {
            return;
        }
        let due = if local < peer { now } else { now + DISCOVERY_DIAL_DELAY };
        self.0.push(Target {
            addresses: vec![address],
            expected: Some(peer),
            peer: Some(peer),
            discovered: true,
            state: if connected { State::Connected(now) } else { State::Due(due) },
            failures: 0,
            replies: Vec::new(),
        });
    }

    /// Removes an address that a discovered node announces no longer.
    pub fn expired(&mut self, peer: P, address: &A) {
        for target in self.0.iter_mut().filter(|target| target.discovered && target.peer == Some(peer)) {
            target.addresses.retain(|known| known != address);
        }
        self.0.retain(|target| !target.addresses.is_empty());
    }

    /// Starts the next dial that is due; call until it returns `None`. DialQueue that are connected
    /// already are skipped. `begin` gets the expected peer id and at least one address, and returns
    /// the new connection's id with the dial itself.
    pub fn next_dial<D>(
        &mut self,
        now: Instant,
        is_connected: impl Fn(&P) -> bool,
        begin: impl FnOnce(Option<P>, &[A]) -> (C, D),
    ) -> Option<D> {
        for target in &mut self.0 {
            if !matches!(target.state, State::Due(at) if at <= now) {
                continue;
            }
            if target.peer.is_some_and(|peer| is_connected(&peer)) {
                target.connected(now);
                continue;
            }
            let (connection, dial) = begin(target.expected, &target.addresses);
            target.state = State::Dialling(connection);
            return Some(dial);
        }
        None
    }

    /// Records a connection established in either direction.
    pub fn connected(&mut self, connection: C, peer: P, now: Instant) {
        for target in &mut self.0 {
            let dialled = matches!(target.state, State::Dialling(id) if id == connection);
            if dialled {
                target.peer = Some(peer);
            }
            if dialled || (target.peer == Some(peer) && !matches!(target.state, State::Connected(_))) {
                target.connected(now);
            }
        }
    }

    /// Records that a dial continues under another connection id.
    pub fn replace_connection(&mut self, old: C, new: C) {
        for target in &mut self.0 {
            if matches!(target.state, State::Dialling(id) if id == old) {
                target.state = State::Dialling(new);
            }
        }
    }

    /// Records a failed dial and reports `error` to the pending `connect` calls. A target with a
    /// permanent error is removed.
    pub fn dial_failed(&mut self, connection: C, error: &blink_api::Error, permanent: bool, now: Instant) {
        let dialled = |target: &Target<A, P, C>| matches!(target.state, State::Dialling(id) if id == connection);
        let Some(index) = self.0.iter().position(dialled) else { return };
        let target = &mut self.0[index];
        target.replies.drain(..).for_each(|reply| answer(Some(reply), &Err(error.clone())));
        target.failures = target.failures.saturating_add(1);
        target.state = State::Due(now + backoff(target.failures));
        if permanent || (target.discovered && target.failures >= DISCOVERED_ATTEMPTS) {
            self.0.swap_remove(index);
        }
    }

    /// Records that the last connection to a node was closed.
    pub fn disconnected(&mut self, peer: P, now: Instant) {
        for target in self.0.iter_mut().filter(|target| target.peer == Some(peer)) {
            if let State::Connected(since) = target.state {
                if now.duration_since(since) >= STABLE_AFTER {
                    target.failures = 0;
                }
                target.state = State::Due(now + backoff(target.failures));
                target.failures = target.failures.saturating_add(1);
            }
        }
    }
}

impl<A, P, C> Target<A, P, C> {
    fn connected(&mut self, now: Instant) {
        self.state = State::Connected(now);
        self.replies.drain(..).for_each(|reply| answer(Some(reply), &Ok(())));
    }
}

fn answer(reply: Option<ConnectReply>, result: &Result<()>) {
    if let Some(reply) = reply {
        // The caller may have stopped waiting; the address is dialled anyway.
        let _ = reply.send(result.clone());
    }
}

/// Delay before the next dial: none after a stable connection, then 0.5 s doubling to 8 s.
fn backoff(failures: u32) -> Duration {
    match failures.checked_sub(1) {
        None => Duration::ZERO,
        Some(doublings) => INITIAL_BACKOFF.saturating_mul(1 << doublings.min(8)).min(MAX_BACKOFF),
    }
}

#[cfg(test)]
mod tests;
