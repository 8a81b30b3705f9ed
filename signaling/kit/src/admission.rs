//! Admission control for connections: limits per address and prefix, with eviction.
//!
//! A limit on pending connections denies the newcomer, since a handshake in progress cannot be
//! evicted. A limit on established connections evicts: the newcomer is admitted first, then the
//! least useful connection of the same address, prefix or node is closed. A flood from one host
//! therefore displaces only that host's connections.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::ops::RangeInclusive;
use std::time::Duration;

use blink_api::{Error, ErrorKind, Result};
use tokio::time::Instant;

mod behaviour;
mod source;

pub use source::{Prefix, Source};

/// Time for a new connection to announce a subscription before it may be evicted.
pub const GRACE_PERIOD: Duration = Duration::from_secs(10);
/// Time for which a misbehaving node is banned.
pub const BAN_DURATION: Duration = Duration::from_secs(60);
/// Default limit of connections in both directions.
pub const DEFAULT_CONNECTIONS: usize = 512;

/// Valid range of the configured connection limit.
const CONNECTIONS: RangeInclusive<usize> = 16..=65_536;
/// Limit of connections to one node, in both directions.
const PER_NODE: usize = 4;
/// Limit of pending outbound connections.
const PENDING_OUTBOUND: usize = 64;
/// Limit of banned nodes; when full, the longest banned one is admitted again.
const MAX_BANNED: usize = 1024;

/// Eviction priority of a node, from the first to be evicted to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EvictionPriority {
    /// The node announced no subscription.
    Unsubscribed,
    /// The node is subscribed, but to no topic with a local subscriber.
    OtherTopics,
    /// The node is subscribed to a topic with a local subscriber.
    SharedTopic,
}

/// Reason for which a connection is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// Too many connections from the address (IPv6: from its /64).
    AddressLimit,
    /// Too many connections from the address's /24 (IPv6: /48).
    PrefixLimit,
    /// Too many connections in total.
    ConnectionLimit,
    /// Too many connections to the same node.
    NodeLimit,
    /// The node is banned for misbehaviour.
    Banned,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AddressLimit => "too many connections from the address",
            Self::PrefixLimit => "too many connections from the address's prefix",
            Self::ConnectionLimit => "too many connections",
            Self::NodeLimit => "too many connections to the node",
            Self::Banned => "the node is temporarily banned for misbehaviour",
        })
    }
}

impl std::error::Error for Denial {}

/// Connections `C` of the local node to nodes `P`, with limits and bans.
pub struct Admission<C, P> {
    max_connections: usize,
    pending_inbound: HashMap<C, Source>,
    pending_outbound: HashSet<C>,
    established: HashMap<C, Connection<P>>,
    sequence: u64,
    banned: VecDeque<(P, Instant)>,
}

impl<C, P> fmt::Debug for Admission<C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").finish_non_exhaustive()
    }
}

struct Connection<P> {
    peer: P,
    /// Remote address; `None` for an outbound connection.
    source: Option<Source>,
    since: Instant,
    /// Order of connections established at the same instant.
    sequence: u64,
    /// Returned by [`Admission::next_eviction`] and about to close.
    closing: bool,
}

/// Checks a configured connection limit.
///
/// # Errors
/// [`Invalid`](ErrorKind::Invalid) outside 16 to 65,536.
pub fn check_connections(max_connections: usize) -> Result<()> {
    if CONNECTIONS.contains(&max_connections) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Invalid, "expected 16 to 65,536 connections").with("connections", max_connections))
}

impl<C: Copy + Eq + Hash, P: Copy + Eq> Admission<C, P> {
    /// Creates the state for up to `max_connections`, three quarters of them inbound.
    pub fn new(max_connections: usize) -> Self {
        Self {
            max_connections,
            pending_inbound: HashMap::new(),
            pending_outbound: HashSet::new(),
            established: HashMap::new(),
            sequence: 0,
            banned: VecDeque::new(),
        }
    }

    /// Admits an inbound connection before its handshake.
    ///
    /// # Errors
    /// The limit that is exceeded.
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
    /// [`Denial::ConnectionLimit`] if too many are pending.
    pub fn begin_outbound(&mut self, connection: C) -> std::result::Result<(), Denial> {
        if self.pending_outbound.len() >= PENDING_OUTBOUND {
            return Err(Denial::ConnectionLimit);
        }
        self.pending_outbound.insert(connection);
        Ok(())
    }

