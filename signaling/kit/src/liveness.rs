//! Detection of dead connections by pings.
//!
//! A stalled TCP connection reports no error for a minute and more.
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// Interval between pings, and the timeout of each.
pub const PING_INTERVAL: Duration = Duration::from_secs(3);

/// Time without a reply after which a node counts as dead: two missed pings. The first was due one
/// interval after the last reply, and the second had one interval to be answered.
const SILENCE: Duration = PING_INTERVAL.saturating_mul(3);

/// Time of the last activity of every connection `C` to a node `P`.
#[derive(Debug)]
pub struct Liveness<C, P>(HashMap<C, (P, Instant)>);

impl<C, P> Default for Liveness<C, P> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<C: Eq + Hash, P: Copy + Ord> Liveness<C, P> {
    /// Records that a connection was established or answered a ping.
    pub fn record_activity(&mut self, connection: C, peer: P, now: Instant) {
        self.0.insert(connection, (peer, now));
    }

    /// Stops watching a connection that was closed, or whose node does not support ping.
    pub fn remove(&mut self, connection: C) {
        self.0.remove(&connection);
    }

    /// Removes and returns the nodes with a connection that missed its pings, each once.
    pub fn take_unresponsive(&mut self, now: Instant) -> Vec<P> {
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
        liveness.record_activity(1, quiet, start);
        liveness.record_activity(2, lively, start);
        liveness.record_activity(2, lively, start + PING_INTERVAL);
        assert!(liveness.take_unresponsive(start + PING_INTERVAL * 2).is_empty());
        assert_eq!(liveness.take_unresponsive(start + SILENCE), [quiet]);
        assert!(liveness.take_unresponsive(start + SILENCE).is_empty());
    }

    #[test]
    fn a_removed_connection_is_not_reported() {
        let mut liveness = Liveness::default();
        let start = Instant::now();
        liveness.record_activity(1, 'p', start);
        liveness.remove(1);
        assert!(liveness.take_unresponsive(start + SILENCE).is_empty());
    }
}
