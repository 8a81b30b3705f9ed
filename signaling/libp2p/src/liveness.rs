//! Which nodes still answer pings: a stalled TCP connection says nothing for a minute and more.

use std::collections::HashMap;
use std::time::Duration;

use libp2p::PeerId;
use libp2p::swarm::ConnectionId;
use tokio::time::Instant;

use crate::behaviour::PING_INTERVAL;

/// Two pings went unanswered: the first was due one interval after the last answer, and the second had an interval to be answered.
const SILENCE: Duration = PING_INTERVAL.saturating_mul(3);

/// The last sign of life of every connection.
#[derive(Default)]
pub(crate) struct Liveness(HashMap<ConnectionId, (PeerId, Instant)>);

impl Liveness {
    /// A connection was made, or answered a ping.
    pub(crate) fn heard(&mut self, connection: ConnectionId, peer: PeerId, now: Instant) {
        self.0.insert(connection, (peer, now));
    }

    /// A connection is gone, or its node answers no pings at all.
    pub(crate) fn forget(&mut self, connection: ConnectionId) {
        self.0.remove(&connection);
    }

    /// Nodes of which a connection has been silent for too long, each once.
    pub(crate) fn take_silent(&mut self, now: Instant) -> Vec<PeerId> {
        let is_silent = |(_, at): &(PeerId, Instant)| now.duration_since(*at) >= SILENCE;
        let mut silent: Vec<_> = self.0.values().filter(|entry| is_silent(entry)).map(|(peer, _)| *peer).collect();
        silent.sort_unstable();
        silent.dedup();
        self.0.retain(|_, (peer, _)| silent.binary_search(peer).is_err());
        silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_misses_two_pings_is_reported_once() {
        let mut liveness = Liveness::default();
        let start = Instant::now();
        let (quiet, lively) = (PeerId::random(), PeerId::random());
        liveness.heard(ConnectionId::new_unchecked(1), quiet, start);
        liveness.heard(ConnectionId::new_unchecked(2), lively, start);
        liveness.heard(ConnectionId::new_unchecked(2), lively, start + PING_INTERVAL);
        assert!(liveness.take_silent(start + PING_INTERVAL * 2).is_empty());
        assert_eq!(liveness.take_silent(start + SILENCE), [quiet]);
        assert!(liveness.take_silent(start + SILENCE).is_empty());
    }

    #[test]
    fn a_connection_forgotten_is_not_missed() {
        let mut liveness = Liveness::default();
        let start = Instant::now();
        liveness.heard(ConnectionId::new_unchecked(1), PeerId::random(), start);
        liveness.forget(ConnectionId::new_unchecked(1));
        assert!(liveness.take_silent(start + SILENCE).is_empty());
    }
}