    /// Admits a connection after its handshake; `source` is `None` for an outbound one.
    ///
    /// # Errors
    /// The limit that is exceeded, or [`Denial::Banned`].
    pub fn authenticate(
        &mut self,
        connection: C,
        peer: P,
        source: Option<Source>,
        now: Instant,
    ) -> std::result::Result<(), Denial> {
        self.fail(connection);
        self.banned.retain(|(_, until)| *until > now);
        if self.banned.iter().any(|(banned, _)| *banned == peer) {
            return Err(Denial::Banned);
        }
        if self.established.values().filter(|other| other.peer == peer).count() >= PER_NODE {
            return Err(Denial::NodeLimit);
        }
        if self.established.len() >= self.max_connections {
            return Err(Denial::ConnectionLimit);
        }
        let Some(source) = source else { return Ok(()) };
        // Evicted connections take a moment to close. Until then they may exceed the limit by an
        // eighth, so that a flood cannot use the delay to grow without bound.
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

    /// Records an established connection; `source` is `None` for an outbound one.
    pub fn establish(&mut self, connection: C, peer: P, source: Option<Source>, now: Instant) {
        self.fail(connection);
        self.sequence += 1;
        let entry = Connection { peer, source, since: now, sequence: self.sequence, closing: false };
        self.established.insert(connection, entry);
    }

    /// Removes a connection attempt that failed.
    pub fn fail(&mut self, connection: C) {
        self.pending_inbound.remove(&connection);
        self.pending_outbound.remove(&connection);
    }

    /// Removes a closed connection.
    pub fn close(&mut self, connection: C) {
        self.established.remove(&connection);
    }

    /// Bans a node for [`BAN_DURATION`]. The caller closes its connections.
    pub fn ban(&mut self, peer: P, now: Instant) {
        self.banned.retain(|(banned, _)| *banned != peer);
        if self.banned.len() >= MAX_BANNED {
            self.banned.pop_front();
        }
        self.banned.push_back((peer, now + BAN_DURATION));
    }

    /// Selects the next connection to evict so that every address, every prefix and the node as a
    /// whole stay within their limits. Call until it returns `None` after each new connection.
    pub fn next_eviction(&mut self, now: Instant, priority: impl Fn(&P) -> EvictionPriority) -> Option<(C, P)> {
        let newest = self.counted().max_by_key(|(_, _, connection)| connection.sequence);
        let (_, source, _) = newest?;
        let shares = Shares::established(self.max_connections, source);
        let crowded = Level::ALL.into_iter().find(|level| self.members(*level, source).count() > shares.of(*level))?;
        let victim = self.least_useful(crowded, source, now, priority)?;
        let connection = self.established.get_mut(&victim)?;
        connection.closing = true;
        Some((victim, connection.peer))
    }

    /// Selects the victim among the connections of a crowded address, prefix or node.
    ///
    /// Nodes without a subscription after the grace period go first. Then come, within the most
    /// crowded part: subscribers of unrelated topics, new connections still in their grace period,
    /// and nodes that share a topic. Among connections without a subscription the oldest goes
    /// first, so that every newcomer gets its grace period; otherwise the newest, so that
    /// redialling nodes do not displace established ones.
    fn least_useful(
        &self,
        level: Level,
        source: Source,
        now: Instant,
        priority: impl Fn(&P) -> EvictionPriority,
    ) -> Option<C> {
        let part = level.part();
        let mut crowds = HashMap::new();
        for (_, member, _) in self.members(level, source) {
            *crowds.entry(part.prefix(member)).or_insert(0_usize) += 1;
        }
        let key = |(_, member, connection): &(C, Source, &Connection<P>)| {
            let is_new = now.duration_since(connection.since) < GRACE_PERIOD;
            let (rank, order) = match priority(&connection.peer) {
                EvictionPriority::Unsubscribed if !is_new => (0, connection.sequence),
                EvictionPriority::OtherTopics => (1, u64::MAX - connection.sequence),
                EvictionPriority::Unsubscribed => (2, connection.sequence),
                EvictionPriority::SharedTopic => (3, u64::MAX - connection.sequence),
            };
            let crowd = crowds.get(&part.prefix(*member)).copied().unwrap_or_default();
            (rank > 0, Reverse(crowd), rank, order)
        };
        self.members(level, source).min_by_key(key).map(|(connection, ..)| connection)
    }

    /// Inbound connections in the same set as a source, without those being closed.
    fn members(&self, level: Level, source: Source) -> impl Iterator<Item = (C, Source, &Connection<P>)> {
        self.counted().filter(move |(_, other, _)| level.prefix(*other) == level.prefix(source))
    }

    fn inbound(&self) -> impl Iterator<Item = (C, Source, &Connection<P>)> {
        self.established.iter().filter_map(|(name, connection)| Some((*name, connection.source?, connection)))
    }

    /// Inbound connections, without those being closed.
    fn counted(&self) -> impl Iterator<Item = (C, Source, &Connection<P>)> {
        self.inbound().filter(|(_, _, connection)| !connection.closing)
    }
}

/// Scopes with a limit of their own, from the narrowest to the widest.
#[derive(Debug, Clone, Copy)]
enum Level {
    Host,
    Network,
    All,
}

impl Level {
    const ALL: [Self; 3] = [Self::Host, Self::Network, Self::All];

    /// Prefix of a source at this level.
    fn prefix(self, source: Source) -> Prefix {
        match self {
            Self::Host => source.host(),
            Self::Network => source.network(),
            Self::All => Prefix::Any,
        }
    }

    /// Level of the parts that this level is divided into.
    fn part(self) -> Self {
        match self {
            Self::Host | Self::Network => Self::Host,
            Self::All => Self::Network,
        }
    }

    fn denial(self) -> Denial {
        match self {
            Self::Host => Denial::AddressLimit,
            Self::Network => Denial::PrefixLimit,
            Self::All => Denial::ConnectionLimit,
        }
    }
}

/// Limits of inbound connections per address, per prefix and in total.
struct Shares {
    host: usize,
    network: usize,
    all: usize,
}

impl Shares {
    /// Limits of pending connections: 128 of 512, of which 16 per address and 32 per prefix.
    /// Sources in the local network may be a proxy for many nodes and get 64 and 96.
    fn pending(max_connections: usize, source: Source) -> Self {
        let all = max_connections / 4;
        if source.is_local() {
            Self { host: all / 2, network: all * 3 / 4, all }
        } else {
            Self { host: all / 8, network: all / 4, all }
        }
    }

    /// Limits of established connections: 384 of 512, of which 64 per address and 128 per prefix.
    /// Sources in the local network may be a proxy for many nodes and get 192 and 288.
    fn established(max_connections: usize, source: Source) -> Self {
        let all = max_connections * 3 / 4;
        if source.is_local() {
            Self { host: all / 2, network: all * 3 / 4, all }
        } else {
            Self { host: all / 6, network: all / 3, all }
        }
    }

    /// Limit at a level, at least one.
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
