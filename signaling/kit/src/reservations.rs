//! Reservations on relays, through which other nodes reach this one.

use std::time::Duration;

use tokio::time::Instant;

/// Delay before the next reservation after a relay refused or dropped one.
const RETRY_DELAY: Duration = Duration::from_secs(5);

/// Relays to hold a reservation on: addresses `A`, peer ids `P`, listener ids `L`.
#[derive(Debug)]
pub struct Reservations<A, P, L>(Vec<Relay<A, P, L>>);

#[derive(Debug)]
struct Relay<A, P, L> {
    node: P,
    /// Address of the local node through the relay.
    circuit: A,
    state: State<L>,
}

#[derive(Debug)]
enum State<L> {
    Due(Instant),
    /// Reservation requested or active.
    Open(L),
}

impl<A, P, L> Default for Reservations<A, P, L> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<A: Clone, P: Copy + Eq, L: Copy + PartialEq> Reservations<A, P, L> {
    /// Adds a relay, with the local node's address through it, unless the relay is known.
    pub fn add(&mut self, node: P, circuit: A, now: Instant) {
        if self.0.iter().all(|relay| relay.node != node) {
            self.0.push(Relay { node, circuit, state: State::Due(now) });
        }
    }

    /// Starts the next reservation that is due, on a connected relay. `begin` starts a listener on
    /// the address, or returns `None` if that fails. Call until it returns `false`.
    pub fn start_due(
        &mut self,
        now: Instant,
        is_connected: impl Fn(&P) -> bool,
        begin: impl FnOnce(&A) -> Option<L>,
    ) -> bool {
        let is_due = |relay: &&mut Relay<A, P, L>| {
            matches!(relay.state, State::Due(at) if at <= now) && is_connected(&relay.node)
        };
        let Some(relay) = self.0.iter_mut().find(is_due) else { return false };
        relay.state = match begin(&relay.circuit) {
            Some(listener) => State::Open(listener),
            None => State::Due(now + RETRY_DELAY),
        };
        true
    }

    /// Records a closed listener: the relay refused or the connection to it was lost. Returns
    /// whether it belonged to a relay.
    pub fn closed(&mut self, listener: L, now: Instant) -> bool {
        let lost = self.0.iter_mut().find(|relay| matches!(relay.state, State::Open(id) if id == listener));
        lost.map(|relay| relay.state = State::Due(now + RETRY_DELAY)).is_some()
    }

    /// Makes reservations on a relay due that connected again, which may have restarted.
    pub fn connected(&mut self, node: P, now: Instant) {
        for relay in self.0.iter_mut().filter(|relay| relay.node == node) {
            if matches!(relay.state, State::Due(_)) {
                relay.state = State::Due(now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_is_requested_once_connected_and_renewed_after_a_delay() {
        let now = Instant::now();
        let mut reservations = Reservations::default();
        reservations.add('r', "circuit", now);
        reservations.add('r', "another address", now);
        let mut begun = 0;
        let mut start = |reservations: &mut Reservations<_, _, _>, now, connected| {
            reservations.start_due(
                now,
                |_| connected,
                |circuit| {
                    assert_eq!(*circuit, "circuit");
                    begun += 1;
                    Some(begun)
                },
            )
        };
        assert!(!start(&mut reservations, now, false));
        assert!(start(&mut reservations, now, true));
        assert!(!start(&mut reservations, now, true), "once");

        assert!(!reservations.closed(7, now), "another listener");
        assert!(reservations.closed(1, now));
        assert!(!start(&mut reservations, now, true), "not at once");
        assert!(start(&mut reservations, now + RETRY_DELAY, true));
        assert!(reservations.closed(2, now));
        reservations.connected('r', now);
        assert!(start(&mut reservations, now, true), "at once after a reconnection");
    }
}
