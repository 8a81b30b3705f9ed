//! Direct and relayed connections, and the renewal of circuits before their relay's limits end
//! them.
//!
//! gossipsub uses the first connection to a node until it closes. A relayed connection is therefore
//! closed once a better one has been open for `OVERLAP`: a direct one, or a newer circuit.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// Time for which an old path stays open beside a new one.
const OVERLAP: Duration = Duration::from_millis(500);
/// Delay before the next attempt to renew a circuit.
const RETRY_DELAY: Duration = Duration::from_secs(10);
/// Signaling of a call with large offers, in bytes per second: what a circuit's limit of bytes is
/// converted to a time with.
const EXPECTED_RATE: u64 = 2 * 1024;

/// Limits of a relay on one circuit; `None`: unlimited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CircuitLimit {
    /// Lifetime.
    pub duration: Option<Duration>,
    /// Bytes in both directions.
    pub bytes: Option<u64>,
}

impl CircuitLimit {
    /// Defaults of relay v2 implementations: 2 minutes and 128 KiB.
    pub const USUAL: Self = Self { duration: Some(Duration::from_secs(120)), bytes: Some(128 * 1024) };

    /// Age at which a circuit is renewed.
    fn renewal_age(self) -> Option<Duration> {
        let of_duration = self.duration.map(|duration| duration * 3 / 4);
        let of_bytes = self.bytes.map(|bytes| Duration::from_secs((bytes / EXPECTED_RATE).max(5)));
        of_duration.into_iter().chain(of_bytes).min()
    }
}

/// How a connection reaches its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Path<A> {
    /// Without a relay.
    Direct,
    /// Through a relay, dialled by the local node at this address.
    Dialled(A, CircuitLimit),
    /// Through a relay, dialled by the remote node.
    Accepted,
}

/// Open connections by path: addresses `A`, peer ids `P`, connection ids `C`.
#[derive(Debug)]
pub struct Paths<A, P, C>(HashMap<C, Connection<A, P>>);

#[derive(Debug)]
struct Connection<A, P> {
    peer: P,
    path: Path<A>,
    since: Instant,
    renew_at: Option<Instant>,
    /// Returned by [`Paths::take_superseded`].
    closing: bool,
}

impl<A, P, C> Default for Paths<A, P, C> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<A: Clone, P: Copy + Eq, C: Copy + Eq + Hash> Paths<A, P, C> {
    /// Records a new connection.
    pub fn established(&mut self, connection: C, peer: P, path: Path<A>, now: Instant) {
        let age = match &path {
            Path::Dialled(_, limit) => limit.renewal_age(),
            Path::Direct | Path::Accepted => None,
        };
        let renew_at = age.map(|age| now + age);
        self.0.insert(connection, Connection { peer, path, since: now, renew_at, closing: false });
    }

    /// Records a closed connection. Returns the address to redial if it was a circuit to the node
    /// that ended by itself, with no connection to the node left.
    pub fn closed(&mut self, connection: C) -> Option<(P, A)> {
        let closed = self.0.remove(&connection)?;
        let is_last = self.0.values().all(|other| other.peer != closed.peer);
        match closed.path {
            Path::Dialled(address, _) if is_last && !closed.closing => Some((closed.peer, address)),
            _ => None,
        }
    }

    /// Returns the next circuit to dial again beside the old one. Call until it returns `None`.
    pub fn next_renewal(&mut self, now: Instant) -> Option<(P, A)> {
        let due = |open: &&mut Connection<A, P>| !open.closing && open.renew_at.is_some_and(|at| at <= now);
        let circuit = self.0.values_mut().find(due)?;
        circuit.renew_at = Some(now + RETRY_DELAY);
        match &circuit.path {
            Path::Dialled(address, _) => Some((circuit.peer, address.clone())),
            Path::Direct | Path::Accepted => None,
        }
    }

