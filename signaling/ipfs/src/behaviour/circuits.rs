//! Dials through relays.
//!
//! A circuit waits while its relay is being dialled. Otherwise libp2p's relay client would dial the
//! relay itself, and abandon the circuit when another dial to it is in progress.

use std::collections::HashMap;

use libp2p::PeerId;
use libp2p::swarm::ConnectionId;
use libp2p::swarm::dial_opts::DialOpts;

/// Dial, and the relay it goes through.
pub(super) struct Dial {
    pub(super) opts: DialOpts,
    pub(super) relay: Option<PeerId>,
}

/// Dials in progress, and circuits that wait for them.
#[derive(Default)]
pub(super) struct Circuits {
    /// First hop of each dial in progress.
    dialling: HashMap<ConnectionId, PeerId>,
    waiting: Vec<(PeerId, DialOpts)>,
}

impl Circuits {
    /// Registers a dial. Returns `None` if it has to wait for its relay.
    pub(super) fn begin(&mut self, dial: Dial, is_connected: impl Fn(&PeerId) -> bool) -> Option<DialOpts> {
        let Dial { opts, relay } = dial;
        match relay {
            Some(relay) if is_connected(&relay) => return Some(opts),
            Some(relay) if self.is_dialled(relay) => {
                self.waiting.push((relay, opts));
                return None;
            }
            _ => {}
        }
        if let Some(first) = relay.or(opts.get_peer_id()) {
            self.dialling.insert(opts.connection_id(), first);
        }
        Some(opts)
    }

    /// Records a connected node and returns the circuits that waited for it.
    pub(super) fn connected(&mut self, peer: PeerId) -> Vec<DialOpts> {
        self.dialling.retain(|_, dialled| *dialled != peer);
        self.take_waiting(peer)
    }

    /// Records a failed dial and returns the circuits that waited for this dial only.
    pub(super) fn failed(&mut self, connection: ConnectionId) -> Vec<DialOpts> {
        match self.dialling.remove(&connection) {
            Some(peer) if !self.is_dialled(peer) => self.take_waiting(peer),
            _ => Vec::new(),
        }
    }

    fn is_dialled(&self, peer: PeerId) -> bool {
        self.dialling.values().any(|dialled| *dialled == peer)
    }

    fn take_waiting(&mut self, peer: PeerId) -> Vec<DialOpts> {
        self.waiting.extract_if(.., |(relay, _)| *relay == peer).map(|(_, opts)| opts).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dial(peer: PeerId, relay: Option<PeerId>) -> (ConnectionId, Dial) {
        let opts = DialOpts::peer_id(peer).addresses(vec!["/ip4/192.0.2.1/tcp/1".parse().unwrap()]).build();
        (opts.connection_id(), Dial { opts, relay })
    }

    fn ids(dials: Vec<DialOpts>) -> Vec<ConnectionId> {
        dials.iter().map(DialOpts::connection_id).collect()
    }

    #[test]
    fn a_circuit_waits_while_its_relay_is_dialled() {
        let (relay, other) = (PeerId::random(), PeerId::random());
        let mut circuits = Circuits::default();
        let none_connected = |_: &PeerId| false;
        assert!(circuits.begin(dial(relay, None).1, none_connected).is_some());
        let (waits, through) = dial(PeerId::random(), Some(relay));
        assert!(circuits.begin(through, none_connected).is_none());
        assert!(
            circuits.begin(dial(PeerId::random(), Some(other)).1, none_connected).is_some(),
            "another relay does not wait"
        );

        assert!(circuits.connected(other).is_empty());
        assert_eq!(ids(circuits.connected(relay)), [waits]);
        assert!(circuits.connected(relay).is_empty(), "returned once");
        assert!(
            circuits.begin(dial(PeerId::random(), Some(relay)).1, none_connected).is_some(),
            "the relay was disconnected since"
        );
    }

    #[test]
    fn a_circuit_waits_for_another_through_the_same_relay_until_that_dial_ends() {
        let relay = PeerId::random();
        let mut circuits = Circuits::default();
        let none_connected = |_: &PeerId| false;
        let (first, dials) = dial(PeerId::random(), Some(relay));
        assert!(circuits.begin(dials, none_connected).is_some());
        let (second, waits) = dial(PeerId::random(), Some(relay));
        assert!(circuits.begin(waits, none_connected).is_none());
        assert_eq!(ids(circuits.failed(first)), [second]);
        let connected = |peer: &PeerId| *peer == relay;
        assert!(circuits.begin(dial(PeerId::random(), Some(relay)).1, connected).is_some());
    }
}
