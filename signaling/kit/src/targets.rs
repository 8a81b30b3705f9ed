//! Nodes to stay connected to: when to dial them, and again.

use std::time::Duration;

use blink_api::Result;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// The wait after the first failure; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(8);
/// A connection that lasted this long had not failed.
const STABLE: Duration = Duration::from_secs(5);
/// Where two nodes discover each other, one dials first.
const COURTESY: Duration = Duration::from_secs(1);
/// Nodes found on the local network that are looked after; further ones are passed over.
const MAX_DISCOVERED: usize = 64;
/// Failed attempts after which a discovered node is given up.
const DISCOVERED_ATTEMPTS: u32 = 8;

/// Answers a `connect`.
pub type Waiter = oneshot::Sender<Result<()>>;

/// All nodes to stay connected to: at addresses `A`, with names `P`, over connections `C`.
pub struct Targets<A, P, C>(Vec<Target<A, P, C>>);

struct Target<A, P, C> {
    addresses: Vec<A>,
    /// Who has to answer there; anybody may where it is `None`.
    named: Option<P>,
    /// Who answers there, where known.
    peer: Option<P>,
    discovered: bool,
    state: State<C>,
    failures: u32,
    waiters: Vec<Waiter>,
}

enum State<C> {
    Due(Instant),
    Dialling(C),
    Connected(Instant),
}

impl<A, P, C> Default for Targets<A, P, C> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<A: PartialEq, P: Copy + Ord, C: Copy + PartialEq> Targets<A, P, C> {
    /// Stays connected to an address from now on, where the node of that name answers or, without
    /// one, whoever does. The waiter is told of the first success or failure.
    pub fn add(&mut self, address: A, named: Option<P>, waiter: Option<Waiter>, now: Instant) {
        let known = self.0.iter_mut().find(|target| !target.discovered && target.addresses.contains(&address));
        let Some(target) = known else {
            self.0.push(Target {
                named,
                peer: named,
                addresses: vec![address],
                discovered: false,
                state: State::Due(now),
                failures: 0,
                waiters: Vec::from_iter(waiter),
            });
            return;
        };
        match &mut target.state {
            State::Connected(_) => answer(waiter, &Ok(())),
            State::Dialling(_) => target.waiters.extend(waiter),
            State::Due(at) => {
                *at = now;
                target.waiters.extend(waiter);
            }
        }
    }

    /// A node was found on the local network by the node `local`; it may be connected already.
    pub fn discovered(&mut self, local: P, peer: P, address: A, connected: bool, now: Instant) {
        if let Some(target) = self.0.iter_mut().find(|target| target.discovered && target.peer == Some(peer)) {
            if !target.addresses.contains(&address) && target.addresses.len() < 16 {
                target.addresses.push(address);
            }
            return;
        }
        if peer == local || self.0.iter().filter(|target| target.discovered).count() >= MAX_DISCOVERED {
            return;
        }
        let due = if local < peer { now } else { now + COURTESY };
        self.0.push(Target {
            addresses: vec![address],
            named: Some(peer),
            peer: Some(peer),
            discovered: true,
            state: if connected { State::Connected(now) } else { State::Due(due) },
            failures: 0,
            waiters: Vec::new(),
        });
    }

    /// A discovered node no longer announces an address.
    pub fn expired(&mut self, peer: P, address: &A) {
        for target in self.0.iter_mut().filter(|target| target.discovered && target.peer == Some(peer)) {
            target.addresses.retain(|known| known != address);
        }
        self.0.retain(|target| !target.addresses.is_empty());
    }

    /// The next dial that is due, entered as begun; call until `None`. Where the node is connected
    /// already, nothing is due. `begin` is given who has to answer and where, at least one address,
    /// and returns the connection's name with whatever dials it.
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
            let (connection, dial) = begin(target.named, &target.addresses);
            target.state = State::Dialling(connection);
            return Some(dial);
        }
        None
    }

    /// A connection was made, by this node or the other.
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

    /// A dial goes on under another connection's name.
    pub fn renamed(&mut self, old: C, new: C) {
        for target in &mut self.0 {
            if matches!(target.state, State::Dialling(id) if id == old) {
                target.state = State::Dialling(new);
            }
        }
    }

    /// A dial failed; `error` is for those who wait. Where it can never succeed the target is
    /// dropped.
    pub fn failed(&mut self, connection: C, error: &blink_api::Error, hopeless: bool, now: Instant) {
        let dialled = |target: &Target<A, P, C>| matches!(target.state, State::Dialling(id) if id == connection);
        let Some(index) = self.0.iter().position(dialled) else { return };
        let target = &mut self.0[index];
        target.waiters.drain(..).for_each(|waiter| answer(Some(waiter), &Err(error.clone())));
        target.failures = target.failures.saturating_add(1);
        target.state = State::Due(now + wait(target.failures));
        if hopeless || (target.discovered && target.failures >= DISCOVERED_ATTEMPTS) {
            self.0.swap_remove(index);
        }
    }

    /// A node's last connection closed.
    pub fn lost(&mut self, peer: P, now: Instant) {
        for target in self.0.iter_mut().filter(|target| target.peer == Some(peer)) {
            if let State::Connected(since) = target.state {
                if now.duration_since(since) >= STABLE {
                    target.failures = 0;
                }
                target.state = State::Due(now + wait(target.failures));
                target.failures = target.failures.saturating_add(1);
            }
        }
    }
}

impl<A, P, C> Target<A, P, C> {
    fn connected(&mut self, now: Instant) {
        self.state = State::Connected(now);
        self.waiters.drain(..).for_each(|waiter| answer(Some(waiter), &Ok(())));
    }
}

fn answer(waiter: Option<Waiter>, result: &Result<()>) {
    if let Some(waiter) = waiter {
        // Whoever asked may have stopped waiting; the node is dialled all the same.
        let _ = waiter.send(result.clone());
    }
}

/// Nothing after a connection that held, then half a second doubling to eight.
fn wait(failures: u32) -> Duration {
    match failures.checked_sub(1) {
        None => Duration::ZERO,
        Some(doublings) => FIRST_WAIT.saturating_mul(1 << doublings.min(8)).min(LONGEST_WAIT),
    }
}

#[cfg(test)]
mod tests;
