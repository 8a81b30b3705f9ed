//! Reservations on relays, through which other nodes reach this one.

use std::time::Duration;

use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::ListenOpts;
use libp2p::{Multiaddr, PeerId};
use tokio::time::Instant;

use crate::addresses;

/// Delay before the next reservation after a relay refused or dropped one.
const RETRY_DELAY: Duration = Duration::from_secs(5);

/// Configured relays.
pub(crate) struct Relays(Vec<Relay>);

struct Relay {
    node: PeerId,
    /// Address of this node through the relay.
    circuit: Multiaddr,
    state: State,
}

enum State {
    Due(Instant),
    /// Reservation requested or active.
    Open(ListenerId),
}

impl Relays {
    /// Creates the list from addresses that contain the relay's peer id.
    pub(crate) fn new(relays: &[Multiaddr], now: Instant) -> Self {
        let relay = |address: &Multiaddr| {
            let node = addresses::peer(address)?;
            Some(Relay { node, circuit: address.clone().with(Protocol::P2pCircuit), state: State::Due(now) })
        };
        Self(relays.iter().filter_map(relay).collect())
    }

    /// Starts the next reservation that is due, on a connected relay. Call until it returns `None`.
    pub(crate) fn next_listener(&mut self, now: Instant, is_connected: impl Fn(&PeerId) -> bool) -> Option<ListenOpts> {
        for relay in &mut self.0 {
            if matches!(relay.state, State::Due(at) if at <= now) && is_connected(&relay.node) {
                let listener = ListenOpts::new(relay.circuit.clone());
                relay.state = State::Open(listener.listener_id());
                return Some(listener);
            }
        }
        None
    }

    /// Records a closed listener: the relay refused or the connection to it was lost. Returns
    /// whether it belonged to a relay.
    pub(crate) fn closed(&mut self, listener: ListenerId, now: Instant) -> bool {
        let lost = self.0.iter_mut().find(|relay| matches!(relay.state, State::Open(id) if id == listener));
        lost.map(|relay| relay.state = State::Due(now + RETRY_DELAY)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_is_requested_once_connected_and_renewed_after_a_delay() {
        let node = PeerId::random();
        let now = Instant::now();
        let address: Multiaddr = format!("/ip4/192.0.2.1/tcp/1/p2p/{node}").parse().unwrap();
        let mut relays = Relays::new(std::slice::from_ref(&address), now);
        assert!(relays.next_listener(now, |_| false).is_none());
        let listener = relays.next_listener(now, |peer| *peer == node).expect("it is connected");
        assert_eq!(listener.address().to_string(), format!("{address}/p2p-circuit"));
        assert!(relays.next_listener(now, |_| true).is_none(), "once");

        assert!(!relays.closed(ListenerId::next(), now), "another listener");
        assert!(relays.closed(listener.listener_id(), now));
        assert!(relays.next_listener(now, |_| true).is_none(), "not at once");
        assert!(relays.next_listener(now + RETRY_DELAY, |_| true).is_some());
    }
}
