//! Admission of connections: limits per address and prefix, and eviction where they are reached.
//!
//! A limit on pending connections denies the newcomer, because a handshake cannot be taken back. A
//! limit on established connections evicts: the newcomer is admitted first, then the least useful
//! connection of the crowded address, prefix or node is closed. One host therefore only displaces
//! its own connections.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::ops::RangeInclusive;
use std::time::Duration;

use blink_api::{Error, ErrorKind, Result};
use tokio::time::Instant;

mod source;

use source::Prefix;
pub use source::Source;

/// Time within which a new connection has to announce a subscription.
pub const GRACE: Duration = Duration::from_secs(10);
/// Time for which a misbehaving node is kept out.
pub const KEPT_OUT: Duration = Duration::from_secs(60);
/// Connections a node has by default, in both directions.
pub const DEFAULT_CONNECTIONS: usize = 512;

/// Numbers of connections that can be configured.
const CONNECTIONS: RangeInclusive<usize> = 16..=65_536;
/// Connections to one node, in both directions.
const PER_NODE: usize = 4;
/// Outbound connections that are being made.
const PENDING_OUTBOUND: usize = 64;
/// Nodes that are kept out; beyond, the one that has been out longest is let in again.
const MAX_KEPT_OUT: usize = 1024;

/// Usefulness of a node, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It announced no subscription.
    Silent,
    /// It is subscribed to topics, none of which this node reads.
    Subscribed,
    /// It is subscribed to a topic that this node reads.
    Shared,
}

/// Reason for which a connection is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// Too many connections from the address (IPv6: from its /64).
    Host,
    /// Too many connections from the address's /24 (IPv6: /48).
    Network,
    /// Too many connections in all.
    Full,
    /// Too many connections to the same node.
    Node,
    /// The node misbehaved a short while ago.
    KeptOut,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "too many connections from the address",
            Self::Network => "too many connections from the address's prefix",
            Self::Full => "too many connections",
            Self::Node => "too many connections to the node",
            Self::KeptOut => "the node misbehaved and is kept out for a while",
        })
    }
}

impl std::error::Error for Denial {}

/// The connections `C` of a node to nodes `P`.
pub struct Admission<C, P> {
    max_connections: usize,
    pending_inbound: HashMap<C, Source>,
    pending_outbound: HashSet<C>,
    established: HashMap<C, Connection<P>>,
    sequence: u64,
    kept_out: VecDeque<(P, Instant)>,
}

struct Connection<P> {
    peer: P,
    /// `None` for one that this node made.
    source: Option<Source>,
    since: Instant,
    /// Orders connections of the same instant.
    sequence: u64,
    /// It was given up by [`Admission::take_surplus`].
    closing: bool,
}

/// Checks a configured number of connections.
///
/// # Errors
/// [`Invalid`](ErrorKind::Invalid) out of 16 to 65,536.
pub fn check_connections(max_connections: usize) -> Result<()> {
    if CONNECTIONS.contains(&max_connections) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Invalid, "expected 16 to 65,536 connections").with("connections", max_connections))
}

impl<C: Copy + Eq + Hash, P: Copy + Eq> Admission<C, P> {
    /// Admits up to `max_connections`, three quarters of them inbound.
    pub fn new(max_connections: usize) -> Self {
        Self {
            max_connections,
            pending_inbound: HashMap::new(),
            pending_outbound: HashSet::new(),
            established: HashMap::new(),
            sequence: 0,
            kept_out: VecDeque::new(),
        }
    }

    /// Admits an inbound connection to its handshake.
    ///
    /// # Errors
    /// The limit that it would exceed.
    pub fn begin_inbound(&mut self, connection: C, source: Source) -> std::result::Result<(), Denial> {
        let shares = Shares::pending(self.max_connections, source);
        for level in Level::ALL {
            let is_same = |other: &&Source| level.prefix(**other) == level.prefix(source);
            if self.pending_inbound.values().filter(is_same).count() >= shares.of(level) {
                return Err(level.denial());
            }
        }
        self.pending_inbound.insert(connection, source);
        Ok(())
    }

