//! Which nodes still answer pings: a stalled TCP connection says nothing for a minute and more.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// How often each connection is to be pinged, and how long an answer may take.
pub const PING_INTERVAL: Duration = Duration::from_secs(3);

/// Two pings went unanswered: the first was due one interval after the last answer, and the second
/// had an interval to be answered.
const SILENCE: Duration = PING_INTERVAL.saturating_mul(3);

/// The last sign of life of every connection `C` to a node `P`.
pub struct Liveness<C, P>(HashMap<C, (P, Instant)>);

impl<C, P> Default for Liveness<C, P> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<C: Eq + Hash, P: Copy + Ord> Liveness<C, P> {
    /// A connection was made, or answered a ping.
    pub fn heard(&mut self, connection: C, peer: P, now: Instant) {
        self.0.insert(connection, (peer, now));
    }

    /// A connection is gone, or its node answers no pings at all.
    pub fn forget(&mut self, connection: C) {
        self.0.remove(&connection);
    }

    /// Nodes of which a connection has been silent for too long, each once.
    pub fn take_silent(&mut self, now: Instant) -> Vec<P> {
        let is_silent = |(_, at): &(P, Instant)| now.duration_since(*at) >= SILENCE;
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
        let (quiet, lively) = ('q', 'l');
        liveness.heard(1, quiet, start);
        liveness.heard(2, lively, start);
        liveness.heard(2, lively, start + PING_INTERVAL);
        assert!(liveness.take_silent(start + PING_INTERVAL * 2).is_empty());
        assert_eq!(liveness.take_silent(start + SILENCE), [quiet]);
        assert!(liveness.take_silent(start + SILENCE).is_empty());
    }

    #[test]
    fn a_connection_forgotten_is_not_missed() {
        let mut liveness = Liveness::default();
        let start = Instant::now();
        liveness.heard(1, 'p', start);
        liveness.forget(1);
        assert!(liveness.take_silent(start + SILENCE).is_empty());
    }
}