    /// Returns the relayed connections to close, because a direct one or a newer circuit took over.
    pub fn take_superseded(&mut self, now: Instant) -> Vec<(C, P)> {
        let is_settled = |open: &Connection<A, P>| now.duration_since(open.since) >= OVERLAP;
        let is_superseded = |old: &Connection<A, P>| {
            self.0.values().any(|new| {
                let replaces = match (&old.path, &new.path) {
                    (Path::Direct | Path::Accepted, Path::Dialled(..) | Path::Accepted) => false,
                    (Path::Direct, Path::Direct) => false,
                    (_, Path::Direct) => true,
                    // The dialling node alone decides, so that both do not close each other's.
                    (Path::Dialled(..), Path::Dialled(..)) => new.since > old.since,
                    (Path::Dialled(..), Path::Accepted) => false,
                };
                replaces && new.peer == old.peer && is_settled(new)
            })
        };
        let superseded: Vec<_> = self
            .0
            .iter()
            .filter(|(_, open)| !open.closing && is_superseded(open))
            .map(|(connection, open)| (*connection, open.peer))
            .collect();
        for (connection, _) in &superseded {
            if let Some(open) = self.0.get_mut(connection) {
                open.closing = true;
            }
        }
        superseded
    }

    /// Marks a node's connections as closed on purpose, so that no circuit is redialled.
    pub fn closing(&mut self, peer: &P) {
        self.0.values_mut().filter(|open| open.peer == *peer).for_each(|open| open.closing = true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: CircuitLimit = CircuitLimit { duration: Some(Duration::from_secs(40)), bytes: None };

    fn dialled() -> Path<&'static str> {
        Path::Dialled("circuit", LIMIT)
    }

    #[test]
    fn a_circuit_is_renewed_before_its_limit_and_the_old_one_closed_later() {
        let mut paths = Paths::default();
        let start = Instant::now();
        paths.established(1, 'p', dialled(), start);
        assert_eq!(paths.next_renewal(start + Duration::from_secs(29)), None);
        let due = start + Duration::from_secs(30);
        assert_eq!(paths.next_renewal(due), Some(('p', "circuit")));
        assert_eq!(paths.next_renewal(due), None, "once");
        paths.established(2, 'p', dialled(), due);
        assert!(paths.take_superseded(due).is_empty(), "not at once");
        assert_eq!(paths.take_superseded(due + OVERLAP), [(1, 'p')]);
        assert_eq!(paths.closed(1), None);
        assert_eq!(paths.next_renewal(due + Duration::from_secs(30)), Some(('p', "circuit")));
    }

    #[test]
    fn a_direct_connection_supersedes_relayed_ones_of_the_same_node_only() {
        let mut paths = Paths::default();
        let start = Instant::now();
        paths.established(1, 'p', dialled(), start);
        paths.established(2, 'p', Path::Accepted, start);
        paths.established(3, 'q', Path::Accepted, start);
        paths.established(4, 'p', Path::Direct, start);
        let mut superseded = paths.take_superseded(start + OVERLAP);
        superseded.sort_unstable();
        assert_eq!(superseded, [(1, 'p'), (2, 'p')]);
        assert!(paths.take_superseded(start + OVERLAP).is_empty());
    }

    #[test]
    fn a_circuit_that_ends_by_itself_is_redialled() {
        let mut paths = Paths::default();
        let start = Instant::now();
        paths.established(1, 'p', dialled(), start);
        assert_eq!(paths.closed(1), Some(('p', "circuit")));
        paths.established(2, 'p', dialled(), start);
        paths.closing(&'p');
        assert_eq!(paths.closed(2), None);
        paths.established(3, 'p', Path::Accepted, start);
        assert_eq!(paths.closed(3), None);
    }

    #[test]
    fn the_tighter_limit_decides() {
        assert_eq!(CircuitLimit::USUAL.renewal_age(), Some(Duration::from_secs(64)));
        assert_eq!(CircuitLimit::default().renewal_age(), None);
    }
}