    /// Admits an outbound connection attempt.
    ///
    /// # Errors
    /// [`Denial::Full`] where too many are under way.
    pub fn begin_outbound(&mut self, connection: C) -> std::result::Result<(), Denial> {
        if self.pending_outbound.len() >= PENDING_OUTBOUND {
            return Err(Denial::Full);
        }
        self.pending_outbound.insert(connection);
        Ok(())
    }

    /// Admits a connection whose handshake named the node; `source` is `None` for an outbound one.
    ///
    /// # Errors
    /// The limit that it would exceed, or [`Denial::KeptOut`].
    pub fn authenticate(
        &mut self,
        connection: C,
        peer: P,
        source: Option<Source>,
        now: Instant,
    ) -> std::result::Result<(), Denial> {
        self.fail(connection);
        self.kept_out.retain(|(_, until)| *until > now);
        if self.kept_out.iter().any(|(kept_out, _)| *kept_out == peer) {
            return Err(Denial::KeptOut);
        }
        if self.established.values().filter(|other| other.peer == peer).count() >= PER_NODE {
            return Err(Denial::Node);
        }
        if self.established.len() >= self.max_connections {
            return Err(Denial::Full);
        }
        let Some(source) = source else { return Ok(()) };
        // Evicted connections take a moment to close. They may exceed a share by an eighth, no
        // further.
        let shares = Shares::established(self.max_connections, source);
        for level in Level::ALL {
            let share = shares.of(level);
            let same = self.inbound().filter(|(_, other, _)| level.prefix(*other) == level.prefix(source));
            if same.count() > share + share / 8 {
                return Err(level.denial());
            }
        }
        Ok(())
    }

    /// Enters a connection that was made; `source` is `None` for an outbound one.
    pub fn establish(&mut self, connection: C, peer: P, source: Option<Source>, now: Instant) {
        self.fail(connection);
        self.sequence += 1;
        let entry = Connection { peer, source, since: now, sequence: self.sequence, closing: false };
        self.established.insert(connection, entry);
    }

    /// Forgets a connection that was not made.
    pub fn fail(&mut self, connection: C) {
        self.pending_inbound.remove(&connection);
        self.pending_outbound.remove(&connection);
    }

    /// Forgets a connection that was closed.
    pub fn close(&mut self, connection: C) {
        self.established.remove(&connection);
    }

    /// Keeps a node out for [`KEPT_OUT`]. Its connections have to be closed by the caller.
    pub fn keep_out(&mut self, peer: P, now: Instant) {
        self.kept_out.retain(|(kept_out, _)| *kept_out != peer);
        if self.kept_out.len() >= MAX_KEPT_OUT {
            self.kept_out.pop_front();
        }
        self.kept_out.push_back((peer, now + KEPT_OUT));
    }

    /// The next connection to close so that no address, no prefix and no node as a whole has more
    /// than its share; to be called until `None` after each new connection.
    pub fn take_surplus(&mut self, now: Instant, standing: impl Fn(&P) -> Standing) -> Option<(C, P)> {
        let newest = self.counted().max_by_key(|(_, _, connection)| connection.sequence);
        let (_, source, _) = newest?;
        let shares = Shares::established(self.max_connections, source);
        let crowded = Level::ALL.into_iter().find(|level| self.members(*level, source).count() > shares.of(*level))?;
        let victim = self.least_useful(crowded, source, now, standing)?;
        let connection = self.established.get_mut(&victim)?;
        connection.closing = true;
        Some((victim, connection.peer))
    }

