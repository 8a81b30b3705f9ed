//! Relays through which others reach this node.

use std::time::Duration;

use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::ListenOpts;
use libp2p::{Multiaddr, PeerId};
use tokio::time::Instant;

use crate::addresses;

/// The wait after a relay refused or forgot this node.
const WAIT: Duration = Duration::from_secs(5);

/// The relays of the configuration.
pub(crate) struct Relays(Vec<Relay>);

struct Relay {
    node: PeerId,
    /// Where this node is reached through it.
    circuit: Multiaddr,
    state: State,
}

enum State {
    Due(Instant),
    /// Asked, or listening.
    Open(ListenerId),
}

impl Relays {
    /// Relays by their addresses, each of which names its node.
    pub(crate) fn new(relays: &[Multiaddr], now: Instant) -> Self {
        let relay = |address: &Multiaddr| {
            let node = addresses::peer(address)?;
            Some(Relay { node, circuit: address.clone().with(Protocol::P2pCircuit), state: State::Due(now) })
        };
        Self(relays.iter().filter_map(relay).collect())
    }

    /// The next listener to open, entered as opened; call until `None`. Only a relay that is
    /// connected is asked.
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

    /// A listener closed: the relay refused, or the connection to it is gone. Says whether it was
    /// one of these.
    pub(crate) fn closed(&mut self, listener: ListenerId, now: Instant) -> bool {
        let lost = self.0.iter_mut().find(|relay| matches!(relay.state, State::Open(id) if id == listener));
        lost.map(|relay| relay.state = State::Due(now + WAIT)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_is_asked_when_it_is_connected_and_again_some_time_after_it_closed() {
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
        assert!(relays.next_listener(now + WAIT, |_| true).is_some());
    }
}
