//! Nodes to stay connected to: when to dial them, and again.

use std::time::Duration;

use blink_api::Result;
use libp2p::swarm::ConnectionId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::addresses;

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
pub(crate) type Waiter = oneshot::Sender<Result<()>>;

/// All nodes to stay connected to.
#[derive(Default)]
pub(crate) struct Targets(Vec<Target>);

struct Target {
    addresses: Vec<Multiaddr>,
    /// Who answers there, where known; a discovered node's name never changes.
    peer: Option<PeerId>,
    discovered: bool,
    state: State,
    failures: u32,
    waiters: Vec<Waiter>,
}

enum State {
    Due(Instant),
    Dialling(ConnectionId),
    Connected(Instant),
}

impl Targets {
    /// Stays connected to an address from now on. The waiter is told of the first success or failure.
    pub(crate) fn add(&mut self, address: Multiaddr, waiter: Option<Waiter>, now: Instant) {
        let known = self.0.iter_mut().find(|target| !target.discovered && target.addresses.contains(&address));
        let Some(target) = known else {
            self.0.push(Target {
                peer: addresses::peer(&address),
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

    /// A node was found on the local network.
    pub(crate) fn discovered(
        &mut self,
        local: PeerId,
        peer: PeerId,
        address: Multiaddr,
        connected: bool,
        now: Instant,
    ) {
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
            peer: Some(peer),
            discovered: true,
            state: if connected { State::Connected(now) } else { State::Due(due) },
            failures: 0,
            waiters: Vec::new(),
        });
    }

    /// A discovered node no longer announces an address.
    pub(crate) fn expired(&mut self, peer: PeerId, address: &Multiaddr) {
        for target in self.0.iter_mut().filter(|target| target.discovered && target.peer == Some(peer)) {
            target.addresses.retain(|known| known != address);
        }
        self.0.retain(|target| !target.addresses.is_empty());
    }

    /// The next dial that is due, entered as begun; call until `None`. Where the node is connected already, nothing is due.
    pub(crate) fn next_dial(&mut self, now: Instant, is_connected: impl Fn(&PeerId) -> bool) -> Option<DialOpts> {
        for target in &mut self.0 {
            if !matches!(target.state, State::Due(at) if at <= now) {
                continue;
            }
            if target.peer.is_some_and(|peer| is_connected(&peer)) {
                target.connected(now);
                continue;
            }
            let dial = target.dial();
            target.state = State::Dialling(dial.connection_id());
            return Some(dial);
        }
        None
    }

    /// A connection was made, by this node or the other.
    pub(crate) fn connected(&mut self, connection: ConnectionId, peer: PeerId, now: Instant) {
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

    /// A dial failed; `error` is for those who wait. Where it can never succeed the target is dropped.
    pub(crate) fn failed(&mut self, connection: ConnectionId, error: &blink_api::Error, hopeless: bool, now: Instant) {
        let dialled = |target: &Target| matches!(target.state, State::Dialling(id) if id == connection);
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
    pub(crate) fn lost(&mut self, peer: PeerId, now: Instant) {
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

impl Target {
    fn connected(&mut self, now: Instant) {
        self.state = State::Connected(now);
        self.waiters.drain(..).for_each(|waiter| answer(Some(waiter), &Ok(())));
    }

    /// Whoever answers at an address without a name is right. From a port of its own: the listening port may still have a closing
    /// connection to the same place.
    fn dial(&self) -> DialOpts {
        match (self.peer, self.addresses.as_slice()) {
            (Some(peer), addresses) if self.discovered => DialOpts::peer_id(peer)
                .addresses(addresses.to_vec())
                .condition(PeerCondition::Always)
                .allocate_new_port()
                .build(),
            (_, [address, ..]) => match addresses::peer(address) {
                Some(peer) => DialOpts::peer_id(peer)
                    .addresses(vec![address.clone()])
                    .condition(PeerCondition::Always)
                    .allocate_new_port()
                    .build(),
                None => DialOpts::unknown_peer_id().address(address.clone()).allocate_new_port().build(),
            },
            (_, []) => unreachable!("a target has an address"),
        }
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