    /// First nodes that never subscribed to anything, then those of the most crowded part:
    /// subscribers of other topics, newcomers that had no time to subscribe, nodes that share a
    /// topic. Of several the silent one that is oldest, so that newcomers get their turn, and
    /// otherwise the newest, so that those who redial do not take turns with all others.
    fn least_useful(&self, level: Level, source: Source, now: Instant, standing: impl Fn(&P) -> Standing) -> Option<C> {
        let part = level.part();
        let mut crowds = HashMap::new();
        for (_, member, _) in self.members(level, source) {
            *crowds.entry(part.prefix(member)).or_insert(0_usize) += 1;
        }
        let key = |(_, member, connection): &(C, Source, &Connection<P>)| {
            let is_new = now.duration_since(connection.since) < GRACE;
            let (rank, order) = match standing(&connection.peer) {
                Standing::Silent if !is_new => (0, connection.sequence),
                Standing::Subscribed => (1, u64::MAX - connection.sequence),
                Standing::Silent => (2, connection.sequence),
                Standing::Shared => (3, u64::MAX - connection.sequence),
            };
            let crowd = crowds.get(&part.prefix(*member)).copied().unwrap_or_default();
            (rank > 0, Reverse(crowd), rank, order)
        };
        self.members(level, source).min_by_key(key).map(|(connection, ..)| connection)
    }

    /// Inbound connections of the same set as a source, without those that are being closed.
    fn members(&self, level: Level, source: Source) -> impl Iterator<Item = (C, Source, &Connection<P>)> {
        self.counted().filter(move |(_, other, _)| level.prefix(*other) == level.prefix(source))
    }

    fn inbound(&self) -> impl Iterator<Item = (C, Source, &Connection<P>)> {
        self.established.iter().filter_map(|(name, connection)| Some((*name, connection.source?, connection)))
    }

    /// Inbound connections that are not being closed.
    fn counted(&self) -> impl Iterator<Item = (C, Source, &Connection<P>)> {
        self.inbound().filter(|(_, _, connection)| !connection.closing)
    }
}

/// Sets of connections with a limit of their own, from the smallest to the largest.
#[derive(Debug, Clone, Copy)]
enum Level {
    Host,
    Network,
    All,
}

impl Level {
    const ALL: [Self; 3] = [Self::Host, Self::Network, Self::All];

    /// The set that a source is in.
    fn prefix(self, source: Source) -> Prefix {
        match self {
            Self::Host => source.host(),
            Self::Network => source.network(),
            Self::All => Prefix::Any,
        }
    }

    /// The sets that a set of this level consists of.
    fn part(self) -> Self {
        match self {
            Self::Host | Self::Network => Self::Host,
            Self::All => Self::Network,
        }
    }

    fn denial(self) -> Denial {
        match self {
            Self::Host => Denial::Host,
            Self::Network => Denial::Network,
            Self::All => Denial::Full,
        }
    }
}

/// Connections from one address, from one prefix, and in all.
struct Shares {
    host: usize,
    network: usize,
    all: usize,
}

impl Shares {
    /// 128 of 512, of which 16 from one address and 32 from one prefix. Where the source is in the
    /// node's own network it may be a proxy for many: 64 and 96.
    fn pending(max_connections: usize, source: Source) -> Self {
        let all = max_connections / 4;
        if source.is_local() {
            Self { host: all / 2, network: all * 3 / 4, all }
        } else {
            Self { host: all / 8, network: all / 4, all }
        }
    }

    /// 384 of 512, of which 64 from one address and 128 from one prefix. Where the source is in the
    /// node's own network it may be a proxy for many: 192 and 288.
    fn established(max_connections: usize, source: Source) -> Self {
        let all = max_connections * 3 / 4;
        if source.is_local() {
            Self { host: all / 2, network: all * 3 / 4, all }
        } else {
            Self { host: all / 6, network: all / 3, all }
        }
    }

    /// At least one.
    fn of(&self, level: Level) -> usize {
        match level {
            Level::Host => self.host,
            Level::Network => self.network,
            Level::All => self.all,
        }
        .max(1)
    }
}

#[cfg(test)]
mod tests;
